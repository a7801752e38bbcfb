// A pasted error message is searched by its code, else by its longest words: the search takes ARNs, quotes and signs for
// operators, and finds any page with "the".
const CODE = /\(([A-Z][A-Za-z]+)\)|\b([A-Z][a-z]+(?:[A-Z][a-z]+)+)(?=:|$)|\b([a-z]+_[a-z_]+)\b/;
const COMMON = /^(account|calling|cannot|daypass|error|included|occurred|operation|provided|request|resource|which)$/i;
// The usual kind of a code that several kinds have.
const KINDS = { AccessDenied: "access_denied", ExpiredToken: "expired_credentials", InvalidClientTokenId: "unknown_credentials",
  InvalidIdentityToken: "invalid_identity_token", ValidationError: "validation" };
const wordsOf = (message) => {
  const text = message.replace(/\b(arn:\S+|(botocore|boto3)\S+|User:|[a-z0-9-]+:[A-Z]\w*|https?:\S+|[A-Z]\w+Error|\S*\d\S*)/g, " ");
  const code = text.match(CODE)?.slice(1).find(Boolean);
  if (code) return KINDS[code] || code;
  const words = [...new Set(text.match(/[A-Za-z]{4,}/g) || [])].filter((word) => !COMMON.test(word));
  return words.sort((a, b) => b.length - a.length).slice(0, 2).map((word) => `+${word}`).join(" ");
};
let before = 0;
document.addEventListener("input", ({ target }) => {
  if (target.name !== "query") return;
  const pasted = target.value.length - before > 24 && target.value.trim().split(/\s+/).length > 4;
  if (pasted) target.value = wordsOf(target.value) || target.value;
  before = target.value.length;
  if (pasted) target.dispatchEvent(new KeyboardEvent("keyup", { bubbles: true }));
}, true);

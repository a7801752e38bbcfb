// Computes the hashes of a record and of the records after it in this browser, from what the page contains, as
// docs/reference/record-format.md defines them.
(() => {
  "use strict";

  const section = document.querySelector("[data-proof]");
  const verdict = section && section.querySelector("[data-verdict]");
  if (!verdict || !window.crypto || !crypto.subtle) return;
  const proof = JSON.parse(section.dataset.proof);

  const ascii = (text) => Uint8Array.from(text, (char) => char.charCodeAt(0));
  const ofHex = (text) => Uint8Array.from(text.match(/../g), (pair) => parseInt(pair, 16));
  const hex = (bytes) => Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
  const number = (seq) => {
    const bytes = new Uint8Array(8);
    new DataView(bytes.buffer).setBigUint64(0, BigInt(seq));
    return bytes;
  };
  const hash = async (kind, ...parts) => {
    const all = [kind, ...parts.flatMap((part) => Array.from(part))];
    return new Uint8Array(await crypto.subtle.digest("SHA-256", Uint8Array.from(all)));
  };

  const compute = async () => {
    const { log, seq, bytes, records } = proof;
    let chain = records[0].seq ? ofHex(records[0].chain) : await hash(3, ascii(log));
    let computed = 0;
    for (const record of records.slice(records[0].seq ? 1 : 0)) {
      const own = record.seq === seq && bytes;
      const leaf = own ? await hash(0, ascii(atob(bytes))) : ofHex(record.leaf);
      chain = await hash(2, chain, leaf, number(record.seq));
      if (hex(leaf) !== record.leaf || hex(chain) !== record.chain) return { fault: record.seq };
      computed += 1;
    }
    return { computed, last: records[records.length - 1].seq, own: Boolean(bytes) };
  };

  compute().then((found) => {
    verdict.textContent =
      found.fault !== undefined
        ? `This browser has computed another hash for number ${found.fault}: the record does not verify.`
        : `This browser has computed the same${found.own ? ", from the bytes of the event" : ", from its hash"}: ` +
          `${found.computed} ${found.computed === 1 ? "hash" : "hashes"} up to number ${found.last} agree.`;
    verdict.dataset.verdict = found.fault !== undefined ? "bad" : "good";
    verdict.hidden = false;
  });
})();

// A single-page application with npm's openid-client, unmodified: code and PKCE, DPoP, UserInfo, refresh, revocation, logout.
// The fragment of the first visit is the issuer and the client id, separated by a space.
import * as client from "openid-client";

const [out, away] = [document.querySelector("pre"), document.querySelector("a")];
const here = location.origin + location.pathname;
const store = sessionStorage;

async function begin(config) {
  const pair = await client.randomDPoPKeyPair("ES256", { extractable: true });
  const keys = [pair.publicKey, pair.privateKey].map((key) => crypto.subtle.exportKey("jwk", key));
  store.keys = JSON.stringify(await Promise.all(keys));
  Object.assign(store, { verifier: client.randomPKCECodeVerifier(), state: client.randomState(), nonce: client.randomNonce() });
  location.href = client.buildAuthorizationUrl(config, {
    redirect_uri: here,
    scope: "openid",
    code_challenge: await client.calculatePKCECodeChallenge(store.verifier),
    code_challenge_method: "S256",
    state: store.state,
    nonce: store.nonce,
  });
}

async function end(config) {
  const [publicKey, privateKey] = await Promise.all(
    JSON.parse(store.keys).map((jwk) => crypto.subtle.importKey("jwk", jwk, { name: "ECDSA", namedCurve: "P-256" }, true, jwk.key_ops)),
  );
  const DPoP = client.getDPoPHandle(config, { publicKey, privateKey });
  const checks = { pkceCodeVerifier: store.verifier, expectedState: store.state, expectedNonce: store.nonce, idTokenExpected: true };
  const tokens = await client.authorizationCodeGrant(config, new URL(location.href), checks, undefined, { DPoP });
  const person = await client.fetchUserInfo(config, tokens.access_token, tokens.claims().sub, { DPoP });
  const renewed = await client.refreshTokenGrant(config, tokens.refresh_token, undefined, { DPoP });
  const refused = await client.authorizationCodeGrant(config, new URL(location.href), checks, undefined, { DPoP }).catch((e) => e.error);
  await client.tokenRevocation(config, renewed.refresh_token);
  away.href = client.buildEndSessionUrl(config, { post_logout_redirect_uri: here, id_token_hint: tokens.id_token, state: "left" });
  out.textContent = JSON.stringify({ type: tokens.token_type, person, renewed: Boolean(renewed.access_token), refused });
}

try {
  const parameters = new URLSearchParams(location.search);
  if (location.hash) [store.issuer, store.client] = decodeURIComponent(location.hash.slice(1)).split(" ");
  if (parameters.get("state") === "left") {
    out.textContent = "signed out";
  } else {
    const options = { execute: [client.allowInsecureRequests] };
    const config = await client.discovery(new URL(store.issuer), store.client, undefined, client.None(), options);
    await (parameters.has("code") ? end(config) : begin(config));
  }
} catch (error) {
  out.textContent = `failed: ${error} ${error.cause ?? ""}`;
}

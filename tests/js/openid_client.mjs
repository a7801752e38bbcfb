// npm's openid-client v6, unmodified: signs a person in with the authorization code flow and PKCE.
// Arguments: issuer, client id, redirect URI, code verifier, nonce, state, then the address to which the person was sent back.
// Without that address it prints where to send the person; with it, the claims of the ID token.
import * as client from "openid-client";

const [, , issuer, clientId, redirectUri, verifier, nonce, state, back] = process.argv;
const options = { execute: [client.allowInsecureRequests] };
const config = await client.discovery(new URL(issuer), clientId, undefined, client.None(), options);
if (!back) {
  const address = client.buildAuthorizationUrl(config, {
    redirect_uri: redirectUri,
    scope: "openid",
    code_challenge: await client.calculatePKCECodeChallenge(verifier),
    code_challenge_method: "S256",
    nonce,
    state,
  });
  console.log(JSON.stringify({ address: address.href }));
} else {
  const checks = { pkceCodeVerifier: verifier, expectedNonce: nonce, expectedState: state, idTokenExpected: true };
  const tokens = await client.authorizationCodeGrant(config, new URL(back), checks);
  const renewed = await client.refreshTokenGrant(config, tokens.refresh_token);
  console.log(JSON.stringify({ claims: tokens.claims(), renewed: Boolean(renewed.access_token) }));
}

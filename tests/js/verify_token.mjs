// npm's jose, unmodified: verifies an access token from what the issuer publishes, and nothing else.
// Arguments: issuer, token, audience. Prints the claims, or the code of the refusal.
import { createRemoteJWKSet, jwtVerify } from "jose";

const [, , issuer, token, audience] = process.argv;
const metadata = await (await fetch(`${issuer}/.well-known/oauth-authorization-server`)).json();
try {
  const keys = createRemoteJWKSet(new URL(metadata.jwks_uri));
  const { payload, protectedHeader } = await jwtVerify(token, keys, { issuer, audience, typ: "at+jwt", requiredClaims: ["exp", "sub", "jti", "client_id"] });
  console.log(JSON.stringify({ payload, alg: protectedHeader.alg }));
} catch (error) {
  console.log(JSON.stringify({ refused: error.code }));
}

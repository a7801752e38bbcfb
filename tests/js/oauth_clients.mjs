// Strict OAuth clients against a running server: client credentials with private_key_jwt and DPoP, introspection, a DPoP
// call of a protected resource. Arguments: issuer, client_id, private key (JWK), audience. Prints JSON.
import * as oauth from "oauth4webapi";
import * as openid from "openid-client";

const [issuer, clientId, jwk, audience] = process.argv.slice(2);
const url = new URL(issuer);
const algorithm = { name: "ECDSA", namedCurve: "P-256" };
const key = await crypto.subtle.importKey("jwk", JSON.parse(jwk), algorithm, false, ["sign"]);
const credentials = { key, kid: "k1" };

async function byOpenidClient() {
  const config = await openid.discovery(url, clientId, undefined, openid.PrivateKeyJwt(credentials), {
    algorithm: "oauth2",
    execute: [openid.allowInsecureRequests],
  });
  const keys = await openid.randomDPoPKeyPair("ES256");
  const DPoP = openid.getDPoPHandle(config, keys);
  const tokens = await openid.clientCredentialsGrant(config, { resource: audience }, { DPoP });
  const seen = await openid.tokenIntrospection(config, tokens.access_token);
  const own = await openid.clientCredentialsGrant(config, { resource: issuer }, { DPoP });
  const answer = await openid.fetchProtectedResource(
    config,
    own.access_token,
    new URL(`${issuer}/oauth2/introspect`),
    "POST",
    new URLSearchParams({ token: own.access_token }),
    new Headers(),
    { DPoP },
  );
  await openid.tokenRevocation(config, own.access_token);
  const after = await openid.tokenIntrospection(config, own.access_token);
  return {
    token_type: tokens.token_type,
    active: seen.active,
    cnf: seen.cnf,
    resource: await answer.json(),
    revoked: after.active,
  };
}

async function byOauth4webapi() {
  const insecure = { [oauth.allowInsecureRequests]: true };
  const found = await oauth.discoveryRequest(url, { ...insecure, algorithm: "oauth2" });
  const as = await oauth.processDiscoveryResponse(url, found);
  const client = { client_id: clientId };
  const keys = await oauth.generateKeyPair("ES256");
  const DPoP = oauth.DPoP(client, keys);
  const auth = oauth.PrivateKeyJwt(credentials);
  const ask = () =>
    oauth.clientCredentialsGrantRequest(as, client, auth, new URLSearchParams({ resource: audience }), {
      DPoP,
      ...insecure,
    });
  let response = await ask();
  let retried = false;
  let tokens;
  try {
    tokens = await oauth.processClientCredentialsResponse(as, client, response);
  } catch (error) {
    if (!oauth.isDPoPNonceError(error)) throw error;
    retried = true;
    tokens = await oauth.processClientCredentialsResponse(as, client, await ask());
  }
  const claims = JSON.parse(Buffer.from(tokens.access_token.split(".")[1], "base64url"));
  const thumbprint = await oauth.calculatePKCECodeChallenge("x").then(() => claims.cnf.jkt.length);
  const seen = await oauth.processIntrospectionResponse(
    as,
    client,
    await oauth.introspectionRequest(as, client, auth, tokens.access_token, insecure),
  );
  const wrong = await oauth.clientCredentialsGrantRequest(as, client, auth, new URLSearchParams({ resource: "https://no.example" }), {
    DPoP,
    ...insecure,
  });
  let refused = "";
  try {
    await oauth.processClientCredentialsResponse(as, client, wrong);
  } catch (error) {
    refused = error.error;
  }
  return { token_type: tokens.token_type, retried, thumbprint, active: seen.active, refused };
}

console.log(JSON.stringify({ openid: await byOpenidClient(), oauth4webapi: await byOauth4webapi() }));

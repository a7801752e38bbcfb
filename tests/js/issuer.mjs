// npm `oidc-provider` as an OpenID Connect issuer over https on loopback: PORT, and a PEM file with its key and certificate.
// One client, which gets access tokens for a resource by its secret, and ID tokens of a person by the code flow.
// Each line on stdin is a list of private JWKs: its keys from then on, the current one first; it answers with a line when it
// serves with them. They are not made here: Node 20 can lock itself up for good when it exports a key that it has just made.
// It ends with its stdin.
import { readFileSync } from "node:fs";
import { createServer } from "node:https";
import { createInterface } from "node:readline";
import Provider from "oidc-provider";

const [, , port, pem, back] = process.argv;
const url = `https://127.0.0.1:${port}`;
const client = {
  client_id: "ci",
  client_secret: "secret-of-the-client-ci",
  grant_types: ["client_credentials", "authorization_code"],
  response_types: ["code"],
  redirect_uris: ["https://app.example.com/back", ...(back ? [back] : [])],
};
let answer;

const consented = async (ctx) => {
  const grant = new ctx.oidc.provider.Grant({ clientId: ctx.oidc.client.clientId, accountId: ctx.oidc.session.accountId });
  grant.addOIDCScope("openid");
  await grant.save();
  return grant;
};

// As an operator does it: the same issuer, started anew with other keys.
const restart = (keys) => {
  const alg = keys[0].alg;
  const provider = new Provider(url, {
    clients: [{ ...client, id_token_signed_response_alg: alg }],
    jwks: { keys },
    cookies: { keys: ["for-tests-alone"] },
    findAccount: (_ctx, sub) => ({ accountId: sub, claims: () => ({ sub }) }),
    interactions: { url: (_ctx, interaction) => `/sign-in/${interaction.uid}` },
    loadExistingGrant: consented,
    pkce: { required: () => false },
    features: {
      devInteractions: { enabled: false },
      clientCredentials: { enabled: true },
      resourceIndicators: {
        enabled: true,
        getResourceServerInfo: (_ctx, resource) => ({ scope: "", audience: resource, accessTokenFormat: "jwt", accessTokenTTL: 600, jwt: { sign: { alg } } }),
      },
    },
  });
  const protocol = provider.callback();
  answer = (request, response) => {
    if (request.url.startsWith("/sign-in/")) provider.interactionFinished(request, response, { login: { accountId: "ann", amr: ["pwd"] } });
    else protocol(request, response);
  };
};

const secret = readFileSync(pem);
const server = createServer({ key: secret, cert: secret }, (request, response) => answer(request, response));
const said = () => console.log(JSON.stringify({ url }));
createInterface({ input: process.stdin })
  .on("line", (line) => {
    restart(JSON.parse(line));
    if (server.listening) said();
    else server.listen(Number(port), "127.0.0.1", said);
  })
  .on("close", () => process.exit());

// npm `oidc-provider` as an OpenID Connect issuer over https on loopback: PORT, and a PEM file with its key and certificate.
// One client, which gets access tokens for a resource by its secret, and ID tokens of a person by the code flow.
// Prints a JSON line when it listens; then a line on stdin changes its keys, answered by a line with the kids it has:
// "rotate ALG" puts a new key before the others, "drop" leaves only the newest. It ends with its stdin.
import { generateKeyPairSync, randomUUID } from "node:crypto";
import { readFileSync } from "node:fs";
import { createServer } from "node:https";
import { createInterface } from "node:readline";
import Provider from "oidc-provider";

const [, , port, pem] = process.argv;
const url = `https://127.0.0.1:${port}`;
const client = {
  client_id: "ci",
  client_secret: "secret-of-the-client-ci",
  grant_types: ["client_credentials", "authorization_code"],
  response_types: ["code"],
  redirect_uris: ["https://app.example.com/back"],
};
const kinds = { RS256: ["rsa", { modulusLength: 2048 }], ES256: ["ec", { namedCurve: "P-256" }] };
let keys = [];
let answer;

const rotate = (alg) => {
  const jwk = generateKeyPairSync(...kinds[alg]).privateKey.export({ format: "jwk" });
  keys = [{ ...jwk, alg, use: "sig", kid: randomUUID() }, ...keys];
};

const consented = async (ctx) => {
  const grant = new ctx.oidc.provider.Grant({ clientId: ctx.oidc.client.clientId, accountId: ctx.oidc.session.accountId });
  grant.addOIDCScope("openid");
  await grant.save();
  return grant;
};

// As an operator does it: the same issuer, started anew with other keys.
const restart = () => {
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

const said = () => console.log(JSON.stringify({ url, kids: keys.map((key) => key.kid) }));
const secret = readFileSync(pem);
rotate("RS256");
restart();
createServer({ key: secret, cert: secret }, (request, response) => answer(request, response)).listen(Number(port), "127.0.0.1", said);
createInterface({ input: process.stdin })
  .on("line", (line) => {
    const [command, alg] = line.split(" ");
    if (command === "rotate") rotate(alg);
    else keys = keys.slice(0, 1);
    restart();
    said();
  })
  .on("close", () => process.exit());

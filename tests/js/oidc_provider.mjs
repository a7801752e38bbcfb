// npm oidc-provider for bench/oauth.py: client credentials to an ES256 JWT, introspection and JWKS, everything in memory.
// Arguments: port, and a file with {clients, jwks, audience}.
import { readFileSync } from "node:fs";
import { Provider } from "oidc-provider";

const [port, file] = process.argv.slice(2);
const { clients, jwks, audience } = JSON.parse(readFileSync(file, "utf8"));
const jwt = { audience, accessTokenFormat: "jwt", accessTokenTTL: 3600, jwt: { sign: { alg: "ES256" } }, scope: "" };
const opaque = { audience: "https://opaque.example", accessTokenFormat: "opaque", accessTokenTTL: 3600, scope: "" };
const provider = new Provider(`http://127.0.0.1:${port}`, {
  clients,
  jwks,
  clientAuthMethods: ["client_secret_basic", "private_key_jwt"],
  ttl: { ClientCredentials: 3600 },
  features: {
    devInteractions: { enabled: false },
    clientCredentials: { enabled: true },
    introspection: { enabled: true, allowedPolicy: () => true },
    resourceIndicators: {
      enabled: true,
      defaultResource: () => audience,
      useGrantedResource: () => true,
      getResourceServerInfo: (_, indicator) => (indicator === audience ? jwt : opaque),
    },
  },
});
provider.listen(Number(port), "127.0.0.1", () => console.log("ready"));

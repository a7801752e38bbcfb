// An identity provider of npm's `samlp`, for one response: options as JSON in the first argument, the response in base64 out.
import { readFileSync } from "node:fs";
import samlp from "samlp";

const given = JSON.parse(process.argv[2]);
const options = {
  issuer: given.issuer,
  audience: given.audience,
  recipient: given.recipient,
  destination: given.recipient,
  inResponseTo: given.inResponseTo,
  lifetimeInSeconds: 300,
  signatureAlgorithm: "rsa-sha256",
  digestAlgorithm: "sha256",
  signAssertion: given.signAssertion,
  signResponse: given.signResponse,
  key: readFileSync(given.key, "utf8"),
  cert: readFileSync(given.cert, "utf8"),
  ...(given.encryptionCert && {
    encryptionCert: readFileSync(given.encryptionCert, "utf8"),
    encryptionPublicKey: readFileSync(given.encryptionKey, "utf8"),
  }),
  profileMapper: () => ({
    getClaims: () => given.attributes,
    getNameIdentifier: () => ({
      nameIdentifier: given.subject,
      nameIdentifierFormat: "urn:oasis:names:tc:SAML:2.0:nameid-format:persistent",
    }),
  }),
};
samlp.getSamlResponse(options, {}, (error, response) => {
  if (error) throw error;
  console.log(Buffer.from(response).toString("base64"));
});

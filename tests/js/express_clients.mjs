// Two stock applications of Express, unmodified: passport with passport-openidconnect, and express-openid-connect.
// Arguments: which one, issuer, client id, client secret. Prints its own address, then serves until it is ended.
// GET /user shows whom it has signed in.
import http from "node:http";
import { randomBytes } from "node:crypto";
import express from "express";
import session from "express-session";
import passport from "passport";
import OpenIDConnectStrategy from "passport-openidconnect";
import eoc from "express-openid-connect";

const [, , which, issuer, clientID, clientSecret] = process.argv;
const app = express();
const server = http.createServer(app);
await new Promise((done) => server.listen(0, "127.0.0.1", done));
const own = `http://127.0.0.1:${server.address().port}`;
const secret = randomBytes(32).toString("hex");

if (which === "passport") {
  app.use(session({ secret, resave: false, saveUninitialized: true }));
  app.use(passport.initialize(), passport.session());
  passport.serializeUser((user, done) => done(null, user));
  passport.deserializeUser((user, done) => done(null, user));
  const found = await (await fetch(`${issuer}/.well-known/openid-configuration`)).json();
  const options = {
    issuer,
    authorizationURL: found.authorization_endpoint,
    tokenURL: found.token_endpoint,
    userInfoURL: found.userinfo_endpoint,
    clientID,
    clientSecret,
    callbackURL: `${own}/callback`,
    scope: ["profile", "email"],
  };
  passport.use(new OpenIDConnectStrategy(options, (_issuer, profile, done) => done(null, profile)));
  app.get("/login", passport.authenticate("openidconnect"));
  app.get("/callback", passport.authenticate("openidconnect", { failWithError: true }), (_, answer) => answer.redirect("/user"));
  app.get("/user", (request, answer) => answer.json(request.user ?? null));
} else {
  const options = {
    issuerBaseURL: issuer,
    baseURL: own,
    clientID,
    clientSecret,
    secret,
    authRequired: false,
    authorizationParams: { response_type: "code", scope: "openid profile email" },
    clientAuthMethod: "client_secret_basic",
  };
  app.use(eoc.auth(options));
  app.get("/user", async (request, answer) => answer.json(request.oidc.user ?? null));
}
app.use((error, _request, answer, _next) => answer.status(500).send(String(error.stack ?? error)));
console.log(own);

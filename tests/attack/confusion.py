"""A good token of each kind, and each place that takes one."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

from tests import saml_idp, ssf
from tests.attack.installation import ALPHA, EVERYTHING, ROOT, Answer, Installation, Key, document, form
from tests.browser import BASE
from tests.directory_service import PROVISION
from tests.oauth import (
    ACCESS_TOKEN,
    BEARER,
    EXCHANGE,
    FORM,
    ID_TOKEN,
    PRESIGNED,
    REFRESH,
    SAML2,
    bearer,
    exchange,
    given,
    post,
    presigned,
    token,
)
from tests.oauth import JWT as JWT_TYPE
from tests.oauth_client import ASSERTION, Client, DpopKey, api, register
from tests.sign_in import CALLBACK, CHALLENGE, VERIFIER, allowed, may_assume, role_for, signed_in, target, user

from daypass.operations.oauth.request import new_nonce

CLOUD, ELSEWHERE = "https://cloud.example", "https://resource.test"
DEVICE = "urn:ietf:params:oauth:grant-type:device_code"
ID_JAG = "urn:ietf:params:oauth:token-type:id-jag"
Place = Callable[[str], Answer]


@dataclass(frozen=True)
class World:
    """A person's client, and a good token of each kind."""

    site: Installation
    client: Client
    role: str
    session: Key
    tokens: Mapping[str, str]
    with_secret: str
    keys: Mapping[str, Any] = field(default_factory=dict)  # of the server, by algorithm

    def places(self) -> dict[str, Place]:
        """Each place that takes a token, and the kinds that belong there are in `BELONGS`."""

        def exchanged(kind: str, member: str = "subject_token") -> Place:
            def ask(text: str) -> Answer:
                own = {"subject_token": self.tokens["access token"], "subject_token_type": ACCESS_TOKEN}
                return self.client.token(grant=EXCHANGE, **{**own, member: text, f"{member}_type": kind})

            return ask

        def held(path: str, method: str = "POST") -> Place:
            body = json.dumps({"subject": {}}).encode() if method == "POST" else b""
            return lambda text: self.site.send(method, [bearer(text)], body, path=path.encode())

        def asserted(text: str) -> Answer:
            pairs = {"grant_type": "client_credentials", "client_id": self.client.id}
            return token(self.site, {**pairs, "client_assertion_type": ASSERTION, "client_assertion": text})

        def pushed(text: str) -> Answer:
            pairs = {"response_type": "code", "redirect_uri": CALLBACK, "scope": "openid", "id_token_hint": text}
            challenge = {"code_challenge": CHALLENGE, "code_challenge_method": "S256"}
            return post(self.site, "/oauth2/par", {**pairs, **challenge, **self.client.credentials()})

        def federated(action: str, member: str, **more: str) -> Place:
            def ask(text: str) -> Answer:
                return self.site.send("POST", body=form(action, {"RoleArn": self.role, member: text, **more}))

            return ask

        def session(text: str) -> Answer:
            return self.site.call((self.session[0], self.session[1], text), "GetCallerIdentity")

        def requested(text: str) -> Answer:
            query = {"client_id": self.client.id, "request_uri": f"urn:ietf:params:oauth:request_uri:{text}"}
            return self.site.send("GET", path=b"/oauth2/authorize", query=urlencode(query).encode())

        def proven(text: str) -> Answer:
            pairs = {"grant_type": "client_credentials", **self.client.credentials()}
            return post(self.site, "/oauth2/token", pairs, (b"dpop", text.encode()))

        def decided(text: str) -> Answer:
            """A decision about the subject of a token: the refusal of one that is none is a denial."""
            asked = {"subject": {"type": "access_token", "id": text}, "action": {"name": "sts:AssumeRole"}}
            body = json.dumps({**asked, "resource": {"type": "arn", "id": self.role}})
            answer = ssf.call(self.site, "POST", "/access/v1/evaluation", body.encode())
            refused = answer.status == 200 and json.loads(answer.body)["decision"] is False
            return Answer(403, answer.headers, answer.body) if refused else answer

        def node(text: str) -> Answer:
            return self.site.send(
                "GET", [(b"authorization", f"daypass-node {text}".encode())], path=b"/events/revocations"
            )

        def secret(text: str) -> Answer:
            pairs = {"grant_type": "client_credentials", "client_id": self.with_secret, "client_secret": text}
            return token(self.site, pairs)

        def assertion_of(kind: str) -> Place:
            own = {"requested_token_type": ID_JAG, "audience": ELSEWHERE, "subject_token_type": kind}
            return lambda text: self.client.token(grant=EXCHANGE, subject_token=text, **own)

        return {
            "subject access_token": exchanged(ACCESS_TOKEN),
            "subject presigned": exchanged(PRESIGNED),
            "subject saml2": exchanged(SAML2),
            "actor presigned": exchanged(PRESIGNED, "actor_token"),
            "actor id_token": exchanged(ID_TOKEN, "actor_token"),
            "assertion for access_token": assertion_of(ACCESS_TOKEN),
            "assertion for id_token": assertion_of(ID_TOKEN),
            "assertion for refresh_token": assertion_of(REFRESH),
            "client secret": secret,
            "authzen subject": decided,
            "node": node,
            "revocations": held("/events/revocations", "GET"),
            "management API": held("/api/v1/clients", "GET"),
            "subject jwt": exchanged(JWT_TYPE),
            "subject id_token": exchanged(ID_TOKEN),
            "actor jwt": exchanged(JWT_TYPE, "actor_token"),
            "jwt bearer": lambda text: self.client.token(grant=BEARER, assertion=text, role=self.role),
            "refresh": lambda text: self.client.token(grant="refresh_token", refresh_token=text),
            "code": lambda text: self.client.token(
                grant="authorization_code", code=text, redirect_uri=CALLBACK, code_verifier=VERIFIER
            ),
            "device code": lambda text: self.client.token(grant=DEVICE, device_code=text),
            "request_uri": requested,
            "id_token_hint": pushed,
            "session token": session,
            "AssumeRoleWithWebIdentity": federated(
                "AssumeRoleWithWebIdentity", "WebIdentityToken", RoleSessionName="ann"
            ),
            "AssumeRoleWithSAML": federated(
                "AssumeRoleWithSAML", "SAMLAssertion", PrincipalArn=f"arn:aws:iam::{ALPHA}:saml-provider/none"
            ),
            "client assertion": asserted,
            "dpop proof": proven,
            "introspection": held("/oauth2/introspect"),
            "userinfo": held("/oauth2/userinfo", "GET"),
            "authzen": held("/access/v1/evaluation"),
            "streams": held("/ssf/streams", "GET"),
            "scim": held("/scim/v2/Users", "GET"),
        }


BELONGS = {
    "access token": {
        *("subject access_token", "subject jwt", "actor jwt", "actor id_token"),
        *("assertion for access_token", "authzen subject", "revocations"),
        "introspection",
        "userinfo",
        "authzen",
        "streams",
    },
    "ID token": {"id_token_hint", "assertion for id_token"},
    "refresh token": {"refresh", "assertion for refresh_token"},
    "presigned GetCallerIdentity": {"subject presigned", "actor presigned"},
    "SAML response": {"AssumeRoleWithSAML", "subject saml2"},
    "SCIM token": {"scim"},
    "device code": {"device code"},
    "request_uri": {"request_uri"},
    "client secret": {"client secret"},
    "AWS session token": {"session token"},
    "node proof": {"node"},
    "code": {"code"},
    "client assertion": {"client assertion"},
    "DPoP proof": {"dpop proof"},
}


def made(site: Installation) -> World:
    name, role = user(site), role_for(site, "confusion")
    may_assume(site, name)
    own = document({"Action": ["daypass:IssueIdentityAssertion", "sts:GetWebIdentityToken"], "Resource": "*"})
    site.iam("PutUserPolicy", UserName=name, PolicyName="issue", PolicyDocument=own)
    site.iam("PutRolePolicy", RoleName="confusion", PolicyName="issue", PolicyDocument=own)
    site.iam("EnableOutboundWebIdentityFederation", ROOT)
    client = register(
        site,
        grant_types=["authorization_code", "refresh_token", "client_credentials", DEVICE, EXCHANGE, BEARER],
        redirect_uris=[CALLBACK],
        roles=["*"],
        audiences=[BASE, CLOUD],
        external_client_ids={ELSEWHERE: "app-there"},
        fapi_exceptions=["bearer_tokens", "unpushed_requests"],
    )
    code = allowed(signed_in(site, name), target(client))["code"]
    first = given(client.token(grant="authorization_code", code=code, redirect_uri=CALLBACK, code_verifier=VERIFIER))
    session = site.assume(site.user("key-holder", policy=EVERYTHING)[1], role, "ann").key
    text = given(exchange(site, presigned(site, session), PRESIGNED))["access_token"]
    secrets = register(
        site, token_endpoint_auth_method="client_secret_post", fapi_exceptions=["client_secret", "bearer_tokens"]
    )
    jwks = json.loads(site.send("GET", path=b"/.well-known/jwks.json").body)["keys"]
    return World(
        site,
        client,
        role,
        session,
        {
            "access token": text,
            "refresh token": first["refresh_token"],
            "code": allowed(signed_in(site, name), target(client))["code"],
            "ID token": first["id_token"],
            "signed introspection": introspected(client, text),
            "status list": status_list(site, text),
            "identity assertion": exchanged(client, text, ID_JAG, ELSEWHERE),
            "web identity token": exchanged(client, text, ID_TOKEN, CLOUD),
            "client assertion": client.assertion(),
            "DPoP proof": DpopKey(site, key=client.key).proof(),
            "presigned GetCallerIdentity": presigned(site, session),
            "SAML response": saml_response(site, role),
            "SCIM token": scim_token(site),
            "request_uri": pushed(client),
            "client secret": json.loads(api(site, "POST", f"{secrets.path}/secrets").body)["client_secret"],
            "AWS session token": session[2],
            "node proof": site.runtime.env.nodes.make(),
            "DPoP nonce": new_nonce(site.runtime.env),
            "security event token": security_event(site),
            **device_codes(client),
        },
        secrets.id,
        {key["alg"]: key for key in jwks},
    )


def saml_response(site: Installation, role: str) -> str:
    site.iam("CreateSAMLProvider", Name="idp", SAMLMetadataDocument=saml_idp.metadata())
    roles = [f"{role},arn:aws:iam::{ALPHA}:saml-provider/idp"]
    return saml_idp.Response(roles=roles, now=site.now()).encoded()


def scim_token(site: Installation) -> str:
    site.user("directory", policy=PROVISION)
    return str(json.loads(api(site, "POST", "/scim-tokens", {"name": "entra", "user": "directory"}).body)["token"])


def security_event(site: Installation) -> str:
    stream = ssf.create(site, events_requested=[ssf.SESSION_REVOKED])
    ssf.revoke(site, "somebody")
    ssf.queued(site)
    return next(iter(ssf.polled(site, stream).values()))


def pushed(client: Client) -> str:
    challenge = {"code_challenge": CHALLENGE, "code_challenge_method": "S256"}
    asked = {"response_type": "code", "redirect_uri": CALLBACK, "scope": "openid", **challenge}
    answer = post(client.site, "/oauth2/par", {**asked, **client.credentials()})
    return str(json.loads(answer.body)["request_uri"]).rpartition(":")[2]


def device_codes(client: Client) -> dict[str, str]:
    answer = post(client.site, "/oauth2/device_authorization", {"scope": "openid", **client.credentials()})
    made = json.loads(answer.body)
    return {"device code": made["device_code"], "user code": made["user_code"]}


def introspected(client: Client, text: str) -> str:
    accept = (b"accept", b"application/token-introspection+jwt")
    pairs = {"token": text, **client.credentials()}
    answer = client.site.send("POST", [*FORM, accept], urlencode(pairs).encode(), path=b"/oauth2/introspect")
    assert answer.status == 200, answer.body
    return answer.body.decode()


def status_list(site: Installation, text: str) -> str:
    uri = part(text, 1)["status"]["status_list"]["uri"]
    answer = site.send("GET", path=uri.removeprefix(BASE).encode())
    assert answer.status == 200, answer.body
    return answer.body.decode()


def exchanged(client: Client, text: str, requested: str, audience: str) -> str:
    own = {"subject_token": text, "subject_token_type": ACCESS_TOKEN, "audience": audience}
    return str(given(client.token(grant=EXCHANGE, requested_token_type=requested, **own))["access_token"])


def part(text: str, number: int) -> dict[str, Any]:
    raw = text.split(".")[number]
    return dict(json.loads(base64.urlsafe_b64decode(raw + "=" * (-len(raw) % 4))))


def denied(world: World, place: str, answer: Answer, text: str) -> None:
    """A refusal on the record, which shows nothing of the token."""
    assert answer.status in (400, 401, 403), (place, answer.status, answer.body)
    records = world.site.records(answer.request_id)
    assert len(records) == 1, place
    assert records[0].get("error") or place.endswith("authzen subject"), (
        place
    )  # a question about nobody is answered by no
    secret = max(text.split("."), key=len)[-40:]
    assert secret.encode() not in answer.body, place
    assert secret not in json.dumps(records), place

"""A token in the place of another kind: every token that this server or its clients sign, at every place that takes one.

Also encrypted tokens, tokens without a signature and tokens whose signature is a MAC by a public key (RFC 8725, 2 and 3).
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

import pytest
from joserfc import jwe
from joserfc.jwk import ECKey, RSAKey
from tests.attack.installation import ALPHA, EVERYTHING, ROOT, Answer, Installation, Key, document, form
from tests.browser import BASE
from tests.issuer import b64
from tests.oauth import (
    ACCESS_TOKEN,
    BEARER,
    EXCHANGE,
    FORM,
    ID_TOKEN,
    PRESIGNED,
    bearer,
    exchange,
    given,
    post,
    presigned,
    token,
)
from tests.oauth import JWT as JWT_TYPE
from tests.oauth_client import ASSERTION, Client, DpopKey, api, register
from tests.sign_in import (
    CALLBACK,
    CHALLENGE,
    VERIFIER,
    allowed,
    may_assume,
    role_for,
    signed_in,
    site_with_pages,
    target,
    user,
)

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

        return {
            "subject access_token": exchanged(ACCESS_TOKEN),
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
        "subject access_token",
        "subject jwt",
        "actor jwt",
        "introspection",
        "userinfo",
        "authzen",
        "streams",
    },
    "ID token": {"id_token_hint"},
    "refresh token": {"refresh"},
    "code": {"code"},
    "client assertion": {"client assertion"},
    "DPoP proof": {"dpop proof"},
}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    rates = {"failures_per_second": 1_000_000, "failures_burst": 1_000_000}
    oauth = {"audience_algorithms": ("https://old.example=RS256",)}
    with site_with_pages(tmp_path_factory.mktemp("confusion"), rates=rates, oauth=oauth) as site:
        yield made(site)


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
        },
        {key["alg"]: key for key in jwks},
    )


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
    assert records[0]["error"], place
    secret = max(text.split("."), key=len)[-40:]
    assert secret.encode() not in answer.body, place
    assert secret not in json.dumps(records), place


KINDS = (
    *("access token", "ID token", "signed introspection", "status list", "identity assertion", "web identity token"),
    *("client assertion", "DPoP proof", "refresh token", "code"),
)


@pytest.mark.parametrize("kind", KINDS)
def test_a170_token_in_the_place_of_another_kind_is_refused(world: World, kind: str) -> None:
    text = world.tokens[kind]
    for place, ask in world.places().items():
        if place not in BELONGS.get(kind, ()):
            denied(world, f"{kind} as {place}", ask(text), text)


def test_a170_kinds_are_told_apart_by_their_type_alone(world: World) -> None:
    """Each kind that this server signs has its own `typ`; the two ID tokens have different issuers."""
    signed = {kind: text for kind, text in world.tokens.items() if kind not in ("refresh token", "code")}
    types = {kind: part(text, 0).get("typ", "").lower() for kind, text in signed.items()}
    assert types.pop("ID token") == types["web identity token"] == "jwt"
    assert part(world.tokens["web identity token"], 1)["iss"] != part(world.tokens["ID token"], 1)["iss"]
    assert len(set(types.values())) == len(types)


@pytest.mark.parametrize("kind", KINDS)
def test_a170_token_of_another_kind_is_not_active_and_its_revocation_ends_nothing(world: World, kind: str) -> None:
    text, own = world.tokens[kind], kind == "access token"
    asked = {"token": text, "token_type_hint": "access_token"}
    answer = given(post(world.site, "/oauth2/introspect", {**asked, **world.client.credentials()}))
    assert answer["active"] is own or answer == {"active": False}
    if kind not in ("access token", "refresh token"):
        assert post(world.site, "/oauth2/revoke", {**asked, **world.client.credentials()}).status == 200
        assert world.places()["userinfo"](world.tokens["access token"]).status == 200


def test_a259_installation_that_is_its_own_provider_accepts_none_of_its_tokens(world: World) -> None:
    """An account registers this server's issuer and keys as an identity provider, for every audience there is."""
    site, jwks = world.site, world.site.send("GET", path=b"/.well-known/jwks.json").body.decode()
    audiences = {
        f"ClientIDList.member.{n}": name for n, name in enumerate((BASE, CLOUD, ELSEWHERE, world.client.id), 1)
    }
    arn = site.iam("CreateOpenIDConnectProvider", Url=BASE, **audiences).text("OpenIDConnectProviderArn")
    url = BASE.removeprefix("https://")
    assert api(site, "PUT", f"/providers/oidc/{url}/settings", {"settings": {"static_jwks": jwks}}).status == 200
    condition = {"StringLike": {f"{url}:sub": "*"}}
    trust = {"Principal": {"Federated": arn}, "Action": "sts:AssumeRoleWithWebIdentity", "Condition": condition}
    role = site.role("own-provider", document(trust))
    for kind in KINDS:
        params = {"RoleArn": role, "WebIdentityToken": world.tokens[kind], "RoleSessionName": "ann"}
        answer = site.send("POST", body=form("AssumeRoleWithWebIdentity", params))
        denied(world, kind, answer, world.tokens[kind])
    site.iam("DeleteOpenIDConnectProvider", OpenIDConnectProviderArn=arn)


def encrypted(world: World) -> dict[str, str]:
    """The access token, encrypted to a published key of the server: a JWE where a JWS is expected."""
    text = world.tokens["access token"]
    ec, rsa = (ECKey.import_key(bare(world.keys["ES256"])), RSAKey.import_key(bare(world.keys["RS256"])))
    payload = json.dumps(part(text, 1)).encode()
    found = {}
    for name, key, alg in (("ECDH", ec, "ECDH-ES"), ("RSA", rsa, "RSA-OAEP")):
        head = {"alg": alg, "enc": "A128GCM", "typ": "at+jwt"}
        found[f"JWE {name} of the claims"] = jwe.encrypt_compact(head, payload, key)
        found[f"JWE {name} of the token"] = jwe.encrypt_compact({**head, "cty": "JWT"}, text.encode(), key)
    return found


def bare(jwk: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in jwk.items() if name not in ("alg", "use", "key_ops")}


def unsigned(world: World) -> dict[str, str]:
    """The access token without a signature, with a MAC by what is public, and of a type that it has not."""
    text = world.tokens["access token"]
    head, claims = part(text, 0), text.split(".")[1]
    found = {}
    for alg in ("none", "None", "NONE", ""):
        found[f"alg {alg!r}"] = f"{b64(json.dumps({**head, 'alg': alg}).encode())}.{claims}."
        found[f"alg {alg!r} with a signature"] = f"{b64(json.dumps({**head, 'alg': alg}).encode())}.{claims}.AAAA"
    jwk = world.keys["ES256"]
    pem = ECKey.import_key(bare(jwk)).as_pem(private=False)
    secrets = {"PEM": pem, "JWK": json.dumps(jwk).encode(), "x": jwk["x"].encode(), "kid": jwk["kid"].encode()}
    for alg, digest in (("HS256", "sha256"), ("HS512", "sha512")):
        for name, secret in secrets.items():
            signed = f"{b64(json.dumps({**head, 'alg': alg}).encode())}.{claims}"
            found[f"{alg} by the {name}"] = f"{signed}.{b64(hmac.digest(secret, signed.encode(), digest))}"
    for change in (
        {"typ": "JWT"},
        {"typ": "dpop+jwt"},
        {"crit": ["exp"]},
        {"cty": "JWT"},
        {"zip": "DEF"},
        {"b64": False},
    ):
        rest = text.partition(".")[2]
        found[f"{change}"] = f"{b64(json.dumps({**head, **change}).encode())}.{rest}"
    flattened = {"protected": text.split(".")[0], "payload": claims, "signature": text.split(".")[2]}
    return {**found, "JSON serialization": json.dumps(flattened), "two tokens": f"{text}.{text}"}


@pytest.mark.parametrize("forge", [encrypted, unsigned])
def test_a170_encrypted_and_unsigned_tokens_are_refused(world: World, forge: Callable[[World], dict[str, str]]) -> None:
    places = world.places()
    for name, text in forge(world).items():
        for place in BELONGS["access token"] | {"jwt bearer", "client assertion", "dpop proof"}:
            denied(world, f"{name} as {place}", places[place](text), text)


def test_a170_record_and_log_hold_no_token(world: World) -> None:
    for kind in KINDS:
        world.places()["subject jwt"](world.tokens[kind])
    kept = b"\n".join(world.site.record_bytes()) + world.site.log.getvalue().encode()
    for text in world.tokens.values():
        assert text.rpartition(".")[2].encode() not in kept
        assert hashlib.sha256(text.encode()).hexdigest().encode() not in kept


# --- Audiences -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "audience",
    [
        [BASE, "https://evil.example"],
        ["https://evil.example"],
        [[BASE]],
        {BASE: True},
        f"{BASE} https://evil.example",
        f"{BASE}/",
        f"{BASE}/oauth2/token",
        BASE.upper(),
        "*",
        [],
        "",
        None,
    ],
)
def test_a171_client_assertion_whose_only_audience_is_not_the_issuer_is_refused(world: World, audience: Any) -> None:
    text = world.client.assertion(aud=audience)
    denied(world, str(audience), world.places()["client assertion"](text), text)


def test_a171_token_for_several_audiences_is_not_one_for_this_server_by_its_first_alone(world: World) -> None:
    """A token is for every audience in its list and for no other: not for a part of one, nor for one that is alike."""
    own = {"subject_token": world.tokens["access token"], "subject_token_type": ACCESS_TOKEN}
    pairs = [("grant_type", EXCHANGE), *own.items(), *world.client.credentials().items()]
    both = given(token(world.site, [*pairs, ("audience", CLOUD), ("audience", BASE)]))["access_token"]
    assert part(both, 1)["aud"] == [CLOUD, BASE]
    assert world.places()["userinfo"](both).status == 200
    only = given(world.client.token(grant=EXCHANGE, audience=CLOUD, **own))["access_token"]
    for place in ("subject access_token", "introspection", "userinfo", "authzen", "streams"):
        denied(world, place, world.places()[place](only), only)

"""Attacks on bound tokens: proofs that are replayed, altered or made for something else, and tokens without their key."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.attack.installation import ALPHA, EVERYTHING, ROOT, Installation, document
from tests.issuer import make_key, public_jwk
from tests.oauth import (
    EXCHANGE,
    ISSUER,
    PRESIGNED,
    REFRESH,
    authorization_server,
    bearer,
    given,
    post,
    presigned,
    refusal,
    verified,
)
from tests.oauth_client import Client, DpopKey, api, register, trusting
from tests.sign_in import CALLBACK
from tests.x509 import Authority, Holder

from daypass.domain.directory import ReplayEntry

GENEROUS = {"failures_per_second": 1_000_000, "failures_burst": 1_000_000}
QUESTION = {
    "subject": {"type": "user", "id": "ann"},
    "action": {"name": "s3:GetObject"},
    "resource": {"type": "arn", "id": "arn:aws:s3:::reports/a"},
}
PROXY = {"trusted_proxies": ["127.0.0.1/32"], "client_certificate_header": "Client-Cert"}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("site")


@pytest.fixture(scope="module")
def site(data: Path) -> Iterator[Installation]:
    with authorization_server(data, rates=GENEROUS, oauth={"registration": True}) as made:
        yield made


@pytest.fixture(scope="module")
def client(site: Installation) -> Client:
    made = register(site, audiences=[ISSUER])
    made.put(roles=[site.role("bound", trusting(made), policy=EVERYTHING)])
    return made


@pytest.fixture
def key(site: Installation, client: Client) -> DpopKey:
    """A key with a nonce of the server."""
    made = DpopKey(site)
    client.token(dpop=made)
    assert made.nonce
    return made


def asked(client: Client, proof: str) -> Any:
    return client.token((b"dpop", proof.encode("latin-1")), **client.credentials())


def test_a73_dpop_proof_is_good_once(site: Installation, client: Client, key: DpopKey) -> None:
    proof = key.proof()
    given(asked(client, proof))
    record = refusal(site, asked(client, proof), "invalid_dpop_proof")
    assert record["detail"]["private"]["reason"] == "replay"


def test_a73_dpop_proof_of_a_refused_request_is_used(site: Installation, client: Client, key: DpopKey) -> None:
    proof = key.proof()
    refusal(site, client.token((b"dpop", proof.encode()), scope="admin", **client.credentials()), "invalid_scope")
    refusal(site, asked(client, proof), "invalid_dpop_proof")


RESOURCES = (
    ("POST", "/oauth2/introspect", "token=x"),
    ("GET", "/oauth2/userinfo", None),
    ("POST", "/oauth2/register", {"redirect_uris": ["https://app.example/callback"]}),
    ("POST", "/access/v1/evaluation", QUESTION),
    ("POST", "/access/v1/search/action", QUESTION),
    ("GET", "/access/v1/requests/REQUEST", None),
    ("GET", "/ssf/streams", None),
)


@pytest.mark.parametrize(("method", "path", "body"), RESOURCES)
def test_a73_dpop_proof_is_good_once_at_every_resource_too(
    site: Installation, client: Client, key: DpopKey, method: str, path: str, body: Any
) -> None:
    path = path.replace("REQUEST", access_request(site) if "REQUEST" in path else "")
    text = given(client.token(dpop=key))["access_token"]
    data = b"" if body is None else body.encode() if isinstance(body, str) else json.dumps(body).encode()
    kind = b"application/json" if isinstance(body, dict) else b"application/x-www-form-urlencoded"
    headers = [(b"authorization", f"DPoP {text}".encode()), key.header(path, method, token=text)]
    headers += [(b"content-type", kind)] if data else []
    first, second = (site.send(method, headers, data, path=path.encode()) for _ in range(2))
    assert first.status in (200, 201), first.body
    assert second.status == 401, second.body
    (record,) = site.records(second.request_id)
    assert record["detail"]["private"]["reason"] == "replay"


def access_request(site: Installation) -> str:
    """The id of a request that waits."""
    gated = {"Bool": {"daypass:Approved": "true"}}
    statement = {"Principal": {"AWS": f"arn:aws:iam::{ALPHA}:root"}, "Action": "sts:AssumeRole", "Condition": gated}
    role = site.role("gated", document(statement))
    stages = [{"name": "lead", "approvers": {"principals": ["user/lead"]}}]
    rule = {"roles": ["role/gated"], "requesters": {"principals": ["user/ann"]}, "stages": stages}
    for name in ("lead", "ann"):
        _, key = site.user(name, policy=EVERYTHING)
    assert api(site, "PUT", "/approval-rules/gated", {"document": json.dumps(rule)}).status == 200
    asked_for = api(site, "POST", "/access-requests", {"roles": [role], "reason": "a good reason"}, key)
    assert asked_for.status == 201, asked_for.body
    return str(json.loads(asked_for.body)["id"])


def test_a73_dpop_proof_of_a_revocation_of_another_session_is_good_once(
    site: Installation, client: Client, key: DpopKey
) -> None:
    own, first, second = (given(client.token(dpop=key))["access_token"] for _ in range(3))
    headers = (b"authorization", f"DPoP {own}".encode()), key.header("/oauth2/revoke", token=own)
    assert post(site, "/oauth2/revoke", {"token": first}, *headers).status == 200
    refusal(site, post(site, "/oauth2/revoke", {"token": second}, *headers), "invalid_dpop_proof", 401)
    assert given(post(site, "/oauth2/introspect", {"token": second, **client.credentials()}))["active"] is True


@pytest.mark.parametrize("proven", [False, True])
def test_a641_refusals_that_store_proofs_are_charged_as_writes_unless_a_client_has_authenticated(
    tmp_path: Path, *, proven: bool
) -> None:
    rates = {"failures_per_second": 1, "failures_burst": 200}
    with authorization_server(tmp_path, rates=rates) as site:
        client, key = (
            register(site, grant_types=["refresh_token", "authorization_code"], redirect_uris=[CALLBACK]),
            DpopKey(site),
        )
        public = {"client_id": "DPCL0000000000DAYPASS"}
        statuses = []
        for _ in range(20):
            own = client.credentials() if proven else public
            statuses.append(client.token(grant="refresh_token", dpop=key, refresh_token="x", **own).status)
        stored = site.run(site.runtime.env.directory.read(lambda tx: tx.count(ReplayEntry), account=""))
        assert statuses.count(429) == (0 if proven else 10)
        assert stored == (2 * 20 - 1 if proven else 9)


def test_a73_dpop_proof_is_remembered_by_another_process_and_after_a_restart(tmp_path: Path) -> None:
    with authorization_server(tmp_path, rates=GENEROUS) as first:
        client = register(first, audiences=[ISSUER])
        client.put(roles=[first.role("bound", trusting(client))])
        key = DpopKey(first)
        client.token(dpop=key)
        proof, credentials = key.proof(), client.credentials()
        given(client.token((b"dpop", proof.encode()), **credentials))
        clock = first.wall
    with authorization_server(tmp_path, clock, rates=GENEROUS) as second:
        again = Client(second, client.id, client.arn, client.key)
        refusal(second, asked(again, proof), "invalid_dpop_proof")
        fresh = DpopKey(second, nonce=key.nonce, key=key.key)
        given(asked(again, fresh.proof()))  # the nonce of the other process is accepted
        refusal(second, again.token((b"dpop", fresh.proof().encode()), **credentials), "invalid_client", 401)


@pytest.mark.parametrize(
    "changes",
    [
        {"htm": "GET"},
        {"htm": "post"},
        {"htm": None},
        {"htu": ISSUER},
        {"htu": f"{ISSUER}/oauth2/token/"},
        {"htu": f"{ISSUER}/oauth2/introspect"},
        {"htu": f"{ISSUER}/oauth2/token?x=1"},
        {"htu": f"{ISSUER}/oauth2/token#"},
        {"htu": f"{ISSUER}:443/oauth2/token"},
        {"htu": f"{ISSUER}/oauth2/../oauth2/token"},
        {"htu": f"{ISSUER}/oauth2/%74oken"},
        {"htu": "https://evil.example/oauth2/token"},
        {"htu": "http://daypass.test/oauth2/token"},
        {"htu": ["https://daypass.test/oauth2/token"]},
        {"exp": 1},
        {"exp": 0},
        {"exp": "4000000000"},
        {"exp": 1.5e9},
        {"nbf": 4_000_000_000},
        {"nbf": True},
        {"iat": 1},
        {"iat": 4_000_000_000},
        {"iat": "1800000000"},
        {"iat": True},
        {"iat": None},
        {"jti": None},
        {"jti": ""},
        {"jti": 7},
        {"jti": "x" * 2000},
        {"ath": "x"},
        {"header": {"typ": "JWT"}},
        {"header": {"typ": "at+jwt"}},
        {"header": {"typ": None}},
        {"header": {"jwk": None}},
        {"header": {"jwk": "x"}},
        {"header": {"jwk": public_jwk(make_key("ES256"))}},
        {"header": {"jwk": {"kty": "oct", "k": "AAAA"}}},
        {"header": {"jwk": {**public_jwk(make_key("ES256")), "d": "AAAA"}}},
        {"header": {"alg": "none"}},
        {"header": {"alg": "HS256"}},
        {"header": {"jku": "https://evil.example"}},
        {"header": {"x5c": ["x"]}},
        {"header": {"crit": ["b64"], "b64": False}},
    ],
)
def test_a74_altered_dpop_proof_is_refused(
    site: Installation, client: Client, key: DpopKey, changes: dict[str, Any]
) -> None:
    refusal(site, asked(client, key.proof(**changes)), "invalid_dpop_proof")


@pytest.mark.parametrize("text", ["", "x", "a.b.c", "é", "." * 5000, "eyJ9.e30.AA"])
def test_a74_text_that_is_not_a_proof_is_refused(site: Installation, client: Client, text: str) -> None:
    refusal(site, asked(client, text), "invalid_dpop_proof")


def test_a74_two_proofs_are_refused(site: Installation, client: Client, key: DpopKey) -> None:
    answer = client.token(key.header(), key.header(), **client.credentials())
    refusal(site, answer, "invalid_dpop_proof")


def test_a74_nonce_that_is_old_or_not_of_this_server_is_refused(
    site: Installation, client: Client, key: DpopKey
) -> None:
    for nonce in ("x", "", key.nonce[:-2] + "AA", "A" * 200, None):
        refusal(site, asked(client, key.proof(nonce=nonce)), "use_dpop_nonce")
    site.wall.time += 301_000
    old = asked(client, key.proof())
    refusal(site, old, "use_dpop_nonce")
    given(asked(client, key.proof(nonce=old.headers["dpop-nonce"])))


def test_a74_encoded_authorization_message_is_not_a_nonce(site: Installation, client: Client, key: DpopKey) -> None:
    _, user = site.user("is-denied")
    message = json.loads(api(site, "GET", "/clients", key=user).body)["error"]["encoded_authorization_message"]
    refusal(site, asked(client, key.proof(nonce=message)), "use_dpop_nonce")


def test_a75_bound_token_as_a_bearer_token_is_refused(site: Installation, client: Client, key: DpopKey) -> None:
    text = given(client.token(dpop=key))["access_token"]
    own = (b"authorization", f"DPoP {text}".encode())
    stranger = DpopKey(site, nonce=key.nonce)
    for headers, code in (
        ((bearer(text),), "invalid_token"),
        ((bearer(text), key.header("/oauth2/introspect", token=text)), "invalid_token"),
        ((own,), "invalid_dpop_proof"),
        ((own, stranger.header("/oauth2/introspect", token=text)), "invalid_token"),
        ((own, key.header("/oauth2/introspect", token="other")), "invalid_dpop_proof"),
        ((own, key.header("/oauth2/introspect")), "invalid_dpop_proof"),
    ):
        answer = post(site, "/oauth2/introspect", {"token": text}, *headers)
        refusal(site, answer, code, 401)
        assert answer.headers["www-authenticate"].startswith(("Bearer", "DPoP"))
    unbound = register(site, audiences=[ISSUER], fapi_exceptions=["bearer_tokens"])
    unbound.put(roles=[site.role("unbound", trusting(unbound))])
    plain = given(unbound.token())["access_token"]
    headers = (b"authorization", f"DPoP {plain}".encode()), key.header("/oauth2/introspect", token=plain)
    refusal(site, post(site, "/oauth2/introspect", {"token": plain}, *headers), "invalid_token", 401)


@pytest.mark.parametrize("path", ["/oauth2/userinfo", "/access/v1/evaluation", "/ssf/streams", "/events/revocations"])
def test_request_without_a_proof_or_its_nonce_gets_the_challenge_and_the_nonce_of_dpop(
    site: Installation, client: Client, key: DpopKey, path: str
) -> None:
    text = given(client.token(dpop=key))["access_token"]
    own, method = (b"authorization", f"DPoP {text}".encode()), "POST" if "evaluation" in path else "GET"
    for headers, code in (
        ([own], "invalid_dpop_proof"),
        ([own, key.header(path, method, text, nonce=None)], "use_dpop_nonce"),
    ):
        answer = site.send(method, headers, path=path.encode())
        challenge = answer.headers["www-authenticate"]
        assert answer.status == 401
        assert challenge.startswith(f'DPoP error="{code}"')
        assert 'algs="PS256 ES256 EdDSA Ed25519"' in challenge
        assert answer.headers["dpop-nonce"]
        [record] = site.records(answer.request_id)
        assert record["error"] == code


# --- Certificates ----------------------------------------------------------------------------------------------------


Proxied = tuple[Installation, Client, Holder]


@pytest.fixture(scope="module")
def proxied(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxied]:
    """A server behind a trusted proxy, and a client with a self-signed certificate."""
    with authorization_server(tmp_path_factory.mktemp("proxied"), rates=GENEROUS, server=PROXY) as site:
        own = Authority.make().host("CN=app")
        made = register(
            site,
            token_endpoint_auth_method="self_signed_tls_client_auth",
            tls_client_certificates=[thumbprint(own)],
            audiences=[ISSUER],
        )
        made.put(roles=[site.role("self-signed", trusting(made))])
        yield site, made, own


def client_cert(holder: Holder) -> tuple[bytes, bytes]:
    """RFC 9440."""
    return b"client-cert", b":" + holder.base64.encode() + b":"


def thumbprint(holder: Holder) -> str:
    digest = hashlib.sha256(holder.der).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def test_a76_certificate_header_of_anybody_else_is_not_believed(site: Installation) -> None:
    own = Authority.make().host("CN=app")
    made = register(
        site, token_endpoint_auth_method="self_signed_tls_client_auth", tls_client_certificates=[thumbprint(own)]
    )
    answer = made.token(client_cert(own), client_id=made.id)
    record = refusal(site, answer, "invalid_client", 401)
    assert record["detail"]["dropped_headers"] == ["client-cert"]


def test_a75_token_of_a_certificate_behind_a_proxy_is_accepted_with_it_by_every_endpoint(proxied: Proxied) -> None:
    """The session has no permission: it is refused with 403 where it is authenticated, and with 401 otherwise."""
    site, client, own = proxied
    text = given(client.token(client_cert(own), client_id=client.id))["access_token"]
    for method, path in (("POST", b"/access/v1/evaluation"), ("GET", b"/ssf/streams"), ("GET", b"/events/revocations")):
        body = json.dumps(QUESTION).encode() if method == "POST" else b""
        headers = [bearer(text), (b"content-type", b"application/json")]
        assert site.send(method, headers, body, path=path).status == 401, path
        assert site.send(method, [*headers, client_cert(own)], body, path=path).status == 403, path


def test_a76_certificate_authenticates_and_binds_behind_a_trusted_proxy(tmp_path: Path) -> None:
    with authorization_server(tmp_path, rates=GENEROUS, server=PROXY) as site:
        ours, theirs = Authority.make(), Authority.make()
        anchor = trust_anchor(site, ours)
        good, same_name = ours.host("CN=app"), theirs.host("CN=app")
        made = register(
            site,
            token_endpoint_auth_method="tls_client_auth",
            tls_client_auth_subject_dn=good.certificate.subject.rfc4514_string(),
            trust_anchor=anchor,
            audiences=[ISSUER],
        )
        made.put(roles=[site.role("by-certificate", trusting(made))])
        text = given(made.token(client_cert(good), client_id=made.id))["access_token"]
        refusal(site, made.token(client_cert(same_name), client_id=made.id), "invalid_client", 401)
        refusal(site, made.token(client_cert(ours.host("CN=other")), client_id=made.id), "invalid_client", 401)
        refusal(site, made.token(client_id=made.id), "invalid_client", 401)
        path = "/oauth2/introspect"
        seen = given(post(site, path, {"token": text}, bearer(text), client_cert(good)))
        assert seen["cnf"] == {"x5t#S256": thumbprint(good)}
        refusal(site, post(site, path, {"token": text}, bearer(text)), "invalid_token", 401)
        again = ours.host("CN=app")  # the same name, another key
        refusal(site, post(site, path, {"token": text}, bearer(text), client_cert(again)), "invalid_token", 401)
        twice = (client_cert(good), client_cert(good))
        refusal(site, made.token(*twice, client_id=made.id), "invalid_request")


@pytest.mark.parametrize(
    "smuggled",
    [
        [(b"client_cert", b"%s")],
        [(b"client-cert", b"")],
        [(b"client-cert", b"%s, %s")],
        [(b"client-cert", b"%s;x=1")],
        [(b"client-cert", b"%s"), (b"client-cert", b"%s")],
        [(b"client-cert", b"%s"), (b"client-cert", b"")],
        [(b"client-cert-chain", b"%s")],
        [(b"x-forwarded-client-cert", b"Cert=%s")],
        [(b"ssl-client-cert", b"%s")],
        [(b"x-client-cert", b"%s")],
        [(b"x-ssl-client-verify", b"SUCCESS"), (b"x-ssl-client-s-dn", b"CN=app")],
        [(b"forwarded", b"for=127.0.0.1;cert=%s")],
    ],
)
def test_a76_certificate_that_is_smuggled_through_the_proxy_is_not_believed(
    proxied: Proxied, smuggled: list[tuple[bytes, bytes]]
) -> None:
    """The proxy removes `Client-Cert` from what clients send, and sets it only after it has seen a certificate."""
    site, client, own = proxied
    given(client.token(client_cert(own), client_id=client.id))
    value = client_cert(own)[1]
    headers = [(name, text.replace(b"%s", value)) for name, text in smuggled]
    answer = client.token(*headers, client_id=client.id)
    assert (answer.status, json.loads(answer.body)["error"]) in ((401, "invalid_client"), (400, "invalid_request"))
    (record,) = site.records(answer.request_id)
    assert record["error"]
    assert own.base64[-40:] not in json.dumps(record)


def trust_anchor(site: Installation, authority: Authority) -> str:
    body = {
        "name": "corp",
        "enabled": True,
        "source": {"sourceType": "CERTIFICATE_BUNDLE", "sourceData": {"x509CertificateData": authority.pem}},
    }
    data = json.dumps(body).encode()
    headers = site.signed(ROOT, data, "rolesanywhere", path="/trustanchors", extra={"content-type": "application/json"})
    answer = site.send("POST", headers, data, path=b"/trustanchors")
    assert answer.status == 201, answer.body
    return str(json.loads(answer.body)["trustAnchor"]["trustAnchorArn"])


def test_a75_refresh_token_of_a_public_client_is_bound_to_its_certificate(proxied: Proxied) -> None:
    """Nothing else protects it when it is stolen (RFC 8705, 4)."""
    site, _, own = proxied
    public = register(
        site,
        token_endpoint_auth_method="none",
        grant_types=[EXCHANGE, "refresh_token"],
        tls_client_certificate_bound_access_tokens=True,
    )
    trust = document({"Principal": {"AWS": f"arn:aws:iam::{ALPHA}:root"}, "Action": "sts:AssumeRole"})
    _, user = site.user("holder", policy=EVERYTHING)
    session = site.assume(user, site.role("held", trust)).key
    subject = {"subject_token": presigned(site, session), "subject_token_type": PRESIGNED}
    asked = {"grant": EXCHANGE, "client_id": public.id, "requested_token_type": REFRESH, **subject}
    token = given(public.token(client_cert(own), **asked))["access_token"]
    renewing = {"grant": "refresh_token", "client_id": public.id, "refresh_token": token}
    thief = Authority.make().host("CN=app")
    refusal(site, public.token(client_cert(thief), **renewing), "invalid_grant")
    refusal(site, public.token(**renewing), "invalid_client", 401)
    again = given(public.token(client_cert(own), **renewing))
    assert verified(site, again["access_token"])["cnf"] == {"x5t#S256": thumbprint(own)}

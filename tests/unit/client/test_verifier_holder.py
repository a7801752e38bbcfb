"""Bound tokens at a service: what their sender must prove (attack A75, at services that verify tokens themselves)."""

from __future__ import annotations

import asyncio
import hashlib
import json
from typing import Any

import pytest
from tests.issuer import b64, compact, make_key, public_jwk
from tests.unit.client.test_verifier import AUDIENCE, NOW, World

from daypass.client.verifier import InvalidToken, Sent, keys
from daypass.client.verifier.middleware import AsgiMiddleware, WsgiMiddleware

PATH = "/orders/7"
CERTIFICATE = b"der of a certificate"


class Key:
    """A key of a client, and its proofs for GET of PATH."""

    def __init__(self, alg: str = "ES256") -> None:
        self.alg, self.key = alg, make_key(alg)
        members = json.dumps(public_jwk(self.key), sort_keys=True, separators=(",", ":"))
        self.cnf = {"jkt": b64(hashlib.sha256(members.encode()).digest())}

    def proof(self, token: str, header: dict[str, Any] | None = None, **changes: Any) -> str:
        head = {"typ": "dpop+jwt", "alg": self.alg, "jwk": public_jwk(self.key), **(header or {})}
        ath = b64(hashlib.sha256(token.encode()).digest())
        body = {"jti": "one", "htm": "GET", "htu": AUDIENCE + PATH, "iat": NOW, "ath": ath, **changes}
        return compact(head, {name: value for name, value in body.items() if value is not None}, self.key, self.alg)


@pytest.fixture
def world() -> World:
    made = World()
    made.beat()
    return made


@pytest.fixture(scope="module")
def key() -> Key:
    return Key()


def sent(*proofs: str, dpop: bool = True, path: str = PATH) -> Sent:
    return Sent(dpop, proofs, "GET", path.encode())


@pytest.mark.parametrize("alg", ["ES256", "EdDSA", "RS256", "PS256"])
def test_verify_of_a_bound_token_with_a_proof_of_its_key_is_accepted_once(world: World, alg: str) -> None:
    own = Key(alg)
    token = world.token(cnf=own.cnf)
    proof = own.proof(token)
    assert world.verifier.verify(token, sent(proof)).claims["cnf"] == own.cnf
    with pytest.raises(InvalidToken, match="used before") as caught:
        world.verifier.verify(token, sent(proof))
    assert caught.value.proof
    world.verifier.verify(token, sent(own.proof(token, jti="two", htu=f"{AUDIENCE}:443{PATH}?a=b#c")))


def test_a75_verify_of_a_bound_token_without_its_key_is_refused(world: World, key: Key) -> None:
    token, other = world.token(cnf=key.cnf), Key()
    for arrival in (
        Sent(),
        sent(),
        sent(dpop=False),
        sent(key.proof(token), dpop=False),
        sent("x", "y"),
        sent("x.y.z"),
    ):
        with pytest.raises(InvalidToken):
            world.verifier.verify(token, arrival)
    with pytest.raises(InvalidToken):
        world.verifier.verify(token)
    with pytest.raises(InvalidToken, match="another key"):
        world.verifier.verify(token, sent(other.proof(token)))
    with pytest.raises(InvalidToken, match="signature"):
        forged = key.proof(token).rsplit(".", 1)[0]
        world.verifier.verify(token, sent(f"{forged}.{other.proof(token).rsplit('.', 1)[1]}"))
    world.verifier.verify(token, sent(key.proof(token)))


@pytest.mark.parametrize(
    "changes",
    [
        {"htm": "POST"},
        {"htm": None},
        {"htu": "https://evil.test/orders/7"},
        {"htu": "https://api.test@evil.test/orders/7"},
        {"htu": "http://api.test/orders/7"},
        {"htu": "https://api.test:444/orders/7"},
        {"htu": "https://api.test/orders/8"},
        {"htu": "/orders/7"},
        {"htu": "https://[api.test/orders/7"},
        {"htu": 7},
        {"htu": None},
        {"ath": "x"},
        {"ath": None},
        {"iat": NOW - 61},
        {"iat": NOW + 61},
        {"iat": str(NOW)},
        {"iat": True},
        {"iat": 10**400},
        {"iat": None},
        {"jti": ""},
        {"jti": 7},
        {"jti": "x" * 513},
        {"jti": None},
    ],
)
def test_a74_verify_with_a_proof_of_another_request_is_refused(world: World, key: Key, changes: dict[str, Any]) -> None:
    token = world.token(cnf=key.cnf)
    with pytest.raises(InvalidToken) as caught:
        world.verifier.verify(token, sent(key.proof(token, **changes)))
    assert caught.value.proof


@pytest.mark.parametrize(
    "header",
    [
        {"typ": "jwt"},
        {"typ": None},
        {"alg": "none"},
        {"alg": "HS256"},
        {"alg": "RS256"},
        {"jwk": None},
        {"jwk": "x"},
        {"jwk": {"kty": "oct", "k": "AAAA"}},
        {"jwk": {"kty": "EC", "crv": "P-256", "x": "AAAA", "y": 7}},
        {"crit": ["x"]},
    ],
)
def test_a74_verify_with_a_proof_of_another_form_is_refused(world: World, key: Key, header: dict[str, Any]) -> None:
    token = world.token(cnf=key.cnf)
    with pytest.raises(InvalidToken):
        world.verifier.verify(token, sent(key.proof(token, header)))
    private = {**public_jwk(key.key), "d": "AAAA"}
    with pytest.raises(InvalidToken):
        world.verifier.verify(token, sent(key.proof(token, {"jwk": private})))


def test_a75_verify_of_a_token_bound_to_a_certificate_needs_that_certificate(world: World, key: Key) -> None:
    token = world.token(cnf={"x5t#S256": b64(hashlib.sha256(CERTIFICATE).digest())})
    world.verifier.verify(token, Sent(certificate=CERTIFICATE))
    for arrival in (
        Sent(),
        Sent(certificate=b"another"),
        Sent(dpop=True, certificate=CERTIFICATE),
        sent(key.proof(token)),
    ):
        with pytest.raises(InvalidToken):
            world.verifier.verify(token, arrival)


@pytest.mark.parametrize("cnf", [{}, {"kid": "x"}, {"jkt": 7}, "x", [], {"jkt": "x", "x5t#S256": "y"}])
def test_verify_of_a_token_that_is_bound_in_another_way_is_refused(world: World, cnf: Any) -> None:
    with pytest.raises(InvalidToken):
        world.verifier.verify(world.token(cnf=cnf), Sent(certificate=CERTIFICATE))


def test_verify_of_a_token_without_a_key_that_came_with_the_scheme_dpop_is_refused(world: World, key: Key) -> None:
    token = world.token()
    with pytest.raises(InvalidToken, match="no key"):
        world.verifier.verify(token, sent(key.proof(token)))


def test_verify_of_a_proof_without_a_signature_library_is_refused(
    world: World, key: Key, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keys, "AVAILABLE", False)
    world.introspection = {"active": True, **world.claims(cnf=key.cnf)}
    token = world.token(cnf=key.cnf)
    with pytest.raises(InvalidToken, match="cannot be verified"):
        world.verifier.verify(token, sent(key.proof(token)))
    with pytest.raises(InvalidToken):
        world.verifier.verify(token)


# --- Middleware


def by_wsgi(world: World, **environ: str) -> tuple[int, dict[str, str]]:
    def app(_: Any, start_response: Any) -> list[bytes]:
        start_response("200 OK", [])
        return [b"ok"]

    started: list[Any] = []
    whole = {"REQUEST_METHOD": "GET", "SCRIPT_NAME": "/orders", "PATH_INFO": "/7", **environ}
    WsgiMiddleware(app, world.verifier)(whole, lambda *given: started.append(given))
    return int(started[0][0][:3]), dict(started[0][1])


def by_asgi(world: World, *headers: tuple[bytes, bytes]) -> tuple[int, dict[str, str]]:
    answers: list[Any] = []

    async def app(_: Any, __: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})

    async def send(message: Any) -> None:
        answers.append(message)

    scope = {"type": "http", "method": "GET", "path": PATH, "headers": list(headers)}
    asyncio.run(AsgiMiddleware(app, world.verifier)(scope, None, send))
    return answers[0]["status"], {name.decode(): value.decode() for name, value in answers[0]["headers"]}


def test_a75_middleware_accepts_a_bound_token_with_its_proof_alone(world: World, key: Key) -> None:
    token = world.token(cnf=key.cnf)
    assert by_wsgi(world, HTTP_AUTHORIZATION=f"DPoP {token}", HTTP_DPOP=key.proof(token))[0] == 200
    proof = key.proof(token, jti="two").encode()
    own = (b"authorization", f"DPoP {token}".encode())
    assert by_asgi(world, own, (b"dpop", proof))[0] == 200
    for status, headers in (
        by_wsgi(world, HTTP_AUTHORIZATION=f"DPoP {token}", HTTP_DPOP=key.proof(token)),
        by_wsgi(world, HTTP_AUTHORIZATION=f"DPoP {token}"),
        by_asgi(world, own, (b"dpop", proof)),
        by_asgi(
            world, own, (b"dpop", key.proof(token, jti="3").encode()), (b"dpop", key.proof(token, jti="4").encode())
        ),
    ):
        assert (status, headers["www-authenticate"].partition(" ")[0]) == (401, "DPoP")
        assert 'error="invalid_dpop_proof"' in headers["www-authenticate"]
    status, headers = by_wsgi(world, HTTP_AUTHORIZATION=f"Bearer {token}")
    challenge = (
        'Bearer error="invalid_token", error_description="it is bound to a key, and came without the scheme DPoP"'
    )
    assert (status, headers["www-authenticate"]) == (401, challenge)


def test_middleware_with_a_certificate_of_the_connection_accepts_the_token_that_is_bound_to_it(world: World) -> None:
    token = world.token(cnf={"x5t#S256": b64(hashlib.sha256(CERTIFICATE).digest())})
    started: list[Any] = []
    environ = {"REQUEST_METHOD": "GET", "PATH_INFO": PATH, "HTTP_AUTHORIZATION": f"Bearer {token}", "cert": CERTIFICATE}
    for certificate in (lambda given: given["cert"], lambda _: b""):
        wrapped = WsgiMiddleware(lambda _, start: start("200 OK", []) or [], world.verifier, certificate=certificate)
        wrapped(dict(environ), lambda *given: started.append(given[0]))
    assert [text[:3] for text in started] == ["200", "401"]

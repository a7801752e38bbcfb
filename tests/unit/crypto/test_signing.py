"""Access tokens: what is signed verifies with the published keys alone, and with nothing else."""

from __future__ import annotations

import json

import jwt
import pytest
from cryptography.hazmat.primitives.serialization import load_der_private_key
from tests.issuer import b64, compact, make_key
from tests.unit.crypto.rings import KEK, NOW, FixedClock, Shelf

from daypass.crypto.keys import DAY, KeyRings, Ring, due
from daypass.crypto.signing import RINGS, RingSigner
from daypass.domain.errors import DaypassError, ErrorKind
from daypass.domain.jws import JoseError

CLAIMS = {"iss": "https://daypass.test", "sub": "AROA:x", "aud": "api", "tags": {"ä": ["\N{SNOWMAN}"]}}


def signer(clock: FixedClock | None = None, shelf: Shelf | None = None) -> RingSigner:
    shelf = shelf or Shelf()
    if not shelf.keys:
        shelf.keys += due([], KEK, NOW, 30 * DAY, tuple(Ring))
    rings = KeyRings(shelf.fetch, KEK, reload_pause=0, rings=tuple(Ring))
    rings.adopt(shelf.keys)
    return RingSigner(rings, clock or FixedClock(), tuple(RINGS))


@pytest.fixture(scope="module")
def shelf() -> Shelf:
    made = Shelf()
    made.keys += due([], KEK, NOW, 30 * DAY, tuple(Ring))
    return made


@pytest.mark.parametrize("algorithm", RINGS)
async def test_sign_makes_a_token_that_another_library_verifies_from_the_jwks(shelf: Shelf, algorithm: str) -> None:
    made = signer(shelf=shelf)
    token = made.sign(CLAIMS, algorithm)
    keys = jwt.PyJWKSet.from_json(made.jwks().decode())
    header = jwt.get_unverified_header(token)
    assert (header["typ"], header["alg"]) == ("at+jwt", algorithm)
    assert jwt.decode(token, keys[header["kid"]], algorithms=[algorithm], audience="api") == CLAIMS
    assert await made.verify(token) == CLAIMS


async def test_verify_refuses_what_no_key_of_ours_signed(shelf: Shelf) -> None:
    made = signer(shelf=shelf)
    token = made.sign(CLAIMS, "ES256")
    head, body, signature = token.split(".")
    kid = jwt.get_unverified_header(token)["kid"]
    stranger = make_key("ES256")
    forged = [
        f"{head}.{b64(json.dumps({**CLAIMS, 'sub': 'root'}).encode())}.{signature}",
        compact({"typ": "at+jwt", "alg": "ES256", "kid": kid}, CLAIMS, stranger, "ES256"),
        compact({"typ": "at+jwt", "alg": "ES256", "kid": "0" * 16}, CLAIMS, stranger, "ES256"),
        compact({"typ": "at+jwt", "alg": "ES256", "kid": "../keys"}, CLAIMS, stranger, "ES256"),
        compact({"typ": "at+jwt", "alg": "ES256"}, CLAIMS, stranger, "ES256"),
        compact({"typ": "at+jwt", "alg": "ES384", "kid": kid}, CLAIMS, make_key("ES384"), "ES384"),
        compact({"typ": "at+jwt", "alg": "RS256", "kid": kid}, CLAIMS, make_key("RS256"), "RS256"),
        f"{b64(json.dumps({'typ': 'at+jwt', 'alg': 'none', 'kid': kid}).encode())}.{body}.",
        token[:-4],
        f"{head}.{body}.{b64(bytes(64))}",
        f"{head}.{body}.{b64(bytes(70))}",
        "",
    ]
    for text in forged:
        with pytest.raises(JoseError):
            await made.verify(text)


@pytest.mark.parametrize("typ", ["JWT", "logout+jwt", "dpop+jwt", "id_token", ""])
async def test_a25_verify_refuses_a_token_of_another_type_even_with_our_own_signature(shelf: Shelf, typ: str) -> None:
    made = signer(shelf=shelf)
    ours = made._rings.signing(Ring.SIGNING, NOW)
    key = load_der_private_key(ours.material, None)
    header = {"alg": "ES256", "kid": ours.id, **({"typ": typ} if typ else {})}
    with pytest.raises(JoseError, match="not an access token"):
        await made.verify(compact(header, CLAIMS, key, "ES256"))


async def test_jwks_holds_the_next_key_a_day_before_it_signs_and_the_last_one_as_long_as_it_verifies() -> None:
    shelf, clock = Shelf(), FixedClock()
    rings = shelf.rings()
    made = RingSigner(rings, clock, ("ES256",))
    published: dict[str, int] = {}  # kid → first seen in the JWKS
    tokens: list[tuple[str, int]] = []
    for hour in range(0, 24 * 90, 6):
        clock.time = NOW + hour * 3_600_000
        await rings.maintain(shelf.insert, clock.time, 30 * DAY)
        kids = {key["kid"] for key in json.loads(made.jwks())["keys"]}
        for kid in kids:
            published.setdefault(kid, clock.time)
        token = made.sign(CLAIMS, "ES256")
        used = jwt.get_unverified_header(token)["kid"]
        assert used in kids
        if len(tokens) > 4 and used != jwt.get_unverified_header(tokens[-1][0])["kid"]:
            assert clock.time - published[used] >= DAY
        tokens.append((token, clock.time))
        for older, at in tokens[-7:]:  # 36 hours: the longest session
            assert clock.time - at <= 36 * 3_600_000
            assert jwt.get_unverified_header(older)["kid"] in kids
    assert len(published) >= 6  # of both rings that every installation has


async def test_verify_remembers_a_token_only_as_long_as_its_key_verifies() -> None:
    clock, shelf = FixedClock(), Shelf().fill()
    made = signer(clock, shelf)
    token = made.sign(CLAIMS, "ES256")
    assert await made.verify(token) is await made.verify(token)
    for changed in (f"{token}\n", token[:-1], f"{token[:-4]}AAAA", token.replace(".", "..", 1)):
        with pytest.raises(JoseError):
            await made.verify(changed)
    clock.time = max(key.verify_until for key in shelf.keys if key.ring == Ring.SIGNING)
    with pytest.raises(JoseError):
        await made.verify(token)


async def test_verify_remembers_so_many_tokens_and_no_more(shelf: Shelf) -> None:
    rings = KeyRings(shelf.fetch, KEK, reload_pause=0)
    rings.adopt(shelf.keys)
    made = RingSigner(rings, FixedClock(), ("ES256",), cache=3)
    for number in range(6):
        assert (await made.verify(made.sign({"n": number}, "ES256")))["n"] == number
    assert len(made._verified) == 3


def test_jwks_never_holds_a_private_member(shelf: Shelf) -> None:
    for key in json.loads(signer(shelf=shelf).jwks())["keys"]:
        assert not key.keys() & {"d", "p", "q", "dp", "dq", "qi", "k"}
        assert key["use"] == "sig"


def test_sign_without_a_usable_key_is_unavailable() -> None:
    clock = FixedClock(NOW + 400 * DAY)
    made = signer(clock)
    for sign in (made.sign, made.unsigned):  # before the session of the token is recorded
        with pytest.raises(DaypassError) as caught:
            sign(CLAIMS, "ES256")
        assert caught.value.kind is ErrorKind.UNAVAILABLE


async def test_unsigned_has_the_claims_and_the_key_of_its_time(shelf: Shelf) -> None:
    clock, claims = FixedClock(), {**CLAIMS}
    made = signer(clock, shelf)
    sign = made.unsigned(claims, "ES256")
    with pytest.raises(UnicodeEncodeError):
        made.unsigned({"sub": "\ud800"}, "ES256")
    claims["sub"] = "another"
    clock.time += 40 * DAY
    text = sign()
    clock.time -= 40 * DAY
    assert await made.verify(text) == CLAIMS


def test_rings_of_rs256_and_es384_are_made_only_where_they_are_asked_for() -> None:
    assert {key.ring for key in due([], KEK, NOW, DAY)} == set(Ring) - {Ring.SIGNING_RS256, Ring.SIGNING_ES384}

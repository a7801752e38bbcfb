"""Sealed values open for their owner, and for nobody else."""

from __future__ import annotations

import base64
import hmac
import os

import pytest
from msgspec.structs import replace
from tests.unit.crypto.rings import NOW, FixedClock, Shelf, role_session, sealer

from daypass.crypto.keys import DAY, Ring
from daypass.crypto.seal import Sealer
from daypass.domain.errors import DaypassError, ErrorKind

AKID = "ASIAABCDEFGHIJKLMNOP"


async def test_open_gives_the_claims_back() -> None:
    made = sealer()
    claims = role_session(made)
    assert await made.open(made.seal(claims), AKID) == claims


async def test_open_by_another_process_with_the_keys_needs_no_database() -> None:
    shelf = Shelf().fill()
    claims = role_session(sealer(shelf))
    token = sealer(shelf).seal(claims)
    assert await sealer(shelf).open(token, AKID) == claims
    assert shelf.reads == 0


async def test_seal_has_version_key_id_and_salt_in_clear_and_nothing_else() -> None:
    shelf = Shelf().fill()
    made = sealer(shelf)
    claims = role_session(made)
    one, two = (base64.b64decode(made.seal(claims)) for _ in range(2))
    ring_key = next(k for k in shelf.keys if k.ring == Ring.SEALING)
    assert one[:9] == two[:9] == b"\x01" + bytes.fromhex(ring_key.id)
    assert one[9:33] != two[9:33]
    for clear in (b"alice", b"222222222222", b"deploy", b"role"):
        assert clear not in one


@pytest.mark.parametrize("size", [0, 1, 100, 699, 700, 701, 702, 703, 1500, 4095, 4096])
async def test_seal_with_minimum_size_is_that_long_and_barely_longer(size: int) -> None:
    made = sealer()
    claims = role_session(made)
    natural = len(made.seal(claims))
    length, seal = made.unsealed(claims, size)
    token = seal()
    assert size <= len(token) == length <= max(natural, size + 3)
    assert await made.open(token, AKID) == claims


def test_seal_of_a_session_that_fits_in_no_token_is_packed_policy_too_large() -> None:
    made = sealer()
    with pytest.raises(DaypassError) as refused:
        made.seal(role_session(made, description="x" * 20_000))
    assert refused.value.kind is ErrorKind.PACKED_POLICY_TOO_LARGE


def test_seal_without_a_key_that_may_sign_is_unavailable() -> None:
    made = sealer(clock := Shelf().fill(), FixedClock(NOW))
    claims = role_session(made)
    late = sealer(clock, FixedClock(NOW + 40 * DAY))
    for attempt in (lambda: late.seal(claims), late.derivation_key, lambda: late.seal_secret(b"x", "1", "2")):
        with pytest.raises(DaypassError) as refused:
            attempt()
        assert refused.value.kind is ErrorKind.UNAVAILABLE


async def test_open_while_its_key_is_unknown_and_the_database_away_is_unavailable() -> None:
    made = sealer()
    token = made.seal(role_session(made))
    other = Shelf()
    other.broken = True
    with pytest.raises(DaypassError) as refused:
        await Sealer(other.rings(), FixedClock()).open(token, AKID)
    assert refused.value.kind is ErrorKind.UNAVAILABLE


async def test_open_is_remembered_by_a_hash_and_only_so_many() -> None:
    shelf = Shelf().fill()
    rings = shelf.rings()
    rings.adopt(shelf.keys)
    made = Sealer(rings, FixedClock(), cache=3)
    claims = role_session(made)
    tokens = [made.seal(claims) for _ in range(5)]
    first = await made.open(tokens[0], AKID)
    assert await made.open(tokens[0], AKID) is first
    for token in tokens:
        await made.open(token, AKID)
    assert len(made._opened) == 3
    assert not any(isinstance(key, str) or tokens[-1].encode() in key for key in made._opened)


async def test_open_of_a_remembered_token_with_another_key_id_is_refused() -> None:
    made = sealer()
    token = made.seal(role_session(made))
    await made.open(token, AKID)
    with pytest.raises(DaypassError):
        await made.open(token, "ASIAABCDEFGHIJKLMNOQ")


async def test_open_of_a_remembered_token_ends_with_its_key() -> None:
    shelf, clock = Shelf().fill(), FixedClock()
    made = sealer(shelf, clock)
    token = made.seal(role_session(made))
    await made.open(token, AKID)
    clock.time = next(k for k in shelf.keys if k.ring == Ring.SEALING).verify_until
    with pytest.raises(DaypassError) as refused:
        await made.open(token, AKID)
    assert refused.value.kind is ErrorKind.UNKNOWN_CREDENTIALS


async def test_session_secret_is_derived_from_key_access_key_and_session_id() -> None:
    shelf = Shelf().fill()
    made = sealer(shelf)
    claims = role_session(made)
    secret = await made.session_secret(claims)
    key = made._rings.signing(Ring.DERIVATION, NOW).material
    assert (
        secret == base64.b64encode(hmac.digest(key, AKID.encode() + bytes.fromhex("ab" * 16), "sha256")[:30]).decode()
    )
    assert len(secret) == 40
    assert await sealer(shelf).session_secret(claims) == secret
    other = replace(claims, session_id="ac" * 16)
    assert await made.session_secret(other) != secret


async def test_session_secret_of_an_unknown_derivation_key_is_refused() -> None:
    made = sealer()
    with pytest.raises(DaypassError) as refused:
        await made.session_secret(role_session(made, derivation_key="00" * 8))
    assert refused.value.kind is ErrorKind.UNKNOWN_CREDENTIALS


async def test_message_opens_to_account_and_payload() -> None:
    made = sealer()
    text = made.seal_message("111111111111", b'{"allowed":false}' * 100)
    assert await made.open_message(text) == ("111111111111", b'{"allowed":false}' * 100)
    assert len(text) < 400


async def test_message_of_any_age_still_opens() -> None:
    shelf = Shelf().fill()
    text = sealer(shelf).seal_message("1", b"why")
    assert await sealer(shelf, FixedClock(NOW + 4000 * DAY)).open_message(text) == ("1", b"why")


def test_message_longer_than_decode_takes_is_no_message() -> None:
    made = sealer()
    assert made.seal_message("1", os.urandom(9000)) == ""
    assert made.seal_message("1", b"x" * 300_000) == ""


@pytest.mark.parametrize(
    "change", [lambda t: t[:-4], lambda t: t + "A", lambda t: t[:60] + "+" + t[61:], lambda t: "", str.swapcase]
)
async def test_message_altered_is_refused(change) -> None:
    made = sealer()
    with pytest.raises(DaypassError) as refused:
        await made.open_message(change(made.seal_message("1", b"why not")))
    assert refused.value.kind is ErrorKind.INVALID_AUTHORIZATION_MESSAGE


async def test_what_is_sealed_for_one_purpose_opens_for_no_other() -> None:
    made = sealer()
    token = made.seal(role_session(made))
    message = made.seal_message("1", b"why")
    with pytest.raises(DaypassError):
        await made.open_message(token.replace("+", "-").replace("/", "_"))
    with pytest.raises(DaypassError):
        await made.open(message.replace("-", "+").replace("_", "/"), AKID)
    with pytest.raises(ValueError, match="not known here"):
        made.open_secret(base64.b64decode(token), "1", "AIDA")


def test_open_secret_only_for_its_owner() -> None:
    made = sealer()
    sealed = made.seal_secret(b"canary", "111111111111", "AIDAX")
    assert made.open_secret(sealed, "111111111111", "AIDAX") == b"canary"
    assert b"canary" not in sealed
    for account, owner in (("111111111112", "AIDAX"), ("111111111111", "AIDAY"), ("11111111111", "1AIDAX")):
        with pytest.raises(ValueError, match="another owner"):
            made.open_secret(sealed, account, owner)


@pytest.mark.parametrize("cut", [0, 1, 9, 33, 40])
def test_open_secret_cut_short_is_a_value_error(cut: int) -> None:
    made = sealer()
    with pytest.raises(ValueError):
        made.open_secret(made.seal_secret(b"x", "1", "2")[:cut], "1", "2")


def test_open_secret_altered_anywhere_is_a_value_error() -> None:
    made = sealer()
    sealed = made.seal_secret(b"secret", "1", "2")
    for place in range(len(sealed)):
        altered = bytearray(sealed)
        altered[place] ^= 1
        with pytest.raises(ValueError):
            made.open_secret(bytes(altered), "1", "2")


def test_open_secret_sealed_years_ago_still_opens() -> None:
    shelf = Shelf().fill()
    sealed = sealer(shelf).seal_secret(b"x", "1", "2")
    assert sealer(shelf, FixedClock(NOW + 4000 * DAY)).open_secret(sealed, "1", "2") == b"x"

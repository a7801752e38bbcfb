"""Session tokens under attack: rows A58, A61 and A62."""

from __future__ import annotations

import base64
import traceback
from collections.abc import Callable

import pytest
from tests.unit.crypto.rings import KEK, NOW, FixedClock, Shelf, role_session, sealer

from daypass.crypto.key_encryption import KeyEncryptionKey, RingError
from daypass.crypto.keys import DAY
from daypass.crypto.seal import Sealer
from daypass.domain.errors import DaypassError, ErrorKind

AKID = "ASIAABCDEFGHIJKLMNOP"


async def refusal(made: Sealer, token: str, key_id: str = AKID) -> tuple[ErrorKind, str]:
    with pytest.raises(DaypassError) as refused:
        await made.open(token, key_id)
    return refused.value.kind, refused.value.public


INVALID = (ErrorKind.UNKNOWN_CREDENTIALS, "The security token included in the request is invalid.")


async def test_a58_every_single_bit_and_byte_matters_and_tokens_do_not_mix() -> None:
    made = sealer()
    one, other = (base64.b64decode(made.seal(role_session(made))) for _ in range(2))
    altered = []
    for at, byte in enumerate(one):
        altered += [one[:at] + bytes([byte ^ 1 << bit]) + one[at + 1 :] for bit in range(8)]
        altered += [one[:at] + one[at + 1 :], one[:at] + one[at : at + 16] + one[at:]]
        altered += [one[:at] + other[at:]] if one[:at] != other[:at] else []
    for data in altered:
        with pytest.raises(DaypassError) as refused:
            await made.open(base64.b64encode(data).decode(), AKID)
        assert (refused.value.kind, refused.value.public, refused.value.private) == (*INVALID, {})


async def test_a58_token_of_another_key_id_or_installation_is_refused() -> None:
    made, foreign = sealer(), sealer()
    token = made.seal(role_session(made))
    assert await refusal(made, token, "ASIAABCDEFGHIJKLMNOQ") == INVALID
    assert await refusal(made, token, "") == INVALID
    assert await refusal(made, token, "ASIÄ") == INVALID
    assert await refusal(made, token, "\ud800") == INVALID
    assert await refusal(foreign, token) == INVALID


@pytest.mark.parametrize(
    "spell",
    [
        lambda t: t + "\n",
        lambda t: " " + t,
        lambda t: t[:76] + "\n" + t[76:],
        lambda t: t + "=",
        lambda t: t + "====",
        lambda t: t.rstrip("=") + "!" * (len(t) - len(t.rstrip("="))) + "!",
        lambda t: t.replace("A", "Ａ", 1),  # full-width
        lambda t: t + t,
        lambda t: "",
        lambda t: "A",
        lambda t: "AQ==",
        lambda t: "\0" * 100,
        lambda t: "\ud800" * 100,
        lambda t: "A" * 1_000_000,
    ],
)
async def test_a58_other_spellings_of_a_token_are_refused(spell: Callable[[str], str]) -> None:
    made = sealer()
    token = made.seal(role_session(made))
    assert await refusal(made, spell(token)) == INVALID


async def test_a58_non_canonical_last_character_is_refused() -> None:
    """Base64 leaves bits unused before `=`: four or sixteen spellings of the same bytes, of which one is ours."""
    made = sealer()
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    tried = 0
    for extra in range(3):
        token = made.seal(role_session(made, description="x" * extra))
        padding = len(token) - len(token.rstrip("="))
        if not padding:
            continue
        where = len(token) - padding - 1
        for other in alphabet:
            spelled = token[:where] + other + token[where + 1 :]
            if spelled != token and base64.b64decode(spelled) == base64.b64decode(token):
                tried += 1
                assert await refusal(made, spelled) == INVALID
    assert tried > 0


async def test_a61_rotation_never_rejects_a_live_token() -> None:
    """Hourly upkeep, over two rotations, by two processes whose clocks differ: each opens what the other has sealed."""
    shelf = Shelf()
    clocks = FixedClock(NOW), FixedClock(NOW + 60_000)
    rings = shelf.rings(), shelf.rings()
    sealers = []
    for ring, clock in zip(rings, clocks, strict=True):
        await ring.maintain(shelf.insert, clock.now(), 30 * DAY)
        sealers.append(Sealer(ring, clock))
    live: list[tuple[str, int]] = []
    reads_for_tokens = 0
    for hour in range(24 * 70):
        for clock, ahead in zip(clocks, (0, 60_000), strict=True):
            clock.time = NOW + hour * 3_600_000 + ahead
        if hour % 6 == 0:
            for ring, clock in zip(rings, clocks, strict=True):
                await ring.maintain(shelf.insert, clock.now(), 30 * DAY)
        before = shelf.reads
        issuer, verifier = sealers[hour % 2], sealers[1 - hour % 2]
        live.append((issuer.seal(role_session(issuer)), clocks[0].time + 36 * 3_600_000))
        live = [(token, end) for token, end in live if end > clocks[0].time]
        claims = await verifier.open(live[-1][0], AKID)
        await verifier.session_secret(claims)
        await verifier.open(live[0][0], AKID)
        reads_for_tokens += shelf.reads - before
    assert len({k.id for k in shelf.keys if k.ring == "sealing"}) == 3
    assert reads_for_tokens == 0, "every key was known before the first token under it"


async def everything_printed(made: Sealer, shelf: Shelf) -> str:
    """Reprs, and tracebacks with the locals of every frame. Holds no secret of its own that could be found there."""
    sealed = made.seal_secret(b"canary-of-a-user", "1", "2")
    token = made.seal(role_session(made))
    out = [repr(made), repr(made._rings), repr(vars(made._rings)), repr(shelf.keys), repr(KEK), repr(vars(KEK))]

    async def open_secret_of_another() -> None:
        made.open_secret(sealed, "1", "3")

    async def unwrap_by_another() -> None:
        KeyEncryptionKey(b"x" * 32).unwrap(shelf.keys[0])

    for attempt in (
        lambda: made.open(token[:-8] + "AAAAAAAA", AKID),
        lambda: made.open_message("A" * 200),
        lambda: made.session_secret(role_session(made, session_id="not hex")),
        open_secret_of_another,
        unwrap_by_another,
    ):
        try:
            await attempt()
        except (DaypassError, ValueError, RingError) as error:
            out += traceback.TracebackException.from_exception(error, capture_locals=True).format()
    return "".join(out)


async def test_a62_secrets_stay_out_of_reprs_and_tracebacks_even_with_locals() -> None:
    shelf = Shelf().fill()
    made = sealer(shelf)
    text = await everything_printed(made, shelf)
    assert text.count("Traceback") >= 5
    assert "key = RingKey(id=" in text, "locals are printed"
    canaries = [key.material for ring in made._rings._by_ring.values() for key in ring]
    canaries += [b"k" * 32, b"canary-of-a-user", (await made.session_secret(role_session(made))).encode()]
    for canary in canaries:
        spellings = [repr(canary)[2:-1], canary.hex(), base64.b64encode(canary).decode()]
        assert not [spelling for spelling in spellings if spelling in text]

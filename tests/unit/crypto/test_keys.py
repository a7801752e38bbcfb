"""Keys of the rings: their phases, randomness, and an end in an emergency."""

from __future__ import annotations

import asyncio
import base64
import stat
import threading
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.serialization import load_der_private_key
from tests.unit.crypto.rings import KEK, NOW, Shelf

from daypass.crypto import ids
from daypass.crypto.ids import random_bytes
from daypass.crypto.key_encryption import KeyEncryptionKey, RingError
from daypass.crypto.keys import ALWAYS, DAY, KeyRings, Ring, due, ended_keys, next_keys, rewrapped
from daypass.domain.session import LONGEST_SESSION_MS
from daypass.ports.directory import FOR_EVER, StoredKey

MONTH = 30 * DAY


def test_due_on_an_empty_store_makes_a_key_for_each_ring_usable_at_once() -> None:
    made = due([], KEK, NOW, MONTH)
    assert {key.ring for key in made} == set(ALWAYS)
    assert all(key.not_before <= NOW < key.sign_until for key in made)
    assert len({key.id for key in made}) == len(ALWAYS)
    assert all(len(bytes.fromhex(key.id)) == 8 for key in made)


def test_due_verifies_until_the_longest_session_sealed_on_the_last_day_has_ended() -> None:
    for key in due([], KEK, NOW, MONTH):
        assert key.verify_until >= key.sign_until + LONGEST_SESSION_MS
        assert (key.verify_until == FOR_EVER) == (key.ring in ("storage", "message", "spool"))


def test_due_makes_the_next_key_at_least_a_day_before_it_signs_and_without_a_gap() -> None:
    keys: list[StoredKey] = []
    for hour in range(24 * 100):  # a hundred days of an hourly look
        now = NOW + hour * 3_600_000
        keys += due(keys, KEK, now, MONTH)
        for ring in ALWAYS:
            assert any(k.not_before <= now < k.sign_until for k in keys if k.ring == ring)
    later = [k for k in keys if k.created_at > NOW]
    assert len(later) >= 3 * len(ALWAYS)
    assert all(k.not_before - k.created_at >= DAY for k in later)
    assert len({(k.ring, k.not_before) for k in keys}) == len(keys)


def test_due_with_the_shortest_rotation_leaves_no_gap_either() -> None:
    keys: list[StoredKey] = []
    start = NOW - NOW % DAY + DAY - 600_000  # ten minutes to midnight
    for hour in range(24 * 5):
        now = start + hour * 3_600_000
        keys += due(keys, KEK, now, DAY)
        assert all(any(k.not_before <= now < k.sign_until for k in keys if k.ring == ring) for ring in ALWAYS)


def test_due_after_a_long_sleep_makes_one_that_signs_now() -> None:
    keys = due([], KEK, NOW, MONTH)
    late = NOW + 10 * MONTH
    assert all(k.not_before <= late < k.sign_until for k in due(keys, KEK, late, MONTH))


async def test_maintain_by_two_processes_at_once_ends_with_the_same_keys() -> None:
    shelf = Shelf()
    one, two = shelf.rings(), shelf.rings()
    made = await asyncio.gather(one.maintain(shelf.insert, NOW, MONTH), two.maintain(shelf.insert, NOW + 5000, MONTH))
    assert sorted(key.ring for batch in made for key in batch) == sorted(ALWAYS)
    for ring in ALWAYS:
        assert one.signing(ring, NOW + 6000).id == two.signing(ring, NOW + 6000).id


async def test_maintain_of_the_signing_ring_makes_a_private_key_for_es256() -> None:
    shelf = Shelf()
    rings = shelf.rings()
    await rings.maintain(shelf.insert, NOW, MONTH)
    key = load_der_private_key(rings.signing(Ring.SIGNING, NOW).material, None)
    assert isinstance(key, EllipticCurvePrivateKey)
    assert key.curve.name == "secp256r1"


def test_signing_changes_over_to_the_newest_key_whose_time_has_come() -> None:
    shelf = Shelf().fill()
    shelf.fill(NOW + 29 * DAY)
    rings = shelf.rings()
    rings.adopt(shelf.keys)
    old, new = sorted((k for k in shelf.keys if k.ring == Ring.SEALING), key=lambda k: k.not_before)
    assert rings.signing(Ring.SEALING, new.not_before - 1).id == old.id
    assert rings.signing(Ring.SEALING, new.not_before).id == new.id
    assert rings.known(Ring.SEALING, old.id, old.verify_until - 1) is not None
    assert rings.known(Ring.SEALING, old.id, old.verify_until) is None


def test_signing_after_the_last_key_has_expired_continues_for_a_day_and_is_reported() -> None:
    """The next key cannot be made while the database is unavailable."""
    shelf = Shelf().fill()
    rings = shelf.rings()
    rings.adopt(shelf.keys)
    key = rings.signing(Ring.SEALING, NOW)
    assert rings.overdue(key.sign_until - 1) == []
    assert rings.signing(Ring.SEALING, key.sign_until) == key
    assert "sealing" in rings.overdue(key.sign_until)
    last = key.sign_until + DAY - 1
    assert rings.signing(Ring.SEALING, last) == key
    assert rings.known(Ring.SEALING, key.id, last + LONGEST_SESSION_MS) == key, "what it seals then can be verified"
    with pytest.raises(RingError):
        rings.signing(Ring.SEALING, key.sign_until + DAY)


async def test_verifying_an_unknown_id_loads_once_for_all_who_ask() -> None:
    shelf = Shelf()
    rings = shelf.rings()
    shelf.fill()
    key = shelf.keys[0]
    found = await asyncio.gather(*(rings.verifying(Ring(key.ring), key.id, NOW) for _ in range(50)))
    assert all(one is not None and one.id == key.id for one in found)
    assert shelf.reads == 1


async def test_verifying_does_not_trust_a_load_that_began_before_it_was_asked() -> None:
    """A key may be stored after that load has read: whoever comes meanwhile needs a load of its own."""
    begun, gate, reads = asyncio.Event(), asyncio.Event(), 0
    shelf = Shelf()

    async def fetch() -> list[StoredKey]:
        nonlocal reads
        reads += 1
        begun.set()
        keys = list(shelf.keys)  # read first …
        if reads == 1:
            await gate.wait()  # … and answered late
        return keys

    rings = KeyRings(fetch, KEK, reload_pause=0)
    early = asyncio.create_task(rings.load())
    await begun.wait()
    key = shelf.fill().keys[0]
    late = asyncio.create_task(rings.verifying(Ring(key.ring), key.id, NOW))
    await asyncio.sleep(0)
    gate.set()
    assert await late is not None
    await early
    assert reads == 2


async def test_verifying_made_up_ids_asks_the_database_seldom() -> None:
    shelf = Shelf().fill()
    rings = KeyRings(shelf.fetch, KEK, reload_pause=0.02)
    found = await asyncio.gather(*(rings.verifying(Ring.SEALING, f"{n:016x}", NOW) for n in range(500)))
    assert found == [None] * 500
    assert shelf.reads == 1
    for _ in range(20):
        assert await rings.verifying(Ring.SEALING, f"{7:016x}", NOW) is None
    assert shelf.reads == 1, "an id that the database does not have is remembered for a while"
    await rings.verifying(Ring.SEALING, f"{7:016x}", NOW + 10_000)
    assert shelf.reads == 2, "and asked for again after that"
    assert len(rings._absent) <= 4096


async def test_verifying_while_the_database_is_away_is_not_a_no() -> None:
    shelf = Shelf().fill()
    rings = shelf.rings()
    shelf.broken = True
    with pytest.raises(RingError):
        await rings.verifying(Ring.SEALING, "00" * 8, NOW)
    shelf.broken = False
    key = shelf.keys[0]
    assert await rings.verifying(Ring(key.ring), key.id, NOW) is not None


def test_adopt_leaves_out_a_row_that_was_altered_and_keeps_the_rest() -> None:
    shelf = Shelf().fill()
    bad = replace(shelf.keys[0], verify_until=shelf.keys[0].verify_until + 1)
    rings = shelf.rings()
    rings.adopt([bad, *shelf.keys[1:]])
    assert rings.unreadable == (bad.id,)
    assert rings.known(Ring(bad.ring), bad.id, NOW) is None
    assert rings.signing(Ring(shelf.keys[1].ring), NOW).id == shelf.keys[1].id


def test_adopt_does_not_take_altered_times_for_a_key_it_knows() -> None:
    shelf = Shelf().fill()
    rings = shelf.rings()
    rings.adopt(shelf.keys)
    rings.adopt([replace(key, verify_until=FOR_EVER * 2) for key in shelf.keys])
    assert set(rings.unreadable) == {key.id for key in shelf.keys}


@pytest.mark.parametrize("change", [{"ring": "storage"}, {"id": "00" * 8}, {"not_before": 0}, {"wrapped": b""}])
def test_unwrap_of_an_altered_row_is_refused(change: dict[str, object]) -> None:
    key = due([], KEK, NOW, MONTH)[0]
    assert len(KEK.unwrap(key)) == 32
    with pytest.raises(RingError):
        KEK.unwrap(replace(key, **change))


def test_unwrap_by_another_key_encryption_key_is_refused() -> None:
    with pytest.raises(RingError, match="another one"):
        KeyEncryptionKey(b"x" * 32).unwrap(due([], KEK, NOW, MONTH)[0])


def test_key_file_is_made_once_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "data" / "master.key"
    key = due([], KeyEncryptionKey.from_file(path, create=True), NOW, MONTH)[0]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert len(KeyEncryptionKey.from_file(path, create=True).unwrap(key)) == 32
    assert [p.name for p in path.parent.iterdir()] == ["master.key"]


def test_key_file_made_by_another_process_in_between_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "master.key"
    first = KeyEncryptionKey.from_file(path, create=True)
    monkeypatch.setattr(Path, "exists", lambda _: False)  # looked before the other one had made it
    second = KeyEncryptionKey.from_file(path, create=True)
    assert second.unwrap(due([], first, NOW, MONTH)[0])
    assert [p.name for p in tmp_path.iterdir()] == ["master.key"]


@pytest.mark.parametrize(("mode", "private"), [(0o640, True), (0o604, True), (0o660, False), (0o602, False)])
def test_key_file_open_to_others_is_refused(tmp_path: Path, mode: int, private: bool) -> None:
    path = tmp_path / "master.key"
    KeyEncryptionKey.from_file(path, create=True)
    path.chmod(mode)
    with pytest.raises(RingError, match="open to others"):
        KeyEncryptionKey.from_file(path, private=private)


@pytest.mark.parametrize("text", ["", "short", base64.b64encode(b"x" * 31).decode(), "ü" * 44, "!" * 44])
def test_key_text_that_is_not_32_bytes_is_refused_without_repeating_it(text: str) -> None:
    with pytest.raises(RingError) as refused:
        KeyEncryptionKey.from_text(text)
    assert not text or text not in str(refused.value)


def test_key_file_that_is_absent_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RingError, match="cannot be read"):
        KeyEncryptionKey.from_file(tmp_path / "none")


# --- Rotation by command, emergencies, and another key-encryption key


def test_next_key_by_command_signs_at_once_except_for_tokens() -> None:
    made = {key.ring: key for key in next_keys(KEK, NOW, MONTH, ALWAYS, 7_200_000)}
    assert made[Ring.SEALING].not_before == NOW
    assert made[Ring.SIGNING].not_before == NOW + 7_200_000
    assert all(key.sign_until == key.not_before + MONTH for key in made.values())


def test_keys_ended_in_an_emergency_neither_sign_nor_verify_and_storage_keys_stay() -> None:
    shelf = Shelf().fill()
    rings = shelf.rings()
    rings.adopt(shelf.keys)
    old = rings.signing(Ring.SEALING, NOW)
    ended = ended_keys(shelf.keys, KEK, NOW)
    assert {key.ring for key in ended} == {"sealing", "derivation", "signing", "signing-eddsa", "certificates"}
    changed = {(key.ring, key.id): key for key in ended}
    rings.adopt([changed.get((key.ring, key.id), key) for key in shelf.keys])
    assert rings.unreadable == ()
    assert rings.known(Ring.SEALING, old.id, NOW) is None
    with pytest.raises(RingError):
        rings.signing(Ring.SEALING, NOW)
    assert rings.signing(Ring.STORAGE, NOW)


def test_rewrapped_keys_open_with_the_new_key_encryption_key_alone() -> None:
    shelf, new = Shelf().fill(), KeyEncryptionKey(b"n" * 32)
    made = rewrapped(shelf.keys, KEK, new)
    assert [new.unwrap(key) for key in made] == [KEK.unwrap(key) for key in shelf.keys]
    with pytest.raises(RingError):
        KEK.unwrap(made[0])


def test_key_encryption_key_that_accepts_another_unwraps_both_and_wraps_by_its_own() -> None:
    new = KeyEncryptionKey(b"n" * 32)
    both = KEK.accepting((new,))
    key = due([], KEK, NOW, MONTH)[0]
    for each in (key, rewrapped([key], KEK, new)[0]):
        assert len(both.unwrap(each)) == 32
    KEK.unwrap(rewrapped([key], KEK, both)[0])
    with pytest.raises(RingError):
        KEK.unwrap(rewrapped([key], KEK, new)[0])


# --- An emergency ends keys that have not begun, too; a ring has one key for each not-before time


DAY = 86_400_000


def test_ended_keys_that_have_not_begun_get_different_times_before_the_new_key() -> None:
    kek = KeyEncryptionKey(b"k" * 32)
    stored = [key for at in (NOW, NOW + 1_000) for key in next_keys(kek, at, 30 * DAY, (Ring.SIGNING,), DAY)]
    ended = ended_keys(stored, kek, NOW)
    times = [key.not_before for key in ended]
    assert len(times) == len(set(times)) == 2
    assert max(times) < NOW
    assert {key.verify_until for key in ended} == {NOW}


# --- Random bytes: each is given out once, in whichever thread or process


def test_random_bytes_are_given_out_once_by_many_threads() -> None:
    given: list[list[bytes]] = [[] for _ in range(4)]

    def take(into: list[bytes]) -> None:
        into.extend(random_bytes(24) for _ in range(2000))

    threads = [threading.Thread(target=take, args=(into,)) for into in given]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    everything = [part for into in given for part in into]
    assert len(set(everything)) == len(everything) == 8000
    assert {len(part) for part in everything} == {24}


def test_random_bytes_of_any_size_have_it() -> None:
    for count in (0, 1, 31, 8191, 8192, 8193, 100_000):
        assert len(random_bytes(count)) == count


def test_random_bytes_of_a_forked_child_are_not_its_parents() -> None:
    random_bytes(1)  # a page is there
    ids._renew()
    assert ids._page.getvalue() == b""
    assert random_bytes(32) != random_bytes(32)

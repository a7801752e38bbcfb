"""Envelopes: values wrapped by the data key of a key source, and what happens when the source fails."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from tests.unit.crypto.rings import NOW, Shelf

from daypass.crypto.key_encryption import KeyEncryptionKey, KeySourceError, RingError
from daypass.crypto.keys import DAY, KeyRings, Ring, due, rewrapped
from daypass.ports.directory import StoredKey

TIMES = (1, 2, 3)


class Source:
    """A key source in memory. It counts calls, and fails on demand."""

    def __init__(self, mask: int = 0x5A, kind: str = "hsm") -> None:
        self.kind = kind
        self.name = f"the {kind}"
        self.calls: list[str] = []
        self.failure: KeySourceError | None = None
        self._mask = mask

    def wrap(self, data_key: bytes) -> bytes:
        self._called("wrap")
        return bytes([self._mask]) + bytes(b ^ self._mask for b in data_key)

    def unwrap(self, wrapped: bytes) -> bytes:
        self._called("unwrap")
        if wrapped[0] != self._mask:
            raise KeySourceError("another key wrapped it", temporary=False)
        return bytes(b ^ self._mask for b in wrapped[1:])

    def _called(self, action: str) -> None:
        self.calls.append(action)
        if self.failure is not None:
            raise self.failure


def stored(kek: KeyEncryptionKey, material: bytes = b"m" * 32, key_id: str = "00" * 8) -> StoredKey:
    return StoredKey("sealing", key_id, kek.wrap("sealing", key_id, TIMES, material), *TIMES, created_at=0)


def test_unwrap_opens_what_another_process_wrapped_after_one_call_of_the_source() -> None:
    source = Source()
    kek = KeyEncryptionKey(source)
    keys = [stored(kek, bytes([n]) * 32, f"{n:016x}") for n in range(9)]
    assert source.calls == ["wrap"]
    other = KeyEncryptionKey(source)
    other.learn(key.wrapped for key in keys)
    assert [other.unwrap(key) for key in keys] == [bytes([n]) * 32 for n in range(9)]
    assert source.calls == ["wrap", "unwrap"]


def test_unwrap_never_calls_the_source() -> None:
    source = Source()
    key = stored(KeyEncryptionKey(source))
    source.calls.clear()
    with pytest.raises(RingError):
        KeyEncryptionKey(source).unwrap(key)
    assert source.calls == []


def test_wrap_after_learn_shares_the_data_key_of_the_last_value() -> None:
    source = Source()
    first, second = stored(KeyEncryptionKey(source)), stored(KeyEncryptionKey(source))
    kek = KeyEncryptionKey(source)
    kek.learn((first.wrapped, second.wrapped))
    source.calls.clear()
    made = stored(kek)
    assert source.calls == []
    assert made.wrapped.startswith(second.wrapped[:50])


def test_wrapped_value_contains_neither_the_material_nor_the_data_key() -> None:
    key = stored(KeyEncryptionKey(Source()), b"a-secret-of-thirty-two-bytes-....")
    assert b"a-secret" not in key.wrapped


@pytest.mark.parametrize("at", [0, 20, 25, 40, -40, -1])
def test_altered_envelope_does_not_open(at: int) -> None:
    source = Source()
    key = stored(KeyEncryptionKey(source))
    wrapped = bytearray(key.wrapped)
    wrapped[at] ^= 1
    altered = replace(key, wrapped=bytes(wrapped))
    kek = KeyEncryptionKey(source)
    with pytest.raises(RingError):
        kek.learn((altered.wrapped,))
        kek.unwrap(altered)


def test_envelope_of_another_ring_or_time_does_not_open() -> None:
    source = Source()
    kek = KeyEncryptionKey(source)
    key = stored(kek)
    for other in (replace(key, ring="storage"), replace(key, verify_until=4), replace(key, id="11" * 8)):
        with pytest.raises(RingError, match="does not open"):
            kek.unwrap(other)


@pytest.mark.parametrize("size", [0, 1, 19, 21, 25, 30])
def test_truncated_envelope_does_not_open(size: int) -> None:
    source = Source()
    kek = KeyEncryptionKey(source)
    key = stored(kek)
    short = replace(key, wrapped=key.wrapped[:size])
    kek.learn((short.wrapped,))
    with pytest.raises(RingError):
        kek.unwrap(short)


def test_two_sources_of_a_kind_open_the_values_of_either() -> None:
    old, new = Source(1), Source(2)
    keys = [stored(KeyEncryptionKey(old)), stored(KeyEncryptionKey(new))]
    kek = KeyEncryptionKey(new).accepting([KeyEncryptionKey(old)])
    kek.learn(key.wrapped for key in keys)
    assert [kek.unwrap(key) for key in keys] == [b"m" * 32] * 2


def test_learn_with_a_failing_source_opens_the_rest_and_says_why() -> None:
    hsm, service = Source(), Source(kind="service")
    keys = [stored(KeyEncryptionKey(hsm)), stored(KeyEncryptionKey(service))]
    hsm.failure = KeySourceError("the hsm is off", temporary=True)
    kek = KeyEncryptionKey(hsm).accepting([KeyEncryptionKey(service)])
    with pytest.raises(KeySourceError, match="the hsm is off") as failed:
        kek.learn(key.wrapped for key in keys)
    assert failed.value.temporary
    assert kek.unwrap(keys[1]) == b"m" * 32


def test_rewrapped_from_a_file_to_a_source_and_back() -> None:
    local, source = KeyEncryptionKey(b"k" * 32), Source()
    before = due([], local, NOW, 30 * DAY)
    moved = rewrapped(before, local, KeyEncryptionKey(source))
    kek = KeyEncryptionKey(source)
    kek.learn(key.wrapped for key in moved)
    with pytest.raises(RingError):
        local.unwrap(moved[0])
    back = rewrapped(moved, kek, local)
    assert [local.unwrap(key) for key in back] == [local.unwrap(key) for key in before]


class TestRings:
    """A running process, whose rings are loaded again and again."""

    def rings(self, shelf: Shelf, source: Source) -> KeyRings:
        return KeyRings(shelf.fetch, KeyEncryptionKey(source), reload_pause=0)

    async def test_loads_call_the_source_once(self) -> None:
        shelf, source = Shelf(), Source()
        shelf.keys += due([], KeyEncryptionKey(source), NOW, 30 * DAY)
        source.calls.clear()
        rings = self.rings(shelf, source)
        for _ in range(5):
            await rings.load()
        await rings.maintain(shelf.insert, NOW + 29 * DAY, 30 * DAY)
        assert source.calls == ["unwrap"]
        assert not rings.unreadable
        assert rings.signing(Ring.SEALING, NOW)

    async def test_source_that_fails_is_asked_again_only_after_a_pause(self) -> None:
        shelf, source = Shelf(), Source()
        shelf.keys += due([], KeyEncryptionKey(source), NOW, 30 * DAY)
        source.failure = KeySourceError("the hsm is off", temporary=True)
        source.calls.clear()
        rings = self.rings(shelf, source)
        for _ in range(20):
            with pytest.raises(KeySourceError, match="the hsm is off"):
                await rings.load()
        assert source.calls == ["unwrap"]

    async def test_running_process_keeps_its_keys_while_the_source_is_away_and_all_are_wrapped_anew(self) -> None:
        shelf, source = Shelf(), Source()
        kek = KeyEncryptionKey(source)
        shelf.keys += due([], kek, NOW, 30 * DAY)
        rings = self.rings(shelf, source)
        await rings.load()
        shelf.keys = rewrapped(shelf.keys, kek, KeyEncryptionKey(source))
        source.failure = KeySourceError("the hsm is off", temporary=True)
        await rings.load()
        assert not rings.unreadable
        made = await rings.maintain(shelf.insert, NOW + 29 * DAY, 30 * DAY)
        assert {key.ring for key in made} >= {"sealing", "storage"}  # by the data key that it has
        source.failure = None
        await self.rings(shelf, source).load()

    async def test_key_that_opens_is_usable_while_another_needs_the_source(self) -> None:
        shelf, source, other = Shelf(), Source(), Source(kind="service")
        kek = KeyEncryptionKey(source).accepting([KeyEncryptionKey(other)])
        shelf.keys += due([], KeyEncryptionKey(source), NOW, 30 * DAY)
        late = stored(KeyEncryptionKey(other))
        shelf.keys.append(late)
        other.failure = KeySourceError("the service is away", temporary=True)
        rings = KeyRings(shelf.fetch, kek, reload_pause=0)
        with pytest.raises(KeySourceError):
            await rings.load()
        assert rings.unreadable == (late.id,)
        assert rings.signing(Ring.SEALING, NOW)

    async def test_source_never_runs_on_the_event_loop(self) -> None:
        loops: list[bool] = []

        class Watching(Source):
            def _called(self, action: str) -> None:
                try:
                    asyncio.get_running_loop()
                    loops.append(True)
                except RuntimeError:
                    loops.append(False)
                super()._called(action)

        shelf, source = Shelf(), Watching()
        rings = self.rings(shelf, source)
        await rings.maintain(shelf.insert, NOW, 30 * DAY)
        await self.rings(shelf, source).load()
        assert loops == [False, False]

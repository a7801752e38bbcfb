"""The ring keys of a running process, and their rotation by command while no server runs."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import pytest
from tests.prepared import prepare_sqlite
from tests.unit.crypto.rings import NOW, FixedClock

from daypass.config import Settings, load
from daypass.crypto.key_encryption import KeyEncryptionKey, KeySourceError, RingError
from daypass.crypto.keys import DAY, KeyRings, Ring
from daypass.domain.errors import DaypassError, ErrorKind
from daypass.domain.events import Event, EventType
from daypass.server import ring_keys
from daypass.server import ring_keys as key_rotation
from daypass.server.ring_keys import KeyRotation
from daypass.server.runtime import Runtime
from daypass.stores.engine import open_database


class Record:
    """A journal that fails at the commits whose numbers are in `failing`."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.failing: set[int] = set()
        self.commits = 0

    async def commit(self, event: Event, session: Any = None) -> None:
        self.commits += 1
        if self.commits in self.failing:
            raise DaypassError(ErrorKind.UNAVAILABLE, "The record cannot be written now.")
        self.events.append(event)

    @property
    def keys(self) -> list[str]:
        assert all(event.type is EventType.KEY_ADDED for event in self.events)
        return [str(event.detail["key"]) for event in self.events]


async def on_thread(work: Callable[[], Any]) -> Any:
    return await asyncio.to_thread(work)


@pytest.fixture
def clock() -> FixedClock:
    return FixedClock()


@pytest.fixture
def rotation(tmp_path: Path, clock: FixedClock) -> Iterator[KeyRotation]:
    settings = load(None, {}, {"server": {"data": tmp_path}})
    database = open_database(prepare_sqlite(tmp_path / "daypass.db"))
    yield KeyRotation(settings, database, clock, on_thread)  # type: ignore[arg-type]  # it only reads the time
    database.close()


async def test_keys_made_while_the_record_failed_are_recorded_with_the_next_ones(
    rotation: KeyRotation, clock: FixedClock
) -> None:
    record: Any = Record()
    record.failing = {3}
    rings = await rotation.open()
    first = [key.id for key in rings.stored]
    with pytest.raises(DaypassError):
        await rotation.record(record)
    clock.time = NOW + 29 * DAY
    await rotation._maintain()
    await rotation.record(record)
    every = [key.id for key in rings.stored]
    assert len(every) == 2 * len(first)
    assert sorted(record.keys) == sorted(every), "each once"


async def test_load_after_a_change_is_repeated_until_it_succeeds(
    rotation: KeyRotation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(key_rotation, "_RETRY_SECONDS", 0)
    rings = await rotation.open()
    real, attempts = rings._fetch, []

    async def fetch() -> Any:
        attempts.append(1)
        if len(attempts) < 3:
            raise OSError("the database is away")
        return await real()

    monkeypatch.setattr(rings, "_fetch", fetch)
    rotation.load()
    await asyncio.gather(*rotation._loading)
    assert len(attempts) == 3


async def test_load_that_goes_on_failing_ends_with_the_server(
    rotation: KeyRotation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(key_rotation, "_RETRY_SECONDS", 0)
    rings = await rotation.open()
    failed = asyncio.Event()

    async def fetch() -> Any:
        failed.set()
        raise OSError("the database is away")

    monkeypatch.setattr(rings, "_fetch", fetch)
    rotation.load()
    await failed.wait()
    await rotation.stop()
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_expired_signing_keys_sign_for_another_day_while_no_next_key_can_be_made(
    rotation: KeyRotation, clock: FixedClock
) -> None:
    rings = await rotation.open()
    clock.time = NOW + 30 * DAY + DAY // 2  # without the database, `_maintain` could not run for two days
    assert set(rings.overdue(clock.time)) >= {Ring.SIGNING, Ring.SEALING}
    key = rings.signing(Ring.SIGNING, clock.time)
    assert clock.time >= key.sign_until
    assert key in rings.published(Ring.SIGNING, clock.time)


class Source:
    """A key source that can be away."""

    kind = name = "source"
    away = False

    def wrap(self, data_key: bytes) -> bytes:
        return data_key

    def unwrap(self, wrapped: bytes) -> bytes:
        if self.away:
            raise KeySourceError("source cannot decrypt: it is away.", temporary=True)
        return wrapped


async def test_key_source_that_has_gone_is_a_warning_until_it_is_back(rotation: KeyRotation) -> None:
    source, unused = Source(), cast(Any, None)
    rotation.kek = KeyEncryptionKey(source)
    rotation.kek.prove()
    rotation.rings = KeyRings(unused, rotation.kek)
    checks = asyncio.create_task(rotation.check_sources(0.001))
    for away in (True, False):
        source.away = away
        async with asyncio.timeout(60):
            while bool(rotation.source_problem) is not away:  # noqa: ASYNC110  # nothing announces it
                await asyncio.sleep(0.001)
        assert rotation.source_problem == ("source cannot decrypt: it is away." if away else "")
    checks.cancel()


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Those of an installation whose server has run once and has stopped."""
    prepare_sqlite(tmp_path / "daypass.db")
    settings = Settings.model_validate({"server": {"data": str(tmp_path)}})
    asyncio.run(run_once(settings))
    return settings


async def run_once(settings: Settings) -> None:
    runtime = Runtime(settings)
    await runtime.start()
    await runtime.stop()


def test_rotate_twice_at_the_same_moment_is_refused_and_changes_nothing(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = ring_keys.wall()
    monkeypatch.setattr(ring_keys, "wall", lambda: now)
    ring_keys.rotate(settings, ())
    before = ring_keys.list_keys(settings)
    with pytest.raises(RingError, match="at the same moment"):
        ring_keys.rotate(settings, ())
    assert ring_keys.list_keys(settings) == before


def test_emergency_rotation_after_two_planned_ones_adds_every_new_key(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = ring_keys.wall()
    for later in (1, 2):
        monkeypatch.setattr(ring_keys, "wall", lambda later=later: now + later)
        ring_keys.rotate(settings, ())
    monkeypatch.setattr(ring_keys, "wall", lambda: now + 3)
    _, made = ring_keys.rotate_in_emergency(settings)
    stored = {key.id for key in ring_keys.list_keys(settings)}
    assert {key.id for key in made} <= stored

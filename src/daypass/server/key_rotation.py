"""The ring keys of a running process: opened at its start, loaded when another process changes them, rotated in time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

from daypass.audit.journal import Journal
from daypass.config import Settings
from daypass.crypto.key_encryption import KeyEncryptionKey, RingError
from daypass.crypto.keys import KeyRings
from daypass.domain.events import Event, EventType
from daypass.observability import logs
from daypass.ports.clock import Clock
from daypass.ports.directory import StoredKey
from daypass.server.from_settings import rings_of
from daypass.server.ring_keys import await_source, key_encryption_key
from daypass.stores.engine import Database
from daypass.stores.nodes import insert_ring_key, load_ring_keys

_PAUSE_SECONDS: Final = 3600.0
_CHECK_SECONDS: Final = 300.0  # between two checks of the key sources
_RETRY_SECONDS: Final = 2.0
_DAY_MS: Final = 86_400_000


class KeyRotation:
    """Call `open` first, and `record` as soon as the journal is open.

    Args:
        on_thread: runs work that waits for the database.
    """

    rings: KeyRings
    kek: KeyEncryptionKey

    def __init__(
        self,
        settings: Settings,
        database: Database,
        clock: Clock,
        on_thread: Callable[[Callable[[], Any]], Awaitable[Any]],
    ) -> None:
        self._settings = settings
        self._database = database
        self._clock = clock
        self._on_thread = on_thread
        self._loading: set[asyncio.Task[None]] = set()
        self._unrecorded: list[StoredKey] = []
        self.source_problem = ""
        """Why a key source did not open what the next start needs, when it was last checked; "" when it did."""

    async def open(self) -> KeyRings:
        """The rings, with the keys that are missing made. Raises RingError when a stored key does not open."""
        stored = await self._fetch()
        await self._prepare(key_encryption_key(self._settings, new=not stored), stored)
        await self._maintain()
        return self._readable()

    async def open_without_database(self, kek: KeyEncryptionKey, stored: Sequence[StoredKey]) -> KeyRings:
        """The rings with these keys, which come from a snapshot. Raises RingError when one does not open."""
        await self._prepare(kek, stored)
        self.rings.adopt(stored)
        return self._readable()

    async def _prepare(self, kek: KeyEncryptionKey, stored: Sequence[StoredKey]) -> None:
        self.kek = kek
        await self._on_thread(lambda: await_source(kek, stored, self._settings.keys.wait_seconds))
        self.rings = KeyRings(self._fetch, kek, rings=rings_of(self._settings))

    def _readable(self) -> KeyRings:
        if self.rings.unreadable:
            raise RingError(
                f"ring keys {', '.join(self.rings.unreadable)} do not open: "
                "the key-encryption key is not the one of this database, or rows were altered."
            )
        return self.rings

    async def record(self, journal: Journal) -> None:
        """Records the keys that were made and are not on the record yet. A later call records those that failed."""
        while self._unrecorded:
            key = self._unrecorded[0]
            detail = {"ring": key.ring, "key": key.id, "not_before": key.not_before, "sign_until": key.sign_until}
            await journal.commit(Event(EventType.KEY_ADDED, self._clock.now(), detail=detail))
            del self._unrecorded[0]

    async def run(self, journal: Journal) -> None:
        """Makes the next keys in time, until it is cancelled. A failure is tried again: keys are made a day ahead."""
        while True:
            await asyncio.sleep(_PAUSE_SECONDS)
            try:
                await self._maintain()
                await self.record(journal)
            except Exception as error:  # noqa: BLE001  # the rotation must continue
                logs.get().warning("keys.rotation_failed", error=type(error).__name__)

    async def check_sources(self, seconds: float = _CHECK_SECONDS) -> None:
        """Checks the key sources regularly, until it is cancelled. This process has what it needs in memory, so nothing
        else would show that a source is unavailable until a start needs it.
        """
        while True:
            await asyncio.sleep(seconds)
            try:
                await asyncio.to_thread(self.kek.check)
                problem = ""
            except RingError as error:
                problem = str(error)
            except Exception as error:  # noqa: BLE001  # the checks must continue
                problem = f"the key source cannot be checked: {type(error).__name__}"
            if problem and problem != self.source_problem:
                logs.get().warning("keys.source_failed", error=problem)
            self.source_problem = problem

    def load(self) -> None:
        """Loads the ring keys in the background, because another process has changed them. A failure of the database or of
        the key source is tried again: until then this process would use keys that may have ended.
        """
        task = asyncio.get_running_loop().create_task(self._load())
        self._loading.add(task)
        task.add_done_callback(self._loading.discard)

    async def stop(self) -> None:
        """Cancels loads in progress. Call it while `on_thread` still works."""
        for task in self._loading:
            task.cancel()
        await self.rings.stop()
        await asyncio.gather(*self._loading, return_exceptions=True)

    async def insert(self, key: StoredKey) -> bool:
        """Stores a key. False: another process has stored one of that id."""

        def insert() -> bool:
            with self._database.write_transaction() as conn:
                return insert_ring_key(conn, key)

        return bool(await self._on_thread(insert))

    async def _maintain(self) -> None:
        rotate_ms = self._settings.keys.rotate_days * _DAY_MS
        self._unrecorded += await self.rings.maintain(self.insert, self._clock.now(), rotate_ms)

    async def _fetch(self) -> list[StoredKey]:
        keys: list[StoredKey] = await self._on_thread(lambda: self._database.read(load_ring_keys))
        return keys

    async def _load(self) -> None:
        logged = ""
        while True:
            try:
                await self.rings.load()
            except RingError as error:
                if str(error) != logged:
                    logged = str(error)
                    logs.get().warning("keys.load_failed", error=logged)
                await asyncio.sleep(_RETRY_SECONDS)
            else:
                return

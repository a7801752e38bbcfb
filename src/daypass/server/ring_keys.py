"""The ring keys of an installation, for `daypass server-keys`. It needs only the database, whether servers run or not."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any, Final

from daypass.audit.journal import Journal
from daypass.config import Settings
from daypass.crypto.key_encryption import KeyEncryptionKey, KeySourceError, RingError
from daypass.crypto.keys import KeyRings, Ring, ended_keys, next_keys, rewrapped
from daypass.domain.events import Event, EventType
from daypass.observability import logs
from daypass.ports.clock import Clock
from daypass.ports.directory import StoredKey
from daypass.server.clock import opened, record_change, wall
from daypass.server.from_settings import rings_of
from daypass.server.key_sources import is_key_source, key_source
from daypass.stores.engine import Database
from daypass.stores.nodes import announce_ring_keys, insert_ring_key, load_ring_keys, replace_ring_keys
from daypass.stores.tx import StoreTx, end_sessions_of_all_accounts

_LEAD_MS: Final = 2 * 3_600_000
"""How long a new signing key is published before it signs: verifiers cache the keys for an hour."""
_DAY_MS: Final = 86_400_000
_REASON: Final = "Emergency rotation of the ring keys: every session ends."


def list_keys(settings: Settings) -> list[StoredKey]:
    """Every stored key, by ring and time. Raises UnusableDatabase, DatabaseUnreachable."""
    with opened(settings) as database:
        return database.read(load_ring_keys)


def rotate(settings: Settings, rings: Sequence[Ring]) -> list[StoredKey]:
    """Makes the next key of these rings (default: all), and returns them. Sessions do not end.

    Raises UnusableDatabase, DatabaseUnreachable, RingError.
    """
    chosen = tuple(rings) or rings_of(settings)
    with opened(settings) as database:
        kek = opening_key(settings, database.read(load_ring_keys))
        keys = next_keys(kek, wall(), settings.keys.rotate_days * _DAY_MS, chosen, _LEAD_MS)

        def change(tx: StoreTx, now: int) -> Event:
            _insert(tx, keys)
            announce_ring_keys(tx.connection, now)
            return Event(EventType.KEY_ADDED, now, detail={"keys": _named(keys), "by": "command"})

        record_change(database, change)
    return keys


def rotate_in_emergency(settings: Settings) -> tuple[list[StoredKey], list[StoredKey]]:
    """Ends the keys of sessions and tokens, makes new ones, and ends every session. Returns the ended and the new keys.

    Running servers use the new keys within a second. Secrets at rest stay sealed by the keys that sealed them. Raises
    UnusableDatabase, DatabaseUnreachable, RingError.
    """
    with opened(settings) as database:
        now, stored = wall(), database.read(load_ring_keys)
        kek = opening_key(settings, stored)
        ended = ended_keys(stored, kek, now)
        keys = next_keys(kek, now, settings.keys.rotate_days * _DAY_MS, rings_of(settings), 0)

        def change(tx: StoreTx, now: int) -> Event:
            replace_ring_keys(tx.connection, ended, now)
            _insert(tx, keys)
            end_sessions_of_all_accounts(tx, now, _REASON)
            return Event(EventType.KEYS_ENDED, now, detail={"ended": _named(ended), "made": _named(keys)})

        record_change(database, change)
    return ended, keys


def _insert(tx: StoreTx, keys: Sequence[StoredKey]) -> None:
    """Adds the keys. Raises RingError when one exists already: a ring has one key for each not-before time."""
    for key in keys:
        if not insert_ring_key(tx.connection, key):
            raise RingError(f"The ring {key.ring} got another key at the same moment. Run the command again.")


def rewrap(settings: Settings, place: str) -> int:
    """Wraps every ring key by another key-encryption key, and returns their number. A key source gets a new data key.

    `place`: a file, or the URI of a key source; "": that of the settings. Raises UnusableDatabase, DatabaseUnreachable,
    RingError.
    """
    with opened(settings) as database:
        stored = database.read(load_ring_keys)
        old = opening_key(settings, stored, *((key_at(settings, place),) if place else ()))
        new = key_at(settings, place) if place else key_encryption_key(settings, new=False)
        keys = rewrapped(stored, old, new)

        def change(tx: StoreTx, now: int) -> Event:
            replace_ring_keys(tx.connection, keys, now)
            return Event(EventType.KEYS_REWRAPPED, now, detail={"keys": len(keys)})

        record_change(database, change)
    return len(keys)


def _named(keys: Sequence[StoredKey]) -> list[str]:
    return [f"{key.ring}/{key.id}" for key in keys]


# --- The key-encryption key of an installation, from the settings, and the wait for its source at start


_PAUSE_SECONDS: Final = 1.0


def key_encryption_key(settings: Settings, *, new: bool) -> KeyEncryptionKey:
    """Reads the keys of the settings, with those that are accepted too. See `_current_key`. It does not wait. Raises RingError."""
    keys = settings.keys
    others = [KeyEncryptionKey.from_file(file) for file in keys.former_encryption_key_files]
    others += [_of_source(settings, uri) for uri in keys.former_encryption_key_sources]
    return _current_key(settings, new=new).accepting(others)


def opening_key(settings: Settings, stored: Sequence[StoredKey], *extra: KeyEncryptionKey) -> KeyEncryptionKey:
    """For commands: the key-encryption key of the settings, or one of `extra`, ready to unwrap `stored`. It waits for
    a key source, once. Raises RingError.
    """
    kek = key_encryption_key(settings, new=False).accepting(extra)
    kek.learn(key.wrapped for key in stored)
    return kek


def key_at(settings: Settings, place: str) -> KeyEncryptionKey:
    """The key-encryption key in a file, or of the URI of a key source. Raises RingError."""
    return _of_source(settings, place) if is_key_source(place) else KeyEncryptionKey.from_file(Path(place))


def await_source(
    kek: KeyEncryptionKey,
    stored: Sequence[StoredKey],
    seconds: float,
    *,
    sleep: Callable[[float], None] = time.sleep,
    monotonic: Callable[[], float] = time.monotonic,
) -> None:
    """Returns when the key sources of `kek` have opened what unwraps `stored`, and it can wrap.

    A failure that may pass is tried again for `seconds`, and reported once on standard error. Raises KeySourceError.
    """
    until = monotonic() + seconds
    reported = False
    while True:
        try:
            kek.learn(key.wrapped for key in stored)
            kek.prove()
        except KeySourceError as error:
            if not error.temporary or monotonic() >= until:
                raise
            if not reported:
                reported = True
                again = f"trying again for {seconds:.0f} s (keys.wait_seconds)"
                sys.stderr.write(f"daypass: the key-encryption key: {error}\ndaypass: {again}\n")
            sleep(min(_PAUSE_SECONDS, max(0.0, until - monotonic())))
        else:
            return


def _current_key(settings: Settings, *, new: bool) -> KeyEncryptionKey:
    """Reads the key of the settings; without any, `master.key` in the data directory.

    `new`: the database holds no ring keys yet, so the file is created if it is absent. Otherwise a new one could not
    open them, and would hide that the old one is lost. Raises RingError.
    """
    if settings.keys.encryption_key_source:
        return _of_source(settings, settings.keys.encryption_key_source)
    text = settings.keys.encryption_key.get_secret_value()
    if text:
        return KeyEncryptionKey.from_text(text)
    file = settings.keys.encryption_key_file
    if file is not None:
        return KeyEncryptionKey.from_file(file)
    file = settings.server.data / "master.key"
    if not new and not file.exists():
        raise RingError(
            f"{file} is missing, and the database holds keys that only it opens: restore it from your copy, or copy it "
            "from another replica. Or set keys.encryption_key or keys.encryption_key_file."
        )
    return KeyEncryptionKey.from_file(file, create=new, private=True)


def _of_source(settings: Settings, uri: str) -> KeyEncryptionKey:
    return KeyEncryptionKey(key_source(uri, settings.keys.source_seconds))


# --- Key rotation


_ROTATION_SECONDS: Final = 3600.0
_CHECK_SECONDS: Final = 300.0  # between two checks of the key sources
_RETRY_SECONDS: Final = 2.0


class KeyRotation:
    """Call `open` first, and `record` as soon as the journal is open."""

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
            await asyncio.sleep(_ROTATION_SECONDS)
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

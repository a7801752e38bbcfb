"""The snapshot of the directory on disk: a process that starts while PostgreSQL is unavailable serves from it.

Two sealed files: `views` has the cached views, and `state` the time, the ring keys (wrapped), the revocations and the
digest of the views. `state` is written often, so that its age is small; it never claims a time at which its views had
already changed. An older copy of both files is recognised by its age alone.
"""

from __future__ import annotations

import asyncio
import fcntl
import hashlib
import os
import time
from collections.abc import Sequence
from functools import lru_cache
from typing import Final, NamedTuple

import msgspec

from daypass.audit.journal import Journal
from daypass.audit.spool import SpoolDirectory, SpoolKeyUnknown, SpoolTampered
from daypass.audit.spool_sink import OfflineStart
from daypass.config import Settings
from daypass.crypto.key_encryption import KeyEncryptionKey
from daypass.crypto.keys import KeyRings
from daypass.crypto.seal import FileSealer, SealedFileError, Sealer, read_sealed
from daypass.domain.directory import Revocation
from daypass.domain.policy.document import compile_stored
from daypass.domain.session import FeedPosition
from daypass.observability import logs
from daypass.ports.directory import StoredKey
from daypass.server.nodes import Peers, running_peers
from daypass.stores.directory import Directory
from daypass.stores.migrations import program_format
from daypass.stores.view_codec import CachedView, DirectoryImage, ViewDecoder, can_decode, encode_view

_STATE: Final = "state.sealed"
_VIEWS: Final = "views.sealed"
_LOCK: Final = "writer.lock"
_NEW_VIEWS_SECONDS: Final = 60.0  # between two writes of the views when none of them has changed
_CLOCK_BEHIND_MS: Final = 5_000
_COMPILED: Final = 4_096


class SnapshotUnusable(Exception):
    """A start cannot use the snapshot. The message says why."""


class _State(msgspec.Struct, frozen=True):
    """The content of `state`. `schema`: the newest revision of the program that wrote it."""

    schema: str
    installation: str
    clock_reset: str
    as_of: int
    epoch: str
    position: int
    others: tuple[str, ...]
    ring_keys: tuple[StoredKey, ...]
    revocations: tuple[Revocation, ...]
    views_digest: bytes


class _EncodedView(NamedTuple):
    key: str
    data: bytes
    depends_on: tuple[str, ...]


_encode = msgspec.msgpack.Encoder().encode
_decode_state = msgspec.msgpack.Decoder(_State).decode
_decode_views = msgspec.msgpack.Decoder(list[_EncodedView]).decode


class ProcessSnapshot:
    """A snapshot that was read. See `read_snapshot`."""

    def __init__(self, state: _State, views: Sequence[_EncodedView], kek: KeyEncryptionKey) -> None:
        self._state = state
        self._views = views
        self.kek = kek  # which opened it

    @property
    def as_of(self) -> int:
        """When everything in it was last known to be current, ms."""
        return self._state.as_of

    @property
    def ring_keys(self) -> tuple[StoredKey, ...]:
        """The ring keys, wrapped."""
        return self._state.ring_keys

    @property
    def start(self) -> OfflineStart:
        """The facts for the journal. The opening of its log names the snapshot, so that its age can be examined later."""
        state = self._state
        detail = {"snapshot": {"as_of": state.as_of, "epoch": state.epoch, "position": state.position}}
        return OfflineStart(state.installation, state.clock_reset, detail)

    def image(self, secrets: Sealer, spools: SpoolDirectory, node: str) -> DirectoryImage:
        """The state of the directory. Revocations that were made during the outage are in the spools of the processes
        that made them. Blocks.

        Raises SnapshotUnusable.
        """
        state = self._state
        decoder = ViewDecoder(secrets, lru_cache(_COMPILED)(compile_stored))
        try:
            views = [CachedView(v.key, decoder.decode(v.key, v.data), v.depends_on) for v in self._views]
            spooled = spools.revocations()
        except (ValueError, OSError, SpoolTampered, SpoolKeyUnknown) as error:
            raise SnapshotUnusable(str(error)) from error
        known = {revocation.id for revocation in state.revocations}
        revocations = [*state.revocations, *(revocation for revocation in spooled if revocation.id not in known)]
        others = frozenset(state.others) | running_peers(spools.directory, node)
        return DirectoryImage(FeedPosition(state.epoch, state.position), state.as_of, 0, views, revocations, others)


def snapshot_exists(settings: Settings) -> bool:
    """Whether a start may use a snapshot, as far as is known without reading it."""
    enabled = settings.snapshot.enabled and settings.spool.enabled
    postgres = settings.database_url().startswith("postgresql")
    return enabled and postgres and (settings.snapshot_directory() / _STATE).exists()


def read_snapshot(settings: Settings, kek: KeyEncryptionKey, wall: int) -> ProcessSnapshot:
    """Reads and checks the snapshot. `wall`: ms. Raises SnapshotUnusable."""
    directory = settings.snapshot_directory()
    try:
        state = _decode_state(read_sealed(directory / _STATE, kek))
        data = read_sealed(directory / _VIEWS, kek)
        if hashlib.sha256(data).digest() != state.views_digest:
            raise SnapshotUnusable(f"{directory / _VIEWS} does not belong to {directory / _STATE}")
        views = _decode_views(data)
    except (SealedFileError, msgspec.MsgspecError) as error:
        raise SnapshotUnusable(str(error)) from error
    if state.schema != program_format():
        raise SnapshotUnusable("the snapshot was written by another release")
    age = wall - state.as_of
    if age < -_CLOCK_BEHIND_MS:
        raise SnapshotUnusable(f"the system clock is {-age / 1000:.0f} s behind the snapshot")
    limit = settings.directory.max_staleness_seconds
    if age > limit * 1000:
        raise SnapshotUnusable(f"the snapshot is {age / 1000:.0f} s old (directory.max_staleness_seconds: {limit:g})")
    return ProcessSnapshot(state, views, kek)


class SnapshotWriter:
    """Writes the snapshot regularly, as long as no other process of the data directory does."""

    def __init__(
        self,
        settings: Settings,
        kek: KeyEncryptionKey,
        directory: Directory,
        rings: KeyRings,
        journal: Journal,
        peers: Peers,
    ) -> None:
        self._place = settings.snapshot_directory()
        self._seconds = settings.snapshot.seconds
        self._entries = settings.snapshot.entries
        self._sealer = FileSealer(kek)
        self._directory = directory
        self._rings = rings
        self._journal = journal
        self._peers = peers
        self._lock = -1
        self._written: tuple[object, ...] = ()  # what the last written state depended on
        self._changes = -1  # those of the views in the file
        self._keys: frozenset[str] = frozenset()
        self._views_at = float("-inf")
        self._digest = b""
        self._schema = program_format()

    async def run(self) -> None:
        """Writes until it is cancelled."""
        failure = ""
        while True:
            try:
                await self.write()
                failure = ""
            except Exception as error:  # noqa: BLE001  # the loop must continue: a later snapshot may be written
                if str(error) != failure:
                    failure = str(error)
                    logs.get().warning("snapshot.not_written", error=failure)
            await asyncio.sleep(self._seconds)

    async def write(self) -> None:
        """Writes what has changed since the last time. Raises OSError."""
        if not await asyncio.to_thread(self._locked):
            return
        image = self._directory.image(self._entries)
        now = time.monotonic()
        keys = frozenset(view.key for view in image.views)
        new = keys != self._keys and now - self._views_at >= _NEW_VIEWS_SECONDS
        views = image.views if new or image.changes != self._changes else None
        depends = (image.as_of, image.position, image.revocations, self._rings.stored)
        if views is None and depends == self._written:
            return
        others = tuple(sorted(image.others - self._peers.local()))
        await asyncio.to_thread(self._store, image, views, others)
        self._written = depends
        if views is not None:
            self._changes, self._keys, self._views_at = image.changes, keys, now

    def _locked(self) -> bool:
        """Whether this process writes the snapshot. Raises OSError."""
        if self._lock >= 0:
            return True
        self._place.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = os.open(self._place / _LOCK, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            return False
        self._lock = lock
        return True

    def _store(self, image: DirectoryImage, views: Sequence[CachedView] | None, others: tuple[str, ...]) -> None:
        if views is not None:
            known = [view for view in views if can_decode(view.key)]
            data = _encode([_EncodedView(view.key, encode_view(view.view), view.depends_on) for view in known])
            self._sealer.write(self._place / _VIEWS, data)
            self._digest = hashlib.sha256(data).digest()
        installation, clock_reset = self._journal.database_facts
        state = _State(
            self._schema,
            installation,
            clock_reset,
            image.as_of,
            image.position.epoch,
            image.position.position,
            others,
            self._rings.stored,
            tuple(image.revocations),
            self._digest,
        )
        self._sealer.write(self._place / _STATE, _encode(state))

    def close(self) -> None:
        """Lets another process write."""
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

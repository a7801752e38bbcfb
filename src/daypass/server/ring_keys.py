"""The ring keys of an installation, for `daypass server-keys`. It needs only the database, whether servers run or not."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from daypass.config import Settings
from daypass.crypto.key_encryption import KeyEncryptionKey, KeySourceError, RingError
from daypass.crypto.keys import Ring, ended_keys, next_keys, rewrapped
from daypass.domain.events import Event, EventType
from daypass.ports.directory import StoredKey
from daypass.server.clock import opened, wall
from daypass.server.from_settings import rings_of
from daypass.server.key_sources.uri import is_key_source, key_source
from daypass.server.recording import record_change
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
    """From the settings, with those that are accepted too. See `_current_key`. It does not wait. Raises RingError."""
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
    """From the settings; without any, `master.key` in the data directory.

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

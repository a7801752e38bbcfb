"""The ring keys of an installation, for `daypass server-keys`. It needs only the database, whether servers run or not."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from daypass.config import Settings
from daypass.crypto.key_encryption import RingError
from daypass.crypto.keys import Ring, ended_keys, next_keys, rewrapped
from daypass.domain.events import Event, EventType
from daypass.ports.directory import StoredKey
from daypass.server.authorization_server import rings_of
from daypass.server.clock import opened, wall
from daypass.server.encryption_key import key_at, key_encryption_key, opening_key
from daypass.server.recording import record_change
from daypass.stores.ring_keys import (
    announce_ring_keys,
    insert_ring_key,
    load_ring_keys,
    replace_ring_keys,
)
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

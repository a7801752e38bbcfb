"""Backup and restore of an installation's database, for `daypass backup`.

A backup is a logical copy in one snapshot, encrypted to a recipient's public key (`crypto.age`). It is made while
servers run. A restored database has a new epoch and no session: what was revoked after the backup was made is not known
to it, so every session ends (attack A105).
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sqlalchemy import delete

from daypass import __version__
from daypass.config import Settings
from daypass.crypto.age import AgeError, decrypted, encrypting, identity_of, recipient_of
from daypass.crypto.key_encryption import RingError
from daypass.domain.events import Event, EventType
from daypass.server.clock import opened, record, wall
from daypass.server.ring_keys import opening_key
from daypass.server.startup import StartupError, database_errors, prepare_data_directory
from daypass.stores.columns import nodes
from daypass.stores.copying import CopyError, Header, is_empty, load_copy, write_copy
from daypass.stores.engine import Database, open_database
from daypass.stores.feed import renew_epoch
from daypass.stores.migrations import prepare
from daypass.stores.nodes import load_ring_keys
from daypass.stores.tx import end_all_sessions

_PATIENT_SECONDS: Final = 6 * 3600.0
_REASON: Final = "The database was restored from a backup: it may have forgotten revocations."


class BackupError(StartupError):
    """The backup cannot be made or restored. The message says why."""


@dataclass(frozen=True, slots=True)
class Copied:
    """A backup that was made or restored. `created_at`: ms; `rows`: of all tables."""

    installation: str
    created_at: int
    rows: int
    accounts: int
    records: int


def make(settings: Settings, recipient: str, file: Path) -> Copied:
    """Writes a backup to a new file (mode 0600). The file gets its name when it is complete and durable.

    Raises BackupError, UnusableDatabase, DatabaseUnreachable.
    """
    with _faults():
        public = recipient_of(recipient)
    if file.exists():
        raise BackupError(f"{file} exists already.")
    now = wall()
    with opened(settings) as database, _draft_of(file) as draft:
        try:
            with draft.open("wb") as out:
                with _faults(), encrypting(out, public) as write:
                    counts = database.read(
                        lambda conn: write_copy(conn, now, __version__, write), seconds=_PATIENT_SECONDS
                    )
                out.flush()
                os.fsync(out.fileno())
            draft.replace(file)
        except OSError as error:
            raise BackupError(f"{file} cannot be written: {error.strerror}.") from error
        copy = _copied("", now, counts)
        event = Event(EventType.BACKUP_MADE, now, detail={"rows": copy.rows, "recipient": recipient})
        record(database, event)
    return copy


@contextmanager
def _draft_of(file: Path) -> Iterator[Path]:
    """An empty file (mode 0600) beside `file`, removed at the end. Its name cannot be guessed: in a directory that others
    can write, they could have put a link there (attack A203). Raises BackupError.
    """
    try:
        handle, name = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}.")
    except OSError as error:
        raise BackupError(f"{file} cannot be written: {error.strerror}.") from error
    os.close(handle)
    try:
        yield Path(name)
    finally:
        Path(name).unlink(missing_ok=True)


def restore(settings: Settings, identity: str, file: Path) -> Copied:
    """Restores a backup into a new, empty database, and ends every session.

    Raises BackupError, UnusableDatabase, DatabaseUnreachable, StartupError.
    """
    prepare_data_directory(settings.server.data)
    database = open_database(settings.database_url(), epoch=settings.database.epoch)
    try:
        with database_errors(settings):
            prepare(database)
            if not database.read(is_empty):
                raise BackupError("the database is not empty: a backup is restored into a new one.")
            header, counts = _load(database, identity, file)
            copy = _copied(header.installation, header.created_at, counts)
            detail = {"created_at": header.created_at, "rows": copy.rows, "release": header.release}
            record(database, Event(EventType.BACKUP_RESTORED, wall(), detail=detail))
    finally:
        database.close()
    return copy


def check_keys(settings: Settings, restored: Settings) -> int:
    """How many ring keys of the restored database the key-encryption key of `settings` opens: all of them.

    Raises RingError, UnusableDatabase.
    """
    with opened(restored) as database:
        keys = database.read(load_ring_keys)
    kek = opening_key(settings, keys)
    for key in keys:
        kek.unwrap(key)
    if not keys:
        raise RingError("the backup has no ring keys.")
    return len(keys)


def _load(database: Database, identity: str, file: Path) -> tuple[Header, dict[str, int]]:
    """Restores in one transaction: a backup that cannot be read to its end changes nothing."""
    with _faults():
        key = identity_of(identity)
        try:
            with file.open("rb") as opened_file, database.write_transaction(seconds=_PATIENT_SECONDS) as conn:
                header, counts = load_copy(conn, decrypted(opened_file, key))
                conn.execute(delete(nodes))  # no process of the backup's time is running
                renew_epoch(conn)
                end_all_sessions(conn, wall(), _REASON)
        except OSError as error:
            raise BackupError(f"{file} cannot be read: {error.strerror}.") from error
    return header, counts


@contextmanager
def _faults() -> Iterator[None]:
    try:
        yield
    except (AgeError, CopyError) as error:
        raise BackupError(f"{error}.") from error


def _copied(installation: str, created_at: int, counts: dict[str, int]) -> Copied:
    return Copied(installation, created_at, sum(counts.values()), counts["accounts"], counts["audit_records"])

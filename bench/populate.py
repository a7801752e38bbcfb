"""Fills a database with roles, straight through the store, so that a bench can ask for any of them."""

from __future__ import annotations

import time
from pathlib import Path

from daypass.crypto.ids import Ids
from daypass.domain.directory import Account, Role
from daypass.stores.engine import open_database
from daypass.stores.migrations import prepare
from daypass.stores.tx import StoreReader, StoreTx

_CHUNK = 5000


def add_roles(data: Path, account: str, count: int, trust: str) -> None:
    """Roles `many-0` … in `account`, in the SQLite database of this data directory. The account must be there."""
    database = open_database(f"sqlite:///{data.absolute() / 'daypass.db'}")
    prepare(database)
    ids, now = Ids(), int(time.time() * 1000)
    if database.read(lambda conn: StoreReader(conn).get(Account, id=account)) is None:
        raise SystemExit(f"there is no account {account} in {data}")
    for start in range(0, count, _CHUNK):
        with database.write_transaction() as conn:
            tx = StoreTx(conn, now)
            for number in range(start, min(start + _CHUNK, count)):
                tx.insert(Role(ids.unique("AROA"), account, f"many-{number}", "/", now, trust))
            tx.flush()
    database.close()

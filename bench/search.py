"""What does a search of the record cost that finds nothing, or only old records, as the record grows? In SQLite, or `--url`.

CPU milliseconds of this process, the least of five searches; on PostgreSQL the time of the answer. Target: flat.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from itertools import islice
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, text

from daypass.audit.read import search_records
from daypass.audit.sql import note_hours, statements
from daypass.ports import RecordFilter, Viewer
from daypass.stores.engine import Database, open_database
from daypass.stores.migrations import prepare

ACCOUNT, LOG, KEYS = "123456789012", "a" * 32, 1_000
BATCH = 10_000
SEARCHES = {
    "absent access key": RecordFilter(access_key_id="AKIAABSENT"),
    "access key used first": RecordFilter(access_key_id="AKIAFIRST"),
    "key used first and last": RecordFilter(access_key_id="AKIAENDS"),
    "usual operation, old": RecordFilter(operation="sts:GetCallerIdentity"),
    "changes, old": RecordFilter(changes=True),
    "usual type, old": RecordFilter(type="session.issued"),
    "absent error": RecordFilter(error="not_there"),
    "absent operation": RecordFilter(operation="iam:NotThere"),
    "absent request": RecordFilter(request_id="0" * 32),
}


def row(number: int) -> tuple[Any, ...]:
    """A record each second, of many keys in turn; of the first key in the first minute alone."""
    key = "AKIAFIRST" if number < 60 else f"AKIA{number % KEYS}"
    key = "AKIAENDS" if 60 <= number < 90 or number % 100_000 == 99_999 else key
    return (
        LOG,
        number,
        number * 1000,
        "session.issued" if number < 60 else "request.allowed",
        ACCOUNT,
        ACCOUNT,
        "sts:GetCallerIdentity" if number < 60 else "sts:AssumeRole",
        key,
        "",
        number,
        None,
        b"",
        b"",
    )


def fill(database: Database, first: int, last: int) -> None:
    insert = statements(database.dialect).insert_records
    numbers = iter(range(first, last))
    while batch := [row(number) for number in islice(numbers, BATCH)]:
        with database.write_transaction() as conn:
            insert(conn, batch)
            note_hours(conn, batch)
    with database.write_transaction() as conn:
        conn.execute(text("ANALYZE"))


def cost(database: Database, query: RecordFilter) -> float:
    clock = time.process_time if database.dialect == "sqlite" else time.perf_counter

    def once(conn: Connection) -> float:
        began = clock()
        search_records(conn, Viewer(ACCOUNT), query)
        return clock() - began

    return min(database.read(once) for _ in range(5)) * 1000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", default="", help="an empty database")
    parser.add_argument("--records", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        database = open_database(given.url or f"sqlite:///{Path(folder) / 'record.db'}")
        prepare(database)
        for least, most in zip([0, *given.records], given.records, strict=False):
            fill(database, least, most)
            costs = "   ".join(f"{name} {cost(database, query):6.2f}" for name, query in SEARCHES.items())
            print(f"{most:9,} records, ms:   {costs}", flush=True)
        database.close()


if __name__ == "__main__":
    main()

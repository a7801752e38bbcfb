"""The first schema: the tables as the code declares them.

Nothing was released, so no database has to be migrated and this revision follows from the tables: a change of a table is
a new format by itself. With the first release, replace `revision` by its value and `create_all` by the tables as they are
then. From there on every change is a separate revision, as `tests/contract/example_migrations` shows.
"""

from __future__ import annotations

import hashlib
import secrets

from alembic import op
from sqlalchemy.schema import CreateIndex, CreateTable

from daypass.stores.columns import feed_counter, meta, metadata
from daypass.stores.meta import INSTALLATION


def _digest() -> str:
    definitions = [
        str(statement)
        for table in metadata.sorted_tables
        for statement in (
            CreateTable(table),
            *map(CreateIndex, sorted(table.indexes, key=lambda index: str(index.name))),
        )
    ]
    return hashlib.sha256("".join(definitions).encode()).hexdigest()[:8]


revision = f"1.{_digest()}"
down_revision = None


def upgrade() -> None:
    metadata.create_all(op.get_bind(), checkfirst=False)
    op.bulk_insert(feed_counter, [{"id": 1, "position": 0, "pruned": 0, "epoch": secrets.token_hex(8)}])
    op.bulk_insert(meta, [{"key": INSTALLATION, "value": secrets.token_hex(16)}])

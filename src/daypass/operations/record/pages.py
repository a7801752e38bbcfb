"""Pages of the record, for operations that look through many records, and for answers."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import replace

import msgspec
from msgspec import Struct

from daypass.ports import Env, RecordFilter, RecordView, Viewer


class RecordPage(Struct, frozen=True):
    """Records of one answer. `before`: where the next page begins; None at the end of the record."""

    records: Sequence[RecordView]
    before: tuple[int, str, int] | None


async def pages_of(env: Env, viewer: Viewer, query: RecordFilter) -> AsyncIterator[list[RecordView]]:
    """The records that match, newest first, in pages of `query.limit`. The last page has fewer. Raises
    DaypassError(UNAVAILABLE).
    """
    while True:
        page = await env.records.search(viewer, query)
        yield page
        if len(page) < query.limit:
            return
        query = replace(query, before=place_of(page[-1]))


def place_of(record: RecordView) -> tuple[int, str, int]:
    """Where a page ends whose last record this is: `RecordFilter.before` of the next one."""
    return record.at, record.log, record.seq


def size_of(record: RecordView) -> int:
    """Bytes of what the viewer may see of the event; only of that, because sizes of other accounts' events are not
    the viewer's to know.
    """
    if record.bytes is not None:
        return len(record.bytes)
    return len(msgspec.json.encode(record.body)) if record.body is not None else 0

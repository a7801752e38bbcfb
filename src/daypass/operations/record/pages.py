"""Pages of the record, for operations that look through many records, and for answers."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from typing import Final

import msgspec
from msgspec import Struct

from daypass.operations import pages as answers
from daypass.ports import Env, RecordFilter, RecordView, Viewer

STEP: Final = 100
"""Records that are read at once for an answer, in a turn of the account: few more than those that it shows (attack A312)."""


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


async def logged(env: Env, viewer: Viewer, log: str, after: int, step: int) -> AsyncIterator[list[RecordView]]:
    """The records of a log after `after`, in pages of `step`. The last page has fewer. Raises DaypassError(UNAVAILABLE)."""
    while True:
        page = await env.records.records(viewer, log, after, step)
        yield page
        if len(page) < step:
            return
        after = page[-1].seq


async def fitting(pages: AsyncIterator[Sequence[RecordView]], limit: int) -> tuple[list[RecordView], bool]:
    """The first records, as many as fit into one answer, up to `limit`; at least one, so that readers advance. And
    whether there may be more. Records behind the last page that is needed are not read.
    """
    views: list[RecordView] = []
    total = 0
    async for page in pages:
        for record in page:
            total += size_of(record)
            if views and (total > answers.MAX_BYTES or len(views) >= limit):
                return views, True
            views.append(record)
        if len(views) >= limit:
            return views, True
    return views, False


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

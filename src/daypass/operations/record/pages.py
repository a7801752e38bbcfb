"""Pages of the record, for operations that look through many records."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace

from daypass.ports import Env, RecordFilter, RecordView, Viewer


async def pages_of(env: Env, viewer: Viewer, query: RecordFilter) -> AsyncIterator[list[RecordView]]:
    """The records that match, newest first, in pages of `query.limit`. The last page has fewer. Raises
    DaypassError(UNAVAILABLE).
    """
    while True:
        page = await env.records.search(viewer, query)
        yield page
        if len(page) < query.limit:
            return
        query = replace(query, before=(page[-1].at, page[-1].log, page[-1].seq))

"""The timeline of a person, role or session: a heat map of use by hour, and the events as a line."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Final, NamedTuple

from daypass.domain.errors import DaypassError, ErrorKind
from daypass.operations.record.explore import EventFilter, explore
from daypass.operations.sessions import list_sessions
from daypass.ports import RecordFilter, SessionFilter
from daypass.wire.console.context import ConsoleContext
from daypass.wire.content import cursor, record_cursor
from daypass.wire.http import Response

_SESSIONS: Final = 1_000
_EVENTS: Final = 50
_WEEKS_MS: Final = 28 * 86_400_000
_DAYS: Final = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_SUBJECTS: Final = ("person", "role", "session")


class Heat(NamedTuple):
    """Sessions by weekday and hour (UTC). `level`: from 0 to 4, of the busiest hour."""

    days: Sequence[tuple[str, Sequence[tuple[int, int]]]]
    total: int
    busiest: str


async def page(ctx: ConsoleContext) -> Response:
    """GET /console/timeline: one of `person`, `role` (a name or id) and `session` (an id)."""
    given = {subject: ctx.value(subject, 256) for subject in _SUBJECTS}
    named = [(subject, value) for subject, value in given.items() if value]
    if len(named) != 1:
        raise DaypassError(ErrorKind.VALIDATION, "A timeline is of one person, role or session.")
    subject, name = named[0]
    wanted = EventFilter(person=given["person"], role=given["role"], chain=given["session"])
    query = RecordFilter(changes=True, limit=_EVENTS, before=record_cursor(ctx.value("after", 128)))
    events = await ctx.attempt("daypass:ReadAudit", explore, query, wanted)
    before = events.value.before if events.value is not None else None
    following = cursor(*before) if before is not None else ""
    shown = {"subject": subject, "name": name, "events": events, "following": following}
    return ctx.page("timeline", f"Timeline of {name}", heat=await _heat(ctx, given), **shown)


async def _heat(ctx: ConsoleContext, given: dict[str, str]) -> Heat | None:
    """The use of a role or by a person in four weeks; none for a session."""
    if given["session"]:
        return None
    since = ctx.call.now - _WEEKS_MS
    of = SessionFilter(principal_id=given["role"], root_principal_id=given["person"], since=since, limit=_SESSIONS)
    part = await ctx.attempt("daypass:ListSessions", list_sessions.list_sessions, of)
    return heat_of(view.claims.issued_at for view in part.value[0]) if part.value is not None else None


def heat_of(times: Iterable[int]) -> Heat:
    """The heat map of these times (ms)."""
    moments = (datetime.fromtimestamp(at / 1000, UTC) for at in times)
    counts = Counter((moment.weekday(), moment.hour) for moment in moments)
    most = max(counts.values(), default=0)
    days = [
        (name, [(counts[day, hour], -(-4 * counts[day, hour] // most) if most else 0) for hour in range(24)])
        for day, name in enumerate(_DAYS)
    ]
    (day, hour), _ = counts.most_common(1)[0] if counts else ((0, 0), 0)
    return Heat(days, counts.total(), f"{_DAYS[day]}, {hour:02}:00 UTC" if counts else "")

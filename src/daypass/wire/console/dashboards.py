"""The dashboards, live by server-sent events, and their export.

Each answer of the stream has one event, and the browser asks again after the time in `retry`. So each event is
authenticated and authorized for itself, and a browser that was signed out gets no further one.
Source: HTML Living Standard, 9.2 (server-sent events).
"""

from __future__ import annotations

import csv
import io
import json
from typing import Any, Final

from daypass.domain.errors import DaypassError, ErrorKind
from daypass.operations.broker import read
from daypass.operations.record.summarize import Summary, summarize
from daypass.wire.console.visit import ConsoleVisit, address
from daypass.wire.http import Header, Response
from daypass.wire.web.render import HEADERS, iso

_READ: Final = "daypass:ReadAudit"
_HOUR_MS: Final = 3_600_000
_RETRY_MS: Final = 10_000
_GRANTS: Final = 100
VIEWS: Final = {"executive": "Executive", "on-call": "On call", "debug": "Debug"}
HOURS: Final = {"1": "1 hour", "24": "24 hours", "168": "7 days", "720": "30 days"}


async def dashboard(visit: ConsoleVisit) -> Response:
    """GET /console/dashboard. `view`: executive, on-call or debug. `hours`: the period, up to now."""
    view, hours = _view(visit), _hours(visit)
    found = await _summary(visit, hours)
    grants = await visit.attempt("daypass:ListGrants", read.list_grants, active=True, limit=_GRANTS)
    open_grants = grants.value[0] if grants.value is not None else []
    here = address("/console/dashboard", view=view, hours=hours)
    return visit.page(
        "dashboard",
        f"Dashboard: {VIEWS[view].lower()}",
        view=view,
        hours=str(hours),
        views=VIEWS,
        periods=HOURS,
        found=found,
        grants=open_grants,
        charts=json.dumps(_charts(found)),
        live=address("/console/dashboard/events", view=view, hours=hours),
        exports={form: address("/console/dashboard/export", format=form, hours=hours) for form in ("csv", "json")},
        here=here,
    )


async def events(visit: ConsoleVisit) -> Response:
    """GET /console/dashboard/events: one event with the figures as they are now."""
    found = await _summary(visit, _hours(visit))
    text = json.dumps({"figures": _figures(found), "charts": _charts(found)}, separators=(",", ":"))
    body = f"retry: {_RETRY_MS}\nevent: summary\ndata: {text}\n\n".encode("ascii")
    return Response(200, body, b"text/event-stream", HEADERS, _READ)


async def export(visit: ConsoleVisit) -> Response:
    """GET /console/dashboard/export. `format`: csv (the series) or json (everything)."""
    found = await _summary(visit, _hours(visit))
    if visit.value("format", 8) == "json":
        body = json.dumps({"figures": _figures(found), "charts": _charts(found)}, indent=2).encode("ascii")
        return _attachment("daypass-dashboard.json", b"application/json", body)
    text = io.StringIO()
    writer = csv.writer(text)
    names = list(found.series)
    writer.writerow(["time", *names])
    for number, at in enumerate(found.times):
        writer.writerow([iso(at), *(found.series[name][number] for name in names)])
    return _attachment("daypass-dashboard.csv", b"text/csv; charset=utf-8", text.getvalue().encode())


def _attachment(name: str, media_type: bytes, body: bytes) -> Response:
    header: Header = (b"content-disposition", f'attachment; filename="{name}"'.encode("ascii"))
    return Response(200, body, media_type, (*HEADERS, header), _READ)


async def _summary(visit: ConsoleVisit, hours: int) -> Summary:
    now = visit.call.now
    return await visit.perform(_READ, summarize, now - hours * _HOUR_MS, now)


def _view(visit: ConsoleVisit) -> str:
    view = visit.value("view", 16) or "executive"
    if view not in VIEWS:
        raise DaypassError(ErrorKind.VALIDATION, f"The view is one of: {', '.join(VIEWS)}.")
    return view


def _hours(visit: ConsoleVisit) -> int:
    hours = visit.value("hours", 4) or "24"
    if hours not in HOURS:
        raise DaypassError(ErrorKind.VALIDATION, f"The number of hours is one of: {', '.join(HOURS)}.")
    return int(hours)


def _figures(found: Summary) -> dict[str, Any]:
    """The single figures, as the page shows them."""
    return {
        "success": f"{found.success:.1%}" if found.success is not None else "–",
        "issued": sum(found.series["issued"]),
        "refused": sum(found.series["refused"]),
        "requested": sum(found.series["requested"]),
        "high_risk": sum(found.series["high_risk"]),
        "unavailable": found.unavailable,
        "failures": [[cause.name, cause.count] for cause in found.failures],
        "callers": [[cause.name, cause.count] for cause in found.callers],
        "since": iso(found.since),
        "complete": found.complete,
    }


def _charts(found: Summary) -> dict[str, Any]:
    """The series as uPlot takes them: times in seconds, then the numbers."""
    return {"times": [at // 1000 for at in found.times], **{name: list(n) for name, n in found.series.items()}}

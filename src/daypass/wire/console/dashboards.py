"""The dashboards, live by server-sent events, and their export.

Each answer of the stream has one event, and the browser asks again after the time in `retry`. So each event is
authenticated and authorized for itself, and a browser that was signed out gets no further one.
Source: HTML Living Standard, 9.2 (server-sent events).
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from math import log
from typing import Any, Final, NamedTuple

from daypass.domain.errors import DaypassError, ErrorKind
from daypass.operations.access_requests import read
from daypass.operations.record.measure import Check, Latency, Measured, measure
from daypass.operations.record.summarize import Assumed, Summary, summarize
from daypass.wire.console.context import ConsoleContext, Part, address
from daypass.wire.http import Header, Response
from daypass.wire.web.render import HEADERS, iso, visible

_READ: Final = "daypass:ReadAudit"
_HOUR_MS: Final = 3_600_000
_RETRY_MS: Final = 10_000
_GRANTS: Final = 100
_NAMED: Final = 20  # grants that are shown, with the names of their persons
ON_CALL: Final = "on-call"
VIEWS: Final = {"executive": "Executive", ON_CALL: "On call", "debug": "Debug"}
_SHOWN: Final = 10  # people and roles of the map
_RECORDS: Final = "/console/records"
_MEASURED: Final = ("requests", "faults", "p50", "p99")
HOURS: Final = {"1": "1 hour", "24": "24 hours", "168": "7 days", "720": "30 days"}


async def dashboard(ctx: ConsoleContext) -> Response:
    """GET /console/dashboard. `view`: executive, on-call or debug. `hours`: the period, up to now."""
    view, hours = _view(ctx), _hours(ctx)
    found, measured = await _summary(ctx, hours), await _measured(ctx, view, hours)
    grants = await ctx.attempt("daypass:ListGrants", read.list_grants, active=True, limit=_GRANTS)
    listed, more = grants.value or ([], "")
    refused = await read.refusals(ctx.env, ctx.call, listed if view == "executive" else ())
    open_grants = [grant for grant in listed if grant.id not in refused]
    shown: dict[str, object] = {"view": view, "hours": hours}
    here = address("/console/dashboard", **shown)
    # Refused parts are not requested again: the page follows the events, and each refusal is recorded.
    followed = {**shown, "view": view if measured.value is not None else ""}
    return ctx.page(
        "dashboard",
        f"Dashboard: {VIEWS[view].lower()}",
        view=view,
        hours=str(hours),
        views=VIEWS,
        periods=HOURS,
        found=found,
        measured=measured,
        measured_figures=_measured_figures(measured.value) if measured.value is not None else {},
        figures=_figures(found, Part()),
        people=_people(found.roles) if view == "executive" else None,
        grants=[(grant, await ctx.person_name(grant.principal_id)) for grant in open_grants[:_NAMED]],
        number_of_grants=f"{len(open_grants)}{' or more' if more else ''}",
        charts=json.dumps(_charts(found, measured)),
        live=address("/console/dashboard/events", **followed),
        exports={form: address("/console/dashboard/export", format=form, **followed) for form in ("csv", "json")},
        here=here,
    )


async def events(ctx: ConsoleContext) -> Response:
    """GET /console/dashboard/events: one event with the figures as they are now."""
    text = json.dumps(await _everything(ctx), separators=(",", ":"))
    body = f"retry: {_RETRY_MS}\nevent: summary\ndata: {text}\n\n".encode("ascii")
    return Response(200, body, b"text/event-stream", HEADERS, _READ)


async def export(ctx: ConsoleContext) -> Response:
    """GET /console/dashboard/export. `format`: csv (the series) or json (everything)."""
    if ctx.value("format", 8) == "json":
        body = json.dumps(await _everything(ctx), indent=2).encode("ascii")
        return _attachment("daypass-dashboard.json", b"application/json", body)
    found = await _summary(ctx, _hours(ctx))
    measured = await _measured(ctx, _view(ctx), _hours(ctx))
    text = io.StringIO()
    writer = csv.writer(text)
    _write_series(writer, found.times, found.series)
    if measured.value is not None:
        writer.writerow([])
        _write_series(writer, measured.value.times, {name: getattr(measured.value, name) for name in _MEASURED})
    return _attachment("daypass-dashboard.csv", b"text/csv; charset=utf-8", text.getvalue().encode())


def _write_series(writer: Any, times: Sequence[int], series: Mapping[str, Sequence[object]]) -> None:
    """A heading, and a row for each time."""
    writer.writerow(["time", *series])
    for number, at in enumerate(times):
        writer.writerow([iso(at), *(values[number] for values in series.values())])


async def _everything(ctx: ConsoleContext) -> dict[str, Any]:
    found = await _summary(ctx, _hours(ctx))
    measured = await _measured(ctx, _view(ctx), _hours(ctx))
    return {"figures": _figures(found, measured), "charts": _charts(found, measured)}


def _attachment(name: str, media_type: bytes, body: bytes) -> Response:
    header: Header = (b"content-disposition", f'attachment; filename="{name}"'.encode("ascii"))
    return Response(200, body, media_type, (*HEADERS, header), _READ)


async def _summary(ctx: ConsoleContext, hours: int) -> Summary:
    now = ctx.call.now
    return await ctx.perform(_READ, summarize, now - hours * _HOUR_MS, now)


async def _measured(ctx: ConsoleContext, view: str, hours: int) -> Part[Measured]:
    """Latency, errors and checks, which the view for those on call shows to operators."""
    if view != ON_CALL:
        return Part()
    now = ctx.call.now
    return await ctx.attempt("daypass:ReadMeasurements", measure, now - hours * _HOUR_MS, now)


def _view(ctx: ConsoleContext) -> str:
    view = ctx.value("view", 16) or "executive"
    if view not in VIEWS:
        raise DaypassError(ErrorKind.VALIDATION, f"The view is one of: {', '.join(VIEWS)}.")
    return view


def _hours(ctx: ConsoleContext) -> int:
    hours = ctx.value("hours", 4) or "24"
    if hours not in HOURS:
        raise DaypassError(ErrorKind.VALIDATION, f"The number of hours is one of: {', '.join(HOURS)}.")
    return int(hours)


def _figures(found: Summary, measured: Part[Measured]) -> dict[str, Any]:
    """The single figures, as the page shows them."""
    return {
        **(_measured_figures(measured.value) if measured.value is not None else {}),
        "success": f"{found.success:.1%}" if found.success is not None else "–",
        "issued": sum(found.series["issued"]),
        "refused": sum(found.series["refused"]),
        "requested": sum(found.series["requested"]),
        "high_risk": sum(found.series["high_risk"]),
        "unavailable": found.unavailable,
        "budget": "–" if found.budget_left is None else f"{max(found.budget_left, -9.99):.0%}",
        "failures": [
            [str(visible(c.name)).replace("_", " "), c.count, "", _of_failure(c.name)] for c in found.failures
        ],
        "callers": [[visible(c.name), c.count, "", _of_caller(c.name)] for c in found.callers],
        "operations": [[visible(c.name), c.count, "", address(_RECORDS, operation=c.name)] for c in found.operations],
        "durations": [[c.name, c.count, "", "/console/sessions"] for c in found.durations],
        "since": iso(found.since),
        "complete": found.complete,
    }


def _of_failure(cause: str) -> str:
    """The records behind a cause, "sts:AssumeRole: access_denied"."""
    operation, _, error = cause.rpartition(": ")
    return address(_RECORDS, operation="" if operation == "unknown operation" else operation, error=error)


def _of_caller(name: str) -> str:
    nobody, _, source = name.partition(", from ")
    return address(_RECORDS, decision="refused", **({"source": source} if source else {"person": nobody}))


class People(NamedTuple):
    """Who assumed which role: a row for each person, a column for each role. `rows`: ARN, and number, level of colour and
    address for each role.
    """

    roles: tuple[str, ...]
    rows: tuple[tuple[str, tuple[tuple[int, int, str], ...]], ...]


def _people(found: Sequence[Assumed]) -> People:
    """The most frequent of both."""
    counts = {(each.who, each.role): each.count for each in found}
    people = tuple(dict.fromkeys(each.who for each in found))[:_SHOWN]
    roles = tuple(dict.fromkeys(each.role for each in found))[:_SHOWN]
    most = max(counts.values(), default=0)

    def cell(who: str, role: str) -> tuple[int, int, str]:
        count = counts.get((who, role), 0)
        return count, _level(count, most), address(_RECORDS, person=who, role=role, type="session.issued")

    return People(roles, tuple((who, tuple(cell(who, role) for role in roles)) for who in people))


def _level(count: int, most: int) -> int:
    """0 to 4, by the logarithm: one request of a thousand is still seen."""
    return 1 + round(3 * log(count) / log(most)) if count and most > 1 else int(count > 0)


def _heat(found: Measured) -> list[list[Any]]:
    """Rows of the heat map, slowest first: the name, and number and level of colour for each time."""
    names = [*(f"≤ {bound * 1000:g} ms" for bound in found.bounds), f"> {found.bounds[-1]:g} s"] if found.bounds else []
    most = max((number for numbers in found.heat for number in numbers), default=0)
    by_bound = [[numbers[place] if numbers else 0 for numbers in found.heat] for place in range(len(names))]
    rows = [[name, [[n, _level(n, most)] for n in row]] for name, row in zip(names, by_bound, strict=True)]
    return rows[::-1]


def _measured_figures(found: Measured) -> dict[str, Any]:
    return {
        "heat": _heat(found),
        "p50": milliseconds(found.latency, "p50"),
        "p99": milliseconds(found.latency, "p99"),
        "requests": found.latency.count,
        "faults": sum(found.faults),
        "slowest": [
            [each.operation, f"{milliseconds(each.latency, 'p99')} ({each.latency.count})"] for each in found.operations
        ],
        "checks": [[check.name, *_outcome(check)] for check in found.checks],
    }


def _outcome(check: Check) -> tuple[str, str]:
    """The results of a check, and what was wrong the last time."""
    text = f"passed {check.passed}" + (f", failed {check.failed}" if check.failed else "")
    return text, check.last.why if check.last is not None else ""


def milliseconds(latency: Latency, which: str) -> str:
    """A percentile as text. It is the bound of a bucket, so that the true value is at most this."""
    value = getattr(latency, which)
    if value is not None:
        return f"≤ {value:g} ms"
    return "over 5 s" if latency.count else "–"


def _charts(found: Summary, measured: Part[Measured]) -> dict[str, Any]:
    """The series as uPlot takes them: times in seconds, then the numbers."""
    charts: dict[str, Any] = {"record": {"times": _seconds(found.times), **found.series}}
    if measured.value is not None:
        series = {name: getattr(measured.value, name) for name in _MEASURED}
        pairs = zip(measured.value.faults, measured.value.requests, strict=True)
        burn = [round(1000 * faults / requests, 1) if requests else 0 for faults, requests in pairs]
        charts["measured"] = {"times": _seconds(measured.value.times), **series, "burn": burn}
    return charts


def _seconds(times: Sequence[int]) -> list[int]:
    return [at // 1000 for at in times]

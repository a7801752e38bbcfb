"""The dashboards, live by server-sent events, and their export. Their panels are those of Grafana (monitoring/panels.py).

Each answer of the stream has one event, and the browser asks again after the time in `retry`. So each event is
authenticated and authorized for itself, and a browser that was signed out gets no further one.
Source: HTML Living Standard, 9.2 (server-sent events).
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable, Mapping, Sequence
from math import log
from typing import Any, Final, NamedTuple

from daypass.domain.errors import DaypassError, ErrorKind
from daypass.monitoring.measures import DEBUG, EXECUTIVE, ON_CALL
from daypass.monitoring.panels import PANELS, Panel
from daypass.operations.access_requests import read
from daypass.operations.authorize import would_allow
from daypass.operations.management import is_operator
from daypass.operations.record.figures import Assumed, Cause, Summary
from daypass.operations.record.measure import Check, Latency, Measured, measure
from daypass.operations.record.summarize import may_summarize, summarize
from daypass.wire.console.context import ConsoleContext, PagePart, address
from daypass.wire.http import Header, Response
from daypass.wire.web.render import HEADERS, iso, visible

_READ: Final = "daypass:ReadAudit"
_MEASURE: Final = "daypass:ReadMeasurements"
_HOUR_MS: Final = 3_600_000
_RETRY_MS: Final = 10_000
_COUNTING_MS: Final = 200  # until the next page of records is counted
_GRANTS: Final = 100
_NAMED: Final = 20  # grants that are shown, with the names of their persons
VIEWS: Final = {"executive": EXECUTIVE, "on-call": ON_CALL, "debug": DEBUG}
_SHOWN: Final = 10  # people and roles of the map
_RECORDS: Final = "/console/records"
_WINDOW: Final = re.compile(r"(, a (week|quarter)| \(30 days\))$")  # the page has the chosen period
HOURS: Final = {"1": "1 hour", "24": "24 hours", "168": "7 days", "720": "30 days"}


class Chosen(NamedTuple):
    """The subject of a dashboard. `measured`: "no" after the measurements of the server were refused: the page follows the
    events, and each refusal is recorded.
    """

    view: str
    hours: str
    account: str
    region: str
    measured: str

    def link(self, panel: Panel) -> str:
        """The page behind a panel, for the same account and region."""
        part = address("", account=self.account, region=self.region) if panel.link.startswith(_RECORDS) else ""
        return panel.link + (part.replace("?", "&") if "?" in panel.link else part)

    def records(self, **query: object) -> str:
        """The records of the account and region."""
        return address(_RECORDS, **query, account=self.account, region=self.region)


async def dashboard(ctx: ConsoleContext) -> Response:
    """GET /console/dashboard. `view`: executive, on-call or debug. `hours`: the period, up to now. `account`: another one,
    or `*`, for the operator. `region`: that requests named. `part`: panels, which the page loads after the rest.
    """
    chosen = _chosen(ctx)
    shown = chosen._asdict()
    values: dict[str, Any] = {}
    if ctx.value("part", 8) == "panels":
        found, measured = await _read(ctx, chosen)
        if measured.problem:
            shown["measured"] = "no"
        values = {
            "charts": json.dumps(_charts(found, measured)),
            "live": address("/console/dashboard/events", **shown),
            "exports": {form: address("/console/dashboard/export", format=form, **shown) for form in ("csv", "json")},
            **await _panels(ctx, chosen, found, measured),
        }
    else:
        await ctx.perform(_READ, may_summarize, chosen.account)
    return ctx.page(
        "dashboard",
        f"Dashboard: {VIEWS[chosen.view].lower()}",
        chosen=chosen,
        views={key: (name, address("/console/dashboard", **{**shown, "view": key})) for key, name in VIEWS.items()},
        periods={key: (name, address("/console/dashboard", **{**shown, "hours": key})) for key, name in HOURS.items()},
        operator=await is_operator(ctx.env, ctx.call.caller),
        part=address("/console/dashboard", **shown, part="panels"),
        **values,
    )


async def events(ctx: ConsoleContext) -> Response:
    """GET /console/dashboard/events: one event with the panels as they are now."""
    chosen = _chosen(ctx)
    found, measured = await _read(ctx, chosen)
    panels = ctx.page("panels", "", chosen=chosen, **await _panels(ctx, chosen, found, measured))
    text = json.dumps({"panels": panels.body.decode(), "charts": _charts(found, measured)}, separators=(",", ":"))
    retry = _COUNTING_MS if found.counting else _RETRY_MS
    body = f"retry: {retry}\nevent: summary\ndata: {text}\n\n".encode("ascii")
    return Response(200, body, b"text/event-stream", HEADERS, _READ)


async def export(ctx: ConsoleContext) -> Response:
    """GET /console/dashboard/export. `format`: csv (the series) or json (everything)."""
    chosen = _chosen(ctx)
    found, measured = await _read(ctx, chosen, whole=True)
    if ctx.value("format", 8) == "json":
        everything = {"figures": _figures(chosen, found, measured.value), "charts": _charts(found, measured)}
        return _attachment(
            "daypass-dashboard.json", b"application/json", json.dumps(everything, indent=2).encode("ascii")
        )
    text = io.StringIO()
    writer = csv.writer(text)
    _write_series(writer, found.times, found.series)
    if measured.value is not None:
        writer.writerow([])
        _write_series(writer, measured.value.times, measured.value.series)
    return _attachment("daypass-dashboard.csv", b"text/csv; charset=utf-8", text.getvalue().encode())


def _write_series(writer: Any, times: Sequence[int], series: Mapping[str, Sequence[object]]) -> None:
    """A heading, and a row for each time."""
    writer.writerow(["time", *series])
    for number, at in enumerate(times):
        writer.writerow([iso(at), *(values[number] for values in series.values())])


def _attachment(name: str, media_type: bytes, body: bytes) -> Response:
    header: Header = (b"content-disposition", f'attachment; filename="{name}"'.encode("ascii"))
    return Response(200, body, media_type, (*HEADERS, header), _READ)


def _chosen(ctx: ConsoleContext) -> Chosen:
    """Raises DaypassError(VALIDATION): another view or period."""
    view, hours = ctx.value("view", 16) or "executive", ctx.value("hours", 4) or "24"
    for name, value, known in (("view", view, VIEWS), ("number of hours", hours, HOURS)):
        if value not in known:
            raise DaypassError(ErrorKind.VALIDATION, f"The {name} is one of: {', '.join(known)}.")
    return Chosen(view, hours, ctx.value("account", 12), ctx.value("region", 64), ctx.value("measured", 2))


async def _read(ctx: ConsoleContext, chosen: Chosen, *, whole: bool = False) -> tuple[Summary, PagePart[Measured]]:
    """The figures of the record and, for operators, of this server: latency, errors and checks of all accounts.

    `whole`: of all records; otherwise those that are counted yet, and one page of further ones.
    """
    until = ctx.call.now
    since = until - int(chosen.hours) * _HOUR_MS
    of = chosen.account, chosen.region, ctx.console.summaries
    found = await ctx.perform(_READ, summarize, since, until, *of, whole=whole)
    if chosen.measured == "no" or not (chosen.view == "on-call" or await _may_measure(ctx)):
        return found, PagePart()
    return found, await ctx.attempt(_MEASURE, measure, since, until)


async def _may_measure(ctx: ConsoleContext) -> bool:
    resource = f"arn:aws:daypass::{ctx.call.caller.account}:measurements/*"
    return await is_operator(ctx.env, ctx.call.caller) and all(
        await would_allow(ctx.env, ctx.call, [(_MEASURE, resource)])
    )


async def _panels(ctx: ConsoleContext, chosen: Chosen, found: Summary, measured: PagePart[Measured]) -> dict[str, Any]:
    """The values of the template of the panels."""
    figures = _figures(chosen, found, measured.value)
    more: dict[str, Any] = {"recent": found.recent}
    if chosen.view == "executive":
        grants = await ctx.attempt("daypass:ListGrants", read.list_grants, active=True, limit=_GRANTS)
        listed, further = grants.value or ([], "")
        refused = await read.refusals(ctx.env, ctx.call, listed)
        open_grants = [grant for grant in listed if grant.id not in refused]
        figures["open_grants"] = f"{len(open_grants)}{' or more' if further else ''}"
        more["grants"] = tuple([(each, await ctx.person_name(each.principal_id)) for each in open_grants[:_NAMED]])
    charts = _charts(found, measured)
    panels = [
        panel._replace(title=_WINDOW.sub("", panel.title), link=chosen.link(panel))
        for panel in PANELS[VIEWS[chosen.view]]
        if panel.shows in figures or panel.shows in more or panel.shows.partition(":")[0] in charts
    ]
    return {"panels": panels, "figures": figures, "found": found, "measured": measured, **more}


def _figures(chosen: Chosen, found: Summary, measured: Measured | None) -> dict[str, Any]:
    """The figures by the names that panels have for them, as the page shows them."""

    def ranked(causes: Sequence[Cause], query: Callable[[str], Mapping[str, object]]) -> list[tuple[str, int, str]]:
        return [
            (str(visible(each.name)).replace("_", " "), each.count, chosen.records(**query(each.name)))
            for each in causes
        ]

    attempts, chained = found.attempted(), found.attempted(proof="session")
    issued_in_chains = found.attempted(proof="session", outcome="issued")
    return {
        "success": _percent(found.success),
        "budget": "–" if found.budget_left is None else f"{max(found.budget_left, -9.99):.0%}",
        "issued": sum(found.series["issued"]),
        "refused": sum(found.series["refused"]),
        "expired": sum(each.count for each in found.causes if each.name == "expired"),
        "trust_denials": _share(found.attempted(cause="trust_policy"), attempts),
        "chained_failures": _share(chained - issued_in_chains, chained),
        "anomalies": found.anomalies,
        "causes": ranked(found.causes, lambda name: {"decision": "refused", "cause": name}),
        "failures": ranked(found.failures, _of_failure),
        "callers": ranked(found.callers, _of_caller),
        "operations": ranked(found.operations, lambda name: {"operation": name}),
        "durations": ranked(found.durations, lambda _: {"type": "session.issued"}),
        "people": _people(found.roles, chosen),
        **(_measured_figures(measured, chosen) if measured is not None else {}),
    }


def _share(part: int, whole: int) -> str:
    return _percent(part / whole if whole else None)


def _percent(share: float | None) -> str:
    return "–" if share is None else f"{share:.1%}"


def _of_failure(cause: str) -> Mapping[str, object]:
    """The records behind a cause, "sts:AssumeRole: access_denied"."""
    operation, _, error = cause.rpartition(": ")
    return {"operation": "" if operation == "unknown operation" else operation, "error": error}


def _of_caller(name: str) -> Mapping[str, object]:
    nobody, _, source = name.partition(", from ")
    return {"decision": "refused", **({"source": source} if source else {"person": nobody})}


class AssumeMap(NamedTuple):
    """Who assumed which role: a row for each person, a column for each role. `rows`: ARN, and number, level of colour and
    address for each role.
    """

    roles: tuple[str, ...]
    rows: tuple[tuple[str, tuple[tuple[int, int, str], ...]], ...]


def _people(found: Sequence[Assumed], chosen: Chosen) -> AssumeMap:
    """The most frequent of both."""
    counts = {(each.who, each.role): each.count for each in found}
    people = tuple(dict.fromkeys(each.who for each in found))[:_SHOWN]
    roles = tuple(dict.fromkeys(each.role for each in found))[:_SHOWN]
    most = max(counts.values(), default=0)

    def cell(who: str, role: str) -> tuple[int, int, str]:
        count = counts.get((who, role), 0)
        return count, _level(count, most), chosen.records(person=who, role=role, type="session.issued")

    return AssumeMap(roles, tuple((who, tuple(cell(who, role) for role in roles)) for who in people))


def _level(count: int, most: int) -> int:
    """0 to 4, by the logarithm: one request of a thousand is still seen."""
    return 1 + round(3 * log(count) / log(most)) if count and most > 1 else int(count > 0)


def _heat(heat: Sequence[Sequence[int]], bounds: Sequence[float]) -> list[tuple[str, list[tuple[int, int]]]]:
    """Rows of the heat map, slowest first: the name, and number and level of colour for each time."""
    names = [*(f"≤ {bound * 1000:g} ms" for bound in bounds), f"> {bounds[-1]:g} s"] if bounds else []
    most = max((number for numbers in heat for number in numbers), default=0)
    by_bound = [[numbers[place] if numbers else 0 for numbers in heat] for place in range(len(names))]
    rows = [(name, [(n, _level(n, most)) for n in row]) for name, row in zip(names, by_bound, strict=True)]
    return rows[::-1]


def _measured_figures(found: Measured, chosen: Chosen) -> dict[str, Any]:
    passed, failed = sum(each.passed for each in found.checks), sum(each.failed for each in found.checks)
    return {
        "heat": _heat(found.heat, found.bounds),
        "issuing_heat": _heat(found.issuing_heat, found.bounds),
        "issuing_p95": milliseconds(found.issuing, "p95"),
        "check_share": _share(passed, passed + failed),
        "p99": milliseconds(found.latency, "p99"),
        "requests": found.latency.count,
        "faults": sum(each or 0 for each in found.series["faults"]),
        "record_share": _percent(found.record_share),
        "auth_failing": f"{round(found.auth_failing[0])} s",
        "alerts": [(name, "", "", f"/help/runbooks/{name}") for name in found.alerts],
        "codes": [(code, number, chosen.records(decision="refused")) for code, number in found.codes],
        "slowest": [
            (each.operation, f"{milliseconds(each.latency, 'p99')} ({each.latency.count})", "")
            for each in found.operations
        ],
        "checks": [(check.name, *_outcome(check)) for check in found.checks],
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


def _charts(found: Summary, measured: PagePart[Measured]) -> dict[str, Any]:
    """The series as uPlot takes them: times in seconds, then the numbers."""
    charts: dict[str, Any] = {"record": {"times": _seconds(found.times), **found.series}}
    if measured.value is not None:
        series = measured.value.series
        pairs = zip(series["faults"], series["requests"], strict=True)
        burn = [round(1000 * (faults or 0) / requests, 1) if requests else 0 for faults, requests in pairs]
        charts["measured"] = {"times": _seconds(measured.value.times), **series, "burn": burn}
    return charts


def _seconds(times: Sequence[int]) -> list[int]:
    return [at // 1000 for at in times]

"""`daypass dashboard` and `daypass settings`: figures of the record and of the server, and the settings of the server."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import click

from daypass.cli import output
from daypass.cli.access_request import state_of
from daypass.cli.options import CommandResult, Connect, Duration, Fields, Table, server_command
from daypass.client.errors import ClientError
from daypass.client.http import Connection

_MAX_SECONDS = 30 * 86_400
_GRANTS = 1_000
_TABLES = (
    ("failures", "FAILURE"),
    ("callers", "REFUSED CALLER"),
    ("operations", "OPERATION"),
    ("durations", "LENGTH OF SESSIONS (MIN)"),
)


@click.command("dashboard")
@click.option(
    "--last", type=Duration(), default="24h", show_default=True, metavar="TIME", help="The period, up to now."
)
@server_command
def dashboard(last: int, connect: Connect) -> CommandResult:
    """Show the figures of the record: sessions, refusals, access requests, elevated access, and causes.

    Principals of the operator also see latency, faults and synthetic checks of the server.
    """
    if not 0 < last <= _MAX_SECONDS:
        raise click.UsageError("The period is at most 30 days.")
    connection = connect()
    until = int((connection.clock() + connection.offset) * 1000)
    query = {"since": str(until - last * 1000), "until": str(until)}
    summary = connection.api("GET", "/audit/summary", query)
    measured = _measured(connection, query)
    grants = connection.api("GET", "/grants", {"active": "true", "limit": str(_GRANTS)})["grants"]
    tables = [table for table in _tables(summary, grants, measured) if table.rows]
    return CommandResult(
        {**summary, "active_grants": grants, "measurements": measured},
        Fields({**_figures(summary, grants), **_measured_figures(measured)}),
        *(part for table in tables for part in ("", table)),
    )


def _tables(found: dict[str, Any], grants: list[Any], measured: dict[str, Any] | None) -> Iterator[Table]:
    for name, heading in _TABLES:
        yield Table((heading, "NUMBER"), [(cause["name"], cause["count"]) for cause in found[name]])
    if measured:
        slow = [(each["operation"], _most(each, "p99"), str(each["count"])) for each in measured["operations"]]
        yield Table(("OPERATION BY TIME USED", "99 OF 100", "REQUESTS"), slow)
        checked = [(c["name"], str(c["passed"]), str(c["failed"]), c["problem"] or "") for c in measured["checks"]]
        yield Table(("CHECK", "PASSED", "FAILED", "LAST PROBLEM"), checked)
    rows = [(g["principal_id"], g["role"], state_of(g), output.moment(g["ends_at"])) for g in grants]
    yield Table(("ELEVATED", "ROLE", "STATE", "UNTIL"), rows)


def _measured(connection: Connection, query: dict[str, str]) -> dict[str, Any] | None:
    """The measurements of the server; None for those who may not read them."""
    try:
        measured: dict[str, Any] = connection.api("GET", "/measurements", query)
    except ClientError as error:
        if error.code != "AccessDenied":
            raise
        return None
    return measured


def _measured_figures(measured: dict[str, Any] | None) -> dict[str, object]:
    if measured is None:
        return {}
    return {
        "measured from": output.moment(measured["since"]),
        "p50 latency": _most(measured["latency"], "p50"),
        "p99 latency": _most(measured["latency"], "p99"),
        "faults of the server": f"{sum(measured['series']['faults']):g}",
        "completeness of the record": "not compared yet"
        if measured["record_share"] is None
        else f"{measured['record_share']:.1%}",
        "authentication failed for at most": f"{measured['auth_failing_seconds']:g} s",
        "alerts": ", ".join(measured["alerts"]) or "none",
    }


def _most(latency: dict[str, Any], which: str) -> str:
    """A percentile as text."""
    if latency[which] is not None:
        return f"at most {latency[which]:g} ms"
    return "over 5 s" if latency["count"] else "no requests"


def _figures(found: dict[str, Any], grants: list[Any]) -> dict[str, object]:
    """Every figure as text, so that a zero is shown."""
    sums = {name: str(sum(numbers)) for name, numbers in found["series"].items()}
    return {
        "from": output.moment(found["since"]) + ("" if found["complete"] else " (earlier records were not read)"),
        "to": output.moment(found["until"]),
        "success of assuming roles": "no attempts" if found["success"] is None else f"{found['success']:.1%}",
        "sessions issued": sums["issued"],
        "requests refused": sums["refused"],
        "access requested": sums["requested"],
        "access approved": sums["approved"],
        "high risk": sums["high_risk"],
        "time to a vote (median)": f"{found['approval_ms'] // 1000} s" if found["approval_ms"] else "no votes",
        "active grants": str(sum(not grant["refused"] for grant in grants)),
    }


@click.command("settings")
@server_command
def settings(connect: Connect) -> CommandResult:
    """Show the settings of the server, without secrets. For the operator's principals."""
    sections = connect().api("GET", "/settings")["sections"]
    return CommandResult(
        sections,
        lambda: output.settings(
            {f"{section}.{name}": text for section, values in sections.items() for name, text in values.items()}
        ),
    )

"""`daypass dashboard` and `daypass settings`: the figures of the record, and the settings of the server."""

from __future__ import annotations

from typing import Any

import click

from daypass.cli import output
from daypass.cli.options import Duration, connect, output_option, server_options

_MOST_SECONDS = 30 * 86_400
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
@server_options
@output_option
def dashboard(last: int, profile: str, endpoint: str, form: str) -> None:
    """Show the figures of the record: sessions, refusals, access requests, elevated access, and causes."""
    if not 0 < last <= _MOST_SECONDS:
        raise click.UsageError("The period is at most 30 days.")
    connection = connect(profile, endpoint)
    until = int((connection.clock() + connection.offset) * 1000)
    query = {"since": str(until - last * 1000), "until": str(until)}
    found = connection.api("GET", "/audit/summary", query)
    grants = connection.api("GET", "/grants", {"active": "true", "limit": str(_GRANTS)})["grants"]
    if form == "json":
        output.data({**found, "active_grants": grants})
        return
    output.fields(_figures(found, grants))
    for name, heading in _TABLES:
        if found[name]:
            click.echo()
            output.table((heading, "NUMBER"), [(cause["name"], cause["count"]) for cause in found[name]])
    if grants:
        click.echo()
        rows = [(g["principal_id"], g["role"], g["state"], output.moment(g["ends_at"])) for g in grants]
        output.table(("ELEVATED", "ROLE", "STATE", "UNTIL"), rows)


def _figures(found: dict[str, Any], grants: list[Any]) -> dict[str, object]:
    """Every figure as text, so that a zero is shown."""
    total = found["assumed"] + found["not_assumed"]
    sums = {name: str(sum(numbers)) for name, numbers in found["series"].items()}
    return {
        "from": output.moment(found["since"]) + ("" if found["complete"] else " (earlier records were not read)"),
        "to": output.moment(found["until"]),
        "success of assuming roles": f"{found['assumed'] / total:.1%}" if total else "no attempts",
        "sessions issued": sums["issued"],
        "requests refused": sums["refused"],
        "refused because unavailable": str(found["unavailable"]),
        "access requested": sums["requested"],
        "access approved": sums["approved"],
        "high risk": sums["high_risk"],
        "time to a vote (median)": f"{found['approval_ms'] // 1000} s" if found["approval_ms"] else "no votes",
        "active grants": str(len(grants)),
    }


@click.command("settings")
@server_options
@output_option
def settings(profile: str, endpoint: str, form: str) -> None:
    """Show the settings of the server, without secrets. For the operator's principals."""
    found = connect(profile, endpoint).api("GET", "/settings")["sections"]
    if form == "json":
        output.data(found)
        return
    output.settings({f"{section}.{name}": text for section, values in found.items() for name, text in values.items()})

"""Commands that read the record, and verify it here, from its hashes, not on the server's word."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from daypass.audit.verify import BadRecord, Verified
from daypass.cli import exits, output
from daypass.cli.options import PAGE, connect, output_option, pages, server_options
from daypass.cli.record import OfflineRecord, OnlineRecord
from daypass.client.http import segment

_account = click.option("--account", default="", metavar="ID", help="Another account, for the operator; * for all.")


@click.group()
def audit() -> None:
    """Read and verify the record."""


@audit.command("tail")
@_account
@click.option("--limit", type=click.IntRange(1, PAGE), default=20, show_default=True)
@click.option("--follow", "-f", is_flag=True, help="Go on with what comes, until interrupted.")
@server_options
@output_option
def tail(account: str, limit: int, follow: bool, profile: str, endpoint: str, form: str) -> None:  # noqa: FBT001
    """Print the newest records, oldest first."""
    connection = connect(profile, endpoint)
    cursor: dict[str, int] | None = None
    while True:
        body = {"cursor": cursor, "account": account, "limit": limit, "wait": 10 if follow and cursor else 0}
        answer = connection.api("POST", "/audit/tail", body=body)
        for record in answer["records"]:
            _print(record, form)
        if not follow:
            return
        cursor = answer["cursor"]


@audit.command("search")
@_account
@click.option("--operation", default="", metavar="NAME", help="For example sts:AssumeRole.")
@click.option("--session-id", default="", metavar="ID")
@click.option("--access-key-id", default="", metavar="ID")
@click.option("--request-id", default="", metavar="ID")
@click.option("--error", default="", metavar="KIND", help="For example access_denied.")
@click.option("--limit", type=click.IntRange(1, 100_000), default=100, show_default=True)
@server_options
@output_option
def search(limit: int, profile: str, endpoint: str, form: str, **query: str) -> None:
    """Find records, newest first."""
    for record in pages(connect(profile, endpoint), "/audit/records", "records", query, limit):
        _print(record, form)


@audit.command("show")
@click.argument("record")
@_account
@server_options
def show(record: str, account: str, profile: str, endpoint: str) -> int:
    """Print records whole: RECORD is a request id, a session id, or LOG/SEQ."""
    connection = connect(profile, endpoint)
    log, slash, seq = record.partition("/")
    if slash:
        output.data(connection.api("GET", f"/audit/records/{segment(log)}/{segment(seq)}", {"account": account}))
        return exits.OK
    name = "request_id" if "-" in record else "session_id"
    found = pages(connection, "/audit/records", "records", {"account": account, name: record}, PAGE)
    for shown in reversed(found):
        output.data(shown)
    if not found:
        click.echo("There is no such record that you may see.", err=True)
    return exits.OK if found else exits.FINDING


@audit.command("verify")
@click.option(
    "--database", type=click.Path(path_type=Path, dir_okay=False, exists=True), help="A SQLite file, offline."
)
@click.option(
    "--data", type=click.Path(path_type=Path, file_okay=False, exists=True), help="A server's data directory, offline."
)
@_account
@server_options
@output_option
def verify(database: Path | None, data: Path | None, account: str, profile: str, endpoint: str, form: str) -> int:
    """Verify every log: no record is missing, altered or out of order. Names the first bad record of each log.

    The chain is computed here. Of other accounts' events only the hash is fetched. Status 1 if anything is wrong.
    """
    file = database or (data / "daypass.db" if data else None)
    source = OfflineRecord(file) if file else OnlineRecord(connect(profile, endpoint), account)
    results = source.verified()
    bad = [r for r in results if isinstance(r, BadRecord)]
    good = [r for r in results if isinstance(r, Verified)]
    if form == "json":
        faults = [{"log": b.log, "seq": b.seq, "why": b.why} for b in bad]
        heads = [{"log": g.head.log, "seq": g.head.seq, "chain": g.head.chain.hex()} for g in good]
        output.data({"logs": len(good), "records": sum(g.records for g in good), "bad": faults, "heads": heads})
    else:
        for fault in bad:
            click.echo(f"BAD  log {output.safe(fault.log)} record {fault.seq}: {output.safe(fault.why)}")
        withheld = sum(g.withheld for g in good)
        hidden = f", {withheld} of them by their hash alone" if withheld else ""
        click.echo(f"{sum(g.records for g in good)} records in {len(good)} logs verify{hidden}.")
    return exits.FINDING if bad or not good else exits.OK


def _print(record: dict[str, Any], form: str) -> None:
    """One line a record."""
    if form == "json":
        output.line(record)
        return
    event = record["event"] or {}
    actor = event.get("actor") or {}
    who = actor.get("arn") or "-"
    what = event.get("operation") or event.get("type", "(not yours to see)")
    outcome = event.get("error") or event.get("type", "")
    shown = f"{output.safe(outcome):24} {output.safe(what):32} {output.safe(who)}"
    click.echo(f"{output.moment(record['at'])}  {shown}  {output.safe(event.get('request_id', ''))}")

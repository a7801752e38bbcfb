"""Commands that read the record, and verify it here, from its hashes, not on the server's word."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import click

from daypass.audit.verify import BadRecord, Head, RecordRow, Verified, verify_log
from daypass.cli import exits, output
from daypass.cli.options import connect, output_option, pages, server_options
from daypass.client.http import ClientError, Connection
from daypass.client.profiles import LocalStateError

_PAGE = 1000
_account = click.option("--account", default="", metavar="ID", help="Another account, for the operator; * for all.")


@click.group()
def audit() -> None:
    """Read and verify the record."""


@audit.command("tail")
@_account
@click.option("--limit", type=click.IntRange(1, 1000), default=20, show_default=True)
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
        output.data(connection.api("GET", f"/audit/records/{quote(log, safe='')}/{quote(seq, safe='')}"))
        return exits.OK
    name = "request_id" if "-" in record else "session_id"
    found = pages(connection, "/audit/records", "records", {"account": account, name: record}, _PAGE)
    for shown in reversed(found):
        output.data(shown)
    if not found:
        click.echo("There is no such record that you may see.", err=True)
    return exits.OK if found else exits.FINDING


@audit.command("verify")
@click.option(
    "--database", type=click.Path(path_type=Path, dir_okay=False, exists=True), help="A SQLite file, offline."
)
@_account
@server_options
@output_option
def verify(database: Path | None, account: str, profile: str, endpoint: str, form: str) -> int:
    """Verify every log: no record is missing, altered or out of order. Names the first bad record of each log.

    The chain is computed here. Of other accounts' events only the hash is fetched. Status 1 if anything is wrong.
    """
    logs = _offline(database) if database else _online(connect(profile, endpoint), account)
    results: list[Verified | BadRecord] = []
    known: list[Head] = []
    for log, rows in logs:
        results.append(verify_log(log, rows))
        known += results[-1].heads if isinstance(results[-1], Verified) else ()
    results += _cut_off(results, known)
    bad = [r for r in results if isinstance(r, BadRecord)]
    good = [r for r in results if isinstance(r, Verified)]
    if form == "json":
        faults = [{"log": b.log, "seq": b.seq, "why": b.why} for b in bad]
        output.data({"logs": len(good), "records": sum(g.records for g in good), "bad": faults})
    else:
        for fault in bad:
            click.echo(f"BAD  log {fault.log} record {fault.seq}: {output.safe(fault.why)}")
        withheld = sum(g.withheld for g in good)
        hidden = f", {withheld} of them by their hash alone" if withheld else ""
        click.echo(f"{sum(g.records for g in good)} records in {len(good)} logs verify{hidden}.")
    return exits.FINDING if bad or not good else exits.OK


def _cut_off(results: list[Verified | BadRecord], known: list[Head]) -> list[BadRecord]:
    """Logs that are shorter than another log's opening says they were, or missing altogether."""
    ends = {r.log: r.head.seq for r in results if isinstance(r, Verified)}
    judged = {r.log for r in results}
    short = {h.log: h.seq for h in known if h.log not in judged or h.seq > ends.get(h.log, h.seq)}
    return [BadRecord(log, ends.get(log, -1) + 1, f"missing: record {seq} was known") for log, seq in short.items()]


def _online(connection: Connection, account: str) -> Iterator[tuple[str, Iterator[RecordRow]]]:
    for log in connection.api("GET", "/audit/logs", {"account": account})["logs"]:
        yield log["log"], _export(connection, log["log"], log["seq"], account)


def _export(connection: Connection, log: str, last: int, account: str) -> Iterator[RecordRow]:
    """A log up to the head that it had when this began; it grows as we read."""
    after = -1
    while after < last:
        query = {"account": account, "after": str(after), "limit": str(_PAGE)}
        page = connection.api("GET", f"/audit/logs/{quote(log, safe='')}/records", query)["records"]
        if not page:
            return
        for record in page:
            try:
                row = RecordRow.from_json({name: value for name, value in record.items() if value is not None})
            except ValueError as error:
                raise ClientError("", f"the server's export is not readable: {error}") from None
            if row.seq > last:
                return
            yield row
        after = row.seq


def _offline(database: Path) -> Iterator[tuple[str, Iterator[RecordRow]]]:
    connection = sqlite3.connect(f"file:{quote(str(database.absolute()))}?mode=ro", uri=True)
    try:
        for (log,) in connection.execute("SELECT DISTINCT log FROM audit_records ORDER BY log").fetchall():
            rows = connection.execute(
                "SELECT seq, leaf, chain, bytes FROM audit_records WHERE log = ? ORDER BY seq", (log,)
            )
            yield log, (RecordRow(log, seq, leaf, chain, data) for seq, leaf, chain, data in rows)
    except sqlite3.DatabaseError as error:
        raise LocalStateError(f"{database} cannot be read as a record: {error}.") from None
    finally:
        connection.close()


def _print(record: dict[str, Any], form: str) -> None:
    """One line a record."""
    if form == "json":
        output.data(record)
        return
    event = record["event"] or {}
    actor = event.get("actor") or {}
    at = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(record["at"] / 1000))
    who = actor.get("arn") or "-"
    what = event.get("operation") or event.get("type", "(not yours to see)")
    outcome = event.get("error") or event.get("type", "")
    click.echo(
        f"{at}  {output.safe(outcome):24} {output.safe(what):32} {output.safe(who)}  {event.get('request_id', '')}"
    )

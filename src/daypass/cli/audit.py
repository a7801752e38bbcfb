"""Commands that read the record and verify it locally from its hashes, without trusting the server.

The API describes `audit anomalies`.
"""

from __future__ import annotations

import re
import sqlite3
import sys
from contextlib import closing
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

import click

from daypass.api import record as record_api
from daypass.audit.verify import BadRecord, Head, VerifiedLog
from daypass.cli import exits, output
from daypass.cli.described import add_commands
from daypass.cli.durations import moment_of, seconds_of
from daypass.cli.installation import config_option, data_option, settings_of
from daypass.cli.options import (
    PAGE,
    CommandGroup,
    CommandResult,
    Connect,
    Fields,
    WholeNumber,
    any_account_option,
    form_option,
    limit_option,
    pages,
    server_command,
    server_connection,
)
from daypass.cli.record import OfflineRecord, OnlineRecord, PostgresRecord, Record, gap_text
from daypass.client.http import segment

_RECORD = re.compile(r"[0-9a-f]{32}(?:/[0-9]{1,19})?|[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")


_EXPLORED = frozenset({"person", "role", "chain", "source", "decision", "trace"})


@click.group(cls=CommandGroup)
def audit() -> None:
    """Read and verify the record."""


@audit.command("tail")
@any_account_option
@click.option(
    "--limit", type=WholeNumber(1, PAGE), default=20, show_default=True, help="Number of records to begin with."
)
@click.option("--follow", "-f", is_flag=True, help="Print new records until interrupted.")
@server_connection
@form_option
def tail(account: str, limit: int, follow: bool, connect: Connect, form: str) -> None:
    """Print the newest records, oldest first."""
    connection = connect()
    body: dict[str, Any] = {"account": account, "limit": limit, "cursor": None, "wait": 0}
    answer = connection.api("POST", "/audit/tail", body=body)
    while True:
        for record in answer["records"]:
            _print(record, form)
        if not follow:
            return
        with output.expected_wait():
            answer = connection.api("POST", "/audit/tail", body={**body, "cursor": answer["cursor"], "wait": 10})


@audit.command("search")
@any_account_option
@click.option("--operation", default="", metavar="NAME", help="For example sts:AssumeRole.")
@click.option("--session-id", default="", metavar="ID", help="A session that was issued, or that acted.")
@click.option("--access-key-id", default="", metavar="ID", help="The key that signed, or that was issued.")
@click.option("--request-id", default="", metavar="ID", help="The id that an error shows.")
@click.option("--error", default="", metavar="KIND", help="For example access_denied.")
@click.option("--type", default="", metavar="EVENT", help="For example session.issued.")
@click.option("--person", default="", metavar="TEXT", help="A part of the ARN, ids or source identity of who acted.")
@click.option("--role", default="", metavar="TEXT", help="A part of an ARN in the event.")
@click.option("--chain", default="", metavar="ID", help="A session that was issued, acted on, or acted.")
@click.option("--source", default="", metavar="ADDRESS", help="The beginning of the source address.")
@click.option("--trace", default="", metavar="ID", help="A trace, by its id in the header traceparent.")
@click.option("--decision", type=click.Choice(["allowed", "refused"]), help="Only requests with this decision.")
@click.option("--since", default="", metavar="TIME", help="2026-01-31T12:00:00Z, or 2h: the last two hours.")
@click.option("--until", default="", metavar="TIME", help="2026-01-31T12:00:00Z.")
@limit_option
@server_connection
@form_option
def search(since: str, until: str, limit: int, connect: Connect, form: str, **query: str | None) -> None:
    """Find records, newest first. Person, role, chain, source, trace and decision are compared with the events themselves,
    which takes longer.
    """
    connection = connect()
    now = connection.clock() + connection.offset
    given = {name: text for name, text in query.items() if text}
    for name, text in (("since", since), ("until", until)):
        if text:
            ago = seconds_of(text)
            given[name] = str(moment_of(text, now, "2h") if ago is None else int((now - ago) * 1000))
    path = "/audit/events" if _EXPLORED.intersection(given) else "/audit/records"
    records = pages(connection, path, "records", given, limit)
    for record in records:
        _print(record, form)
    if not records:
        output.message("nothing matches")


@audit.command("show")
@click.argument("record")
@any_account_option
@server_command
def show(record: str, account: str, connect: Connect) -> CommandResult:
    """Print whole records: RECORD is a request id, a session id, or LOG/SEQ."""
    if not _RECORD.fullmatch(record):
        raise click.UsageError(
            f"{record!r} is not a record: give a request id, a session id (32 hex digits), or LOG/SEQ."
        )
    connection = connect()
    log, slash, seq = record.partition("/")
    if slash:
        found = [connection.api("GET", f"/audit/records/{segment(log)}/{segment(seq)}", {"account": account})]
    else:
        name = "request_id" if "-" in record else "session_id"
        found = pages(connection, "/audit/records", "records", {"account": account, name: record}, PAGE)[::-1]
    if not found:
        output.message(f"{output.safe(record)} is not in the record, or you may not see it")
    return CommandResult(
        found, *(partial(output.data, each) for each in found), status=exits.OK if found else exits.FINDING
    )


@audit.command("verify")
@click.option(
    "--database", type=click.Path(path_type=Path, dir_okay=False, exists=True), help="A SQLite file, offline."
)
@config_option
@data_option
@click.option("--url", default="", metavar="URL", help="A PostgreSQL database, postgresql://…, offline.")
@any_account_option
@server_command
def verify(
    database: Path | None, config: Path | None, data: Path | None, url: str, account: str, connect: Connect
) -> CommandResult:
    """Verify every log: no record is missing, altered or out of order. Names the first bad record of each log.

    The hashes are computed here. From a database, searchable columns and rows of sessions are compared with the events. With
    --data or --config, the database and spools are those of a server's settings. Status 1 if anything is wrong;
    8 if only events are missing that the record names as lost.
    """
    if sum(map(bool, (database, config or data, url))) > 1:
        raise click.UsageError("Give only one of --database, --url, and --data or --config.")
    spool: Path | None = None
    notes: Path | None = None
    if config or data:
        settings = settings_of(config, data)
        spool, url, notes = settings.spool_directory(), settings.database_url(), settings.acknowledged_files()
    elif database:
        url = f"sqlite:///{database.absolute()}"
    record = _record_of(url, connect, account, notes)
    with output.working("verifying", lambda: output.counted(record.read, "record")):
        results = record.verified()
    bad = [r for r in results if isinstance(r, BadRecord)]
    good = [r for r in results if isinstance(r, VerifiedLog)]
    waiting, rejected = _spools(spool) if spool else (0, 0)
    records, withheld = sum(g.records for g in good), sum(g.withheld for g in good)
    gaps = [gap for each in good for gap in each.gaps]
    text = [_bad(fault) for fault in bad] + [gap_text(gap) for gap in gaps]
    hidden = f", {withheld} of them by their hash alone" if withheld else ""
    text.append(f"{output.counted(records, 'record')} in {output.counted(len(good), 'log')} verify{hidden}.")
    if waiting:
        text.append(f"{output.counted(waiting, 'spool')} with events that are not in the database yet: {spool}.")
    if rejected:
        text.append(
            f"BAD  {output.counted(rejected, 'spool')} set aside, with events that are not on the record: {spool}."
        )
    found = {
        "logs": len(good),
        "records": records,
        "bad": [_fault(each) for each in bad],
        "gaps": [asdict(gap) for gap in gaps],
        "heads": [{"log": g.head.log, "seq": g.head.seq, "chain": g.head.chain.hex()} for g in good],
        "spools": waiting,
        "rejected_spools": rejected,
    }
    status = exits.FINDING if bad or rejected or not good else exits.GAP if gaps else exits.OK
    return CommandResult(found, *text, status=status)


def _record_of(url: str, connect: Connect, account: str, notes: Path | None = None) -> Record:
    """The record in a database, or, without a URL, that of the server."""
    scheme, _, file = url.partition(":///")
    if scheme.partition("+")[0] == "sqlite":
        return OfflineRecord(Path(file))
    return PostgresRecord(url, notes) if url else OnlineRecord(connect(), account)


def _fault(bad: BadRecord) -> dict[str, Any]:
    return {"log": bad.log, "seq": bad.seq, "why": bad.why}


def _bad(fault: BadRecord) -> str:
    return f"BAD  log {fault.log} record {fault.seq}: {fault.why}"


@audit.command("prove")
@click.argument("record")
@click.option(
    "--known", default="", metavar="SEQ:CHAIN", help="A head of the log that you noted before: the log must contain it."
)
@any_account_option
@server_command
def prove(record: str, known: str, account: str, connect: Connect) -> CommandResult:
    """Verify one record, and the log from it to its end. RECORD is LOG/SEQ.

    The hashes are computed here. Note the printed head: a later call with --known shows that nothing up to it has changed.
    Status 1 if anything is wrong.
    """
    log, slash, text = record.partition("/")
    if not slash or not _RECORD.fullmatch(record):
        raise click.UsageError(f"{record!r} is not LOG/SEQ.")
    found = OnlineRecord(connect(), account).proof(log, int(text), _known_head(log, known))
    if found is None:
        output.message(f"{output.safe(record)} is not in the record")
        return CommandResult(None, status=exits.FINDING)
    row, verdict = found
    if isinstance(verdict, BadRecord):
        return CommandResult({"bad": [_fault(verdict)]}, _bad(verdict), status=exits.FINDING)
    shown = {
        "log": log,
        "seq": row.seq,
        "leaf": row.leaf.hex(),
        "chain": row.chain.hex(),
        "bytes": "present" if row.data is not None else "withheld",
        "records": verdict.records,
        "head": f"{verdict.head.seq}:{verdict.head.chain.hex()}",
    }
    return CommandResult(
        shown,
        Fields({name: str(value) for name, value in shown.items()}),
        f"The record verifies, and the {verdict.records} records from it to the end of its log.",
    )


def _known_head(log: str, text: str) -> Head | None:
    if not text:
        return None
    seq, _, chain = text.partition(":")
    if not (seq.isascii() and seq.isdigit() and len(seq) < 20 and re.fullmatch("[0-9a-f]{64}", chain)):
        raise click.UsageError(f"{text!r} is not SEQ:CHAIN: a number, and 64 hex digits.")
    return Head(log, int(seq), bytes.fromhex(chain))


def _spools(directory: Path) -> tuple[int, int]:
    """The numbers of spools in a directory that hold events, and that were set aside."""
    return sum(map(_holds_events, directory.glob("*.db"))), len([*directory.glob("*.db.rejected")])


def _holds_events(spool: Path) -> bool:
    """Whether a spool is not empty. One that cannot be read counts."""
    try:
        with closing(sqlite3.connect(f"file:{quote(str(spool.absolute()))}?mode=ro", uri=True)) as connection:
            return connection.execute("SELECT 1 FROM batches LIMIT 1").fetchone() is not None
    except sqlite3.Error:
        return spool.exists()


def _print(record: dict[str, Any], form: str) -> None:
    """One line a record."""
    if form == "json":
        output.line(record)
        return
    event = record["event"] or {}
    actor = event.get("actor") or {}
    who = actor.get("arn") or "-"
    what = event.get("operation") or ("-" if event else "(not yours to see)")
    outcome = output.safe(event.get("error") or event.get("type", ""))
    at, request = output.moment(record["at"]), output.safe(event.get("request_id", ""))
    wide, wider = 24, 32
    if output.room(sys.stdout):  # a person reads it: whose account it is, the profile says
        who, wide, wider = who.split(":", 5)[-1], 17, 26
    text = output.fitted(f"{at}  {outcome:{wide}} {output.safe(what):{wider}} {output.safe(who)}", request)
    word = "refused" if event.get("error") else ""
    begin = len(at) + 2
    end = begin + max(wide, len(outcome))
    click.echo(text[:begin] + output.coloured(text[begin:end], word) + text[end:])


add_commands(audit, record_api)

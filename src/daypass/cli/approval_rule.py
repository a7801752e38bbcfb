"""`daypass rule`: approval rules as files, shown, compared and applied."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import click

from daypass.api import access_requests
from daypass.cli import output
from daypass.cli.described import group_of
from daypass.cli.exits import FINDING, OK
from daypass.cli.files import parsed, text_at
from daypass.cli.options import (
    CommandGroup,
    CommandResult,
    Connect,
    account_option,
    confirmed,
    listing,
    noting_done,
    server_command,
    yes_option,
)
from daypass.cli.replacing import difference
from daypass.cli.replacing import show as show_change
from daypass.client.http import Connection, segment
from daypass.client.profiles import LocalStateError

_PATH = "/approval-rules"
rule = group_of("rule", "Approval rules of your account: who may request a role, and who approves.", access_requests)
_folder = click.argument("folder", type=click.Path(exists=True, path_type=Path))


@rule.command("ls")
@account_option
@server_command
def list_rules(account: str, connect: Connect) -> CommandResult:
    """List the rules."""
    rules = _stored(connect(), account)
    return listing(
        [*rules.values()],
        ("RULE", "ROLES", "CHANGED", "BY"),
        lambda r: (
            r["name"],
            ", ".join(json.loads(r["document"])["roles"]),
            output.moment(r["updated_at"]),
            r["updated_by"],
        ),
    )


@rule.command("diff")
@_folder
@account_option
@server_command
def diff(folder: Path, account: str, connect: Connect) -> CommandResult:
    """Compare the rules in FOLDER (NAME.json each, or one file) with the stored ones. Exits 1 when they differ."""
    stored, files = _stored(connect(), account), _files(folder)
    found, lines = [], list[str]()
    for name, text in files.items():
        before = json.loads(stored[name]["document"]) if name in stored else None
        if changes := list(difference(before, json.loads(text), (f"stored/{name}", f"file/{name}"))):
            found.append({"rule": name, "state": "differs" if name in stored else "only in a file", "diff": changes})
            lines += changes
    for name in sorted(stored.keys() - files.keys()) if folder.is_dir() else ():
        found.append({"rule": name, "state": "only stored", "diff": []})
        lines.append(f"only stored: {name}")
    shown = partial(click.echo, "".join(f"{output.safe(line)}\n" for line in lines), nl=False)
    return CommandResult(found, shown, status=FINDING if found else OK)


@rule.command("apply")
@_folder
@click.option("--prune", is_flag=True, help="Also delete the stored rules that have no file.")
@account_option
@yes_option
@server_command
def apply(folder: Path, prune: bool, account: str, yes: bool, connect: Connect) -> CommandResult:
    """Store the rules in FOLDER (NAME.json each, or one file). Rules that do not change are left alone.

    Shows the change and asks first.
    """
    connection, files = connect(), _files(folder)
    stored = {name: json.loads(found["document"]) for name, found in _stored(connection, account).items()}
    dropped = sorted(stored.keys() - files.keys()) if prune and folder.is_dir() else []
    wanted = {name: json.loads(text) for name, text in files.items()} | dict.fromkeys(dropped)
    changed = {
        name for name in wanted.keys() & stored.keys() if show_change(f"Rule {name}", stored[name], wanted[name])
    }
    if changed:
        confirmed("Change these rules?", yes=yes, why="this changes who may request and approve access")
    outcomes: dict[str, str] = {}
    for name in wanted:
        with noting_done(_sentences(outcomes)):
            outcomes[name] = _applied(
                connection, name, files.get(name), account, stored=name in stored, changed=name in changed
            )
    found = [{"rule": name, "result": outcome} for name, outcome in outcomes.items()]
    return CommandResult(found, *_sentences(outcomes))


def _sentences(outcomes: Mapping[str, str]) -> list[str]:
    return [f"{name}: {outcome}" for name, outcome in outcomes.items()]


def _applied(connection: Connection, name: str, text: str | None, account: str, *, stored: bool, changed: bool) -> str:
    """Stores the text of a rule, or deletes the rule if there is none; what was done."""
    path = f"{_PATH}/{segment(name)}"
    if text is None:
        connection.api("DELETE", path, {"account": account})
        return "deleted"
    if stored and not changed:
        return "unchanged"
    connection.api("PUT", path, {"account": account}, body={"document": text})
    return "changed" if stored else "created"


def _stored(connection: Connection, account: str) -> dict[str, dict[str, Any]]:
    answer = connection.api("GET", _PATH, {"account": account})
    return {found["name"]: found for found in answer["approval_rules"]}


def _files(folder: Path) -> dict[str, str]:
    """The rules in files, by name."""
    paths = sorted(folder.glob("*.json")) if folder.is_dir() else [folder]
    found = {path.stem: text_at(path) for path in paths}
    for path in paths:
        parsed(found[path.stem], str(path))
    if not found:
        raise LocalStateError(f"{folder} holds no .json file.")
    return found


# --- `daypass oncall`: who is on call by the schedules of approval rules


@click.group(cls=CommandGroup)
def oncall() -> None:
    """Who is on call, by the schedules of approval rules."""


@oncall.command("ls")
@account_option
@server_command
def list_schedules(account: str, connect: Connect) -> CommandResult:
    """List the rules that have a schedule."""
    rules = connect().api("GET", _PATH, {"account": account})["approval_rules"]
    found = [
        {"rule": rule["name"], "kind": schedule.get("kind", "icalendar"), "calendar": schedule["calendar"]}
        for rule in rules
        if (schedule := json.loads(rule["document"]).get("on_call"))
    ]
    return listing(found, ("RULE", "KIND", "CALENDAR"), lambda each: (each["rule"], each["kind"], each["calendar"]))


@oncall.command("show")
@click.argument("rule")
@account_option
@server_command
def show(rule: str, account: str, connect: Connect) -> CommandResult:
    """Print who is on call now by the schedule of RULE."""
    answer = connect().api("GET", f"{_PATH}/{segment(rule)}/on-call", {"account": account})
    return CommandResult(answer, *(answer["people"] or ["Nobody is on call."]))

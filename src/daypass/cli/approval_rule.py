"""`daypass rule`: approval rules as files, shown, compared and applied."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from daypass.cli import output
from daypass.cli.exits import FINDING, OK
from daypass.cli.options import (
    Group,
    account_option,
    confirmed,
    connect,
    output_option,
    server_options,
    yes_option,
)
from daypass.cli.replacing import difference
from daypass.cli.replacing import show as show_change
from daypass.client.http import Connection, segment
from daypass.client.profiles import LocalStateError

_PATH = "/approval-rules"
_folder = click.argument("folder", type=click.Path(exists=True, path_type=Path))


@click.group(cls=Group)
def rule() -> None:
    """Approval rules of your account: which persons may request a role, and who approves."""


@rule.command("ls")
@account_option
@server_options
@output_option
def list_rules(account: str, profile: str, endpoint: str, form: str) -> None:
    """List the rules."""
    found = _stored(connect(profile, endpoint), account)
    output.listing(
        [*found.values()],
        ("RULE", "ROLES", "CHANGED", "BY"),
        lambda r: (
            r["name"],
            ", ".join(json.loads(r["document"])["roles"]),
            output.moment(r["updated_at"]),
            r["updated_by"],
        ),
        form,
    )


@rule.command("show")
@click.argument("name")
@account_option
@server_options
def show(name: str, account: str, profile: str, endpoint: str) -> None:
    """Print rule NAME, as it was written."""
    found = connect(profile, endpoint).api("GET", f"{_PATH}/{segment(name)}", {"account": account})
    click.echo("\n".join(map(output.safe, found["document"].splitlines())))


@rule.command("rm")
@click.argument("name")
@account_option
@server_options
def remove(name: str, account: str, profile: str, endpoint: str) -> None:
    """Delete rule NAME. Access that was approved under it ends."""
    connect(profile, endpoint).api("DELETE", f"{_PATH}/{segment(name)}", {"account": account})


@rule.command("diff")
@_folder
@account_option
@server_options
def diff(folder: Path, account: str, profile: str, endpoint: str) -> int:
    """Compare the rules in FOLDER (NAME.json each, or one file) with the stored ones. Exits 1 when they differ."""
    stored = _stored(connect(profile, endpoint), account)
    changed = False
    for name, text in _files(folder).items():
        before = json.loads(stored[name]["document"]) if name in stored else None
        for line in difference(before, json.loads(text), (f"stored/{name}", f"file/{name}")):
            changed = True
            click.echo(output.safe(line))
    for name in sorted(stored.keys() - _files(folder).keys()) if folder.is_dir() else ():
        changed = True
        click.echo(output.safe(f"only stored: {name}"))
    return FINDING if changed else OK


@rule.command("apply")
@_folder
@click.option("--prune", is_flag=True, help="Also delete the stored rules that have no file.")
@account_option
@yes_option
@server_options
def apply(folder: Path, prune: bool, account: str, yes: bool, profile: str, endpoint: str) -> None:
    """Store the rules in FOLDER (NAME.json each, or one file). Rules that do not change are left alone.

    What replaces or deletes a stored rule is shown, and done after you confirm it.
    """
    connection, files = connect(profile, endpoint), _files(folder)
    stored = {name: json.loads(found["document"]) for name, found in _stored(connection, account).items()}
    dropped = sorted(stored.keys() - files.keys()) if prune and folder.is_dir() else []
    wanted = {name: json.loads(text) for name, text in files.items()} | dict.fromkeys(dropped)
    changed = {
        name
        for name in wanted.keys() & stored.keys()
        if show_change(output.safe(f"Rule {name}"), stored[name], wanted[name])
    }
    if changed:
        confirmed("Change these rules?", yes=yes, why="this changes who may request and approve access")
    for name, text in files.items():
        if name in stored and name not in changed:
            click.echo(output.safe(f"{name}: unchanged"))
            continue
        connection.api("PUT", f"{_PATH}/{segment(name)}", {"account": account}, body={"document": text})
        click.echo(output.safe(f"{name}: {'changed' if name in stored else 'created'}"))
    for name in dropped:
        connection.api("DELETE", f"{_PATH}/{segment(name)}", {"account": account})
        click.echo(output.safe(f"{name}: deleted"))


def _stored(connection: Connection, account: str) -> dict[str, dict[str, Any]]:
    answer = connection.api("GET", _PATH, {"account": account})
    return {found["name"]: found for found in answer["approval_rules"]}


def _files(folder: Path) -> dict[str, str]:
    """The rules in files, by name."""
    paths = sorted(folder.glob("*.json")) if folder.is_dir() else [folder]
    try:
        found = {path.stem: path.read_text("utf-8") for path in paths}
        for text in found.values():
            json.loads(text)
    except (OSError, ValueError) as error:
        raise LocalStateError(f"{folder}: {error}") from None
    if not found:
        raise LocalStateError(f"{folder} holds no .json file.")
    return found

"""`daypass anchor`: trust anchors of IAM Roles Anywhere, the authorities whose certificates an account accepts."""

from __future__ import annotations

from typing import Any, TextIO

import click

from daypass.cli import output
from daypass.cli.files import text_of
from daypass.cli.options import (
    CommandGroup,
    CommandResult,
    Connect,
    Fields,
    confirmed,
    listing,
    server_command,
    yes_option,
)
from daypass.client.http import Connection, segment

_PAGE = "100"


@click.group(cls=CommandGroup)
def anchor() -> None:
    """Trust anchors: authorities whose certificates your account accepts."""


def _call(connection: Connection, method: str, path: str, body: Any = None, query: dict[str, str] | None = None) -> Any:
    return connection.api(
        method, path, query, body, repeatable=method in ("GET", "DELETE"), root="", service="rolesanywhere"
    )


def _path(anchor_id: str, what: str = "") -> str:
    return f"/trustanchor/{segment(anchor_id)}{what}"


@anchor.command("ls")
@server_command
def list_anchors(connect: Connect) -> CommandResult:
    """List the trust anchors."""
    connection, anchors, query = connect(), list[Any](), {"pageSize": _PAGE}
    while True:
        page = _call(connection, "GET", "/trustanchors", query=query)
        anchors += page["trustAnchors"]
        after = page.get("nextToken") or ""
        if after in ("", query.get("nextToken")):  # a cursor that does not move would cause an endless loop
            break
        query = {**query, "nextToken": after}
    return listing(
        anchors,
        ("ID", "NAME", "STATE", "CREATED"),
        lambda a: (a["trustAnchorId"], a["name"], "enabled" if a["enabled"] else "disabled", a["createdAt"]),
    )


@anchor.command("show")
@click.argument("anchor_id")
@server_command
def show(anchor_id: str, connect: Connect) -> CommandResult:
    """Show a trust anchor and its certificates."""
    return _anchor_result(_call(connect(), "GET", _path(anchor_id)))


@anchor.command("create")
@click.argument("name")
@click.argument("certificates", type=click.File(encoding="utf-8"), metavar="FILE")
@click.option("--disabled", is_flag=True, help="Create it disabled.")
@server_command
def create(name: str, certificates: TextIO, disabled: bool, connect: Connect) -> CommandResult:
    """Create trust anchor NAME from the CA certificates (PEM) in FILE; - is standard input."""
    body = {"name": name, "source": _source(certificates), "enabled": not disabled}
    return _anchor_result(_call(connect(), "POST", "/trustanchors", body))


@anchor.command("set")
@click.argument("anchor_id")
@click.option("--name", default="", metavar="TEXT", help="A new name.")
@click.option(
    "--certificates",
    type=click.File(encoding="utf-8"),
    metavar="FILE",
    help="CA certificates (PEM) that replace the present ones.",
)
@yes_option
@server_command
def set_anchor(anchor_id: str, name: str, certificates: TextIO | None, yes: bool, connect: Connect) -> CommandResult:
    """Change the name of a trust anchor, or replace its certificates."""
    body: dict[str, Any] = {"name": name} if name else {}
    if not name and certificates is None:
        raise click.UsageError("Give --name or --certificates.")
    confirmed(f"Change trust anchor {output.safe(anchor_id)}?", yes=yes)
    if certificates is not None:
        body["source"] = _source(certificates)
    return _anchor_result(_call(connect(), "PATCH", _path(anchor_id), body))


def _source(certificates: TextIO) -> dict[str, Any]:
    return {"sourceType": "CERTIFICATE_BUNDLE", "sourceData": {"x509CertificateData": text_of(certificates)}}


@anchor.command("enable")
@click.argument("anchor_id")
@server_command
def enable(anchor_id: str, connect: Connect) -> CommandResult:
    """Accept the certificates of an authority again."""
    return _changed(connect(), "POST", anchor_id, "enable")


@anchor.command("disable")
@click.argument("anchor_id")
@server_command
def disable(anchor_id: str, connect: Connect) -> CommandResult:
    """Accept no certificate of an authority. Sessions stay valid: end them with `daypass revoke`."""
    return _changed(connect(), "POST", anchor_id, "disable")


@anchor.command("rm")
@click.argument("anchor_id")
@yes_option
@server_command
def remove(anchor_id: str, yes: bool, connect: Connect) -> CommandResult:
    """Delete a trust anchor. Sessions stay valid: end them with `daypass revoke`."""
    confirmed(f"Delete trust anchor {output.safe(anchor_id)}?", yes=yes)
    return _changed(connect(), "DELETE", anchor_id)


def _changed(connection: Connection, method: str, anchor_id: str, verb: str = "") -> CommandResult:
    """Enables, disables or deletes an anchor; the anchor as it is afterwards, or was."""
    answer = _call(connection, method, _path(anchor_id, f"/{verb}" if verb else ""))
    return CommandResult(answer["trustAnchor"], f"{(verb or 'delete').capitalize()}d trust anchor {anchor_id}.")


def _anchor_result(answer: dict[str, Any]) -> CommandResult:
    view = answer["trustAnchor"]
    shown = {
        "id": view["trustAnchorId"],
        "name": view["name"],
        "arn": view["trustAnchorArn"],
        "state": "enabled" if view["enabled"] else "disabled",
    }
    certificates = view["source"]["sourceData"].get("x509CertificateData", "").splitlines()
    return CommandResult(view, Fields(shown), "", *certificates)

"""`daypass whoami` and `daypass roles`: the identity of a profile, and the roles that it may assume."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from daypass.cli import output
from daypass.cli.names import remember_roles
from daypass.cli.options import connect, output_option, pages, server_options
from daypass.client.credentials import identity
from daypass.client.errors import ClientError

if TYPE_CHECKING:
    from daypass.client.http import Connection


@click.command()
@server_options
@output_option
def whoami(profile: str, endpoint: str, form: str) -> None:
    """Show the identity of this profile; for a session also its expiry and its chain of sessions."""
    connection = connect(profile, endpoint)
    who = identity(connection)
    session = _session(connection) if connection.profile.session_token else None
    if form == "json":
        output.data({**who, "session": session} if session else who)
        return
    shown: dict[str, object] = {"arn": who["Arn"], "account": who["Account"], "user id": who["UserId"]}
    if session:
        shown["session"] = session["session_id"]
        shown["expires"] = output.moment_left(session["expires_at"], connection.clock() + connection.offset)
        shown["source identity"] = session["source_identity"]
    shown["server"] = connection.profile.endpoint
    output.fields(shown)
    if session and len(session["hops"]) > 1:
        click.echo("\nChain:")
        output.hops(session["hops"])


def _session(connection: Connection) -> dict[str, Any] | None:
    """The caller's own session; None on a server that does not tell."""
    try:
        found: dict[str, Any] = connection.api("GET", "/session")
    except ClientError as error:
        if error.status == 404:
            return None
        raise
    return found


@click.command()
@server_options
@output_option
def roles(profile: str, endpoint: str, form: str) -> None:
    """List the roles of your account that you may assume now, by their trust policies and your own policies."""
    connection = connect(profile, endpoint)
    found = pages(connection, "/roles/assumable", "roles", {}, 10_000)
    remember_roles(connection.profile, (str(role["arn"]) for role in found))
    if form == "json":
        output.data(found)
    elif found:
        output.table(
            ("ROLE", "LONGEST SESSION", "DESCRIPTION"),
            [(r["arn"], f"{r['max_session_seconds'] // 60} min", r.get("description") or "") for r in found],
        )
    elif identity(connection)["Arn"].endswith(":root"):
        click.echo("The root may not assume roles. Log in as a user.")
    else:
        click.echo("You may assume no role of your account. Roles of other accounts are not listed: give their ARN.")

"""`daypass whoami` and `daypass roles`: the identity of a profile, and the roles that it may assume."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import click

from daypass.cli import output
from daypass.cli.durations import left
from daypass.cli.names import remember_roles
from daypass.cli.options import Connect, pages, server_command
from daypass.cli.own import waiting
from daypass.cli.results import Fields, Part, Result, listing
from daypass.client.credentials import identity
from daypass.client.errors import ClientError

if TYPE_CHECKING:
    from daypass.client.http import Connection


@click.command()
@server_command
def whoami(connect: Connect) -> Result:
    """Show the identity of this profile; for a session also its expiry and its chain of sessions."""
    connection = connect()
    who = identity(connection)
    session = _session(connection) if connection.profile.session_token else None
    shown: dict[str, object] = {"arn": who["Arn"], "account": who["Account"], "user id": who["UserId"]}
    if session:
        shown["session"] = session["session_id"]
        shown["expires"] = output.moment_left(session["expires_at"], connection.clock() + connection.offset)
        shown["source identity"] = session["source_identity"]
    shown["server"] = connection.profile.endpoint
    if session and len(session["hops"]) > 1:
        chain: list[Part] = ["", "Chain:", partial(output.hops, session["hops"])]
    else:
        chain = []
    return Result({**who, "session": session} if session else who, Fields(shown), *chain, *_waiting(connection))


def _waiting(connection: Connection) -> list[Part]:
    """What waits for the caller's decision; nothing where that cannot be asked."""
    try:
        return waiting(connection.api("GET", "/own-access"))
    except ClientError:
        return []


def _session(connection: Connection) -> dict[str, Any] | None:
    """The caller's own session; None on a server that does not tell."""
    try:
        session: dict[str, Any] = connection.api("GET", "/session")
    except ClientError as error:
        if error.status == 404:
            return None
        raise
    return session


@click.command()
@server_command
def roles(connect: Connect) -> Result:
    """List the roles of your account that you may assume now, by their trust policies and your own policies."""
    connection = connect()
    found = pages(connection, "/roles/assumable", "roles", {}, 10_000)
    remember_roles(connection.profile, (str(role["arn"]) for role in found))
    if found:
        return listing(
            found,
            ("ROLE", "LONGEST SESSION", "DESCRIPTION"),
            lambda r: (r["arn"], left(r["max_session_seconds"]), r.get("description") or ""),
        )
    if identity(connection)["Arn"].endswith(":root"):
        return Result(found, "The root may not assume roles. Log in as a user.")
    return Result(
        found, "You may assume no role of your account. Roles of other accounts are not listed: give their ARN."
    )

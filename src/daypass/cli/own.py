"""`daypass browser`, and what a person has and may request: commands about the caller."""

from __future__ import annotations

import click

from daypass.cli import output
from daypass.cli.access_request_text import state_of
from daypass.cli.durations import left
from daypass.cli.options import Connect, Group, limit_option, pages, server_command
from daypass.cli.results import Result, Table, done, listing
from daypass.client.http import segment


@click.group(cls=Group)
def browser() -> None:
    """Browsers in which you are signed in."""


@browser.command("ls")
@server_command
def list_browsers(connect: Connect) -> Result:
    """List the browsers in which you are signed in, newest first."""
    browsers = connect().api("GET", "/browser-sessions")["browser_sessions"]
    return listing(
        browsers,
        ("SESSION", "SIGNED IN", "LAST USED", "UNTIL", "ADDRESS", "BROWSER"),
        lambda b: (
            b["session_id"],
            *(output.moment(b[name]) for name in ("created_at", "used_at", "expires_at")),
            b["source_ip"],
            b["user_agent"],
        ),
    )


@browser.command("end")
@click.argument("session_id", metavar="SESSION")
@server_command
def end_browser(session_id: str, connect: Connect) -> Result:
    """Sign one of your browsers out. Sessions made from it stay valid; `daypass revoke session` ends these too."""
    connect().api("DELETE", f"/browser-sessions/{segment(session_id)}")
    return done("deleted", f"Signed out {session_id}.", session_id=session_id)


@click.command("own")
@server_command
def own_access(connect: Connect) -> Result:
    """Show your grants and your open requests."""
    answer = connect().api("GET", "/own-access")
    grants = [(g["role"], g["state"], output.moment(g["ends_at"]), g["request_id"]) for g in answer["grants"]]
    listed = {g["request_id"] for g in answer["grants"]}
    requests = [
        (", ".join(r["roles"]), state_of(r), "", r["id"]) for r in answer["access_requests"] if r["id"] not in listed
    ]
    empty = "you have no granted access and no open request. What you may request: daypass request roles"
    return Result(answer, Table(("ROLE", "STATE", "UNTIL", "REQUEST"), [*grants, *requests], empty))


@click.command("roles")
@limit_option
@server_command
def requestable_roles(limit: int, connect: Connect) -> Result:
    """List the roles that you may request, with their rules."""
    roles = pages(connect(), "/roles/requestable", "roles", {}, limit)
    return listing(
        roles,
        ("ROLE", "RULE", "APPROVAL", "AT MOST", "TICKET", "EMERGENCY"),
        lambda r: (
            r["arn"],
            r["rule"],
            ", ".join(r["stages"]) or "automatic",
            left(r["max_seconds"]),
            "yes" if r["ticket_required"] else "",
            "yes" if r["break_glass"] else "",
        ),
        empty="no approval rule lets you request a role. What you may assume at once: daypass roles",
    )

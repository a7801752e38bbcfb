"""`daypass stream`: event streams, by which other systems follow revocations and changes of credentials (SSF 1.0)."""

from __future__ import annotations

from typing import Any, Final, TextIO

import click

from daypass.api import notifications
from daypass.cli import output
from daypass.cli.described import group_of
from daypass.cli.files import text_of
from daypass.cli.options import CommandResult, Connect, Fields, confirmed, done, server_command, yes_option

_SSF: Final = "/ssf"
_CAEP: Final = "https://schemas.openid.net/secevent/caep/event-type/"
_EVENTS: Final = ("session-revoked", "credential-change")
_PUSH: Final = "urn:ietf:rfc:8935"
_POLL: Final = "urn:ietf:rfc:8936"


stream = group_of(
    "stream",
    "Event streams: other systems follow ended sessions and changed credentials (SSF 1.0, CAEP 1.0).",
    notifications,
)


@stream.command("create")
@click.option("--push", metavar="URL", default="", help="Deliver to this HTTPS address. Default: the receiver polls.")
@click.option(
    "--header-file",
    type=click.File(encoding="utf-8"),
    help="File with the Authorization header of deliveries. - reads it from standard input.",
)
@click.option("--event", "events", multiple=True, type=click.Choice(_EVENTS), help="Only this event. Default: all.")
@click.option("--description", default="", help="Purpose.")
@server_command
def create(
    push: str, header_file: TextIO | None, events: tuple[str, ...], description: str, connect: Connect
) -> CommandResult:
    """Make an event stream of your account."""
    delivery = {"method": _PUSH, "endpoint_url": push} if push else {"method": _POLL}
    if header_file is not None:
        if not push:
            raise click.UsageError("--header-file needs --push: a receiver that polls authenticates itself.")
        delivery["authorization_header"] = text_of(header_file).strip()
    body: dict[str, Any] = {"delivery": delivery}
    if events:
        body["events_requested"] = [_CAEP + event for event in events]
    if description:
        body["description"] = description
    made = connect().api("POST", "/streams", body=body, root=_SSF, repeatable=False)
    return CommandResult(
        made,
        Fields(
            {"stream": made["stream_id"], "audience": made["aud"], "endpoint": made["delivery"].get("endpoint_url", "")}
        ),
    )


@stream.command("set")
@click.argument("stream_id", metavar="STREAM")
@click.argument("status", type=click.Choice(("enabled", "paused", "disabled")))
@click.option("--reason", default="", help="Why; the receiver is told.")
@yes_option
@server_command
def set_status(stream_id: str, status: str, reason: str, yes: bool, connect: Connect) -> CommandResult:
    """Enable, pause or disable a stream. A paused stream keeps its events, a disabled one loses them."""
    if status == "disabled":
        confirmed(f"Disable event stream {output.safe(stream_id)}?", yes=yes, why="a disabled stream loses its events")
    body = {"stream_id": stream_id, "status": status, **({"reason": reason} if reason else {})}
    connect().api("POST", "/status", body=body, root=_SSF)
    return done(status, f"Event stream {stream_id} is {status}.", stream_id=stream_id)


@stream.command("rm")
@click.argument("stream_id", metavar="STREAM")
@yes_option
@server_command
def remove(stream_id: str, yes: bool, connect: Connect) -> CommandResult:
    """Delete a stream with its events."""
    confirmed(f"Delete event stream {output.safe(stream_id)}?", yes=yes)
    connect().api("DELETE", "/streams", {"stream_id": stream_id}, root=_SSF)
    return done("deleted", f"Deleted event stream {stream_id}.", stream_id=stream_id)

"""`daypass notify`: channels for notifications about access requests, and what could not be delivered."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

from daypass.cli import output
from daypass.cli.files import text_of
from daypass.cli.options import (
    Connect,
    Group,
    account_option,
    confirmed,
    limit_option,
    pages,
    server_command,
    user_option,
    yes_option,
)
from daypass.cli.replacing import show
from daypass.cli.results import Result, done, listing
from daypass.client.http import Connection, segment

_PATH = "/notification-channels"
_EVENTS = (
    "access.requested",
    "access.emergency",
    "access.approved",
    "access.denied",
    "access.escalated",
    "access.ended",
)
_name = click.argument("name")


@click.group(cls=Group)
def notify() -> None:
    """Notifications about access requests."""


@notify.command("ls")
@account_option
@server_command
def list_channels(account: str, connect: Connect) -> Result:
    """List the channels."""
    channels = connect().api("GET", _PATH, {"account": account})["notification_channels"]
    return listing(
        channels,
        ("CHANNEL", "KIND", "TARGET", "EVENTS"),
        lambda c: (c["name"], c["kind"], c["target"], ", ".join(c["events"])),
    )


@notify.command("set")
@_name
@click.argument("kind", type=click.Choice(["webhook", "email", "slack", "teams", "jira", "servicenow"]))
@click.argument("target")
@click.option(
    "--event",
    "events",
    multiple=True,
    metavar="TYPE",
    help="An event to report, such as access.ended; repeatable. Default: those of requests, votes and grants.",
)
@click.option(
    "--secret-file",
    type=click.File(encoding="utf-8"),
    help="Of Jira and ServiceNow: a file with USER:TOKEN or a bearer token. Of Slack: with the signing secret of its application, of Teams: with the security token of an outgoing webhook, to approve in the chat. - reads it from standard input.",
)
@account_option
@yes_option
@server_command
def set_channel(name: str, kind: str, target: str, yes: bool, connect: Connect, **given: Any) -> Result:
    """Create or replace channel NAME. TARGET is a URL, or for e-mail addresses with commas.

    For tickets: https://HOST?project=KEY&type=Task (jira), https://HOST?table=incident (servicenow). A channel that exists
    is replaced, after the change is shown and confirmed: it also gets a new secret.
    """
    body: dict[str, Any] = {"kind": kind, "target": target, "events": list(given["events"] or _EVENTS)}
    if given["secret_file"] is not None:
        body["secret"] = text_of(given["secret_file"]).strip()
    connection = connect()
    _agree(connection, name, given["account"], body, yes=yes)
    made = connection.api("PUT", f"{_PATH}/{segment(name)}", {"account": given["account"]}, body=body)
    text = [f"Channel {made['name']} reports:", *(f"  {event}" for event in made["events"])]
    if made["secret"]:
        text += ["Its webhooks are signed with this secret, which is shown once:", f"  {made['secret']}"]
    return Result(made, *text)


def _agree(connection: Connection, name: str, account: str, body: Mapping[str, Any], *, yes: bool) -> None:
    """Asks before a channel that exists is replaced."""
    channels = connection.api("GET", _PATH, {"account": account})["notification_channels"]
    for stored in channels:
        if stored["name"] == name:
            members = ("kind", "target", "events")
            show(f"Channel {name}", {m: stored[m] for m in members}, {m: body[m] for m in members})
            confirmed("Replace it?", yes=yes, why="this replaces the channel and its secret")


@notify.command("rm")
@_name
@account_option
@yes_option
@server_command
def remove(name: str, account: str, yes: bool, connect: Connect) -> Result:
    """Delete channel NAME."""
    confirmed(f"Delete channel {output.safe(name)}?", yes=yes)
    connect().api("DELETE", f"{_PATH}/{segment(name)}", {"account": account})
    return done("deleted", f"Deleted channel {name}.", channel=name)


@notify.command("test")
@_name
@account_option
@server_command
def send_test(name: str, account: str, connect: Connect) -> Result:
    """Send a test over channel NAME. `daypass notify log` shows whether it arrived."""
    made = connect().api("POST", f"{_PATH}/{segment(name)}/test", {"account": account})
    return Result(made, f"Notification {made['id']} is on its way.")


@notify.command("log")
@click.option("--dead", is_flag=True, help="Only those that could not be delivered.")
@account_option
@limit_option
@server_command
def log(dead: bool, account: str, limit: int, connect: Connect) -> Result:
    """List notifications, newest first."""
    query = {"account": account, "outcome": "dead" if dead else ""}
    notifications = pages(connect(), "/notifications", "notifications", query, limit)
    return listing(
        notifications,
        ("NOTIFICATION", "CHANNEL", "EVENT", "STATE", "ATTEMPTS", "ERROR"),
        lambda n: (n["id"], n["channel"], n["event"], n["outcome"] or "waiting", n["attempts"], n["error"]),
    )


@notify.command("retry")
@click.argument("notification_id")
@account_option
@server_command
def retry(notification_id: str, account: str, connect: Connect) -> Result:
    """Deliver a notification again that could not be delivered. One that waits for its next attempt is due at once."""
    connect().api("POST", f"/notifications/{segment(notification_id)}/retry", {"account": account})
    return done("waiting", f"Notification {notification_id} waits for delivery.", notification_id=notification_id)


@notify.command("chat-code")
@click.option(
    "--for",
    "chat_user",
    default="",
    metavar="CHAT_USER",
    help="Only this chat user can use it. Teams takes no other code.",
)
@server_command
def chat_code(chat_user: str, connect: Connect) -> Result:
    """Make a code that links your chat user with you, so that you can approve in the chat.

    In Teams, mention the webhook with "link" first: it answers with the CHAT_USER that you give to --for.
    """
    body = {"chat_user": chat_user} if chat_user else {}
    made = connect().api("POST", "/chat-codes", body=body)
    return Result(
        made,
        "Send this from your chat user within ten minutes, and give it to nobody:",
        f"{'link' if chat_user.startswith('teams:') else '/daypass link'} {made['code']}",
    )


@notify.command("chat-users")
@user_option
@account_option
@server_command
def chat_users(user: str, account: str, connect: Connect) -> Result:
    """List the chat users who may approve as you."""
    users = connect().api("GET", "/chat-users", {"user": user, "account": account})["chat_users"]
    return listing(
        users, ("CHAT USER", "NAME", "LINKED"), lambda c: (c["id"], c["name"], output.moment(c["created_at"]))
    )


@notify.command("chat-unlink")
@click.argument("chat_user", metavar="CHAT_USER")
@user_option
@account_option
@yes_option
@server_command
def chat_unlink(chat_user: str, user: str, account: str, yes: bool, connect: Connect) -> Result:
    """Remove the link of CHAT_USER."""
    confirmed(f"Remove the link of {output.safe(chat_user)}?", yes=yes)
    query = {"user": user, "account": account}
    connect().api("DELETE", f"/chat-users/{segment(chat_user)}", query)
    return done("deleted", f"Removed the link of {chat_user}.", chat_user=chat_user)

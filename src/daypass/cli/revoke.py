"""`daypass revoke` and `daypass revocations`: end sessions at once, and see what is in force."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import click

from daypass.cli import output
from daypass.cli.durations import moment_of
from daypass.cli.options import Connect, Result, any_account_option, reason_option, server_command

if TYPE_CHECKING:
    _Choice = click.Choice[str]
else:
    _Choice = click.Choice  # older releases of click have no type parameter here

SUBJECTS = ("session", "role", "principal", "access-key", "source-identity", "account", "grant", "client")


class _Subject(_Choice):
    """Also as the API and the record write it, with an underscore."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        return super().convert(str(value).replace("_", "-"), param, ctx)


@click.command()
@click.argument("subject", type=_Subject(SUBJECTS))
@click.argument("value")
@any_account_option
@click.option("--block", is_flag=True, help="Also stop the subject from getting new sessions.")
@click.option("--block-until", default="", metavar="TIME", help="Until then: 2026-01-31T12:00:00Z, or +2h, +30m, +7d.")
@reason_option
@click.option("--force", is_flag=True, help="Accept a value that the server does not know.")
@click.option("--dry-run", is_flag=True, help="Only show how many sessions would end.")
@server_command
def revoke(subject: str, value: str, connect: Connect, **given: Any) -> Result:
    """End immediately a session, or all sessions of a role, principal, key, source identity, account, grant or client.

    Every session made from an ended session ends with it. Roles and principals are given by name, ARN or id; the
    subject of a token, assertion or certificate by the ARN of its provider or trust anchor, a colon and the subject.

    With a principal or an account, access that it requested before ends too: grants, pending requests and votes. Other
    subjects end the votes that were cast with them; grants of the person stay.
    """
    until, dry_run = given.pop("block_until"), given.pop("dry_run")
    body: dict[str, Any] = {"subject": subject.replace("-", "_"), "value": value, **given}
    if dry_run:
        body["dry_run"] = True
    if until:
        body["block_until"] = moment_of(until, time.time())
    made = connect().api("POST", "/revocations", body=body)
    if made.get("dry_run"):
        return Result(made, f"Dry run, nothing is revoked. {ended(made, 'would end')}")
    blocked = " New ones are blocked." if made["block"] else ""
    named = made["value"] if made["value"] == value else f"{value} ({made['value']})"
    return Result(made, f"Revoked {subject} {named}; revocation {made['id']}. {ended(made)}{blocked}")


def ended(made: dict[str, Any], verb: str = "ended") -> str:
    """How many sessions a revocation ended, as a sentence. `verb`: "ended" or "would end"."""
    count = made.get("sessions_ended")
    if not isinstance(count, int):
        return f"The number of sessions that {verb} is not known."
    exact = "" if made.get("sessions_complete") else "At least "
    if not count and not exact:
        return f"No active session {verb}."
    return f"{exact}{output.counted(count, 'active session')} {verb}."

"""`daypass revoke` and `daypass revocations`: end sessions at once, and see what is in force."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final

import click

from daypass.cli import output
from daypass.cli.durations import moment_of
from daypass.cli.options import (
    CommandResult,
    Connect,
    account_option,
    any_account_option,
    confirmed,
    reason_option,
    server_command,
)

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
def revoke(subject: str, value: str, connect: Connect, **given: Any) -> CommandResult:
    """End a session, or all sessions of a role, principal, key, source identity, account, grant or client.

    Sessions made from an ended session end with it. Name roles and principals by name, ARN or id; the subject of a token,
    assertion or certificate by the ARN of its provider or trust anchor, a colon and the subject.

    With a principal or an account, grants, pending requests and votes end too. Other subjects end only their votes.
    """
    until, dry_run = given.pop("block_until"), given.pop("dry_run")
    body: dict[str, Any] = {"subject": subject.replace("-", "_"), "value": value, **given}
    if dry_run:
        body["dry_run"] = True
    if until:
        body["block_until"] = moment_of(until, time.time())
    made = connect().api("POST", "/revocations", body=body)
    if made.get("dry_run"):
        return CommandResult(made, f"Dry run, nothing is revoked. {ended(made, 'would end')}")
    blocked = " New ones are blocked." if made["block"] else ""
    named = made["value"] if made["value"] == value else f"{value} ({made['value']})"
    return CommandResult(made, f"Revoked {subject} {named}; revocation {made['id']}. {ended(made)}{blocked}")


def ended(made: dict[str, Any], verb: str = "ended") -> str:
    """How many sessions a revocation ended, as a sentence. `verb`: "ended" or "would end"."""
    count = made.get("sessions_ended")
    if not isinstance(count, int):
        return f"The number of sessions that {verb} is not known."
    exact = "" if made.get("sessions_complete") else "At least "
    if not count and not exact:
        return f"No active session {verb}."
    return f"{exact}{output.counted(count, 'active session')} {verb}."


# --- `daypass offboard`: ends the access of a person in one call


@click.command()
@click.argument("name", default="")
@click.option(
    "--principal", "principals", multiple=True, metavar="PRINCIPAL", help="Also this principal of the person."
)
@click.option("--source-identity", "identities", multiple=True, metavar="NAME", help="Also this source identity.")
@account_option
@reason_option
@click.option("--delete", is_flag=True, help="Also delete the user, with its keys, memberships and policies.")
@click.option("--dry-run", is_flag=True, help="Only show what would be done.")
@click.option("--yes", is_flag=True, help="With --delete: do not ask.")
@server_command
def offboard(
    name: str, principals: tuple[str, ...], identities: tuple[str, ...], yes: bool, connect: Connect, **given: Any
) -> CommandResult:
    """End the access of user NAME: sessions, access requests, keys, password, MFA devices and passkeys.

    Name people of a provider by --principal: the ARN of the provider, a colon and the subject. The command can be repeated.
    """
    if not (name or principals or identities):
        raise click.UsageError("Name a user, or give --principal or --source-identity.")
    if given["delete"] and not given["dry_run"]:
        confirmed(f"Delete user {output.safe(name)}, and end all access?", yes=yes)
    also = [
        *({"kind": "principal", "value": value} for value in principals),
        *({"kind": "source_identity", "value": value} for value in identities),
    ]
    made = connect().api("POST", "/offboardings", body={"user": name, "also": also, **given})
    return CommandResult(made, *report(made, deletes=bool(given["delete"])))


def report(made: dict[str, Any], *, deletes: bool) -> list[str]:
    """One sentence for each change."""
    deleted = "Would delete" if made["dry_run"] else "Deleted"
    return [*_ended(made), *([f"{deleted} user {made['user']}."] if deletes else [])]


_REMOVED: Final = (
    ("access_requests_cancelled", "Would cancel", "Cancelled", "access request"),
    ("grants_ended", "Would end", "Ended", "access grant"),
    ("scim_tokens_deleted", "Would delete", "Deleted", "SCIM token"),
    ("consents_removed", "Would remove", "Removed", "the consent to"),
    ("chat_users_unlinked", "Would unlink", "Unlinked", "chat user"),
)
"""Members of the report that are lists, each with what is said of its entries."""


def _ended(made: dict[str, Any]) -> list[str]:
    verb, done = ("would end", "Would disable") if made["dry_run"] else ("ended", "Disabled")
    lines = ["Dry run, nothing is changed."] if made["dry_run"] else []
    for each in made["revocations"]:
        blocked = "Would block" if made["dry_run"] else "Blocked"
        suffix = "" if made["dry_run"] else f"; revocation {output.safe(each['id'])}"
        lines.append(f"{blocked} {_subject(each)}{suffix}.")
    lines += [
        f"Already blocked: {_subject(each)}; revocation {output.safe(each['id'])}." for each in made["already_blocked"]
    ]
    lines.append(ended(made, verb))
    lines += [f"{done} access key {output.safe(key)}." for key in made["keys_disabled"]]
    if made["password_removed"]:
        lines.append(f"{done} the password.")
    lines += [f"{done} MFA device {output.safe(serial)}." for serial in made["mfa_devices_deactivated"]]
    lines += [f"{done} passkey {output.safe(name)}." for name in made.get("passkeys_removed", ())]
    for member, would, did, what in _REMOVED:
        removes = would if made["dry_run"] else did
        lines += [f"{removes} {what} {output.safe(name)}." for name in made.get(member, ())]
    if made["last_expiry"]:
        lines.append(
            "Services that do not follow revocations may accept access tokens of these sessions until "
            f"{output.moment(made['last_expiry'])}."
        )
    for token in made.get("outstanding_tokens") or []:
        audiences = output.safe(", ".join(token["audiences"]))
        lines.append(
            f"{output.safe(token['subject'])} has a token for {audiences} that cannot be revoked; it ends "
            f"{output.moment(token['expires_at'])}."
        )
    if not made.get("outstanding_complete", True):
        lines.append("There may be further tokens for other clouds: they end within an hour.")
    return lines


def _subject(revocation: dict[str, Any]) -> str:
    return output.safe(f"{revocation['subject'].replace('_', '-')} {revocation['value']}")

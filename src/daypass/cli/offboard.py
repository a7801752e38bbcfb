"""`daypass offboard`: ends the access of a person in one call."""

from __future__ import annotations

from typing import Any, Final

import click

from daypass.cli import output
from daypass.cli.options import Connect, Result, account_option, confirmed, reason_option, server_command
from daypass.cli.revoke import ended


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
) -> Result:
    """End the access of user NAME: sessions, access requests, keys, password, MFA devices and passkeys.

    People who sign in through a provider are named by --principal: the ARN of the provider, a colon and the subject.
    Without --delete the user itself stays. Run it again at any time: it changes only what has come back.
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
    return Result(made, *report(made, deletes=bool(given["delete"])))


def report(made: dict[str, Any], *, deletes: bool) -> list[str]:
    """What was done, a sentence each."""
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

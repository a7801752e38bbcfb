"""`daypass consent`: consents to applications that people let Daypass remember."""

from __future__ import annotations

import click

from daypass.cli import output
from daypass.cli.options import Connect, Group, account_option, confirmed, server_command, yes_option
from daypass.cli.results import Result, Table, done
from daypass.client.http import segment


@click.group(cls=Group)
def consent() -> None:
    """Consents that people let Daypass remember."""


@consent.command("ls")
@click.argument("person")
@account_option
@server_command
def list_consents(person: str, account: str, connect: Connect) -> Result:
    """List the consents of PERSON: a user's name, or the ARN of a provider, a colon and the subject."""
    query = {"person": person, "account": account}
    consents = connect().api("GET", "/consents", query)["consents"]
    rows = [(c["id"], c["client_id"], c["role"], c["scope"], output.moment(c["expires_at"])) for c in consents]
    return Result(consents, Table(("ID", "CLIENT", "ROLE", "SCOPE", "UNTIL"), rows))


@consent.command("rm")
@click.argument("consent_id", metavar="ID")
@account_option
@yes_option
@server_command
def remove(consent_id: str, account: str, yes: bool, connect: Connect) -> Result:
    """Remove a consent. Its refresh tokens and their sessions end, and the person is asked again."""
    confirmed(f"Remove consent {output.safe(consent_id)}?", yes=yes)
    connect().api("DELETE", f"/consents/{segment(consent_id)}", {"account": account})
    return done("deleted", f"Removed {consent_id}.", consent_id=consent_id)

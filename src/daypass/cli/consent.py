"""`daypass consent`: consents to applications that people let Daypass remember."""

from __future__ import annotations

import click

from daypass.cli import output
from daypass.cli.options import Group, confirmed, connect, output_option, server_options, yes_option
from daypass.cli.results import Result, Table, done
from daypass.client.http import segment

_account = click.option("--account", default="", metavar="ID", help="Another account, for the operator.")


@click.group(cls=Group)
def consent() -> None:
    """Consents that people let Daypass remember."""


@consent.command("ls")
@click.argument("person")
@_account
@server_options
@output_option
def list_consents(person: str, account: str, profile: str, endpoint: str) -> Result:
    """List the consents of PERSON: a user's name, or the ARN of a provider, a colon and the subject."""
    query = {"person": person, "account": account}
    found = connect(profile, endpoint).api("GET", "/consents", query)["consents"]
    rows = [(c["id"], c["client_id"], c["role"], c["scope"], output.moment(c["expires_at"])) for c in found]
    return Result(found, Table(("ID", "CLIENT", "ROLE", "SCOPE", "UNTIL"), rows))


@consent.command("rm")
@click.argument("consent_id", metavar="ID")
@_account
@yes_option
@server_options
@output_option
def remove(consent_id: str, account: str, yes: bool, profile: str, endpoint: str) -> Result:
    """Remove a consent. Its refresh tokens and their sessions end, and the person is asked again."""
    confirmed(f"Remove consent {output.safe(consent_id)}?", yes=yes)
    connect(profile, endpoint).api("DELETE", f"/consents/{segment(consent_id)}", {"account": account})
    return done("deleted", f"Removed {consent_id}.", consent_id=consent_id)

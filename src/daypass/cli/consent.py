"""`daypass consent`: consents to applications that people let Daypass remember."""

from __future__ import annotations

import click

from daypass.cli import output
from daypass.cli.options import Group, connect, output_option, server_options
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
def list_consents(person: str, account: str, profile: str, endpoint: str, form: str) -> None:
    """List the consents of PERSON: a user's name, or the ARN of a provider, a colon and the subject."""
    query = {"person": person, "account": account}
    found = connect(profile, endpoint).api("GET", "/consents", query)["consents"]
    if form == "json":
        output.data(found)
        return
    rows = [(c["id"], c["client_id"], c["role"], c["scope"], output.moment(c["expires_at"])) for c in found]
    output.table(("ID", "CLIENT", "ROLE", "SCOPE", "UNTIL"), rows)


@consent.command("rm")
@click.argument("consent_id", metavar="ID")
@_account
@server_options
def remove(consent_id: str, account: str, profile: str, endpoint: str) -> None:
    """Remove a consent. Its refresh tokens and their sessions end, and the person is asked again."""
    connect(profile, endpoint).api("DELETE", f"/consents/{segment(consent_id)}", {"account": account})
    output.prose(f"Removed {output.safe(consent_id)}.")

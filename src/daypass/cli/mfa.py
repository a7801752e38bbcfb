"""`daypass mfa`: passkeys, MFA devices and recovery codes."""

from __future__ import annotations

import webbrowser
from collections.abc import Callable
from typing import Any

import click

from daypass.cli import authenticator_app, output
from daypass.cli.options import Group, confirmed, connect, output_option, server_options, yes_option
from daypass.client.http import segment


def _whose(command: Callable[..., Any]) -> Callable[..., Any]:
    """--user and --account: the devices of another user."""
    command = click.option("--account", default="", metavar="ID", help="Another account, for the operator.")(command)
    return click.option("--user", default="", metavar="NAME", help="Another user. Default: you.")(command)


@click.group(cls=Group)
def mfa() -> None:
    """Passkeys, MFA devices and recovery codes."""


@mfa.command("ls")
@_whose
@server_options
@output_option
def list_devices(user: str, account: str, profile: str, endpoint: str, form: str) -> None:
    """List your devices, or those of another user."""
    found = connect(profile, endpoint).api("GET", "/mfa-devices", {"user": user, "account": account})
    if form == "json":
        output.data(found)
        return
    rows = [(each["name"], _kind(each), output.moment(each["used_at"]), each["id"]) for each in found["passkeys"]]
    rows += [(each["name"], "virtual device", "", each["serial_number"]) for each in found["virtual_devices"]]
    output.table(("NAME", "KIND", "LAST USED", "ID"), rows)
    output.prose(f"{found['recovery_codes']} recovery codes can be used.")


def _kind(passkey: dict[str, Any]) -> str:
    if passkey["blocked_at"]:
        return "passkey, blocked: it was copied"
    return "passkey, synchronised" if passkey["backed_up"] else "passkey"


@mfa.command("add")
@click.option("--app", is_flag=True, help="Register an authenticator app instead, on this terminal.")
@click.option("--no-browser", is_flag=True, help="Print the address instead of opening it.")
@server_options
def add(app: bool, no_browser: bool, profile: str, endpoint: str) -> None:  # options
    """Register a passkey or security key in your browser, or an authenticator app on this terminal (--app)."""
    connection = connect(profile, endpoint)
    if app:
        serial = output.safe(authenticator_app.register(connection))
        output.prose(f"Registered {serial}. For a role that needs it: daypass exec ROLE --mfa-serial {serial}")
        return
    address = f"{connection.profile.endpoint}/account/devices"
    if no_browser or not webbrowser.open(address):
        output.prose(f"Open this address: {output.safe(address)}")
        return
    output.prose(f"Your browser opens {output.safe(address)}.")


@mfa.command("rename")
@click.argument("passkey_id", metavar="ID")
@click.argument("name")
@_whose
@server_options
@output_option
def rename(passkey_id: str, name: str, user: str, account: str, profile: str, endpoint: str, form: str) -> None:
    """Rename passkey ID to NAME."""
    query, body = {"user": user, "account": account}, {"name": name}
    renamed = connect(profile, endpoint).api("PUT", f"/passkeys/{segment(passkey_id)}", query, body=body)
    if form == "json":
        output.data(renamed)
        return
    output.prose(f"The passkey is named {output.safe(renamed['name'])}.")


@mfa.command("rm")
@click.argument("device", metavar="ID")
@_whose
@yes_option
@server_options
def remove(device: str, user: str, account: str, yes: bool, profile: str, endpoint: str) -> None:
    """Remove passkey ID, or the virtual device with serial number ID.

    With a passkey, its user is signed out of other browsers.
    """
    virtual = device.startswith("arn:")
    if virtual and account:
        raise click.UsageError("A virtual device is removed in its own account: leave out --account.")
    confirmed(f"Remove {'device' if virtual else 'passkey'} {output.safe(device)}?", yes=yes)
    connection = connect(profile, endpoint)
    if virtual:
        authenticator_app.remove(connection, device, user)
    else:
        connection.api("DELETE", f"/passkeys/{segment(device)}", {"user": user, "account": account})
    output.prose(f"The {'device' if virtual else 'passkey'} is removed.")


@mfa.command("recovery-codes")
@yes_option
@server_options
@output_option
def recovery_codes(yes: bool, profile: str, endpoint: str, form: str) -> None:
    """Make ten new recovery codes. Those that you have stop working."""
    confirmed("Make new recovery codes? Those that you have stop working.", yes=yes)
    made = connect(profile, endpoint).api("POST", "/recovery-codes", body={})
    if form == "json":
        output.data(made)
        return
    output.prose("Each code signs you in once, after your password. They are not shown again:")
    for code in made["codes"]:
        click.echo(code)

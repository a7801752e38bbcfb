"""`daypass mfa`: passkeys, MFA devices and recovery codes."""

from __future__ import annotations

import binascii
import re
import webbrowser
from base64 import b64decode
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import quote, urlencode

import click

from daypass.cli import exits, iam, output
from daypass.cli.access_request import mfa_options
from daypass.cli.options import (
    CommandGroup,
    CommandResult,
    Connect,
    Table,
    account_option,
    confirmed,
    done,
    open_connection,
    server_command,
    user_option,
    yes_option,
)
from daypass.cli.request import mfa_code_on_terminal, mfa_device
from daypass.client.credentials import identity, read_credentials, session_profile
from daypass.client.errors import ClientError
from daypass.client.http import Connection, segment
from daypass.client.profiles import LocalStateError

_SECONDS = 900
"""How long a session for one change lasts: the shortest that there is."""


@contextmanager
def _with_mfa(connect: Connect, *, mfa_serial: str, mfa_code: str, own: bool = True) -> Iterator[Connection]:
    """A connection for a change of devices: with --mfa-serial, or that of the profile, a session of the caller with MFA.

    `own`: the caller's own devices, which a key alone may not change once there is one; the refusal then says what to give.
    """
    connection = connect()
    serial = mfa_device(connection.profile, mfa_serial, mfa_code)
    if serial:
        code = mfa_code or mfa_code_on_terminal("This call", serial)
        answer = connection.sts("GetSessionToken", SerialNumber=serial, TokenCode=code, DurationSeconds=_SECONDS)
        keys = read_credentials(answer, connection.clock(), connection.offset)
        connection = open_connection(session_profile(connection.profile, keys))
    try:
        yield connection
    except ClientError as error:
        if own and not serial and exits.status_of(error) == exits.DENIED:
            error.add_note("to change your own devices, give a code of one: --mfa-serial ARN (daypass mfa ls shows it)")
        raise


@click.group(cls=CommandGroup)
def mfa() -> None:
    """Passkeys, MFA devices and recovery codes."""


@mfa.command("ls")
@user_option
@account_option
@server_command
def list_devices(user: str, account: str, connect: Connect) -> CommandResult:
    """List your devices, or those of another user."""
    devices = connect().api("GET", "/mfa-devices", {"user": user, "account": account})
    rows = [(each["name"], _kind(each), output.moment(each["used_at"]), each["id"]) for each in devices["passkeys"]]
    rows += [(each["name"], "virtual device", "", each["serial_number"]) for each in devices["virtual_devices"]]
    return CommandResult(
        devices,
        Table(("NAME", "KIND", "LAST USED", "ID"), rows, "no device is registered"),
        f"{devices['recovery_codes']} recovery codes can be used.",
    )


def _kind(passkey: dict[str, Any]) -> str:
    if passkey["blocked_at"]:
        return "passkey, blocked: it was copied"
    return "passkey, synchronised" if passkey["backed_up"] else "passkey"


@mfa.command("add")
@click.option("--app", is_flag=True, help="Register an authenticator app instead, on this terminal.")
@click.option("--no-browser", is_flag=True, help="Print the address instead of opening it.")
@mfa_options
@server_command
def add(app: bool, no_browser: bool, connect: Connect, **given: Any) -> CommandResult:
    """Register a passkey or security key in your browser, or an authenticator app on this terminal (--app)."""
    if app:
        with _with_mfa(connect, **given) as connection:
            serial = register_app(connection)
        text = f"Registered {serial}. For a role that needs it: daypass exec ROLE --mfa-serial {serial}"
        return done("registered", text, serial_number=serial)
    address = f"{connect().profile.endpoint}/account/devices"
    if no_browser or not webbrowser.open(address):
        return done("address", f"Open this address: {address}", address=address)
    return done("opened", f"Your browser opens {address}.", address=address)


@mfa.command("rename")
@click.argument("passkey_id", metavar="ID")
@click.argument("name")
@user_option
@account_option
@mfa_options
@server_command
def rename(passkey_id: str, name: str, user: str, account: str, connect: Connect, **given: Any) -> CommandResult:
    """Rename passkey ID to NAME."""
    query, body = {"user": user, "account": account}, {"name": name}
    with _with_mfa(connect, **given, own=not user) as connection:
        renamed = connection.api("PUT", f"/passkeys/{segment(passkey_id)}", query, body=body)
    return CommandResult(renamed, f"The passkey is named {output.safe(renamed['name'])}.")


@mfa.command("rm")
@click.argument("device", metavar="ID")
@user_option
@account_option
@mfa_options
@yes_option
@server_command
def remove(device: str, user: str, account: str, yes: bool, connect: Connect, **given: Any) -> CommandResult:
    """Remove passkey ID, or the virtual device with serial number ID.

    With a passkey, its user is signed out of other browsers.
    """
    virtual = device.startswith("arn:")
    if virtual and account:
        raise click.UsageError("A virtual device is removed in its own account: leave out --account.")
    confirmed(f"Remove {'device' if virtual else 'passkey'} {output.safe(device)}?", yes=yes)
    with _with_mfa(connect, **given, own=not user) as connection:
        if virtual:
            remove_app(connection, device, user)
        else:
            connection.api("DELETE", f"/passkeys/{segment(device)}", {"user": user, "account": account})
    return done("deleted", f"The {'device' if virtual else 'passkey'} is removed.", device=device)


@mfa.command("recovery-codes")
@mfa_options
@yes_option
@server_command
def recovery_codes(yes: bool, connect: Connect, **given: Any) -> CommandResult:
    """Make ten new recovery codes. Those that you have stop working."""
    confirmed("Create new recovery codes? Those that you have stop working.", yes=yes)
    with _with_mfa(connect, **given) as connection:
        made = connection.api("POST", "/recovery-codes", body={})
    return CommandResult(
        made, "Each code signs you in once, after your password. They are not shown again:", *made["codes"]
    )


# --- Registers and removes virtual MFA devices: authenticator apps that show codes


_ATTEMPTS = 3


def register_app(connection: Connection) -> str:
    """Makes a device for the caller's user, shows its secret once and asks for two codes of it; its serial number.

    Raises ClientError, UsageError (no terminal to ask on, or the caller is not a user), LocalStateError (wrong codes).
    """
    if not output.interactive():
        raise click.UsageError("An authenticator app needs a terminal: its secret is shown, and codes are asked for.")
    user, account = _user(connection)
    made = iam.one(connection, "CreateVirtualMFADevice", "VirtualMFADevice", VirtualMFADeviceName=user)
    serial = made["SerialNumber"]
    try:
        _show(made.get("Base32StringSeed", ""), user, account)
        _confirm(connection, user, serial)
    except BaseException:
        try:
            connection.iam("DeleteVirtualMFADevice", SerialNumber=serial)
        except ClientError:
            output.message(f"an unused device is left behind; to remove it: daypass mfa rm {output.safe(serial)}")
        raise
    return serial


def remove_app(connection: Connection, serial: str, user: str) -> None:
    """Deactivates and deletes the device of a user, of the caller's own if `user` is empty. Raises ClientError."""
    owner = user or _user(connection)[0]
    try:
        connection.iam("DeactivateMFADevice", UserName=owner, SerialNumber=serial)
    except ClientError as error:
        if error.code != "NoSuchEntity":  # a device that was never activated is deleted all the same
            raise
    connection.iam("DeleteVirtualMFADevice", SerialNumber=serial)


def _user(connection: Connection) -> tuple[str, str]:
    """Name and account of the caller, who must be a user."""
    who = identity(connection)
    kind, _, path = who["Arn"].rpartition(":")[2].partition("/")
    if kind != "user":
        raise click.UsageError(f"Only a user has MFA devices, and you are {output.safe(who['Arn'])}.")
    return path.rpartition("/")[2], who["Account"]


def _show(seed: str, user: str, account: str) -> None:
    try:
        secret = b64decode(seed, validate=True).decode("ascii")
    except (binascii.Error, ValueError):
        raise ClientError("", "the server's answer to CreateVirtualMFADevice holds no secret") from None
    address = (
        f"otpauth://totp/{quote(f'Daypass:{user}@{account}')}?{urlencode({'secret': secret, 'issuer': 'Daypass'})}"
    )
    output.prose("Type this secret into your authenticator app. It is not shown again:", err=True)
    click.echo(f"\n  {output.safe(secret)}\n", err=True)
    output.prose("Or give the app this address, for example as a QR code:", err=True)
    click.echo(f"\n  {output.safe(address)}\n", err=True)
    output.qr_code(address)


def _code(text: str) -> str:
    """A code as the app shows it, with or without a space."""
    while not re.fullmatch("[0-9]{6}", code := click.prompt(text, err=True).replace(" ", "")):
        output.message("a code of an authenticator app has six digits")
    return code


def _confirm(connection: Connection, user: str, serial: str) -> None:
    for attempt in range(1, _ATTEMPTS + 1):
        first, second = _code("Code"), _code("Next code")
        try:
            connection.iam(
                "EnableMFADevice",
                UserName=user,
                SerialNumber=serial,
                AuthenticationCode1=first,
                AuthenticationCode2=second,
            )
        except ClientError as error:
            if error.code not in ("InvalidAuthenticationCode", "ValidationError"):
                raise
            if attempt == _ATTEMPTS:
                raise LocalStateError("The codes are wrong, so the device is not registered.") from None
            output.message("these are not two consecutive codes of the app; try again with the next two")
        else:
            return

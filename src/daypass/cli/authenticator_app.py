"""Registers and removes virtual MFA devices: authenticator apps that show codes.

It must never leave a device behind that its user has not confirmed with two codes.
"""

from __future__ import annotations

import binascii
from base64 import b64decode
from urllib.parse import quote, urlencode

import click

from daypass.cli import iam, output
from daypass.client.credentials import identity
from daypass.client.errors import ClientError
from daypass.client.http import Connection
from daypass.client.profiles import LocalStateError

_ATTEMPTS = 3


def register(connection: Connection) -> str:
    """Makes a device for the caller's user, shows its secret once and asks for two codes of it; its serial number.

    Raises ClientError, UsageError (no terminal to ask on, or the caller is not a user), LocalStateError (wrong codes).
    """
    if not output.interactive():
        raise click.UsageError(
            "An authenticator app is registered on a terminal: its secret is shown, and codes are asked."
        )
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


def remove(connection: Connection, serial: str, user: str) -> None:
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
    output.prose("Or give the app this address, as a QR code for example:", err=True)
    click.echo(f"\n  {output.safe(address)}\n", err=True)
    output.qr_code(address)


def _confirm(connection: Connection, user: str, serial: str) -> None:
    for attempt in range(1, _ATTEMPTS + 1):
        first = click.prompt("Code", err=True).strip()
        second = click.prompt("Next code", err=True).strip()
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
            output.message("these are not two codes of it, one after the other: try again with the next two")
        else:
            return

"""Changes of users: each by the operations of IAM, and confirmed where it gives access or takes it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Final

from daypass.operations.offboarding import offboard as offboarding
from daypass.operations.offboarding.offboard import OffboardRequest
from daypass.operations.sign_in import devices
from daypass.operations.sign_in.devices import Whose
from daypass.wire.console import users
from daypass.wire.console.change import Change
from daypass.wire.console.context import ConsoleContext, to
from daypass.wire.console.iam import iam, iam_part
from daypass.wire.console.policies import calling, policy_changes
from daypass.wire.console.users import HOLDER, USER, USERS
from daypass.wire.http import Response

_PASSWORD: Final = "Aa1-{}"  # has every class of characters that a password policy can ask for


def _name(ctx: ConsoleContext) -> str:
    return ctx.value("name", 64)


def _to_user(ctx: ConsoleContext) -> Response:
    return to(USER, name=_name(ctx), done="saved")


async def _create(ctx: ConsoleContext) -> Response:
    name = ctx.value("new_name", 64)
    await iam(ctx, "CreateUser", UserName=name)
    return to(USER, name=name, done="saved")


async def _rename(ctx: ConsoleContext) -> Response:
    name = ctx.value("new_name", 64)
    await iam(ctx, "UpdateUser", UserName=_name(ctx), NewUserName=name)
    return to(USER, name=name, done="saved")


async def _new_password(ctx: ConsoleContext) -> Response:
    """A random password, which the user must change at the first sign-in. Only this answer has it."""
    return await users.user(ctx, once=await first_password(ctx, _name(ctx)))


async def first_password(ctx: ConsoleContext, name: str) -> tuple[tuple[str, str], ...]:
    """A random password of a user until the next sign-in, with its label."""
    password = _PASSWORD.format(ctx.env.ids.secret()[:24])
    known = await iam_part(ctx, "GetLoginProfile", UserName=name)
    operation = "CreateLoginProfile" if known.absent else "UpdateLoginProfile"
    await iam(ctx, operation, UserName=name, Password=password, PasswordResetRequired=True)
    return (("Password until the first sign-in", password),)


async def _create_key(ctx: ConsoleContext) -> Response:
    made = (await iam(ctx, "CreateAccessKey", UserName=_name(ctx)))["AccessKey"]
    shown = (("Access key id", made["AccessKeyId"]), ("Secret access key", made["SecretAccessKey"]))
    return await users.user(ctx, once=shown)


async def _remove_passkey(ctx: ConsoleContext) -> Response:
    whose, passkey = Whose(_name(ctx)), ctx.value("passkey", 1400)
    await ctx.perform("daypass:DeletePasskey", devices.remove_passkey, passkey, whose)
    return _to_user(ctx)


async def _offboard(ctx: ConsoleContext) -> Response:
    request = OffboardRequest(user=_name(ctx), reason="disabled in the console")
    await ctx.perform("daypass:Offboard", offboarding.offboard, request)
    return _to_user(ctx)


async def _delete(ctx: ConsoleContext) -> Response:
    request = OffboardRequest(user=_name(ctx), reason="deleted in the console", delete=True)
    await ctx.perform("daypass:Offboard", offboarding.offboard, request)
    return to(USERS, done="deleted")


def user_changes() -> Sequence[Change]:
    """Every change of a user. A name is confirmed, too: approval rules name users and groups (attack A294)."""
    sensitive = partial(Change, again=users.user, of="name", confirmed=True)
    deleting = partial(sensitive, asks=True)
    remove_password, join, leave, switch, remove_key, remove_device = (
        calling(HOLDER, "DeleteLoginProfile"),
        calling(HOLDER, "AddUserToGroup", GroupName=("group", 512)),
        calling(HOLDER, "RemoveUserFromGroup", GroupName=("group", 512)),
        calling(HOLDER, "UpdateAccessKey", AccessKeyId=("key", 512), Status=("status", 512)),
        calling(HOLDER, "DeleteAccessKey", AccessKeyId=("key", 512)),
        calling(HOLDER, "DeactivateMFADevice", SerialNumber=("serial", 512)),
    )
    return (
        Change(f"{USERS}/create", "iam:CreateUser", "Create a user", _create, users.users),
        sensitive(f"{USER}/rename", "iam:UpdateUser", "Rename a user", _rename),
        sensitive(f"{USER}/password", "iam:UpdateLoginProfile", "Make a new password", _new_password),
        sensitive(f"{USER}/remove-password", "iam:DeleteLoginProfile", "Remove the password", remove_password),
        sensitive(f"{USER}/create-key", "iam:CreateAccessKey", "Create an access key", _create_key),
        sensitive(f"{USER}/switch-key", "iam:UpdateAccessKey", "Activate or deactivate a key", switch),
        sensitive(f"{USER}/delete-key", "iam:DeleteAccessKey", "Delete an access key", remove_key),
        sensitive(f"{USER}/add-group", "iam:AddUserToGroup", "Add a user to a group", join),
        sensitive(f"{USER}/remove-group", "iam:RemoveUserFromGroup", "Remove a user from a group", leave),
        sensitive(f"{USER}/remove-device", "iam:DeactivateMFADevice", "Remove an MFA device", remove_device),
        sensitive(f"{USER}/remove-passkey", "daypass:DeletePasskey", "Remove a passkey", _remove_passkey),
        deleting(f"{USER}/offboard", "daypass:Offboard", "Disable a user and end all access", _offboard),
        deleting(f"{USER}/delete", "daypass:Offboard", "Delete a user and end all access", _delete),
        *policy_changes(HOLDER, users.user),
    )

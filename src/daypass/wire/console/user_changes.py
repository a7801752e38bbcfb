"""Changes of users: each by the operations of IAM, and confirmed where it gives access or takes it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Final

from daypass.operations.sessions import offboard as offboarding
from daypass.operations.sessions.offboard import OffboardRequest
from daypass.operations.sign_in import devices
from daypass.operations.sign_in.devices import Whose
from daypass.wire.console import users
from daypass.wire.console.change import Change
from daypass.wire.console.iam import iam, iam_part
from daypass.wire.console.policies import policy_changes
from daypass.wire.console.users import HOLDER, USER, USERS
from daypass.wire.console.visit import ConsolePage, ConsoleVisit, to
from daypass.wire.http import Response

_PASSWORD: Final = "Aa1-{}"  # has every class of characters that a password policy can ask for


def _name(visit: ConsoleVisit) -> str:
    return visit.value("name", 64)


def _done(visit: ConsoleVisit) -> Response:
    return to(USER, name=_name(visit), done="saved")


def _calling(operation: str, **fields: str) -> ConsolePage:
    """Performs one operation on the user, with further parameters from fields of the form: parameter=field."""

    async def perform(visit: ConsoleVisit) -> Response:
        params = {parameter: visit.value(field, 512) for parameter, field in fields.items()}
        await iam(visit, operation, UserName=_name(visit), **params)
        return _done(visit)

    return perform


async def _create(visit: ConsoleVisit) -> Response:
    name = visit.value("new_name", 64)
    await iam(visit, "CreateUser", UserName=name)
    return to(USER, name=name, done="saved")


async def _rename(visit: ConsoleVisit) -> Response:
    name = visit.value("new_name", 64)
    await iam(visit, "UpdateUser", UserName=_name(visit), NewUserName=name)
    return to(USER, name=name, done="saved")


async def _new_password(visit: ConsoleVisit) -> Response:
    """A random password, which the user must change at the first sign-in. Only this answer has it."""
    return await users.user(visit, once=await first_password(visit, _name(visit)))


async def first_password(visit: ConsoleVisit, name: str) -> tuple[tuple[str, str], ...]:
    """A random password of a user until the next sign-in, with its label."""
    password = _PASSWORD.format(visit.env.ids.secret()[:24])
    known = await iam_part(visit, "GetLoginProfile", UserName=name)
    operation = "CreateLoginProfile" if known.absent else "UpdateLoginProfile"
    await iam(visit, operation, UserName=name, Password=password, PasswordResetRequired=True)
    return (("Password until the first sign-in", password),)


async def _create_key(visit: ConsoleVisit) -> Response:
    made = (await iam(visit, "CreateAccessKey", UserName=_name(visit)))["AccessKey"]
    shown = (("Access key id", made["AccessKeyId"]), ("Secret access key", made["SecretAccessKey"]))
    return await users.user(visit, once=shown)


async def _remove_passkey(visit: ConsoleVisit) -> Response:
    whose, passkey = Whose(_name(visit)), visit.value("passkey", 1400)
    await visit.perform("daypass:DeletePasskey", devices.remove_passkey, passkey, whose)
    return _done(visit)


async def _offboard(visit: ConsoleVisit) -> Response:
    request = OffboardRequest(user=_name(visit), reason="disabled in the console")
    await visit.perform("daypass:Offboard", offboarding.offboard, request)
    return _done(visit)


async def _delete(visit: ConsoleVisit) -> Response:
    request = OffboardRequest(user=_name(visit), reason="deleted in the console", delete=True)
    await visit.perform("daypass:Offboard", offboarding.offboard, request)
    return to(USERS, done="deleted")


def user_changes() -> Sequence[Change]:
    """Every change of a user."""
    change = partial(Change, again=users.user)
    sensitive = partial(change, confirmed=True)
    deleting = partial(sensitive, deletes=True)
    join, leave, switch, remove_key, remove_device = (
        _calling("AddUserToGroup", GroupName="group"),
        _calling("RemoveUserFromGroup", GroupName="group"),
        _calling("UpdateAccessKey", AccessKeyId="key", Status="status"),
        _calling("DeleteAccessKey", AccessKeyId="key"),
        _calling("DeactivateMFADevice", SerialNumber="serial"),
    )
    return (
        Change(f"{USERS}/create", "iam:CreateUser", "Create a user", _create, users.users),
        change(f"{USER}/rename", "iam:UpdateUser", "Rename a user", _rename),
        sensitive(f"{USER}/password", "iam:UpdateLoginProfile", "Make a new password", _new_password),
        sensitive(
            f"{USER}/remove-password", "iam:DeleteLoginProfile", "Remove the password", _calling("DeleteLoginProfile")
        ),
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

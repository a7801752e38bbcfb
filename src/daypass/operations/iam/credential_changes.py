"""Which credentials of which principal an operation has changed, for the event streams of the account.

The types of credentials are those of CAEP 1.0 (3.3), and `access-key`.
"""

from __future__ import annotations

from typing import TypeAlias

from daypass.domain.directory import KeyStatus
from daypass.domain.ssf import CredentialChange
from daypass.operations.crud.operation import REFUSED, Answer, Params
from daypass.operations.iam import find, mfa
from daypass.operations.iam.context import WriteContext

ACCESS_KEY = "access-key"
PASSWORD = "password"  # a type of credential, not a value
MFA_DEVICE = "app"
SCIM_TOKEN = "scim-token"
Changes: TypeAlias = tuple[CredentialChange, ...]


def created_key(ctx: WriteContext, p: Params, answer: Answer) -> Changes:
    """CreateAccessKey."""
    return _of_key(ctx, p, "create", answer["AccessKey"]["AccessKeyId"])


def updated_key(ctx: WriteContext, p: Params, _answer: Answer) -> Changes:
    """UpdateAccessKey: a key that is made inactive is revoked."""
    change = "revoke" if p["Status"] == KeyStatus.INACTIVE else "update"
    return _of_key(ctx, p, change, p["AccessKeyId"])


def deleted_key(ctx: WriteContext, p: Params, _answer: Answer) -> Changes:
    """DeleteAccessKey."""
    return _of_key(ctx, p, "delete", p["AccessKeyId"])


def _of_key(ctx: WriteContext, p: Params, change: str, key_id: str) -> Changes:
    return (CredentialChange(ctx.account, find.user_or_caller(ctx, p).id, ACCESS_KEY, change, key_id),)


def created_password(ctx: WriteContext, p: Params, _answer: Answer) -> Changes:
    """CreateLoginProfile."""
    return _of_password(ctx, p, "create")


def updated_password(ctx: WriteContext, p: Params, answer: Answer) -> Changes:
    """UpdateLoginProfile and ChangePassword; nothing for a wrong old password."""
    return () if REFUSED in answer else _of_password(ctx, p, "update")


def deleted_password(ctx: WriteContext, p: Params, _answer: Answer) -> Changes:
    """DeleteLoginProfile."""
    return _of_password(ctx, p, "delete")


def _of_password(ctx: WriteContext, p: Params, change: str) -> Changes:
    return (CredentialChange(ctx.account, find.user_or_caller(ctx, p).id, PASSWORD, change),)


def enabled_device(ctx: WriteContext, p: Params, _answer: Answer) -> Changes:
    """EnableMFADevice."""
    return (CredentialChange(ctx.account, mfa.owner_of_call(ctx, p).id, MFA_DEVICE, "create", p["SerialNumber"]),)


def deactivated_device(ctx: WriteContext, p: Params, answer: Answer) -> Changes:
    """DeactivateMFADevice: a virtual device is revoked, a passkey is deleted."""
    if mfa.REMOVED in answer:
        removed: Changes = answer[mfa.REMOVED]
        return removed
    return (CredentialChange(ctx.account, mfa.owner_of_call(ctx, p).id, MFA_DEVICE, "revoke", p["SerialNumber"]),)

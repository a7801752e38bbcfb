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


def of_key(change: str, ctx: WriteContext, p: Params, answer: Answer) -> Changes:
    """An access key; one that is made inactive is revoked."""
    key_id = p["AccessKeyId"] if "AccessKeyId" in p else answer["AccessKey"]["AccessKeyId"]
    change = "revoke" if p.get("Status") == KeyStatus.INACTIVE else change
    return (CredentialChange(ctx.account, find.user_or_caller(ctx, p).id, ACCESS_KEY, change, key_id),)


def of_password(change: str, ctx: WriteContext, p: Params, answer: Answer) -> Changes:
    """A password; nothing for a wrong old password."""
    if REFUSED in answer:
        return ()
    return (CredentialChange(ctx.account, find.user_or_caller(ctx, p).id, PASSWORD, change),)


def of_device(change: str, ctx: WriteContext, p: Params, answer: Answer) -> Changes:
    """A virtual device; in its place, the passkey that the operation has deleted."""
    if mfa.REMOVED in answer:
        removed: Changes = answer[mfa.REMOVED]
        return removed
    return (CredentialChange(ctx.account, mfa.owner_of_call(ctx, p).id, MFA_DEVICE, change, p["SerialNumber"]),)

"""When keys and roles were last used, from the journal's usage data, with a resolution of a minute.

Refused attempts count too, as in AWS. A use by a session counts for its role, never for the key that started the chain.
Source: IAM API, "GetAccessKeyLastUsed", "RoleLastUsed"; IAM User Guide, "Refine permissions using last accessed
information".
"""

from __future__ import annotations

from typing import Any, Final

from daypass.domain.directory import AccessKey, LastUse, User
from daypass.domain.errors import DaypassError, ErrorKind
from daypass.operations.crud.operation import Answer, Params
from daypass.operations.iam.context import ReadContext

TRACKED_MS: Final = 400 * 86_400_000
"""The tracking period: an earlier use counts as never used."""
_NONE: Final = "N/A"
SIGN_IN: Final = "daypass:SignIn"


def uses(ctx: ReadContext, subject: str) -> list[LastUse]:
    """The uses of a principal or key in the tracking period: one for each operation (or service)."""
    since = ctx.now - TRACKED_MS
    return [use for use in ctx.tx.find(LastUse, subject=subject) if use.at >= since]


def newest(last_uses: list[LastUse]) -> LastUse | None:
    return max(last_uses, key=lambda use: (use.at, use.operation), default=None)


def get_access_key_last_used(ctx: ReadContext, p: Params) -> Answer:
    key = ctx.tx.get(AccessKey, id=p["AccessKeyId"])
    if key is None or key.account != ctx.account:
        denied = f"User: {ctx.caller.arn} is not authorized to perform iam:GetAccessKeyLastUsed"  # AWS: no colon here
        raise DaypassError(ErrorKind.ACCESS_DENIED, f"{denied} on resource: access key {p['AccessKeyId']}")
    owner = ctx.tx.get(User, id=key.owner_id)
    shown: dict[str, Any] = {"UserName": owner.name} if owner is not None else {}
    last = newest(uses(ctx, key.id))
    if last is None:
        return {**shown, "AccessKeyLastUsed": {"ServiceName": _NONE, "Region": _NONE}}
    used = {"LastUsedDate": last.at, "ServiceName": last.operation, "Region": last.region or _NONE}
    return {**shown, "AccessKeyLastUsed": used}


def sign_in(ctx: ReadContext, user_id: str) -> int:
    """When a user last signed in with a browser (ms), by password or passkey; 0 for never."""
    use = ctx.tx.get(LastUse, subject=user_id, operation=SIGN_IN)
    return use.at if use is not None and use.at >= ctx.now - TRACKED_MS else 0


def of_role(ctx: ReadContext, role_id: str) -> dict[str, Any]:
    """The RoleLastUsed member: empty when no session of the role made a call."""
    last = newest(uses(ctx, role_id))
    if last is None:
        return {}
    return {"LastUsedDate": last.at, **({"Region": last.region} if last.region else {})}

"""When keys and roles were used last, from what the journal keeps beside the record, to the minute.

Attempts count, refused ones too, as with AWS. A use by a session counts for its role, never for the key it began with.
Source: IAM API, "GetAccessKeyLastUsed", "RoleLastUsed"; IAM User Guide, "Refine permissions using last accessed information".
"""

from __future__ import annotations

from typing import Any, Final

from daypass.domain.directory import AccessKey, LastUse, User
from daypass.operations.iam import faults
from daypass.operations.iam.work import Answer, Look, Params

TRACKED_MS: Final = 400 * 86_400_000
"""The tracking period: what was last used before is as never used."""
_NONE: Final = "N/A"


def uses(look: Look, subject: str) -> list[LastUse]:
    """What a principal, or a key, has used within the tracking period: one for each operation (or service)."""
    since = look.now - TRACKED_MS
    return [use for use in look.tx.find(LastUse, subject=subject) if use.at >= since]


def newest(found: list[LastUse]) -> LastUse | None:
    return max(found, key=lambda use: (use.at, use.operation), default=None)


def get_access_key_last_used(look: Look, p: Params) -> Answer:
    key = look.tx.get(AccessKey, id=p["AccessKeyId"])
    if key is None or key.account != look.account:
        raise faults.not_own_key(look.caller.arn, "iam:GetAccessKeyLastUsed", p["AccessKeyId"])
    owner = look.tx.get(User, id=key.owner_id)
    shown: dict[str, Any] = {"UserName": owner.name} if owner is not None else {}
    last = newest(uses(look, key.id))
    if last is None:
        return {**shown, "AccessKeyLastUsed": {"ServiceName": _NONE, "Region": _NONE}}
    used = {"LastUsedDate": last.at, "ServiceName": last.operation, "Region": last.region or _NONE}
    return {**shown, "AccessKeyLastUsed": used}


def of_role(look: Look, role_id: str) -> dict[str, Any]:
    """The RoleLastUsed member: empty when no session of the role has called anything."""
    last = newest(uses(look, role_id))
    if last is None:
        return {}
    return {"LastUsedDate": last.at, **({"Region": last.region} if last.region else {})}

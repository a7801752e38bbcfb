"""Which users, groups and roles a managed policy is used by (ListEntitiesForPolicy)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from daypass.domain.directory import Attachment, Group, Role, User
from daypass.operations.iam import find
from daypass.operations.iam.owners import Owner
from daypass.operations.iam.paging import page
from daypass.operations.iam.work import Answer, Look, Params

_KINDS: dict[str, tuple[str, type[Owner]]] = {
    "AGPA": ("Group", Group),
    "AIDA": ("User", User),
    "AROA": ("Role", Role),
}


def list_entities_for_policy(look: Look, p: Params) -> Answer:
    """In the order of unique ids: groups, users, roles."""
    policy = find.attachable(look, p["PolicyArn"])
    prefix, wanted = p.get("PathPrefix") or "/", p.get("EntityFilter")

    def fetch(after: str, limit: int) -> Sequence[str]:
        return _users_of(look, policy.arn, p.get("PolicyUsageFilter"), after, limit)

    def keep(owner_id: str) -> bool:
        noun, kind = _KINDS[owner_id[:4]]
        if wanted and noun != wanted:
            return False
        owner = look.tx.get(kind, id=owner_id)
        return owner is not None and owner.path.startswith(prefix)

    ids, more = page(p, "entities", fetch, lambda owner_id: owner_id, keep)
    shown: dict[str, list[dict[str, Any]]] = {"PolicyGroups": [], "PolicyUsers": [], "PolicyRoles": []}
    for owner_id in ids:
        noun, kind = _KINDS[owner_id[:4]]
        owner = look.tx.get(kind, id=owner_id)
        assert owner is not None  # `keep` found it in this same snapshot
        shown[f"Policy{noun}s"].append({f"{noun}Name": owner.name, f"{noun}Id": owner.id})
    return {**shown, **more}


def _users_of(look: Look, arn: str, usage: str | None, after: str, limit: int) -> list[str]:
    """Up to `limit` ids after `after`, of those that have the policy attached, as a boundary, or either."""
    ids: set[str] = set()
    if usage != "PermissionsBoundary":
        attached = look.tx.find(
            Attachment, order="owner_id", after=after, limit=limit, account=look.account, policy_arn=arn
        )
        ids.update(attachment.owner_id for attachment in attached)
    if usage != "PermissionsPolicy":
        own = {"account": look.account, "boundary_arn": arn}
        ids.update(user.id for user in look.tx.find(User, order="id", after=after, limit=limit, **own))
        ids.update(role.id for role in look.tx.find(Role, order="id", after=after, limit=limit, **own))
    return sorted(ids)[:limit]

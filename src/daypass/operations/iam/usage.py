"""The users, groups and roles that use a managed policy (ListEntitiesForPolicy)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from daypass.domain.directory import Attachment, Group, Role, User
from daypass.operations.crud.operation import Answer, Params
from daypass.operations.iam import find
from daypass.operations.iam.context import ReadContext
from daypass.operations.iam.owners import Owner
from daypass.operations.iam.paging import page

_KINDS: dict[str, tuple[str, type[Owner]]] = {
    "AGPA": ("Group", Group),
    "AIDA": ("User", User),
    "AROA": ("Role", Role),
}


def list_entities_for_policy(ctx: ReadContext, p: Params) -> Answer:
    """In the order of unique ids: groups, users, roles."""
    policy = find.attachable(ctx, p["PolicyArn"])
    prefix, wanted = p.get("PathPrefix") or "/", p.get("EntityFilter")

    def fetch(after: str, limit: int) -> Sequence[str]:
        return _users_of(ctx, policy.arn, p.get("PolicyUsageFilter"), after, limit)

    def keep(owner_id: str) -> bool:
        noun, kind = _KINDS[owner_id[:4]]
        if wanted and noun != wanted:
            return False
        owner = ctx.tx.get(kind, id=owner_id)
        return owner is not None and owner.path.startswith(prefix)

    ids, more = page(p, "entities", fetch, lambda owner_id: owner_id, keep)
    shown: dict[str, list[dict[str, Any]]] = {"PolicyGroups": [], "PolicyUsers": [], "PolicyRoles": []}
    for owner_id in ids:
        noun, kind = _KINDS[owner_id[:4]]
        owner = ctx.tx.get(kind, id=owner_id)
        assert owner is not None  # `keep` found it in the same snapshot
        shown[f"Policy{noun}s"].append({f"{noun}Name": owner.name, f"{noun}Id": owner.id})
    return {**shown, **more}


def _users_of(ctx: ReadContext, arn: str, usage: str | None, after: str, limit: int) -> list[str]:
    """Up to `limit` ids after `after` of entities that have the policy attached, as a boundary, or either."""
    ids: set[str] = set()
    if usage != "PermissionsBoundary":
        attached = ctx.tx.find(
            Attachment, order="owner_id", after=after, limit=limit, account=ctx.account, policy_arn=arn
        )
        ids.update(attachment.owner_id for attachment in attached)
    if usage != "PermissionsPolicy":
        own = {"account": ctx.account, "boundary_arn": arn}
        ids.update(user.id for user in ctx.tx.find(User, order="id", after=after, limit=limit, **own))
        ids.update(role.id for role in ctx.tx.find(Role, order="id", after=after, limit=limit, **own))
    return sorted(ids)[:limit]

"""Inline policies of users, groups and roles: the same operations for all three."""

from __future__ import annotations

from daypass.domain.directory import InlinePolicy
from daypass.domain.policy.document import PolicyKind
from daypass.operations.crud import Answer, Params
from daypass.operations.iam import documents, faults
from daypass.operations.iam.context import ReadContext, WriteContext
from daypass.operations.iam.owners import Owner, OwnerKind
from daypass.operations.iam.paging import page

_ALL = 10_000  # above the size quota of any owner


def _find(ctx: ReadContext, kind: OwnerKind, owner: Owner, name: str) -> InlinePolicy:
    inline_policy = ctx.tx.get(InlinePolicy, owner_id=owner.id, name=name)
    if inline_policy is None:
        raise faults.no_such(f"{kind.word} policy", name)
    return inline_policy


def inline_of(ctx: ReadContext, owner: Owner) -> list[InlinePolicy]:
    """All of them, by name."""
    return ctx.tx.find(InlinePolicy, order="name", limit=_ALL, account=ctx.account, owner_id=owner.id)


def put_inline(kind: OwnerKind, ctx: WriteContext, p: Params) -> Answer:
    """Adds or replaces a policy. All inline policies of an owner share one size quota."""
    owner = kind.find(ctx, p)
    name, text = p["PolicyName"], p["PolicyDocument"]
    documents.check(text, PolicyKind.IDENTITY)
    others = sum(documents.size(other.document) for other in inline_of(ctx, owner) if other.name != name)
    if others + documents.size(text) > kind.inline_size:
        raise faults.over_limit(
            f"Maximum policy size of {kind.inline_size} bytes exceeded for {kind.word} {owner.name}"
        )
    policy = InlinePolicy(ctx.account, owner.id, name, text, ctx.now)
    if ctx.tx.get(InlinePolicy, owner_id=owner.id, name=name) is None:
        ctx.tx.insert(policy)
    else:
        ctx.tx.replace(policy)
    return {}


def get_inline(kind: OwnerKind, ctx: ReadContext, p: Params) -> Answer:
    owner = kind.find(ctx, p)
    policy = _find(ctx, kind, owner, p["PolicyName"])
    return {
        kind.parameter: owner.name,
        "PolicyName": policy.name,
        "PolicyDocument": documents.encoded(policy.document),
    }


def inline_names(kind: OwnerKind, ctx: ReadContext, p: Params) -> Answer:
    owner = kind.find(ctx, p)

    def fetch(after: str, limit: int) -> list[InlinePolicy]:
        return ctx.tx.find(InlinePolicy, order="name", after=after, limit=limit, account=ctx.account, owner_id=owner.id)

    policies, more = page(p, f"{kind.word}-policies", fetch, lambda policy: policy.name)
    return {"PolicyNames": [policy.name for policy in policies], **more}


def delete_inline(kind: OwnerKind, ctx: WriteContext, p: Params) -> Answer:
    ctx.tx.delete(_find(ctx, kind, kind.find(ctx, p), p["PolicyName"]))
    return {}

"""Inline policies of users, groups and roles: one set of operations for the three."""

from __future__ import annotations

from daypass.domain.directory import InlinePolicy
from daypass.domain.policy.document import PolicyKind
from daypass.operations.iam import documents, faults, shapes
from daypass.operations.iam.owners import Owner, OwnerKind
from daypass.operations.iam.paging import page
from daypass.operations.iam.work import Answer, Look, Params, Work

_ALL = 10_000  # more than the size quota lets any owner have


def _find(look: Look, kind: OwnerKind, owner: Owner, name: str) -> InlinePolicy:
    found = look.tx.get(InlinePolicy, owner_id=owner.id, name=name)
    if found is None:
        raise faults.no_such(f"{kind.word} policy", name)
    return found


def of_owner(look: Look, owner: Owner) -> list[InlinePolicy]:
    """All of them, by name."""
    return look.tx.find(InlinePolicy, order="name", limit=_ALL, account=look.account, owner_id=owner.id)


def put(kind: OwnerKind, work: Work, p: Params) -> Answer:
    """Adds or replaces; all policies of the owner together have one size quota."""
    owner = kind.find(work, p)
    name, text = p["PolicyName"], p["PolicyDocument"]
    documents.parsed(text, PolicyKind.IDENTITY)
    others = sum(documents.size(other.document) for other in of_owner(work, owner) if other.name != name)
    if others + documents.size(text) > kind.inline_size:
        raise faults.over_limit(
            f"Maximum policy size of {kind.inline_size} bytes exceeded for {kind.word} {owner.name}"
        )
    policy = InlinePolicy(work.account, owner.id, name, text, work.now)
    if work.tx.get(InlinePolicy, owner_id=owner.id, name=name) is None:
        work.tx.insert(policy)
    else:
        work.tx.replace(policy)
    return {}


def get(kind: OwnerKind, look: Look, p: Params) -> Answer:
    owner = kind.find(look, p)
    policy = _find(look, kind, owner, p["PolicyName"])
    return {
        kind.parameter: owner.name,
        "PolicyName": policy.name,
        "PolicyDocument": shapes.encoded(policy.document),
    }


def names(kind: OwnerKind, look: Look, p: Params) -> Answer:
    owner = kind.find(look, p)

    def fetch(after: str, limit: int) -> list[InlinePolicy]:
        return look.tx.find(
            InlinePolicy, order="name", after=after, limit=limit, account=look.account, owner_id=owner.id
        )

    policies, more = page(p, f"{kind.word}-policies", fetch, lambda policy: policy.name)
    return {"PolicyNames": [policy.name for policy in policies], **more}


def delete(kind: OwnerKind, work: Work, p: Params) -> Answer:
    work.tx.delete(_find(work, kind, kind.find(work, p), p["PolicyName"]))
    return {}

"""Managed policies attached to users, groups and roles, their boundaries and inline policies: the same operations for all."""

from __future__ import annotations

from dataclasses import replace

from daypass.domain.directory import Attachment, Group, InlinePolicy
from daypass.domain.errors import DaypassError, ErrorKind
from daypass.domain.policy.document import PolicyKind
from daypass.operations.crud import Answer, Params
from daypass.operations.iam import builtin, context, documents, faults, find, paging
from daypass.operations.iam.context import ReadContext, WriteContext
from daypass.operations.iam.owners import Owner, OwnerKind
from daypass.operations.iam.paging import page, page_of

_ALL = 1000  # above the quota of any owner


def attach(kind: OwnerKind, ctx: WriteContext, p: Params) -> Answer:
    """Attaching a policy again changes nothing."""
    owner = kind.find(ctx, p)
    policy = find.attachable(ctx, p["PolicyArn"])
    if policy.account == builtin.ACCOUNT and policy.path.startswith("/aws-service-role/"):
        message = f"Cannot attach a Service Role Policy to a Customer {kind.noun}."
        raise DaypassError(ErrorKind.POLICY_NOT_ATTACHABLE, message)
    if ctx.tx.get(Attachment, owner_id=owner.id, policy_arn=policy.arn) is None:
        quota = f"PoliciesPer{kind.noun}"
        context.within_quota(ctx, Attachment, quota, paging.POLICIES_PER_ENTITY, owner_id=owner.id)
        ctx.tx.insert(Attachment(ctx.account, owner.id, policy.arn, ctx.now))
    return {}


def detach(kind: OwnerKind, ctx: WriteContext, p: Params) -> Answer:
    owner = kind.find(ctx, p)
    find.policy_account(p["PolicyArn"])
    attachment = ctx.tx.get(Attachment, owner_id=owner.id, policy_arn=p["PolicyArn"])
    if attachment is None:
        raise faults.no_such_policy(p["PolicyArn"])
    ctx.tx.delete(attachment)
    return {}


def of_owner(ctx: ReadContext, owner: Owner) -> list[str]:
    """The ARNs attached to an owner."""
    attachments = ctx.tx.find(Attachment, order="policy_arn", limit=_ALL, account=ctx.account, owner_id=owner.id)
    return [attachment.policy_arn for attachment in attachments]


def names(kind: OwnerKind, ctx: ReadContext, p: Params) -> Answer:
    """Sorts by policy name; for equal names the account's own policy first."""
    prefix = p.get("PathPrefix") or "/"
    arns = [arn for arn in of_owner(ctx, kind.find(ctx, p)) if arn.split(":policy", 1)[1].startswith(prefix)]
    shown, more = page_of(p, f"{kind.word}-attached", arns, _place)
    return {"AttachedPolicies": [documents.attached(arn) for arn in shown], **more}


def _place(arn: str) -> str:
    """Short enough for a marker. Only built-in policies can have the same name under different paths."""
    account, (path, _, name) = arn.split(":")[4], arn.split(":policy", 1)[1].rpartition("/")
    return f"{name.lower()} {account}{path if account == builtin.ACCOUNT else ''}"


# --- Permissions boundaries of users and roles. A boundary only restricts. It must exist while it is set


def checked(ctx: ReadContext, arn: str | None) -> str | None:
    """The ARN of a policy that is allowed as a boundary. Raises NOT_FOUND, INVALID_INPUT."""
    if not arn:
        return None
    missing = faults.not_found(f"Scope ARN: {arn} does not exist or is not attachable.")
    return find.attachable(ctx, arn, missing).arn


def put(kind: OwnerKind, ctx: WriteContext, p: Params) -> Answer:
    owner = kind.find(ctx, p)
    assert not isinstance(owner, Group)
    ctx.tx.replace(replace(owner, boundary_arn=checked(ctx, p["PermissionsBoundary"])))
    return {}


def delete(kind: OwnerKind, ctx: WriteContext, p: Params) -> Answer:
    owner = kind.find(ctx, p)
    assert not isinstance(owner, Group)
    if owner.boundary_arn is None:
        raise faults.no_such(f"{kind.word} permissions boundary", owner.name)
    ctx.tx.replace(replace(owner, boundary_arn=None))
    return {}


# --- Inline policies of users, groups and roles: the same operations for all three


_ALL_INLINE = 10_000  # above the size quota of any owner


def _find(ctx: ReadContext, kind: OwnerKind, owner: Owner, name: str) -> InlinePolicy:
    inline_policy = ctx.tx.get(InlinePolicy, owner_id=owner.id, name=name)
    if inline_policy is None:
        raise faults.no_such(f"{kind.word} policy", name)
    return inline_policy


def inline_of(ctx: ReadContext, owner: Owner) -> list[InlinePolicy]:
    """All of them, by name."""
    return ctx.tx.find(InlinePolicy, order="name", limit=_ALL_INLINE, account=ctx.account, owner_id=owner.id)


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
    return {kind.parameter: owner.name, "PolicyName": policy.name, "PolicyDocument": documents.encoded(policy.document)}


def inline_names(kind: OwnerKind, ctx: ReadContext, p: Params) -> Answer:
    owner = kind.find(ctx, p)

    def fetch(after: str, limit: int) -> list[InlinePolicy]:
        return ctx.tx.find(InlinePolicy, order="name", after=after, limit=limit, account=ctx.account, owner_id=owner.id)

    policies, more = page(p, f"{kind.word}-policies", fetch, lambda policy: policy.name)
    return {"PolicyNames": [policy.name for policy in policies], **more}


def delete_inline(kind: OwnerKind, ctx: WriteContext, p: Params) -> Answer:
    ctx.tx.delete(_find(ctx, kind, kind.find(ctx, p), p["PolicyName"]))
    return {}

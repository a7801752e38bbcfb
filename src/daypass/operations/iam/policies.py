"""Customer-managed policies and their versions. A new default version takes effect immediately wherever it is attached."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from daypass.domain.directory import Attachment, ManagedPolicy, PolicyVersion, Role, User
from daypass.operations.crud import Answer, Params
from daypass.operations.iam import builtin, context, documents, faults, find, paging, tags
from daypass.operations.iam.context import ReadContext, WriteContext
from daypass.operations.iam.paging import page, page_of

_TOO_MANY_VERSIONS = (
    f"A managed policy can have up to {paging.VERSIONS_PER_POLICY} versions. "
    "Before you create a new version, you must delete an existing version."
)
_HAS_VERSIONS = (
    "This policy has more than one version. Before you delete a policy, you must delete the policy's versions. "
    "The default version is deleted with the policy."
)


def create_policy(ctx: WriteContext, p: Params) -> Answer:
    text = documents.managed(p["PolicyDocument"])
    own = {"account": ctx.account}
    context.within_quota(ctx, ManagedPolicy, "PoliciesPerAccount", paging.POLICIES_PER_ACCOUNT, **own)
    name, path = p["PolicyName"], context.path_of(p)
    policy = ManagedPolicy(
        id=ctx.ids.unique("ANPA"),
        account=ctx.account,
        arn=f"arn:aws:iam::{ctx.account}:policy{path}{name}",
        name=name,
        path=path,
        created_at=ctx.now,
        updated_at=ctx.now,
        description=p.get("Description"),
        tags=tags.first_exact(p),
    )
    taken = f"A policy called {name} already exists. Duplicate names are not allowed."
    context.insert(ctx, policy, faults.already_exists(taken))
    ctx.tx.insert(PolicyVersion(ctx.account, policy.id, 1, text, ctx.now))
    tagged = {"Tags": documents.tags(policy.tags)} if policy.tags else {}
    return {"Policy": {**documents.managed_policy(ctx, policy), **tagged}}


def get_policy(ctx: ReadContext, p: Params) -> Answer:
    return {"Policy": documents.managed_policy_whole(ctx, find.policy(ctx, p["PolicyArn"]))}


def delete_policy(ctx: WriteContext, p: Params) -> Answer:
    policy = find.own_policy(ctx, p["PolicyArn"], "delete policies")
    own = {"account": ctx.account}
    used = ctx.tx.count(Attachment, policy_arn=policy.arn, **own)
    if used or any(ctx.tx.count(kind, boundary_arn=policy.arn, **own) for kind in (User, Role)):
        raise faults.delete_conflict("Cannot delete a policy attached to entities.")
    versions = of_policy(ctx, policy)
    if len(versions) > 1:
        raise faults.delete_conflict(_HAS_VERSIONS)
    for version in versions:
        ctx.tx.delete(version)
    ctx.tx.delete(policy)
    return {}


def list_policies(ctx: ReadContext, p: Params) -> Answer:
    """The account's own policies by name, then the built-in ones by name."""
    scope = p.get("Scope") or "All"
    prefix = p.get("PathPrefix") or "/"

    def fetch(after: str, limit: int) -> Sequence[ManagedPolicy]:
        section, _, name = after.partition(" ")
        policies: list[ManagedPolicy] = []
        if scope != "AWS" and section in ("", "own"):
            policies = ctx.tx.find(
                ManagedPolicy, order="name", path_prefix=prefix, after=name, limit=limit, account=ctx.account
            )
        if scope != "Local" and len(policies) < limit:
            rest = ctx.builtin.policies(name if section == "aws" else "")
            policies += [policy for policy in rest if policy.path.startswith(prefix)]
        return policies[:limit]

    def place(policy: ManagedPolicy) -> str:
        return f"aws {builtin.place(policy)}" if policy.account == builtin.ACCOUNT else f"own {policy.name}"

    policies, more = page(p, f"policies-{scope}", fetch, place, _usage_filter(ctx, p))
    return {"Policies": [documents.managed_policy(ctx, policy) for policy in policies], **more}


def _usage_filter(ctx: ReadContext, p: Params) -> Callable[[ManagedPolicy], bool] | None:
    """OnlyAttached and PolicyUsageFilter: used in the account as permissions, as a boundary, or as either."""
    usage = p.get("PolicyUsageFilter")
    if not p.get("OnlyAttached") and not usage:
        return None

    def keep(policy: ManagedPolicy) -> bool:
        own = {"account": ctx.account}
        permits = usage != "PermissionsBoundary" and ctx.tx.count(Attachment, policy_arn=policy.arn, **own)
        bounds = usage != "PermissionsPolicy" and any(
            ctx.tx.count(kind, boundary_arn=policy.arn, **own) for kind in (User, Role)
        )
        return bool(permits or bounds)

    return keep


# --- Versions ------------------------------------------------------------------------------------------------------


def of_policy(ctx: ReadContext, policy: ManagedPolicy) -> list[PolicyVersion]:
    """All versions, newest first."""
    if policy.account == builtin.ACCOUNT:
        only = ctx.builtin.version(policy.arn)
        return [only] if only else []
    versions = ctx.tx.find(PolicyVersion, order="version", account=ctx.account, policy_id=policy.id)
    return sorted(versions, key=lambda version: -version.version)


def create_policy_version(ctx: WriteContext, p: Params) -> Answer:
    policy = find.own_policy(ctx, p["PolicyArn"], "update policies")
    text = documents.managed(p["PolicyDocument"])
    if len(of_policy(ctx, policy)) >= paging.VERSIONS_PER_POLICY:
        raise faults.over_limit(_TOO_MANY_VERSIONS)
    number = policy.latest_version + 1
    default = number if p.get("SetAsDefault") else policy.default_version
    version = PolicyVersion(ctx.account, policy.id, number, text, ctx.now)
    ctx.tx.insert(version)
    ctx.tx.replace(replace(policy, latest_version=number, default_version=default, updated_at=ctx.now))
    return {"PolicyVersion": documents.policy_version(version, default, document=False)}


def get_policy_version(ctx: ReadContext, p: Params) -> Answer:
    arn = p["PolicyArn"]
    policy = find.attachable(ctx, arn, missing=faults.no_such_version(arn, p["VersionId"]))
    version = find.version(ctx, policy, p["VersionId"])
    return {"PolicyVersion": documents.policy_version(version, policy.default_version, document=True)}


def list_policy_versions(ctx: ReadContext, p: Params) -> Answer:
    """Newest first."""
    policy = find.policy(ctx, p["PolicyArn"])
    shown, more = page_of(p, "versions", of_policy(ctx, policy), lambda version: f"{10**9 - version.version:010d}")
    versions = [documents.policy_version(version, policy.default_version, document=False) for version in shown]
    return {"Versions": versions, **more}


def set_default_policy_version(ctx: WriteContext, p: Params) -> Answer:
    missing = faults.no_such_version(p["PolicyArn"], p["VersionId"])
    policy = find.own_policy(ctx, p["PolicyArn"], "update policies", missing)
    version = find.version(ctx, policy, p["VersionId"])
    ctx.tx.replace(replace(policy, default_version=version.version, updated_at=ctx.now))
    return {}


def delete_policy_version(ctx: WriteContext, p: Params) -> Answer:
    missing = faults.no_such_version(p["PolicyArn"], p["VersionId"])
    policy = find.own_policy(ctx, p["PolicyArn"], "delete policy versions for policies", missing)
    version = find.version(ctx, policy, p["VersionId"])
    if version.version == policy.default_version:
        raise faults.delete_conflict("Cannot delete the default version of a policy.")
    ctx.tx.delete(version)
    ctx.tx.replace(replace(policy, updated_at=ctx.now))
    return {}

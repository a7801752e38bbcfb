"""Customer-managed policies and their versions. What is attached follows the default version, at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from daypass.domain.directory import Attachment, ManagedPolicy, PolicyVersion, Role, User
from daypass.operations.iam import builtin, changes, documents, faults, find, quotas, shapes, tags
from daypass.operations.iam.paging import page, page_of
from daypass.operations.iam.work import Answer, Look, Params, Work

_TOO_MANY_VERSIONS = (
    f"A managed policy can have up to {quotas.VERSIONS_PER_POLICY} versions. "
    "Before you create a new version, you must delete an existing version."
)
_HAS_VERSIONS = (
    "This policy has more than one version. Before you delete a policy, you must delete the policy's versions. "
    "The default version is deleted with the policy."
)


def create_policy(work: Work, p: Params) -> Answer:
    text = documents.managed(p["PolicyDocument"])
    own = {"account": work.account}
    changes.within_quota(work, ManagedPolicy, "PoliciesPerAccount", quotas.POLICIES_PER_ACCOUNT, **own)
    name, path = p["PolicyName"], p.get("Path") or "/"
    policy = ManagedPolicy(
        id=work.ids.unique("ANPA"),
        account=work.account,
        arn=f"arn:aws:iam::{work.account}:policy{path}{name}",
        name=name,
        path=path,
        created_at=work.now,
        updated_at=work.now,
        description=p.get("Description"),
        tags=tags.first_exact(p),
    )
    changes.insert(work, policy, faults.policy_exists(name))
    work.tx.insert(PolicyVersion(work.account, policy.id, 1, text, work.now))
    tagged = {"Tags": shapes.tags(policy.tags)} if policy.tags else {}
    return {"Policy": {**shapes.managed_policy(work, policy), **tagged}}


def get_policy(look: Look, p: Params) -> Answer:
    return {"Policy": shapes.managed_policy_whole(look, find.policy(look, p["PolicyArn"]))}


def delete_policy(work: Work, p: Params) -> Answer:
    policy = find.own_policy(work, p["PolicyArn"], "delete policies")
    own = {"account": work.account}
    used = work.tx.count(Attachment, policy_arn=policy.arn, **own)
    if used or any(work.tx.count(kind, boundary_arn=policy.arn, **own) for kind in (User, Role)):
        raise faults.delete_conflict("Cannot delete a policy attached to entities.")
    versions = of_policy(work, policy)
    if len(versions) > 1:
        raise faults.delete_conflict(_HAS_VERSIONS)
    for version in versions:
        work.tx.delete(version)
    work.tx.delete(policy)
    return {}


def list_policies(look: Look, p: Params) -> Answer:
    """The account's own by name, then the built-in ones by name."""
    scope = p.get("Scope") or "All"
    prefix = p.get("PathPrefix") or "/"

    def fetch(after: str, limit: int) -> Sequence[ManagedPolicy]:
        section, _, name = after.partition(" ")
        found: list[ManagedPolicy] = []
        if scope != "AWS" and section in ("", "own"):
            found = look.tx.find(
                ManagedPolicy, order="name", path_prefix=prefix, after=name, limit=limit, account=look.account
            )
        if scope != "Local" and len(found) < limit:
            rest = look.builtin.policies(name if section == "aws" else "")
            found += [policy for policy in rest if policy.path.startswith(prefix)]
        return found[:limit]

    def place(policy: ManagedPolicy) -> str:
        return f"aws {builtin.place(policy)}" if policy.account == builtin.ACCOUNT else f"own {policy.name}"

    policies, more = page(p, f"policies-{scope}", fetch, place, _usage_filter(look, p))
    return {"Policies": [shapes.managed_policy(look, policy) for policy in policies], **more}


def _usage_filter(look: Look, p: Params) -> Callable[[ManagedPolicy], bool] | None:
    """OnlyAttached and PolicyUsageFilter: used in the account as permissions, as a boundary, or as either."""
    usage = p.get("PolicyUsageFilter")
    if not p.get("OnlyAttached") and not usage:
        return None

    def keep(policy: ManagedPolicy) -> bool:
        own = {"account": look.account}
        permits = usage != "PermissionsBoundary" and look.tx.count(Attachment, policy_arn=policy.arn, **own)
        bounds = usage != "PermissionsPolicy" and any(
            look.tx.count(kind, boundary_arn=policy.arn, **own) for kind in (User, Role)
        )
        return bool(permits or bounds)

    return keep


# --- Versions ------------------------------------------------------------------------------------------------------


def of_policy(look: Look, policy: ManagedPolicy) -> list[PolicyVersion]:
    """All versions, newest first."""
    if policy.account == builtin.ACCOUNT:
        only = look.builtin.version(policy.arn)
        return [only] if only else []
    found = look.tx.find(PolicyVersion, order="version", account=look.account, policy_id=policy.id)
    return sorted(found, key=lambda version: -version.version)


def create_policy_version(work: Work, p: Params) -> Answer:
    policy = find.own_policy(work, p["PolicyArn"], "update policies")
    text = documents.managed(p["PolicyDocument"])
    if len(of_policy(work, policy)) >= quotas.VERSIONS_PER_POLICY:
        raise faults.over_limit(_TOO_MANY_VERSIONS)
    number = policy.latest_version + 1
    default = number if p.get("SetAsDefault") else policy.default_version
    version = PolicyVersion(work.account, policy.id, number, text, work.now)
    work.tx.insert(version)
    work.tx.replace(replace(policy, latest_version=number, default_version=default, updated_at=work.now))
    return {"PolicyVersion": shapes.policy_version(version, default, document=False)}


def get_policy_version(look: Look, p: Params) -> Answer:
    arn = p["PolicyArn"]
    policy = find.attachable(look, arn, missing=faults.no_such_version(arn, p["VersionId"]))
    version = find.version(look, policy, p["VersionId"])
    return {"PolicyVersion": shapes.policy_version(version, policy.default_version, document=True)}


def list_policy_versions(look: Look, p: Params) -> Answer:
    """Newest first."""
    policy = find.policy(look, p["PolicyArn"])
    shown, more = page_of(p, "versions", of_policy(look, policy), lambda version: f"{10**9 - version.version:010d}")
    versions = [shapes.policy_version(version, policy.default_version, document=False) for version in shown]
    return {"Versions": versions, **more}


def set_default_policy_version(work: Work, p: Params) -> Answer:
    missing = faults.no_such_version(p["PolicyArn"], p["VersionId"])
    policy = find.own_policy(work, p["PolicyArn"], "update policies", missing)
    version = find.version(work, policy, p["VersionId"])
    work.tx.replace(replace(policy, default_version=version.version, updated_at=work.now))
    return {}


def delete_policy_version(work: Work, p: Params) -> Answer:
    missing = faults.no_such_version(p["PolicyArn"], p["VersionId"])
    policy = find.own_policy(work, p["PolicyArn"], "delete policy versions for policies", missing)
    version = find.version(work, policy, p["VersionId"])
    if version.version == policy.default_version:
        raise faults.delete_conflict("Cannot delete the default version of a policy.")
    work.tx.delete(version)
    work.tx.replace(replace(policy, updated_at=work.now))
    return {}

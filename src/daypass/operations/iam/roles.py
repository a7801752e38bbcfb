"""Roles and their trust policies.

A role of the same name made later is another role: sessions and trust hold on to the unique id.
"""

from __future__ import annotations

from dataclasses import replace

from daypass.domain.directory import Attachment, InlinePolicy, InstanceProfile, Role
from daypass.operations.iam import boundaries, changes, documents, faults, find, last_used, quotas, shapes, tags
from daypass.operations.iam.paging import page
from daypass.operations.iam.work import Answer, Look, Params, Work


def create_role(work: Work, p: Params) -> Answer:
    changes.within_quota(work, Role, "RolesPerAccount", quotas.ROLES_PER_ACCOUNT, account=work.account)
    text = p["AssumeRolePolicyDocument"]
    role = Role(
        id=work.ids.unique("AROA"),
        account=work.account,
        name=p["RoleName"],
        path=p.get("Path") or "/",
        created_at=work.now,
        trust_document=text,
        trust_bindings=documents.trust(work.tx, text),
        description=p.get("Description"),
        max_session_seconds=_session_seconds(p),
        boundary_arn=boundaries.checked(work, p.get("PermissionsBoundary")),
        tags=tags.first(p),
    )
    changes.insert(work, role, faults.exists("Role", role.name))
    return {"Role": {**shapes.role_in_brief(work, role), **shapes.boundary_and_tags(role)}}


def _session_seconds(p: Params, default: int = quotas.MIN_SESSION_SECONDS) -> int:
    seconds = int(p.get("MaxSessionDuration") or default)
    if not quotas.MIN_SESSION_SECONDS <= seconds <= quotas.MAX_SESSION_SECONDS:
        raise faults.invalid(f"The requested MaxSessionDuration {seconds} is not valid.")
    return seconds


def get_role(look: Look, p: Params) -> Answer:
    role = find.role(look, p["RoleName"])
    return {"Role": {**shapes.role_whole(look, role), "RoleLastUsed": last_used.of_role(look, role.id)}}


def list_roles(look: Look, p: Params) -> Answer:
    def fetch(after: str, limit: int) -> list[Role]:
        prefix = p.get("PathPrefix") or ""
        return look.tx.find(Role, order="name", path_prefix=prefix, after=after, limit=limit, account=look.account)

    roles, more = page(p, "roles", fetch, lambda role: role.name)
    names: documents.Names = {}
    return {"Roles": [shapes.role(look, role, names) for role in roles], **more}


def update_role(work: Work, p: Params) -> Answer:
    """What is not given stays."""
    role = find.role(work, p["RoleName"])
    description = p.get("Description", role.description)
    seconds = _session_seconds(p, role.max_session_seconds)
    work.tx.replace(replace(role, description=description, max_session_seconds=seconds))
    return {}


def update_role_description(work: Work, p: Params) -> Answer:
    role = replace(find.role(work, p["RoleName"]), description=p["Description"])
    work.tx.replace(role)
    described = {"Description": role.description, **shapes.boundary_and_tags(role)}
    return {"Role": {**shapes.role_in_brief(work, role), **described}}


def update_assume_role_policy(work: Work, p: Params) -> Answer:
    role = find.role(work, p["RoleName"])
    text = p["PolicyDocument"]
    work.tx.replace(replace(role, trust_document=text, trust_bindings=documents.trust(work.tx, text)))
    return {}


def delete_role(work: Work, p: Params) -> Answer:
    role = find.role(work, p["RoleName"])
    for kind, what in ((Attachment, "detach all policies"), (InlinePolicy, "delete policies")):
        if work.tx.count(kind, account=work.account, owner_id=role.id):
            raise faults.must_first(what)
    if work.tx.count(InstanceProfile, account=work.account, role_id=role.id):
        raise faults.must_first("remove roles from instance profile")
    work.tx.delete(role)
    return {}

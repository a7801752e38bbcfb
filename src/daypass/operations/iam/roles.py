"""Roles and their trust policies.

A later role of the same name is a different role: sessions and trust policies refer to the unique id.
"""

from __future__ import annotations

from dataclasses import replace

from daypass.domain.directory import Attachment, InlinePolicy, InstanceProfile, Role
from daypass.operations.crud.operation import Answer, Params
from daypass.operations.iam import boundaries, changes, documents, faults, find, last_used, members, named, paging, tags
from daypass.operations.iam.context import ReadContext, WriteContext
from daypass.operations.iam.paging import fitting


def create_role(ctx: WriteContext, p: Params) -> Answer:
    changes.within_quota(ctx, Role, "RolesPerAccount", paging.ROLES_PER_ACCOUNT, account=ctx.account)
    text = p["AssumeRolePolicyDocument"]
    role = Role(
        id=ctx.ids.unique("AROA"),
        account=ctx.account,
        name=p["RoleName"],
        path=changes.path_of(p),
        created_at=ctx.now,
        trust_document=text,
        trust_bindings=documents.trust(ctx.tx, text),
        description=p.get("Description"),
        max_session_seconds=_session_seconds(p),
        boundary_arn=boundaries.checked(ctx, p.get("PermissionsBoundary")),
        tags=tags.first(p),
    )
    changes.insert(ctx, role, faults.exists("Role", role.name))
    return {"Role": {**members.role_in_brief(ctx, role), **members.boundary_and_tags(role)}}


def _session_seconds(p: Params, default: int = paging.MIN_SESSION_SECONDS) -> int:
    seconds = int(p.get("MaxSessionDuration") or default)
    if not paging.MIN_SESSION_SECONDS <= seconds <= paging.MAX_SESSION_SECONDS:
        raise faults.invalid(f"The requested MaxSessionDuration {seconds} is not valid.")
    return seconds


def get_role(ctx: ReadContext, p: Params) -> Answer:
    role = find.role(ctx, p["RoleName"])
    whole = {**members.role(ctx, role), **members.boundary_and_tags(role)}
    return {"Role": {**whole, "RoleLastUsed": last_used.of_role(ctx, role.id)}}


def list_roles(ctx: ReadContext, p: Params) -> Answer:
    roles, more = named.page_by_name(ctx, p, Role, "roles")
    names: documents.Names = {}
    shown, more = fitting(roles, more, "roles", lambda role: role.name, lambda role: members.role(ctx, role, names))
    return {"Roles": shown, **more}


def update_role(ctx: WriteContext, p: Params) -> Answer:
    """Values that are not given are not changed."""
    role = find.role(ctx, p["RoleName"])
    description = p.get("Description", role.description)
    seconds = _session_seconds(p, role.max_session_seconds)
    ctx.tx.replace(replace(role, description=description, max_session_seconds=seconds))
    return {}


def update_role_description(ctx: WriteContext, p: Params) -> Answer:
    role = replace(find.role(ctx, p["RoleName"]), description=p["Description"])
    ctx.tx.replace(role)
    described = {"Description": role.description, **members.boundary_and_tags(role)}
    return {"Role": {**members.role_in_brief(ctx, role), **described}}


def update_assume_role_policy(ctx: WriteContext, p: Params) -> Answer:
    role = find.role(ctx, p["RoleName"])
    text = p["PolicyDocument"]
    ctx.tx.replace(replace(role, trust_document=text, trust_bindings=documents.trust(ctx.tx, text)))
    return {}


def delete_role(ctx: WriteContext, p: Params) -> Answer:
    role = find.role(ctx, p["RoleName"])
    uses = (
        (Attachment, "detach all policies", "owner_id"),
        (InlinePolicy, "delete policies", "owner_id"),
        (InstanceProfile, "remove roles from instance profile", "role_id"),
    )
    named.check_unused(ctx, role.id, uses)
    ctx.tx.delete(role)
    changes.end_sessions(ctx, role)
    return {}

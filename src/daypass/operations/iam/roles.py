"""Roles and their trust policies.

A later role of the same name is a different role: sessions and trust policies refer to the unique id.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from daypass.domain.directory import Attachment, InlinePolicy, InstanceProfile, Role
from daypass.operations.crud.operation import Answer, Params
from daypass.operations.iam import (
    access_keys,
    attachments,
    changes,
    documents,
    faults,
    find,
    members,
    owners,
    paging,
    tags,
)
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
        boundary_arn=attachments.checked(ctx, p.get("PermissionsBoundary")),
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
    return {"Role": {**whole, "RoleLastUsed": access_keys.of_role(ctx, role.id)}}


def list_roles(ctx: ReadContext, p: Params) -> Answer:
    roles, more = owners.page_by_name(ctx, p, Role, "roles")
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
    owners.check_unused(ctx, role.id, uses)
    ctx.tx.delete(role)
    changes.end_sessions(ctx, role)
    return {}


# --- Instance profiles: containers for one role, which AWS's tools use to assign a role to a machine


def create_instance_profile(ctx: WriteContext, p: Params) -> Answer:
    quota = paging.INSTANCE_PROFILES_PER_ACCOUNT
    changes.within_quota(ctx, InstanceProfile, "InstanceProfilesPerAccount", quota, account=ctx.account)
    profile = InstanceProfile(
        id=ctx.ids.unique("AIPA"),
        account=ctx.account,
        name=p["InstanceProfileName"],
        path=changes.path_of(p),
        created_at=ctx.now,
        tags=tags.first_exact(p),
    )
    changes.insert(ctx, profile, faults.already_exists(f"Instance Profile {profile.name} already exists."))
    return {
        "InstanceProfile": {
            **profile_members(ctx, profile),
            **({"Tags": members.tags(profile.tags)} if profile.tags else {}),
        }
    }


def get_instance_profile(ctx: ReadContext, p: Params) -> Answer:
    profile = find.instance_profile(ctx, p["InstanceProfileName"])
    return {"InstanceProfile": {**profile_members(ctx, profile), "Tags": members.tags(profile.tags)}}


def list_instance_profiles(ctx: ReadContext, p: Params) -> Answer:
    return _listed(ctx, p, "instance-profiles")


def list_instance_profiles_for_role(ctx: ReadContext, p: Params) -> Answer:
    role = find.role(ctx, p["RoleName"])
    return _listed(ctx, p, "instance-profiles-for-role", role_id=role.id)


def _listed(ctx: ReadContext, p: Params, scope: str, **wanted: Any) -> Answer:
    profiles, more = owners.page_by_name(ctx, p, InstanceProfile, scope, **wanted)
    names: documents.Names = {}
    shown, more = fitting(
        profiles, more, scope, lambda profile: profile.name, lambda profile: profile_members(ctx, profile, names)
    )
    return {"InstanceProfiles": shown, **more}


def add_role_to_instance_profile(ctx: WriteContext, p: Params) -> Answer:
    profile, role = find.instance_profile(ctx, p["InstanceProfileName"]), find.role(ctx, p["RoleName"])
    if profile.role_id is not None:
        raise faults.over_quota("InstanceSessionsPerInstanceProfile", paging.ROLES_PER_INSTANCE_PROFILE)
    ctx.tx.replace(replace(profile, role_id=role.id))
    return {}


def remove_role_from_instance_profile(ctx: WriteContext, p: Params) -> Answer:
    profile, role = find.instance_profile(ctx, p["InstanceProfileName"]), find.role(ctx, p["RoleName"])
    if profile.role_id != role.id:
        raise faults.not_found(f"Role {role.name} in Instance Profile {profile.name} cannot be found.")
    ctx.tx.replace(replace(profile, role_id=None))
    return {}


def delete_instance_profile(ctx: WriteContext, p: Params) -> Answer:
    profile = find.instance_profile(ctx, p["InstanceProfileName"])
    if profile.role_id is not None:
        raise faults.must_first("remove roles from instance profile")
    ctx.tx.delete(profile)
    return {}


def of_role(ctx: ReadContext, role: Role, names: documents.Names) -> list[dict[str, Any]]:
    """The profiles that contain a role, by name, as GetAccountAuthorizationDetails shows them."""
    profiles = ctx.tx.find(InstanceProfile, order="name", account=ctx.account, role_id=role.id)
    return [profile_members(ctx, profile, names) for profile in profiles]


def profile_members(ctx: ReadContext, profile: InstanceProfile, names: documents.Names | None = None) -> dict[str, Any]:
    """Without tags, as in lists. As in AWS, the role inside has no description and no longest session."""
    role = ctx.tx.get(Role, id=profile.role_id) if profile.role_id is not None else None
    return {
        "Path": profile.path,
        "InstanceProfileName": profile.name,
        "InstanceProfileId": profile.id,
        "Arn": profile.arn,
        "CreateDate": profile.created_at,
        "Roles": [members.role_in_brief(ctx, role, names)] if role is not None else [],
    }

"""Instance profiles: containers for one role, which AWS's tools use to assign a role to a machine.

They exist only for those tools: they cannot be used to assume a role. A role in a profile cannot be deleted.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from daypass.domain.directory import InstanceProfile, Role
from daypass.operations.crud.operation import Answer, Params
from daypass.operations.iam import changes, documents, faults, find, members, named, paging, tags
from daypass.operations.iam.context import ReadContext, WriteContext
from daypass.operations.iam.paging import fitting


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
    profiles, more = named.page_by_name(ctx, p, InstanceProfile, scope, **wanted)
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

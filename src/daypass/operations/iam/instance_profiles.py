"""Instance profiles: containers that hold one role, by which AWS's tools give a machine a role.

Here they are kept for those tools; nothing assumes a role through one. A role in one cannot be deleted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from daypass.domain.directory import InstanceProfile, Role
from daypass.operations.iam import changes, documents, faults, find, quotas, shapes, tags
from daypass.operations.iam.paging import page
from daypass.operations.iam.work import Answer, Look, Params, Work


def create_instance_profile(work: Work, p: Params) -> Answer:
    quota = quotas.INSTANCE_PROFILES_PER_ACCOUNT
    changes.within_quota(work, InstanceProfile, "InstanceProfilesPerAccount", quota, account=work.account)
    profile = InstanceProfile(
        id=work.ids.unique("AIPA"),
        account=work.account,
        name=p["InstanceProfileName"],
        path=p.get("Path") or "/",
        created_at=work.now,
        tags=tags.first_exact(p),
    )
    changes.insert(work, profile, faults.instance_profile_exists(profile.name))
    return {
        "InstanceProfile": {**shown(work, profile), **({"Tags": shapes.tags(profile.tags)} if profile.tags else {})}
    }


def get_instance_profile(look: Look, p: Params) -> Answer:
    profile = find.instance_profile(look, p["InstanceProfileName"])
    return {"InstanceProfile": {**shown(look, profile), "Tags": shapes.tags(profile.tags)}}


def list_instance_profiles(look: Look, p: Params) -> Answer:
    prefix = p.get("PathPrefix") or ""
    return _listed(look, p, "instance-profiles", path_prefix=prefix)


def list_instance_profiles_for_role(look: Look, p: Params) -> Answer:
    role = find.role(look, p["RoleName"])
    return _listed(look, p, "instance-profiles-for-role", role_id=role.id)


def _listed(look: Look, p: Params, scope: str, **wanted: Any) -> Answer:
    def fetch(after: str, limit: int) -> Sequence[InstanceProfile]:
        return look.tx.find(InstanceProfile, order="name", after=after, limit=limit, account=look.account, **wanted)

    profiles, more = page(p, scope, fetch, lambda profile: profile.name)
    names: documents.Names = {}
    return {"InstanceProfiles": [shown(look, profile, names) for profile in profiles], **more}


def add_role_to_instance_profile(work: Work, p: Params) -> Answer:
    profile, role = find.instance_profile(work, p["InstanceProfileName"]), find.role(work, p["RoleName"])
    if profile.role_id is not None:
        raise faults.over_quota("InstanceSessionsPerInstanceProfile", quotas.ROLES_PER_INSTANCE_PROFILE)
    work.tx.replace(replace(profile, role_id=role.id))
    return {}


def remove_role_from_instance_profile(work: Work, p: Params) -> Answer:
    profile, role = find.instance_profile(work, p["InstanceProfileName"]), find.role(work, p["RoleName"])
    if profile.role_id != role.id:
        raise faults.not_in_instance_profile(role.name, profile.name)
    work.tx.replace(replace(profile, role_id=None))
    return {}


def delete_instance_profile(work: Work, p: Params) -> Answer:
    profile = find.instance_profile(work, p["InstanceProfileName"])
    if profile.role_id is not None:
        raise faults.must_first("remove roles from instance profile")
    work.tx.delete(profile)
    return {}


def of_role(look: Look, role: Role, names: documents.Names) -> list[dict[str, Any]]:
    """Those that hold a role, by name, as GetAccountAuthorizationDetails shows them."""
    found = look.tx.find(InstanceProfile, order="name", account=look.account, role_id=role.id)
    return [shown(look, profile, names) for profile in found]


def shown(look: Look, profile: InstanceProfile, names: documents.Names | None = None) -> dict[str, Any]:
    """Without tags, as lists show it; the role as AWS shows it inside: without description and longest session."""
    role = look.tx.get(Role, id=profile.role_id) if profile.role_id is not None else None
    return {
        "Path": profile.path,
        "InstanceProfileName": profile.name,
        "InstanceProfileId": profile.id,
        "Arn": profile.arn,
        "CreateDate": profile.created_at,
        "Roles": [shapes.role_in_brief(look, role, names)] if role is not None else [],
    }

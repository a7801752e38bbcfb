"""Profiles: which roles certificates may be exchanged for, how long, how narrow, and what of them becomes tags.

Whoever puts a role into a profile lets every holder of a trusted certificate ask for it: that takes iam:PassRole.
Source: IAM Roles Anywhere API Reference, CreateProfile and its kin.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Final

from daypass.domain.certificate import DEFAULT_MAPPINGS, check_mapping
from daypass.domain.directory import X509Profile
from daypass.domain.errors import DaypassError
from daypass.domain.policy.document import PolicyKind
from daypass.operations.assume_role import requested_role
from daypass.operations.iam import documents
from daypass.operations.issue import MAX_POLICY_ARNS
from daypass.operations.rolesanywhere import faults, shapes
from daypass.operations.rolesanywhere.lists import page, within_quota
from daypass.operations.rolesanywhere.tags import first
from daypass.operations.rolesanywhere.work import Answer, Look, Params, Work

PROFILES_PER_ACCOUNT: Final = 10_000
_MAX_RULES: Final = 60  # of one profile
_DEFAULT_SECONDS: Final = 3600


def check_profile(look: Look, p: Params) -> None:
    """Refuses roles of other accounts, session policies that are none, and what is not supported."""
    for arn in p.get("roleArns") or ():
        if _account_of_role(arn) != look.account:
            raise faults.invalid(f"{arn} is not a role of this account.")
    if len(p.get("managedPolicyArns") or ()) > MAX_POLICY_ARNS:
        raise faults.invalid(f"A profile has at most {MAX_POLICY_ARNS} managed policies.")
    if policy := p.get("sessionPolicy"):
        try:
            documents.parsed(policy, PolicyKind.SESSION)
        except DaypassError as fault:
            raise faults.invalid(f"The session policy is malformed: {fault.public}") from None
    if p.get("aliasName"):
        raise faults.unsupported("aliasName")
    if (p.get("tipConfiguration") or {}).get("status") == "ENABLED":
        raise faults.unsupported("Trusted identity propagation")


def _account_of_role(arn: str) -> str:
    try:
        return requested_role(arn).account
    except DaypassError:
        return ""


def create_profile(work: Work, p: Params) -> Answer:
    check_profile(work, p)
    within_quota(work, X509Profile, "profiles", PROFILES_PER_ACCOUNT, account=work.account)
    made = X509Profile(
        id=work.ids.request(),
        account=work.account,
        region=work.facts.region,
        name=p["name"],
        created_at=work.now,
        updated_at=work.now,
        created_by=work.caller.arn,
        enabled=p.get("enabled", False),
        role_arns=tuple(dict.fromkeys(p["roleArns"])),
        managed_policy_arns=tuple(dict.fromkeys(p.get("managedPolicyArns") or ())),
        session_policy=p.get("sessionPolicy") or "",
        duration_seconds=p.get("durationSeconds") or _DEFAULT_SECONDS,
        require_instance_properties=p.get("requireInstanceProperties", False),
        accept_role_session_name=p.get("acceptRoleSessionName", False),
        mappings=DEFAULT_MAPPINGS,
        tags=first(p),
    )
    work.tx.insert(made)
    return _answer(made)


def get_profile(look: Look, p: Params) -> Answer:
    return _answer(look.find(X509Profile, p["profileId"]))


def list_profiles(look: Look, p: Params) -> Answer:
    found, more = page(look, p, X509Profile)
    return {"profiles": [shapes.profile(profile) for profile in found], **more}


def update_profile(work: Work, p: Params) -> Answer:
    check_profile(work, p)
    old = work.find(X509Profile, p["profileId"])
    changed = replace(
        old,
        name=p.get("name", old.name),
        role_arns=tuple(dict.fromkeys(p.get("roleArns", old.role_arns))),
        managed_policy_arns=tuple(dict.fromkeys(p.get("managedPolicyArns", old.managed_policy_arns))),
        session_policy=p.get("sessionPolicy", old.session_policy),
        duration_seconds=p.get("durationSeconds", old.duration_seconds),
        accept_role_session_name=p.get("acceptRoleSessionName", old.accept_role_session_name),
    )
    return _stored(work, changed)


def _switch(work: Work, p: Params, *, enabled: bool) -> Answer:
    return _stored(work, replace(work.find(X509Profile, p["profileId"]), enabled=enabled))


enable_profile = partial(_switch, enabled=True)
disable_profile = partial(_switch, enabled=False)


def delete_profile(work: Work, p: Params) -> Answer:
    old = work.find(X509Profile, p["profileId"])
    work.tx.delete(old)
    return _answer(old)


def put_attribute_mapping(work: Work, p: Params) -> Answer:
    """Adds rules for one certificate field; what is there stays until it is deleted."""
    old = work.find(X509Profile, p["profileId"])
    field, specifiers = p["certificateField"], [rule["specifier"] for rule in p["mappingRules"]]
    if unknown := check_mapping(field, specifiers):
        raise faults.invalid(f"{field} has no specifier '{unknown}'.")
    mappings = tuple(dict.fromkeys((*old.mappings, *((field, specifier) for specifier in specifiers))))
    if len(mappings) > _MAX_RULES:
        raise faults.invalid(f"A profile has at most {_MAX_RULES} mapping rules.")
    return _stored(work, replace(old, mappings=mappings))


def delete_attribute_mapping(work: Work, p: Params) -> Answer:
    """The named specifiers of one certificate field, or all of them."""
    old = work.find(X509Profile, p["profileId"])
    field, specifiers = p["certificateField"], p.get("specifiers") or ()
    gone = {pair for pair in old.mappings if pair[0] == field and (not specifiers or pair[1] in specifiers)}
    return _stored(work, replace(old, mappings=tuple(pair for pair in old.mappings if pair not in gone)))


def _stored(work: Work, changed: X509Profile) -> Answer:
    changed = replace(changed, updated_at=work.now)
    work.tx.replace(changed)
    return _answer(changed)


def _answer(profile: X509Profile) -> Answer:
    return {"profile": shapes.profile(profile)}

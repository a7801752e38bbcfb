"""Profiles: the roles that certificates may be exchanged for, the length and limits of sessions, and their tags.

Adding a role to a profile lets every holder of a trusted certificate request it: that needs iam:PassRole.
Source: IAM Roles Anywhere API Reference, CreateProfile and related operations.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from daypass.domain.directory import X509Profile
from daypass.domain.errors import DaypassError
from daypass.domain.jws import DEFAULT_MAPPINGS, check_mapping
from daypass.domain.policy.document import PolicyKind
from daypass.operations.assume.request import MAX_POLICY_ARNS, requested_role
from daypass.operations.crud import Answer, Params
from daypass.operations.iam import documents
from daypass.operations.rolesanywhere import context, entity_kind
from daypass.operations.rolesanywhere.context import AnchorReadContext, AnchorWriteContext
from daypass.operations.rolesanywhere.entity_kind import EntityKind, within_quota

PROFILES_PER_ACCOUNT: Final = 10_000
_MAX_RULES: Final = 60  # of one profile
_DEFAULT_SECONDS: Final = 3600


PROFILES: Final = EntityKind(X509Profile, "profile", entity_kind.profile)


def check_profile(ctx: AnchorReadContext, p: Params) -> None:
    """Refuses roles of other accounts, invalid session policies, and unsupported members."""
    for arn in p.get("roleArns") or ():
        if _account_of_role(arn) != ctx.account:
            raise context.invalid(f"{arn} is not a role of this account.")
    if len(p.get("managedPolicyArns") or ()) > MAX_POLICY_ARNS:
        raise context.invalid(f"A profile has at most {MAX_POLICY_ARNS} managed policies.")
    if policy := p.get("sessionPolicy"):
        try:
            documents.check(policy, PolicyKind.SESSION)
        except DaypassError as fault:
            raise context.invalid(f"The session policy is malformed: {fault.public}") from None
    if p.get("aliasName"):
        raise context.unsupported("aliasName")
    if (p.get("tipConfiguration") or {}).get("status") == "ENABLED":
        raise context.unsupported("Trusted identity propagation")


def _account_of_role(arn: str) -> str:
    try:
        return requested_role(arn).account
    except DaypassError:
        return ""


def create_profile(ctx: AnchorWriteContext, p: Params) -> Answer:
    check_profile(ctx, p)
    within_quota(ctx, X509Profile, "profiles", PROFILES_PER_ACCOUNT, account=ctx.account)
    return PROFILES.create(
        ctx,
        p,
        created_by=ctx.caller.arn,
        role_arns=tuple(dict.fromkeys(p["roleArns"])),
        managed_policy_arns=tuple(dict.fromkeys(p.get("managedPolicyArns") or ())),
        session_policy=p.get("sessionPolicy") or "",
        duration_seconds=p.get("durationSeconds") or _DEFAULT_SECONDS,
        require_instance_properties=p.get("requireInstanceProperties", False),
        accept_role_session_name=p.get("acceptRoleSessionName", False),
        mappings=DEFAULT_MAPPINGS,
    )


def update_profile(ctx: AnchorWriteContext, p: Params) -> Answer:
    check_profile(ctx, p)
    old = PROFILES.find(ctx, p)
    changed = replace(
        old,
        name=p.get("name", old.name),
        role_arns=tuple(dict.fromkeys(p.get("roleArns", old.role_arns))),
        managed_policy_arns=tuple(dict.fromkeys(p.get("managedPolicyArns", old.managed_policy_arns))),
        session_policy=p.get("sessionPolicy", old.session_policy),
        duration_seconds=p.get("durationSeconds", old.duration_seconds),
        accept_role_session_name=p.get("acceptRoleSessionName", old.accept_role_session_name),
    )
    return PROFILES.store(ctx, changed)


def put_attribute_mapping(ctx: AnchorWriteContext, p: Params) -> Answer:
    """Adds rules for one certificate field. Existing rules remain until they are deleted."""
    old = PROFILES.find(ctx, p)
    field, specifiers = p["certificateField"], [rule["specifier"] for rule in p["mappingRules"]]
    if unknown := check_mapping(field, specifiers):
        raise context.invalid(f"{field} has no specifier '{unknown}'.")
    mappings = tuple(dict.fromkeys((*old.mappings, *((field, specifier) for specifier in specifiers))))
    if len(mappings) > _MAX_RULES:
        raise context.invalid(f"A profile has at most {_MAX_RULES} mapping rules.")
    return PROFILES.store(ctx, replace(old, mappings=mappings))


def delete_attribute_mapping(ctx: AnchorWriteContext, p: Params) -> Answer:
    """The named specifiers of one certificate field, or all of them."""
    old = PROFILES.find(ctx, p)
    field, specifiers = p["certificateField"], p.get("specifiers") or ()
    removed = {pair for pair in old.mappings if pair[0] == field and (not specifiers or pair[1] in specifiers)}
    return PROFILES.store(ctx, replace(old, mappings=tuple(pair for pair in old.mappings if pair not in removed)))

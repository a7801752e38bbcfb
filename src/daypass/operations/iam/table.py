"""Every IAM operation that Daypass has: what it acts on, whether it reads or writes, and what does it.

An operation that is not here is not supported, and answers so.
"""

from __future__ import annotations

from functools import partial
from types import MappingProxyType
from typing import Final

from daypass.domain.policy.document import PolicyKind
from daypass.operations.iam import (
    access_keys,
    account,
    attachments,
    boundaries,
    context_keys,
    details,
    groups,
    inline,
    mfa,
    owners,
    policies,
    roles,
    simulate,
    subjects,
    tags,
    usage,
    users,
)
from daypass.operations.iam.work import Operation, SubjectOf

_NEW_TAGGED = (subjects.request_tags, subjects.boundary)
_TRUST = PolicyKind.TRUST
_MANAGED = ("PolicyDocument", PolicyKind.MANAGED)

_USERS = (
    Operation("CreateUser", subjects.new("user", "UserName"), write=users.create_user, keys=_NEW_TAGGED),
    Operation("GetUser", subjects.user_or_caller, read=users.get_user),
    Operation("ListUsers", subjects.listed("user"), read=users.list_users),
    Operation("UpdateUser", subjects.renamed_user, write=users.update_user),
    Operation("DeleteUser", subjects.user, write=users.delete_user),
    Operation("CreateAccessKey", subjects.user_or_caller, write=access_keys.create_access_key),
    Operation("ListAccessKeys", subjects.user_or_caller, read=access_keys.list_access_keys),
    Operation("UpdateAccessKey", subjects.user_or_caller, write=access_keys.update_access_key),
    Operation("DeleteAccessKey", subjects.user_or_caller, write=access_keys.delete_access_key),
    Operation("ListGroupsForUser", subjects.user, read=groups.list_groups_for_user),
)
_GROUPS = (
    Operation("CreateGroup", subjects.new("group", "GroupName"), write=groups.create_group),
    Operation("GetGroup", subjects.group, read=groups.get_group),
    Operation("ListGroups", subjects.listed("group"), read=groups.list_groups),
    Operation("UpdateGroup", subjects.renamed_group, write=groups.update_group),
    Operation("DeleteGroup", subjects.group, write=groups.delete_group),
    Operation("AddUserToGroup", subjects.group, write=groups.add_user_to_group),
    Operation("RemoveUserFromGroup", subjects.group, write=groups.remove_user_from_group),
)
_ROLES = (
    Operation(
        "CreateRole",
        subjects.new("role", "RoleName"),
        write=roles.create_role,
        keys=_NEW_TAGGED,
        document=("AssumeRolePolicyDocument", _TRUST),
    ),
    Operation("GetRole", subjects.role, read=roles.get_role),
    Operation("ListRoles", subjects.listed("role"), read=roles.list_roles),
    Operation("UpdateRole", subjects.role, write=roles.update_role),
    Operation("UpdateRoleDescription", subjects.role, write=roles.update_role_description),
    Operation(
        "UpdateAssumeRolePolicy",
        subjects.role,
        write=roles.update_assume_role_policy,
        document=("PolicyDocument", _TRUST),
    ),
    Operation("DeleteRole", subjects.role, write=roles.delete_role),
)
_POLICIES = (
    Operation(
        "CreatePolicy",
        subjects.new("policy", "PolicyName"),
        write=policies.create_policy,
        keys=(subjects.request_tags,),
        document=_MANAGED,
    ),
    Operation("GetPolicy", subjects.policy, read=policies.get_policy),
    Operation("ListPolicies", subjects.policy_list, read=policies.list_policies),
    Operation("DeletePolicy", subjects.policy, write=policies.delete_policy),
    Operation("CreatePolicyVersion", subjects.policy, write=policies.create_policy_version, document=_MANAGED),
    Operation("GetPolicyVersion", subjects.policy, read=policies.get_policy_version),
    Operation("ListPolicyVersions", subjects.policy, read=policies.list_policy_versions),
    Operation("SetDefaultPolicyVersion", subjects.policy, write=policies.set_default_policy_version),
    Operation("DeletePolicyVersion", subjects.policy, write=policies.delete_policy_version),
    Operation("ListEntitiesForPolicy", subjects.policy, read=usage.list_entities_for_policy),
)
_ACCOUNT = (
    Operation("GetAccountSummary", subjects.anything, read=account.get_account_summary),
    Operation("GetAccountAuthorizationDetails", subjects.anything, read=details.get_account_authorization_details),
)
_MFA = (
    Operation(
        "CreateVirtualMFADevice",
        mfa.new_subject,
        write=mfa.create_virtual_mfa_device,
        keys=(subjects.request_tags,),
        gather=mfa.draw,
    ),
    Operation("DeleteVirtualMFADevice", mfa.device_subject, write=mfa.delete_virtual_mfa_device),
    Operation("ListVirtualMFADevices", mfa.all_subject, read=mfa.list_virtual_mfa_devices),
    Operation("EnableMFADevice", mfa.owner_subject, write=mfa.enable_mfa_device),
    Operation("ResyncMFADevice", mfa.owner_subject, write=mfa.resync_mfa_device),
    Operation("DeactivateMFADevice", mfa.owner_subject, write=mfa.deactivate_mfa_device),
    Operation("ListMFADevices", mfa.owner_subject, read=mfa.list_mfa_devices),
    Operation("GetMFADevice", mfa.shown_subject, read=mfa.get_mfa_device),
)
_SIMULATIONS = (
    Operation("SimulatePrincipalPolicy", simulate.principal, read=simulate.simulate_principal_policy),
    Operation("SimulateCustomPolicy", subjects.anything, read=simulate.simulate_custom_policy),
    Operation(
        "GetContextKeysForPrincipalPolicy", simulate.principal, read=context_keys.get_context_keys_for_principal_policy
    ),
    Operation("GetContextKeysForCustomPolicy", subjects.anything, read=context_keys.get_context_keys_for_custom_policy),
)


def _of_owner(kind: owners.OwnerKind, subject: SubjectOf) -> tuple[Operation, ...]:
    """Inline and attached policies: the same for users, groups and roles."""
    noun = kind.noun
    attaching = (subjects.policy_arn, subjects.boundary)
    bounded = (subjects.boundary,)
    inlined = ("PolicyDocument", PolicyKind.IDENTITY)
    attach, detach = partial(attachments.attach, kind), partial(attachments.detach, kind)
    return (
        Operation(f"Put{noun}Policy", subject, write=partial(inline.put, kind), keys=bounded, document=inlined),
        Operation(f"Get{noun}Policy", subject, read=partial(inline.get, kind)),
        Operation(f"List{noun}Policies", subject, read=partial(inline.names, kind)),
        Operation(f"Delete{noun}Policy", subject, write=partial(inline.delete, kind), keys=bounded),
        Operation(f"Attach{noun}Policy", subject, write=attach, keys=attaching),
        Operation(f"Detach{noun}Policy", subject, write=detach, keys=attaching),
        Operation(f"ListAttached{noun}Policies", subject, read=partial(attachments.names, kind)),
    )


def _bounded(kind: owners.OwnerKind, subject: SubjectOf) -> tuple[Operation, ...]:
    keys = (subjects.boundary,)
    put, delete = partial(boundaries.put, kind), partial(boundaries.delete, kind)
    return (
        Operation(f"Put{kind.noun}PermissionsBoundary", subject, write=put, keys=keys),
        Operation(f"Delete{kind.noun}PermissionsBoundary", subject, write=delete, keys=keys),
    )


def _tagged(noun: str, subject: SubjectOf, find_entity: tags.FindTagged) -> tuple[Operation, ...]:
    tag, untag = partial(tags.tag, find_entity), partial(tags.untag, find_entity)
    return (
        Operation(f"Tag{noun}", subject, write=tag, keys=(subjects.request_tags,)),
        Operation(f"Untag{noun}", subject, write=untag, keys=(subjects.request_tag_keys,)),
        Operation(f"List{noun}Tags", subject, read=partial(tags.list_tags, find_entity)),
    )


_ALL = (
    *_USERS,
    *_GROUPS,
    *_ROLES,
    *_POLICIES,
    *_ACCOUNT,
    *_MFA,
    *_SIMULATIONS,
    *_of_owner(owners.USER, subjects.user),
    *_of_owner(owners.GROUP, subjects.group),
    *_of_owner(owners.ROLE, subjects.role),
    *_bounded(owners.USER, subjects.user),
    *_bounded(owners.ROLE, subjects.role),
    *_tagged("User", subjects.user, tags.user),
    *_tagged("Role", subjects.role, tags.role),
    *_tagged("Policy", subjects.policy, tags.policy),
    *_tagged("MFADevice", mfa.device_subject, mfa.tagged),
)

OPERATIONS: Final = MappingProxyType({operation.name: operation for operation in _ALL})
"""Operations by name."""

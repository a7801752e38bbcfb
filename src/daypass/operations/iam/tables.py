"""Operations on users, groups, roles, managed policies, instance profiles, providers and
credentials, as rows.
"""

from __future__ import annotations

from functools import partial
from typing import Final

from daypass.domain.directory import Group, User
from daypass.domain.policy.document import PolicyKind
from daypass.operations.iam import (
    access_keys,
    account,
    attachments,
    credential_report,
    granting,
    lint,
    login_profiles,
    mfa,
    owners,
    policies,
    providers,
    resources,
    roles,
    service_last_accessed,
    simulate_policy,
    tags,
    users,
)
from daypass.operations.iam import attachments as inline
from daypass.operations.iam.context import Operation, ResourceOf

_NEW_TAGGED = (resources.request_tags, resources.boundary)
_TRUST = PolicyKind.TRUST
_MANAGED = ("PolicyDocument", PolicyKind.MANAGED)

USERS: Final = (
    Operation(
        "CreateUser",
        resources.new("user", "UserName"),
        write=users.create_user,
        keys=_NEW_TAGGED,
        tagging="iam:TagUser",
    ),
    Operation("GetUser", resources.user_or_caller, read=users.get_user),
    Operation("ListUsers", resources.listed("user"), read=users.list_users),
    Operation("UpdateUser", resources.renamed(User), write=users.update_user),
    Operation("DeleteUser", resources.user, write=users.delete_user, urgent=True),
    Operation(
        "CreateAccessKey",
        resources.user_or_caller,
        write=access_keys.create_access_key,
        urgent=True,
        credential=partial(granting.of_key, "create"),
    ),
    Operation("ListAccessKeys", resources.user_or_caller, read=access_keys.list_access_keys),
    Operation(
        "UpdateAccessKey",
        resources.user_or_caller,
        write=access_keys.update_access_key,
        urgent=True,
        credential=partial(granting.of_key, "update"),
    ),
    Operation(
        "DeleteAccessKey",
        resources.user_or_caller,
        write=access_keys.delete_access_key,
        urgent=True,
        credential=partial(granting.of_key, "delete"),
    ),
    Operation("ListGroupsForUser", resources.user, read=users.list_groups_for_user),
)

GROUPS: Final = (
    Operation("CreateGroup", resources.new("group", "GroupName"), write=users.create_group),
    Operation("GetGroup", resources.group, read=users.get_group),
    Operation("ListGroups", resources.listed("group"), read=users.list_groups),
    Operation("UpdateGroup", resources.renamed(Group), write=users.update_group),
    Operation("DeleteGroup", resources.group, write=users.delete_group),
    Operation("AddUserToGroup", resources.group, write=users.add_user_to_group),
    Operation("RemoveUserFromGroup", resources.group, write=users.remove_user_from_group, urgent=True),
)

ROLES: Final = (
    Operation(
        "CreateRole",
        resources.new("role", "RoleName"),
        write=roles.create_role,
        keys=_NEW_TAGGED,
        document=("AssumeRolePolicyDocument", _TRUST),
        tagging="iam:TagRole",
    ),
    Operation("GetRole", resources.role, read=roles.get_role),
    Operation("ListRoles", resources.listed("role"), read=roles.list_roles),
    Operation("UpdateRole", resources.role, write=roles.update_role, check=lint.longer),
    Operation("UpdateRoleDescription", resources.role, write=roles.update_role_description),
    Operation(
        "UpdateAssumeRolePolicy",
        resources.role,
        write=roles.update_assume_role_policy,
        document=("PolicyDocument", _TRUST),
    ),
    Operation("DeleteRole", resources.role, write=roles.delete_role, urgent=True),
)

POLICIES: Final = (
    Operation(
        "CreatePolicy",
        resources.new_policy,
        write=policies.create_policy,
        keys=(resources.request_tags,),
        document=_MANAGED,
        tagging="iam:TagPolicy",
    ),
    Operation("GetPolicy", resources.policy, read=policies.get_policy),
    Operation("ListPolicies", resources.policy_list, read=policies.list_policies),
    Operation("DeletePolicy", resources.policy, write=policies.delete_policy),
    Operation("CreatePolicyVersion", resources.policy, write=policies.create_policy_version, document=_MANAGED),
    Operation("GetPolicyVersion", resources.policy, read=policies.get_policy_version),
    Operation("ListPolicyVersions", resources.policy, read=policies.list_policy_versions),
    Operation("SetDefaultPolicyVersion", resources.policy, write=policies.set_default_policy_version),
    Operation("DeletePolicyVersion", resources.policy, write=policies.delete_policy_version),
    Operation("ListEntitiesForPolicy", resources.policy, read=access_keys.list_entities_for_policy),
)

INSTANCE_PROFILES: Final = (
    Operation(
        "CreateInstanceProfile",
        resources.new("instance-profile", "InstanceProfileName"),
        write=roles.create_instance_profile,
        keys=(resources.request_tags,),
        tagging="iam:TagInstanceProfile",
    ),
    Operation("GetInstanceProfile", resources.instance_profile, read=roles.get_instance_profile),
    Operation("ListInstanceProfiles", resources.listed("instance-profile"), read=roles.list_instance_profiles),
    Operation("ListInstanceProfilesForRole", resources.role, read=roles.list_instance_profiles_for_role),
    Operation("AddRoleToInstanceProfile", resources.role_into_profile, write=roles.add_role_to_instance_profile),
    Operation(
        "RemoveRoleFromInstanceProfile", resources.instance_profile, write=roles.remove_role_from_instance_profile
    ),
    Operation("DeleteInstanceProfile", resources.instance_profile, write=roles.delete_instance_profile),
)


# --- Operations that report about an account or simulate its policies


ACCOUNT: Final = (
    Operation("GetAccountSummary", resources.anything, read=account.get_account_summary),
    Operation("GetAccountAuthorizationDetails", resources.anything, read=account.get_account_authorization_details),
)

REPORTS: Final = (
    Operation("GetAccessKeyLastUsed", resources.key_owner, read=access_keys.get_access_key_last_used),
    Operation(
        "GenerateCredentialReport",
        resources.anything,
        write=credential_report.generate_credential_report,
        gather=credential_report.gather,
        heavy=True,
    ),
    Operation("GetCredentialReport", resources.anything, read=credential_report.get_credential_report),
    Operation(
        "GetServiceLastAccessedDetails",
        resources.anything,
        read=service_last_accessed.get_service_last_accessed_details,
    ),
    Operation(
        "GetServiceLastAccessedDetailsWithEntities",
        resources.anything,
        read=service_last_accessed.get_service_last_accessed_details_with_entities,
    ),
    Operation(
        "ListPoliciesGrantingServiceAccess",
        granting.arn_resource,
        read=granting.list_policies_granting_service_access,
        heavy=True,
    ),
)

SIMULATIONS: Final = (
    Operation(
        "SimulatePrincipalPolicy", simulate_policy.principal, read=simulate_policy.simulate_principal_policy, heavy=True
    ),
    Operation("SimulateCustomPolicy", resources.anything, read=simulate_policy.simulate_custom_policy, heavy=True),
    Operation(
        "GetContextKeysForPrincipalPolicy",
        simulate_policy.principal,
        read=simulate_policy.get_context_keys_for_principal_policy,
        heavy=True,
    ),
    Operation(
        "GetContextKeysForCustomPolicy",
        resources.anything,
        read=simulate_policy.get_context_keys_for_custom_policy,
        heavy=True,
    ),
)

ABSENT: Final = (
    Operation("ListSSHPublicKeys", resources.user_or_caller, read=partial(access_keys.list_of_user, "SSHPublicKeys")),
    Operation(
        "ListSigningCertificates", resources.user_or_caller, read=partial(access_keys.list_of_user, "Certificates")
    ),
    Operation(
        "ListServiceSpecificCredentials", resources.user_or_everyone, read=access_keys.list_service_specific_credentials
    ),
    Operation(
        "ListServerCertificates",
        resources.listed("server-certificate"),
        read=partial(access_keys.list_of_account, "ServerCertificateMetadataList"),
    ),
)


# --- Operations that several kinds of entity share: inline and attached policies, permissions boundaries, tags


def of_owner(kind: owners.OwnerKind, resource: ResourceOf) -> tuple[Operation, ...]:
    """Inline and attached policies: the same operations for users, groups and roles."""
    noun = kind.noun
    attaching = (resources.policy_arn, resources.boundary)
    bounded = (resources.boundary,)
    inlined = ("PolicyDocument", PolicyKind.IDENTITY)
    attach, detach = partial(attachments.attach, kind), partial(attachments.detach, kind)
    put_warns, attach_warns = (lint.inlined, lint.attached) if kind is owners.ROLE else (None, None)
    return (
        Operation(
            f"Put{noun}Policy",
            resource,
            write=partial(inline.put_inline, kind),
            keys=bounded,
            document=inlined,
            check=put_warns,
        ),
        Operation(f"Get{noun}Policy", resource, read=partial(inline.get_inline, kind)),
        Operation(f"List{noun}Policies", resource, read=partial(inline.inline_names, kind)),
        Operation(
            f"Delete{noun}Policy", resource, write=partial(inline.delete_inline, kind), keys=bounded, urgent=True
        ),
        Operation(f"Attach{noun}Policy", resource, write=attach, keys=attaching, check=attach_warns),
        Operation(f"Detach{noun}Policy", resource, write=detach, keys=attaching, urgent=True),
        Operation(f"ListAttached{noun}Policies", resource, read=partial(attachments.names, kind)),
    )


def bounded_by(kind: owners.OwnerKind, resource: ResourceOf) -> tuple[Operation, ...]:
    keys = (resources.boundary,)
    put, delete = partial(attachments.put, kind), partial(attachments.delete, kind)
    resource = resources.by_arn(resource)
    return (
        Operation(f"Put{kind.noun}PermissionsBoundary", resource, write=put, keys=keys),
        Operation(f"Delete{kind.noun}PermissionsBoundary", resource, write=delete, keys=keys),
    )


def tagged(
    noun: str,
    resource: ResourceOf,
    to_list: tags.FindTagged,
    to_tag: tags.FindTagged | None = None,
    to_untag: tags.FindTagged | None = None,
) -> tuple[Operation, ...]:
    """The three operations on tags. `to_tag` and `to_untag`: for entities with a different look-up or refusal."""
    tag, untag = partial(tags.tag, to_tag or to_list), partial(tags.untag, to_untag or to_list)
    tagged = resources.by_arn(resource)
    return (
        Operation(f"Tag{noun}", tagged, write=tag, keys=(resources.request_tags,)),
        Operation(f"Untag{noun}", tagged, write=untag, keys=(resources.request_tag_keys,)),
        Operation(f"List{noun}Tags", resource, read=partial(tags.list_tags, to_list)),
    )


# --- Operations on identity providers, passwords, MFA devices and outbound federation


PROVIDERS: Final = (
    Operation(
        "CreateOpenIDConnectProvider",
        resources.new_oidc_provider,
        write=providers.create_oidc_provider,
        keys=(resources.request_tags,),
        tagging="iam:TagOpenIDConnectProvider",
    ),
    Operation("GetOpenIDConnectProvider", resources.oidc_provider, read=providers.get_oidc_provider),
    Operation("ListOpenIDConnectProviders", resources.providers("oidc-provider"), read=providers.list_oidc_providers),
    Operation("AddClientIDToOpenIDConnectProvider", resources.oidc_provider, write=providers.add_client_id),
    Operation(
        "RemoveClientIDFromOpenIDConnectProvider",
        resources.oidc_provider,
        write=providers.remove_client_id,
        urgent=True,
    ),
    Operation("UpdateOpenIDConnectProviderThumbprint", resources.oidc_provider, write=providers.update_thumbprint),
    Operation(
        "DeleteOpenIDConnectProvider", resources.oidc_provider, write=providers.delete_oidc_provider, urgent=True
    ),
    Operation(
        "CreateSAMLProvider",
        resources.new_saml_provider,
        write=providers.create_saml_provider,
        keys=(resources.request_tags,),
        gather=providers.read_documents,
        heavy=True,
        tagging="iam:TagSAMLProvider",
    ),
    Operation("GetSAMLProvider", resources.saml_provider, read=providers.get_saml_provider),
    Operation("ListSAMLProviders", resources.providers("saml-provider"), read=providers.list_saml_providers),
    Operation(
        "UpdateSAMLProvider",
        resources.saml_provider,
        write=providers.update_saml_provider,
        gather=providers.read_documents,
        heavy=True,
    ),
    Operation("DeleteSAMLProvider", resources.saml_provider, write=providers.delete_saml_provider, urgent=True),
)

PASSWORDS: Final = (
    Operation("CreateAccountAlias", resources.anything, write=account.create_account_alias),
    Operation("ListAccountAliases", resources.anything, read=account.list_account_aliases),
    Operation("DeleteAccountAlias", resources.anything, write=account.delete_account_alias),
    Operation("UpdateAccountPasswordPolicy", resources.anything, write=account.update_account_password_policy),
    Operation("GetAccountPasswordPolicy", resources.anything, read=account.get_account_password_policy),
    Operation("DeleteAccountPasswordPolicy", resources.anything, write=account.delete_account_password_policy),
    Operation(
        "CreateLoginProfile",
        resources.user_or_caller,
        write=login_profiles.create_login_profile,
        gather=login_profiles.prepare_create,
        heavy=True,
        credential=partial(granting.of_password, "create"),
    ),
    Operation("GetLoginProfile", resources.user_or_caller, read=login_profiles.get_login_profile),
    Operation(
        "UpdateLoginProfile",
        resources.user,
        write=login_profiles.update_login_profile,
        gather=login_profiles.prepare_update,
        heavy=True,
        credential=partial(granting.of_password, "update"),
    ),
    Operation(
        "DeleteLoginProfile",
        resources.user_or_caller,
        write=login_profiles.delete_login_profile,
        urgent=True,
        credential=partial(granting.of_password, "delete"),
    ),
    Operation(
        "ChangePassword",
        login_profiles.own,
        write=login_profiles.change_password,
        gather=login_profiles.prepare_change,
        heavy=True,
        after_commit=login_profiles.refuse_wrong_password,
        credential=partial(granting.of_password, "update"),
    ),
)

MFA: Final = (
    Operation(
        "CreateVirtualMFADevice",
        mfa.new_resource,
        write=mfa.create_virtual_mfa_device,
        keys=(resources.request_tags,),
        gather=mfa.new_seed,
        tagging="iam:TagMFADevice",
    ),
    Operation("DeleteVirtualMFADevice", mfa.device_resource, write=mfa.delete_virtual_mfa_device),
    Operation("ListVirtualMFADevices", mfa.all_resource, read=mfa.list_virtual_mfa_devices),
    Operation(
        "EnableMFADevice",
        mfa.owner_resource,
        write=mfa.enable_mfa_device,
        credential=partial(granting.of_device, "create"),
    ),
    Operation("ResyncMFADevice", mfa.owner_resource, write=mfa.resync_mfa_device),
    Operation(
        "DeactivateMFADevice",
        mfa.owner_resource,
        write=mfa.deactivate_mfa_device,
        credential=partial(granting.of_device, "revoke"),
    ),
    Operation("ListMFADevices", mfa.owner_resource, read=mfa.list_mfa_devices),
    Operation("GetMFADevice", mfa.shown_resource, read=mfa.get_mfa_device),
)

OUTBOUND: Final = (
    Operation(
        "EnableOutboundWebIdentityFederation",
        resources.anything,
        write=account.enable_outbound_web_identity_federation,
        gather=account.gather,
    ),
    Operation(
        "DisableOutboundWebIdentityFederation",
        resources.anything,
        write=account.disable_outbound_web_identity_federation,
    ),
    Operation(
        "GetOutboundWebIdentityFederationInfo",
        resources.anything,
        read=account.get_outbound_web_identity_federation_info,
    ),
)

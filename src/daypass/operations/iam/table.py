"""Every IAM operation that Daypass has: what it acts on, whether it reads or writes, and what does it.

An operation that is not here is not supported, and answers so.
"""

from __future__ import annotations

from functools import partial
from types import MappingProxyType
from typing import Final

from daypass.domain.policy.document import PolicyKind
from daypass.operations.iam import (
    absent,
    access_keys,
    account,
    account_alias,
    attachments,
    boundaries,
    context_keys,
    credential_report,
    details,
    elevation,
    granting,
    groups,
    inline,
    instance_profiles,
    last_used,
    login_profiles,
    mfa,
    oidc_providers,
    outbound,
    owners,
    password_policy,
    policies,
    roles,
    saml_providers,
    service_last_accessed,
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
    Operation(
        "CreateUser", subjects.new("user", "UserName"), write=users.create_user, keys=_NEW_TAGGED, tagging="iam:TagUser"
    ),
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
        tagging="iam:TagRole",
    ),
    Operation("GetRole", subjects.role, read=roles.get_role),
    Operation("ListRoles", subjects.listed("role"), read=roles.list_roles),
    Operation("UpdateRole", subjects.role, write=roles.update_role, warn=elevation.longer),
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
        subjects.new_policy,
        write=policies.create_policy,
        keys=(subjects.request_tags,),
        document=_MANAGED,
        tagging="iam:TagPolicy",
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
_INSTANCE_PROFILES = (
    Operation(
        "CreateInstanceProfile",
        subjects.new("instance-profile", "InstanceProfileName"),
        write=instance_profiles.create_instance_profile,
        keys=(subjects.request_tags,),
        tagging="iam:TagInstanceProfile",
    ),
    Operation("GetInstanceProfile", subjects.instance_profile, read=instance_profiles.get_instance_profile),
    Operation(
        "ListInstanceProfiles", subjects.listed("instance-profile"), read=instance_profiles.list_instance_profiles
    ),
    Operation("ListInstanceProfilesForRole", subjects.role, read=instance_profiles.list_instance_profiles_for_role),
    Operation(
        "AddRoleToInstanceProfile", subjects.role_into_profile, write=instance_profiles.add_role_to_instance_profile
    ),
    Operation(
        "RemoveRoleFromInstanceProfile",
        subjects.instance_profile,
        write=instance_profiles.remove_role_from_instance_profile,
    ),
    Operation("DeleteInstanceProfile", subjects.instance_profile, write=instance_profiles.delete_instance_profile),
)
_PROVIDERS = (
    Operation(
        "CreateOpenIDConnectProvider",
        subjects.new_oidc_provider,
        write=oidc_providers.create_oidc_provider,
        keys=(subjects.request_tags,),
        tagging="iam:TagOpenIDConnectProvider",
    ),
    Operation("GetOpenIDConnectProvider", subjects.oidc_provider, read=oidc_providers.get_oidc_provider),
    Operation(
        "ListOpenIDConnectProviders", subjects.providers("oidc-provider"), read=oidc_providers.list_oidc_providers
    ),
    Operation("AddClientIDToOpenIDConnectProvider", subjects.oidc_provider, write=oidc_providers.add_client_id),
    Operation("RemoveClientIDFromOpenIDConnectProvider", subjects.oidc_provider, write=oidc_providers.remove_client_id),
    Operation("UpdateOpenIDConnectProviderThumbprint", subjects.oidc_provider, write=oidc_providers.update_thumbprint),
    Operation("DeleteOpenIDConnectProvider", subjects.oidc_provider, write=oidc_providers.delete_oidc_provider),
    Operation(
        "CreateSAMLProvider",
        subjects.new_saml_provider,
        write=saml_providers.create_saml_provider,
        keys=(subjects.request_tags,),
        gather=saml_providers.read_documents,
        tagging="iam:TagSAMLProvider",
    ),
    Operation("GetSAMLProvider", subjects.saml_provider, read=saml_providers.get_saml_provider),
    Operation("ListSAMLProviders", subjects.providers("saml-provider"), read=saml_providers.list_saml_providers),
    Operation(
        "UpdateSAMLProvider",
        subjects.saml_provider,
        write=saml_providers.update_saml_provider,
        gather=saml_providers.read_documents,
    ),
    Operation("DeleteSAMLProvider", subjects.saml_provider, write=saml_providers.delete_saml_provider),
)
_PASSWORDS = (
    Operation("CreateAccountAlias", subjects.anything, write=account_alias.create_account_alias),
    Operation("ListAccountAliases", subjects.anything, read=account_alias.list_account_aliases),
    Operation("DeleteAccountAlias", subjects.anything, write=account_alias.delete_account_alias),
    Operation("UpdateAccountPasswordPolicy", subjects.anything, write=password_policy.update_account_password_policy),
    Operation("GetAccountPasswordPolicy", subjects.anything, read=password_policy.get_account_password_policy),
    Operation("DeleteAccountPasswordPolicy", subjects.anything, write=password_policy.delete_account_password_policy),
    Operation(
        "CreateLoginProfile",
        subjects.user_or_caller,
        write=login_profiles.create_login_profile,
        gather=login_profiles.prepare_create,
    ),
    Operation("GetLoginProfile", subjects.user_or_caller, read=login_profiles.get_login_profile),
    Operation(
        "UpdateLoginProfile",
        subjects.user,
        write=login_profiles.update_login_profile,
        gather=login_profiles.prepare_update,
    ),
    Operation("DeleteLoginProfile", subjects.user_or_caller, write=login_profiles.delete_login_profile),
    Operation(
        "ChangePassword",
        login_profiles.own,
        write=login_profiles.change_password,
        gather=login_profiles.prepare_change,
        conclude=login_profiles.conclude_change,
    ),
)
_MFA = (
    Operation(
        "CreateVirtualMFADevice",
        mfa.new_subject,
        write=mfa.create_virtual_mfa_device,
        keys=(subjects.request_tags,),
        gather=mfa.draw,
        tagging="iam:TagMFADevice",
    ),
    Operation("DeleteVirtualMFADevice", mfa.device_subject, write=mfa.delete_virtual_mfa_device),
    Operation("ListVirtualMFADevices", mfa.all_subject, read=mfa.list_virtual_mfa_devices),
    Operation("EnableMFADevice", mfa.owner_subject, write=mfa.enable_mfa_device),
    Operation("ResyncMFADevice", mfa.owner_subject, write=mfa.resync_mfa_device),
    Operation("DeactivateMFADevice", mfa.owner_subject, write=mfa.deactivate_mfa_device),
    Operation("ListMFADevices", mfa.owner_subject, read=mfa.list_mfa_devices),
    Operation("GetMFADevice", mfa.shown_subject, read=mfa.get_mfa_device),
)
_REPORTS = (
    Operation("GetAccessKeyLastUsed", subjects.key_owner, read=last_used.get_access_key_last_used),
    Operation(
        "GenerateCredentialReport",
        subjects.anything,
        write=credential_report.generate_credential_report,
        gather=credential_report.gather,
    ),
    Operation("GetCredentialReport", subjects.anything, read=credential_report.get_credential_report),
    Operation(
        "GenerateServiceLastAccessedDetails",
        granting.arn_subject,
        write=service_last_accessed.generate_service_last_accessed_details,
        gather=service_last_accessed.gather,
    ),
    Operation(
        "GetServiceLastAccessedDetails",
        subjects.anything,
        read=service_last_accessed.get_service_last_accessed_details,
    ),
    Operation(
        "GetServiceLastAccessedDetailsWithEntities",
        subjects.anything,
        read=service_last_accessed.get_service_last_accessed_details_with_entities,
    ),
    Operation(
        "ListPoliciesGrantingServiceAccess",
        granting.arn_subject,
        read=granting.list_policies_granting_service_access,
    ),
)
_ABSENT = (
    Operation("ListSSHPublicKeys", subjects.user_or_caller, read=partial(absent.list_of_user, "SSHPublicKeys")),
    Operation("ListSigningCertificates", subjects.user_or_caller, read=partial(absent.list_of_user, "Certificates")),
    Operation(
        "ListServiceSpecificCredentials",
        subjects.user_or_everyone,
        read=partial(absent.list_of_user, "ServiceSpecificCredentials"),
    ),
    Operation(
        "ListServerCertificates",
        subjects.listed("server-certificate"),
        read=partial(absent.list_of_account, "ServerCertificateMetadataList"),
    ),
)
_OUTBOUND = (
    Operation(
        "EnableOutboundWebIdentityFederation",
        subjects.anything,
        write=outbound.enable_outbound_web_identity_federation,
        gather=outbound.gather,
    ),
    Operation(
        "DisableOutboundWebIdentityFederation",
        subjects.anything,
        write=outbound.disable_outbound_web_identity_federation,
    ),
    Operation(
        "GetOutboundWebIdentityFederationInfo",
        subjects.anything,
        read=outbound.get_outbound_web_identity_federation_info,
    ),
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
    put_warns, attach_warns = (elevation.inlined, elevation.attached) if kind is owners.ROLE else (None, None)
    return (
        Operation(
            f"Put{noun}Policy", subject, write=partial(inline.put, kind), keys=bounded, document=inlined, warn=put_warns
        ),
        Operation(f"Get{noun}Policy", subject, read=partial(inline.get, kind)),
        Operation(f"List{noun}Policies", subject, read=partial(inline.names, kind)),
        Operation(f"Delete{noun}Policy", subject, write=partial(inline.delete, kind), keys=bounded),
        Operation(f"Attach{noun}Policy", subject, write=attach, keys=attaching, warn=attach_warns),
        Operation(f"Detach{noun}Policy", subject, write=detach, keys=attaching),
        Operation(f"ListAttached{noun}Policies", subject, read=partial(attachments.names, kind)),
    )


def _bounded(kind: owners.OwnerKind, subject: SubjectOf) -> tuple[Operation, ...]:
    keys = (subjects.boundary,)
    put, delete = partial(boundaries.put, kind), partial(boundaries.delete, kind)
    subject = subjects.by_arn(subject)
    return (
        Operation(f"Put{kind.noun}PermissionsBoundary", subject, write=put, keys=keys),
        Operation(f"Delete{kind.noun}PermissionsBoundary", subject, write=delete, keys=keys),
    )


def _tagged(noun: str, subject: SubjectOf, find_entity: tags.FindTagged) -> tuple[Operation, ...]:
    tag, untag = partial(tags.tag, find_entity), partial(tags.untag, find_entity)
    tagged = subjects.by_arn(subject)
    return (
        Operation(f"Tag{noun}", tagged, write=tag, keys=(subjects.request_tags,)),
        Operation(f"Untag{noun}", tagged, write=untag, keys=(subjects.request_tag_keys,)),
        Operation(f"List{noun}Tags", subject, read=partial(tags.list_tags, find_entity)),
    )


_ALL = (
    *_USERS,
    *_GROUPS,
    *_ROLES,
    *_POLICIES,
    *_ACCOUNT,
    *_INSTANCE_PROFILES,
    *_PROVIDERS,
    *_PASSWORDS,
    *_MFA,
    *_REPORTS,
    *_ABSENT,
    *_OUTBOUND,
    *_SIMULATIONS,
    *_of_owner(owners.USER, subjects.user),
    *_of_owner(owners.GROUP, subjects.group),
    *_of_owner(owners.ROLE, subjects.role),
    *_bounded(owners.USER, subjects.user),
    *_bounded(owners.ROLE, subjects.role),
    *_tagged("User", subjects.user, tags.user),
    *_tagged("Role", subjects.role, tags.role),
    *_tagged("Policy", subjects.policy, tags.policy),
    *_tagged("InstanceProfile", subjects.instance_profile, tags.instance_profile),
    *_tagged("OpenIDConnectProvider", subjects.oidc_provider, tags.oidc_provider),
    *_tagged("SAMLProvider", subjects.saml_provider, tags.saml_provider),
    *_tagged("MFADevice", mfa.device_subject, mfa.tagged),
)

OPERATIONS: Final = MappingProxyType({operation.name: operation for operation in _ALL})
"""Operations by name."""

"""Operations on identity providers, passwords, MFA devices and outbound federation."""

from __future__ import annotations

from functools import partial
from typing import Final

from daypass.operations.iam import account, granting, login_profiles, mfa, providers, resources
from daypass.operations.iam.context import Operation

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

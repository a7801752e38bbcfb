"""Operations that report about an account or simulate its policies."""

from __future__ import annotations

from functools import partial
from typing import Final

from daypass.operations.iam import (
    access_keys,
    account,
    context_keys,
    credential_report,
    details,
    granting,
    last_used,
    resources,
    service_last_accessed,
    simulate_policy,
)
from daypass.operations.iam.context import Operation

ACCOUNT: Final = (
    Operation("GetAccountSummary", resources.anything, read=account.get_account_summary),
    Operation("GetAccountAuthorizationDetails", resources.anything, read=details.get_account_authorization_details),
)

REPORTS: Final = (
    Operation("GetAccessKeyLastUsed", resources.key_owner, read=last_used.get_access_key_last_used),
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
        read=context_keys.get_context_keys_for_principal_policy,
        heavy=True,
    ),
    Operation(
        "GetContextKeysForCustomPolicy",
        resources.anything,
        read=context_keys.get_context_keys_for_custom_policy,
        heavy=True,
    ),
)

ABSENT: Final = (
    Operation("ListSSHPublicKeys", resources.user_or_caller, read=partial(access_keys.list_of_user, "SSHPublicKeys")),
    Operation(
        "ListSigningCertificates", resources.user_or_caller, read=partial(access_keys.list_of_user, "Certificates")
    ),
    Operation(
        "ListServiceSpecificCredentials",
        resources.user_or_everyone,
        read=partial(access_keys.list_of_user, "ServiceSpecificCredentials"),
    ),
    Operation(
        "ListServerCertificates",
        resources.listed("server-certificate"),
        read=partial(access_keys.list_of_account, "ServerCertificateMetadataList"),
    ),
)

"""Every IAM operation of Daypass by name; `tables` has the rows. Any other operation is refused as not supported."""

from __future__ import annotations

from types import MappingProxyType
from typing import Final

from daypass.operations.crud.operation import Params
from daypass.operations.iam import (
    find,
    granting,
    mfa,
    owners,
    resources,
    service_last_accessed,
    service_linked_roles,
    tags,
)
from daypass.operations.iam.context import Operation, ReadContext
from daypass.operations.iam.tables import credentials, entities, reports, shared
from daypass.ports import Ids


def _gather_last_accessed(ctx: ReadContext, p: Params, ids: Ids) -> bytes:
    return service_last_accessed.gather(sorted(OPERATIONS), ctx, p, ids)


_LAST_ACCESSED = Operation(
    "GenerateServiceLastAccessedDetails",
    granting.arn_resource,
    write=service_last_accessed.generate_service_last_accessed_details,
    gather=_gather_last_accessed,
    heavy=True,
)

_ALL = (
    *entities.USERS,
    *entities.GROUPS,
    *entities.ROLES,
    *service_linked_roles.SERVICE_LINKED,
    *entities.POLICIES,
    *reports.ACCOUNT,
    *entities.INSTANCE_PROFILES,
    *credentials.PROVIDERS,
    *credentials.PASSWORDS,
    *credentials.MFA,
    *reports.REPORTS,
    _LAST_ACCESSED,
    *reports.ABSENT,
    *credentials.OUTBOUND,
    *reports.SIMULATIONS,
    *shared.of_owner(owners.USER, resources.user),
    *shared.of_owner(owners.GROUP, resources.group),
    *shared.of_owner(owners.ROLE, resources.role),
    *shared.bounded_by(owners.USER, resources.user),
    *shared.bounded_by(owners.ROLE, resources.role),
    *shared.tagged("User", resources.user, tags.by(find.user, "UserName")),
    *shared.tagged("Role", resources.role, tags.by(find.role, "RoleName")),
    *shared.tagged("Policy", resources.policy, tags.policy, tags.policy_to_tag, tags.policy_to_untag),
    *shared.tagged(
        "InstanceProfile", resources.instance_profile, tags.by(find.instance_profile, "InstanceProfileName")
    ),
    *shared.tagged(
        "OpenIDConnectProvider", resources.oidc_provider, tags.by(find.oidc_provider, "OpenIDConnectProviderArn")
    ),
    *shared.tagged("SAMLProvider", resources.saml_provider, tags.by(find.saml_provider, "SAMLProviderArn")),
    *shared.tagged("MFADevice", mfa.device_resource, mfa.tagged),
)

OPERATIONS: Final = MappingProxyType({operation.name: service_linked_roles.protecting(operation) for operation in _ALL})
"""Operations by name."""

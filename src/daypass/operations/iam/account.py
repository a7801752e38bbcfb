"""The account as a whole: number of entities, and quotas."""

from __future__ import annotations

from typing import Any

from daypass.domain.directory import (
    AccessKey,
    Group,
    InstanceProfile,
    ManagedPolicy,
    MfaDevice,
    OidcProvider,
    PolicyVersion,
    Role,
    SamlProvider,
    User,
)
from daypass.operations.crud.operation import Answer, Params
from daypass.operations.iam import quotas
from daypass.operations.iam.context import ReadContext


def get_account_summary(ctx: ReadContext, _p: Params) -> Answer:
    def count(kind: type[Any], **equals: Any) -> int:
        return ctx.tx.count(kind, account=ctx.account, **equals)

    summary = {
        "Users": count(User),
        "UsersQuota": quotas.USERS_PER_ACCOUNT,
        "Groups": count(Group),
        "GroupsQuota": quotas.GROUPS_PER_ACCOUNT,
        "Roles": count(Role),
        "RolesQuota": quotas.ROLES_PER_ACCOUNT,
        "Policies": count(ManagedPolicy),
        "PoliciesQuota": quotas.POLICIES_PER_ACCOUNT,
        "PolicyVersionsInUse": count(PolicyVersion),
        "PolicyVersionsInUseQuota": quotas.POLICIES_PER_ACCOUNT * quotas.VERSIONS_PER_POLICY,
        "VersionsPerPolicyQuota": quotas.VERSIONS_PER_POLICY,
        "PolicySizeQuota": quotas.MANAGED_POLICY_SIZE,
        "UserPolicySizeQuota": quotas.USER_INLINE_SIZE,
        "GroupPolicySizeQuota": quotas.GROUP_INLINE_SIZE,
        "RolePolicySizeQuota": quotas.ROLE_INLINE_SIZE,
        "AssumeRolePolicySizeQuota": quotas.TRUST_POLICY_SIZE,
        "AttachedPoliciesPerUserQuota": quotas.POLICIES_PER_ENTITY,
        "AttachedPoliciesPerGroupQuota": quotas.POLICIES_PER_ENTITY,
        "AttachedPoliciesPerRoleQuota": quotas.POLICIES_PER_ENTITY,
        "GroupsPerUserQuota": quotas.GROUPS_PER_USER,
        "AccessKeysPerUserQuota": quotas.ACCESS_KEYS_PER_USER,
        "AccountAccessKeysPresent": min(1, count(AccessKey, owner_id=ctx.account)),
        "AccountPasswordPresent": 0,
        "AccountMFAEnabled": min(1, count(MfaDevice, owner_id=ctx.account)),
        "AccountSigningCertificatesPresent": 0,
        "MFADevices": count(MfaDevice),
        "MFADevicesInUse": count(MfaDevice) - count(MfaDevice, owner_id=None),
        "InstanceProfiles": count(InstanceProfile),
        "InstanceProfilesQuota": quotas.INSTANCE_PROFILES_PER_ACCOUNT,
        "Providers": count(OidcProvider) + count(SamlProvider),
        "ServerCertificates": 0,
        "ServerCertificatesQuota": 0,
        "SigningCertificatesPerUserQuota": 0,
        "GlobalEndpointTokenVersion": 2,
    }
    return {"SummaryMap": summary}

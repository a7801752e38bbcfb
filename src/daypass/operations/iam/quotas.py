"""The quotas of an account.

Limits on one entity are AWS's defaults ("IAM and AWS STS quotas"). Limits on a whole account are higher than AWS's,
because an installation has no support desk to raise them. GetAccountSummary reports the limits in force.
"""

from __future__ import annotations

from typing import Final

USERS_PER_ACCOUNT: Final = 100_000
GROUPS_PER_ACCOUNT: Final = 10_000
ROLES_PER_ACCOUNT: Final = 1_000_000
POLICIES_PER_ACCOUNT: Final = 100_000
INSTANCE_PROFILES_PER_ACCOUNT: Final = 100_000
OIDC_PROVIDERS_PER_ACCOUNT: Final = 1_000  # ListOpenIDConnectProviders has no pages
SAML_PROVIDERS_PER_ACCOUNT: Final = 100  # nor has ListSAMLProviders, and a provider is as large as its metadata

ACCESS_KEYS_PER_USER: Final = 2
GROUPS_PER_USER: Final = 10
MFA_DEVICES_PER_USER: Final = 8
POLICIES_PER_ENTITY: Final = 10
ROLES_PER_INSTANCE_PROFILE: Final = 1
CLIENT_IDS_PER_OIDC_PROVIDER: Final = 100
THUMBPRINTS_PER_OIDC_PROVIDER: Final = 5
PRIVATE_KEYS_PER_SAML_PROVIDER: Final = 2
VERSIONS_PER_POLICY: Final = 5
TAGS_PER_ENTITY: Final = 50

# Characters of a policy, white space not counted.
MANAGED_POLICY_SIZE: Final = 6_144
TRUST_POLICY_SIZE: Final = 2_048
USER_INLINE_SIZE: Final = 2_048
GROUP_INLINE_SIZE: Final = 5_120
ROLE_INLINE_SIZE: Final = 10_240

MIN_SESSION_SECONDS: Final = 3_600
MAX_SESSION_SECONDS: Final = 43_200

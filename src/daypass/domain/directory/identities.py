"""Accounts, their principals and their policies."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar, TypeAlias

Tags: TypeAlias = tuple[tuple[str, str], ...]
"""Tag keys and values in the order in which they were written. Keys are unique; case is ignored."""


class KeyStatus(StrEnum):
    """The Status of an access key (IAM API, AccessKey)."""

    ACTIVE = "Active"
    INACTIVE = "Inactive"


@dataclass(frozen=True, slots=True)
class Account:
    """A tenant. `operator` marks the account whose principals may be allowed to manage the installation."""

    id: str  # 12 digits
    name: str
    operator: bool
    created_at: int


@dataclass(frozen=True, slots=True)
class Named:
    """What users, groups, roles and instance profiles have. `kind`: of the resource in their ARNs."""

    kind: ClassVar[str]

    id: str  # 21 characters: AIDA…, AGPA…, AROA…, AIPA…
    account: str
    name: str
    path: str
    created_at: int

    @property
    def arn(self) -> str:
        return f"arn:aws:iam::{self.account}:{self.kind}{self.path}{self.name}"


@dataclass(frozen=True, slots=True)
class User(Named):
    kind: ClassVar = "user"

    boundary_arn: str | None = None
    tags: Tags = ()


@dataclass(frozen=True, slots=True)
class Group(Named):
    kind: ClassVar = "group"


@dataclass(frozen=True, slots=True)
class Membership:
    account: str
    group_id: str
    user_id: str
    created_at: int


@dataclass(frozen=True, slots=True)
class Role(Named):
    """A role. `trust_bindings` maps each principal ARN of the trust policy to the unique id that it had when written."""

    kind: ClassVar = "role"

    trust_document: str
    trust_bindings: tuple[tuple[str, str], ...] = ()
    description: str | None = None
    max_session_seconds: int = 3600
    chained_max_seconds: int = 3600  # a Daypass setting: a role may raise the hour limit of chained sessions
    boundary_arn: str | None = None
    tags: Tags = ()


@dataclass(frozen=True, slots=True)
class ManagedPolicy:
    """A customer-managed policy, or (account "aws") a policy that Daypass ships."""

    id: str  # ANPA…
    account: str
    arn: str
    name: str
    path: str
    created_at: int
    updated_at: int
    default_version: int = 1
    latest_version: int = 1  # the highest number ever assigned; numbers are never reused
    description: str | None = None
    tags: Tags = ()


@dataclass(frozen=True, slots=True)
class PolicyVersion:
    account: str
    policy_id: str
    version: int  # shown as v<version>
    document: str
    created_at: int


@dataclass(frozen=True, slots=True)
class InlinePolicy:
    account: str
    owner_id: str  # id of a user, group or role
    name: str
    document: str
    created_at: int


@dataclass(frozen=True, slots=True)
class Attachment:
    """A managed policy attached to a user, group or role."""

    account: str
    owner_id: str
    policy_arn: str
    created_at: int


@dataclass(frozen=True, slots=True)
class Guardrail:
    """A policy that bounds every principal of an account, including the root (like an SCP in AWS)."""

    account: str
    name: str
    document: str
    created_at: int


@dataclass(frozen=True, slots=True)
class AccessKey:
    """A long-term key. `owner_id` is a user's id, or the account id for a root's key."""

    id: str  # AKIA…, or any id that AWS's accessKeyIdType allows
    account: str
    owner_id: str
    status: KeyStatus
    sealed_secret: bytes  # sealed by the storage ring; account and owner id are its associated data
    created_at: int
    status_changed_at: int


@dataclass(frozen=True, slots=True)
class InstanceProfile(Named):
    """A container for at most one role, which AWS's tools use to assign a role to a machine (IAM API, InstanceProfile)."""

    kind: ClassVar = "instance-profile"

    role_id: str | None = None
    tags: Tags = ()


@dataclass(frozen=True, slots=True)
class AccountAlias:
    """The one alias that an account may have, unique in the installation."""

    alias: str
    account: str
    created_at: int


@dataclass(frozen=True, slots=True)
class PasswordPolicy:
    """An account's requirements for passwords (IAM API, PasswordPolicy). None: not set, as IAM then shows it."""

    account: str
    minimum_length: int = 6
    require_symbols: bool = False
    require_numbers: bool = False
    require_uppercase: bool = False
    require_lowercase: bool = False
    users_may_change: bool = False
    max_age_days: int | None = None
    reuse_prevention: int | None = None  # number of previous passwords that are refused
    hard_expiry: bool | None = None


@dataclass(frozen=True, slots=True)
class LoginProfile:
    """A user's console password, as a slow hash (see `operations.iam.login_profiles`), and the previous hashes."""

    user_id: str
    account: str
    created_at: int
    password_hash: str
    password_changed_at: int
    reset_required: bool = False
    max_signin_seconds: int | None = None
    former_hashes: tuple[str, ...] = ()  # newest first
    failures: int = 0  # failed attempts since the last success or lock
    locked_until: int = 0  # ms; no old password is checked before this time


@dataclass(frozen=True, slots=True)
class MfaDevice:
    """A virtual MFA device (IAM API, VirtualMFADevice). `owner_id` is a user's id, or the account id for the root's device.

    Failed codes are counted here, where every process sees them. No code is checked before `locked_until` (ms).
    """

    account: str
    serial: str  # its ARN
    name: str
    path: str
    created_at: int
    sealed_seed: bytes  # sealed by the storage ring; account, owner and serial are its associated data
    owner_id: str | None = None
    enabled_at: int | None = None
    drift: int = 0  # steps by which the device's clock is ahead of the server's
    failures: int = 0  # failed codes since the last success or lock
    locked_until: int = 0
    tags: Tags = ()
    paired_step: int = 0  # step of the second code when it was last enabled or synchronised

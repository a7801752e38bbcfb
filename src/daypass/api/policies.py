"""Lint of policies, tests of trust policies."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Any, Literal

from msgspec import Meta

from daypass.api.operation import InAccount, Input, Limit, Operation, OptionalMillis, Output


class LintDocumentInput(Input):
    document: Annotated[str, Meta(max_length=32768)]
    kind: Annotated[
        str, Meta(pattern="^(identity|managed|trust|session|guardrail|resource|rule|client|resource-server|provider)$")
    ] = "identity"
    role: Annotated[
        str, Meta(max_length=64, description="The role that a trust policy is for: its powers are considered.")
    ] = ""


class FindingOut(Output):
    id: str
    severity: Literal["error", "warning", "note"]
    title: str
    line: int
    column: int
    end_line: int
    end_column: int
    statement: Annotated[int, Meta(description="Index of the statement; -1: the whole document, or the role.")]
    sid: str
    why: str
    fix: str


class LintAccountInput(InAccount):
    after: Annotated[str, Meta(max_length=256, description="`next` of the page before.")] = ""
    limit: Limit = 100


class LintedOut(Output):
    arn: Annotated[str, Meta(description="Who owns the policy, or the managed policy itself.")]
    policy: str
    kind: str
    findings: list[FindingOut]


class TestTrustInput(Input):
    role: Annotated[str, Meta(min_length=1, max_length=64, description="The role's name.")]
    token: Annotated[
        str, Meta(min_length=4, max_length=20000, description="A JWT of an identity provider. It is not kept.")
    ]


class TrustTestOut(Output):
    let_in: Annotated[bool, Meta(description="Whether the token can assume the role.")]
    role: str
    provider: Annotated[str, Meta(description="The ARN that the token's issuer has, or would have, in the account.")]
    problem: Annotated[str, Meta(description="Why the token itself is refused; empty if it is accepted.")]
    reason: Annotated[str, Meta(description="More about that, which otherwise only the record has.")]
    admitted: Annotated[bool, Meta(description="Whether the trust policy admits these claims, verified or not.")]
    keys: dict[str, str | list[str]]
    explanation: dict[str, Any]


device_operation = partial(Operation, section="MFA devices")
policy_operation = partial(Operation, section="policies")

LINT_DOCUMENT = policy_operation(
    "LintPolicies",
    "POST /lint",
    "Findings where a document probably does not say what its author intended. Nothing is stored.",
    LintDocumentInput,
    FindingOut,
    items="findings",
    unique="LintDocument",
)
LINT_ACCOUNT = policy_operation(
    "LintPolicies",
    "GET /lint",
    "Findings about the stored policies of one account. A page may be empty and still have a `next`.",
    LintAccountInput,
    LintedOut,
    items="policies",
    paged=True,
    unique="LintAccount",
)
TEST_TRUST = policy_operation(
    "TestTrust",
    "POST /trust/test",
    "Compares a token with a role's trust policy, claim by claim. No session is issued, and no one-time token is consumed.",
    TestTrustInput,
    TrustTestOut,
)


# --- MFA devices and recovery codes


class ListMfaDevicesInput(InAccount):
    user: Annotated[str, Meta(max_length=64, description="Name of a user; empty: you.")] = ""


class PasskeyOut(Output):
    id: str
    name: str
    created_at: int
    used_at: Annotated[OptionalMillis, Meta(description="null: never.")]
    aaguid: Annotated[str, Meta(description="Model of the authenticator, as it says; all zeros: unknown.")]
    backed_up: Annotated[bool, Meta(description="Synchronised to other devices of the person.")]
    blocked_at: Annotated[OptionalMillis, Meta(description="When a copy was detected; null: usable.")]


class VirtualDeviceOut(Output):
    serial_number: Annotated[str, Meta(extra={"from": "serial"})]
    name: str
    enabled_at: int | None


class DevicesOut(Output):
    user: Annotated[str, Meta(description="ARN.")]
    passkeys: list[PasskeyOut]
    virtual_devices: list[VirtualDeviceOut]
    recovery_codes: Annotated[int, Meta(description="How many can still be used.")]


class UpdatePasskeyInput(InAccount):
    passkey_id: Annotated[str, Meta(max_length=1400, pattern="^[A-Za-z0-9_-]+$")]
    name: Annotated[str, Meta(min_length=1, max_length=64)]
    user: Annotated[str, Meta(max_length=64, description="Name of a user; empty: you.")] = ""


class DeletePasskeyInput(InAccount):
    passkey_id: Annotated[str, Meta(max_length=1400, pattern="^[A-Za-z0-9_-]+$")]
    user: Annotated[str, Meta(max_length=64, description="Name of a user; empty: you.")] = ""


class RecoveryCodesOut(Output):
    codes: Annotated[list[str], Meta(description="Each works once. Only this answer has them.")]


LIST_MFA_DEVICES = device_operation(
    "ListMfaDevices",
    "GET /mfa-devices",
    "A user's passkeys and MFA devices. Your own need no permission.",
    ListMfaDevicesInput,
    DevicesOut,
)
UPDATE_PASSKEY = device_operation(
    "UpdatePasskey",
    "PUT /passkeys/{passkey_id}",
    "Renames a passkey. For your own, your session's MFA is at most 15 minutes old.",
    UpdatePasskeyInput,
    PasskeyOut,
    query=("account", "user"),
)
DELETE_PASSKEY = device_operation(
    "DeletePasskey",
    "DELETE /passkeys/{passkey_id}",
    "Removes a passkey, and signs its user out of other browsers. For your own, as for `UpdatePasskey`.",
    DeletePasskeyInput,
    status=204,
)
CREATE_RECOVERY_CODES = device_operation(
    "CreateRecoveryCodes",
    "POST /recovery-codes",
    "Makes ten recovery codes for you and revokes the earlier ones. Your session's MFA is at most 15 minutes old.",
    output=RecoveryCodesOut,
    status=201,
)

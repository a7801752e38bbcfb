"""Which command and which call of the API does what the console does, for its test."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, cast

from daypass.ports import Env
from daypass.wire.endpoints.table import OPERATIONS
from daypass.wire.front import Front
from daypass.wire.health import Health
from daypass.wire.routes import RouteSettings, routes
from daypass.wire.routing import Route

DESCRIBED: Final[Mapping[str, str]] = {
    f"daypass:{each.name}": " ".join(word for word in each.command.usage.split() if word.islower())
    for each in OPERATIONS
    if each.command is not None
}
"""The commands of descriptions."""

COMMANDS: Final[Mapping[str, str]] = {
    "daypass:AcceptAccessRequest": "request accept",
    "daypass:ApproveAccessRequest": "request approve",
    "daypass:CancelAccessRequest": "request cancel",
    "daypass:CreateAccessRequest": "request create",
    "daypass:CreateClient": "client create",
    "daypass:CreateRecoveryCodes": "mfa recovery-codes",
    "daypass:DeletePasskey": "mfa rm",
    "daypass:DenyAccessRequest": "request deny",
    "daypass:ExtendAccessRequest": "request extend",
    "daypass:FinishAccessRequest": "request done",
    "daypass:GetAccessRequest": "request show",
    "daypass:GetOwnAccess": "access own",
    "daypass:GetSession": "sessions show",
    "daypass:ListAccessRequests": "request ls",
    "daypass:ListApprovalRules": "rule ls",
    "daypass:ListMfaDevices": "mfa ls",
    "daypass:ListSessions": "sessions ls",
    "daypass:Offboard": "offboard",
    "daypass:PutApprovalRule": "rule apply",
    "daypass:PutProviderSettings": "provider set",
    "daypass:PutResourceServer": "resource-server put",
    "daypass:ReadAudit": "audit search",
    "daypass:ReadSettings": "settings",
    "daypass:RevokeSession": "revoke",
    "daypass:SimulateAccess": "simulate",
    "daypass:WhoCanAccess": "access who-can",
    "daypass:UpdateClient": "client set",
    "daypass:UpdatePasskey": "mfa rename",
    "daypass:WithdrawConsent": "consent rm",
    "iam:AddClientIDToOpenIDConnectProvider": "iam",
    "iam:AddUserToGroup": "group add",
    "iam:AttachGroupPolicy": "group attach",
    "iam:AttachUserPolicy": "user attach",
    "iam:CreateAccessKey": "key create",
    "iam:CreateGroup": "group create",
    "iam:CreateOpenIDConnectProvider": "provider add",
    "iam:AttachRolePolicy": "iam",
    "iam:CreateRole": "role create",
    "iam:DeleteRole": "role rm",
    "iam:DeleteRolePolicy": "iam",
    "iam:DetachRolePolicy": "iam",
    "iam:PutRolePolicy": "iam",
    "iam:UpdateAssumeRolePolicy": "role trust",
    "daypass:LintPolicies": "lint",
    "iam:CreateSAMLProvider": "iam",
    "iam:CreateUser": "user create",
    "iam:CreateVirtualMFADevice": "mfa add",
    "iam:EnableMFADevice": "mfa add",
    "iam:DeactivateMFADevice": "mfa rm",
    "iam:DeleteAccessKey": "key rm",
    "iam:DeleteGroup": "group rm",
    "iam:DeleteGroupPolicy": "iam",
    "iam:DeleteLoginProfile": "iam",
    "iam:DeleteOpenIDConnectProvider": "provider rm",
    "iam:DeleteUserPolicy": "iam",
    "iam:DetachGroupPolicy": "group detach",
    "iam:DetachUserPolicy": "user detach",
    "iam:GenerateServiceLastAccessedDetails": "iam",
    "iam:GetGroup": "group show",
    "iam:GetOpenIDConnectProvider": "provider show",
    "iam:GetRole": "role show",
    "iam:GetUser": "user show",
    "iam:GetUserPolicy": "iam",
    "iam:ListGroups": "group ls",
    "iam:ListOpenIDConnectProviders": "provider ls",
    "iam:ListRoles": "role ls",
    "iam:ListUsers": "user ls",
    "iam:ListVirtualMFADevices": "iam",
    "iam:PutGroupPolicy": "group put",
    "iam:PutUserPolicy": "user put",
    "iam:RemoveClientIDFromOpenIDConnectProvider": "iam",
    "iam:RemoveUserFromGroup": "group remove",
    "iam:UpdateAccessKey": "key disable",
    "iam:UpdateGroup": "iam",
    "iam:UpdateLoginProfile": "iam",
    "iam:UpdateSAMLProvider": "iam",
    "iam:UpdateUser": "iam",
    "rolesanywhere:CreateTrustAnchor": "anchor create",
    "rolesanywhere:DeleteTrustAnchor": "anchor rm",
    "rolesanywhere:DisableTrustAnchor": "anchor disable",
    "rolesanywhere:EnableTrustAnchor": "anchor enable",
    "rolesanywhere:GetTrustAnchor": "anchor show",
    "rolesanywhere:ListTrustAnchors": "anchor ls",
    "rolesanywhere:UpdateTrustAnchor": "anchor set",
    "sts:AssumeRole": "assume",
    "sts:DecodeAuthorizationMessage": "explain",
}
"""The command of each operation of the console. "iam": `daypass iam OPERATION`."""

OTHER_API: Final[Mapping[str, str]] = {"daypass:WithdrawConsent": "DeleteConsent"}
"""Operations of pages that the API has under another name."""

BROWSER_ONLY: Final[Mapping[str, str]] = {
    "daypass:CreateFirstAdministrator": "The server makes the first administrator itself, unless it is started with `--setup`.",
    "daypass:RegisterPasskey": "Only a browser can talk to the authenticator; `daypass mfa add` opens the page.",
}
"""Operations that only pages have, with the reason."""


def console_rows() -> list[Route]:
    """The pages of the console and of the account that do something, by path."""
    front = Front(cast("Env", None))  # the table is built, not called
    rows = routes(front, cast("Health", None), RouteSettings()).rows
    pages = [row for row in rows if isinstance(row, Route) and row.path.startswith(("/console", "/account"))]
    return sorted((row for row in pages if row.operation), key=lambda row: row.path)


def api_call(operation: str) -> str:
    """The API path of a console operation; "" for none."""
    service, _, name = operation.partition(":")
    if service != "daypass":
        return f"`{operation}`"
    name = OTHER_API.get(operation, name)
    return ", ".join(sorted(f"`{each.method} /api/v1{each.path}`" for each in OPERATIONS if each.name == name))

"""Excessive grants of identity policies: everything, nearly everything, or a way to gain more permissions."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from daypass.domain.policy.compiled import PolicyDocument, Statement
from daypass.domain.policy.lint.finding import Finding, at_statement
from daypass.domain.policy.model import Effect
from daypass.domain.policy.pattern import fold

_PROBE: Final = "any-resource-at-all-0123456789"
_USER: Final = f"user/{_PROBE}"
_ROLE: Final = f"role/{_PROBE}"
_GROUP: Final = f"group/{_PROBE}"
_POLICY: Final = f"policy/{_PROBE}"

ESCALATIONS: Final[dict[str, tuple[str, str]]] = {
    "iam:CreateAccessKey": (_USER, "make keys for any user"),
    "iam:CreateLoginProfile": (_USER, "give any user a password"),
    "iam:UpdateLoginProfile": (_USER, "change any user's password"),
    "iam:AttachUserPolicy": (_USER, "attach any policy to any user"),
    "iam:AttachRolePolicy": (_ROLE, "attach any policy to any role"),
    "iam:AttachGroupPolicy": (_GROUP, "attach any policy to any group"),
    "iam:PutUserPolicy": (_USER, "write a policy for any user"),
    "iam:PutRolePolicy": (_ROLE, "write a policy for any role"),
    "iam:PutGroupPolicy": (_GROUP, "write a policy for any group"),
    "iam:AddUserToGroup": (_GROUP, "join any group"),
    "iam:CreatePolicyVersion": (_POLICY, "rewrite any managed policy"),
    "iam:SetDefaultPolicyVersion": (_POLICY, "put any version of a managed policy in force"),
    "iam:UpdateAssumeRolePolicy": (_ROLE, "open any role to anyone"),
    "iam:DeleteRolePermissionsBoundary": (_ROLE, "lift any role's boundary"),
    "iam:DeleteUserPermissionsBoundary": (_USER, "lift any user's boundary"),
    "iam:PassRole": (_ROLE, "hand any role to a service"),
    "sts:AssumeRole": (_ROLE, "assume any role that trusts the account"),
}
"""Action to the resource on which it is dangerous when unrestricted, and what its holder can then do."""

_BOUNDED_BY = (
    "iam:permissionsboundary",
    "iam:passedtoservice",
    "iam:policyarn",
    "iam:resourcetag/",
    "aws:resourcetag/",
)
"""Conditions on these keys restrict the entities or policies. The rest is left to the author's judgement."""


def check(document: PolicyDocument, account: str) -> Iterator[Finding]:
    """The findings about the grants of Allow statements."""
    for statement in document.statements:
        if statement.effect is not Effect.ALLOW:
            continue
        if _everything(statement):
            yield at_statement(
                "grant-everything",
                statement,
                "Every action on every resource is allowed.",
                "Name the actions and resources that are needed, or bound it by a permissions boundary.",
            )
            continue
        if statement.not_action or statement.not_resource:
            element = "NotAction" if statement.not_action else "NotResource"
            yield at_statement(
                "grant-by-exclusion",
                statement,
                f"Allow with {element} allows everything that it does not name, also what comes to exist later.",
                "Name what is allowed, and use a Deny statement for the exceptions.",
            )
        ways = tuple(escalations(statement, account))
        if ways:
            shown = "; ".join(f"{action}: {ESCALATIONS[action][1]}" for action in ways[:6])
            yield at_statement(
                "grant-escalation",
                statement,
                f"Whoever has this can take further permissions ({shown}{'; …' if len(ways) > 6 else ''}).",
                "Name the users, roles or policies, or demand iam:PermissionsBoundary, iam:PolicyARN or "
                "iam:PassedToService in a condition.",
            )


def _everything(statement: Statement) -> bool:
    return (
        not (statement.not_action or statement.not_resource or statement.conditions)
        and statement.actions.anything
        and statement.resources is not None
        and statement.resources.anything
    )


def escalations(statement: Statement, account: str) -> Iterator[str]:
    """The actions of an Allow by which its holder can gain more permissions, on any user, role or policy."""
    if any(condition.key.startswith(_BOUNDED_BY) for condition in statement.conditions):
        return
    for action, (resource, _) in ESCALATIONS.items():
        if statement.actions.matches(fold(action), {}) is statement.not_action:
            continue
        arn = f"arn:aws:iam::{account or '111122223333'}:{resource}"
        if statement.resources is not None and statement.resources.matches(arn, {}) is statement.not_resource:
            continue
        yield action


def powerful(documents: Iterable[PolicyDocument], account: str) -> bool:
    """Whether the policies allow everything, or allow their holder to gain any permission."""
    return any(
        _everything(statement) or any(escalations(statement, account))
        for document in documents
        for statement in document.statements
        if statement.effect is Effect.ALLOW
    )

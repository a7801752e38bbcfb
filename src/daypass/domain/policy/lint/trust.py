"""Whom a trust policy admits: anyone, whole accounts, third parties, and tokens of shared issuers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from daypass.domain.arn import is_account_id
from daypass.domain.policy.compiled import PolicyDocument, PrincipalValue, Statement
from daypass.domain.policy.condition import Condition
from daypass.domain.policy.lint.conditions import operator_of, requires_value
from daypass.domain.policy.lint.finding import LintFinding, at_place, at_statement
from daypass.domain.policy.lint.grants import WHO, Facts
from daypass.domain.policy.model import Effect
from daypass.domain.policy.pattern import fold
from daypass.domain.policy.principal import is_unique_id

_MFA = ("aws:multifactorauthpresent", "aws:multifactorauthage")
_BY = {
    "AWS": "sts:AssumeRole",
    "Service": "sts:AssumeRole",
    "oidc": "sts:AssumeRoleWithWebIdentity",
    "saml": "sts:AssumeRoleWithSAML",
}
_WILD = frozenset({"StringLike", "ArnLike", "ArnEquals"})
_ANYONES = frozenset({"aws:username"})  # any account may have a user of this name
_CERTIFICATES = "rolesanywhere.amazonaws.com"
_CERTIFICATE_KEYS = ("aws:sourcearn", "aws:principaltag/")


def check(document: PolicyDocument, facts: Facts) -> Iterator[LintFinding]:
    """The findings about the principals of Allow statements, except token issuers (see `oidc`)."""
    for statement in document.statements:
        if statement.effect is not Effect.ALLOW:
            continue
        demanded = tuple(filter(requires_value, statement.conditions))
        for principal in statement.principal_values:
            yield from _wrong_action(statement, principal)
            if principal.type == "AWS":
                yield from _aws(statement, principal, demanded, facts)
            elif kind_of(principal) == "saml" and not has(demanded, "saml:aud"):
                yield at_place(
                    "saml-no-audience",
                    principal.line,
                    principal.column,
                    "An assertion that the provider issued for another service is accepted, too.",
                    'Add "StringEquals": {"saml:aud": "https://signin.aws.amazon.com/saml"} (or your own address).',
                    statement,
                )
            elif principal.value == _CERTIFICATES and not has(demanded, *_CERTIFICATE_KEYS):
                yield at_place(
                    "trust-certificate-any",
                    principal.line,
                    principal.column,
                    "Any certificate of any trust anchor of the account may assume the role.",
                    "Demand aws:SourceArn (the trust anchor) and a field of the certificate, "
                    "aws:PrincipalTag/x509Subject/CN for one.",
                    statement,
                )
        yield from _mfa(statement, facts)


def kind_of(principal: PrincipalValue) -> str:
    """AWS, Service or CanonicalUser; for a federated principal, "oidc" or "saml"."""
    if principal.type != "Federated":
        return principal.type
    return "saml" if ":saml-provider/" in principal.value else "oidc"


def has(conditions: Iterable[Condition], *keys: str) -> bool:
    """Whether one of the conditions is on one of the keys (for `family/`, on any key of the family)."""
    return any(c.key == key or (key.endswith("/") and c.key.startswith(key)) for c in conditions for key in keys)


def _wrong_action(statement: Statement, principal: PrincipalValue) -> Iterator[LintFinding]:
    wanted = _BY.get(kind_of(principal))
    if wanted is None or principal.value == "*":
        return
    if not _allows(statement, wanted):
        yield at_place(
            "trust-wrong-action",
            principal.line,
            principal.column,
            f"{principal.value} can assume the role only by {wanted}, which the statement does not allow.",
            f"Allow {wanted}.",
            statement,
        )


# --- Accounts, users, roles ------------------------------------------------------------------------------------------


def _aws(
    statement: Statement, principal: PrincipalValue, demanded: Sequence[Condition], facts: Facts
) -> Iterator[LintFinding]:
    value = principal.value
    at = (principal.line, principal.column)
    narrowed = any(c.key in WHO or c.key.startswith("aws:principaltag/") or c.key.endswith(":sub") for c in demanded)
    if value == "*":
        if _allows(statement, "sts:AssumeRole") and not any(map(_excludes, demanded)):
            yield at_statement(
                "trust-public",
                statement,
                "Every user and role of every account of the installation may assume the role.",
                "Name the principals, or demand aws:PrincipalAccount or aws:PrincipalArn in a condition.",
            )
        return
    if is_unique_id(value):
        why = f"{value} is the id of a user or role. It replaces the ARN of a user or role that was deleted."
        yield at_place("trust-gone-principal", *at, why, "Name an existing principal.", statement)
        return
    account = value if is_account_id(value) else value.split(":")[4]
    whole = is_account_id(value) or value.endswith(":root")
    if account == facts.account or not facts.account:
        if whole and not narrowed and not any(c.key == "daypass:approved" for c in demanded):  # the rule names people
            why = "Anyone whom the policies of this account allow sts:AssumeRole may assume the role."
            yield at_place("trust-own-account", *at, why, "Name the users and roles if there are few.", statement)
        return
    if whole and not narrowed:
        yield at_place(
            "trust-whole-account",
            *at,
            f"Account {account} alone decides which of its users and roles may assume the role.",
            "Name the users and roles, or demand aws:PrincipalArn in a condition.",
            statement,
        )
    if account not in facts.accounts and not has(demanded, "sts:externalid"):
        yield at_place(
            "trust-no-external-id",
            *at,
            f"Account {account} is a third party. It may act for somebody else who merely knows the role's name.",
            'Agree on a value, and add "StringEquals": {"sts:ExternalId": "…"}.',
            statement,
        )


def _allows(statement: Statement, action: str) -> bool:
    return statement.actions.matches(fold(action), {}) is not statement.not_action


def _excludes(condition: Condition) -> bool:
    """Whether a condition excludes other accounts. A tag does not: their principals may have it too."""
    key = condition.key
    if not key.endswith(":sub") and (key not in WHO or key in _ANYONES):
        return False
    return operator_of(condition) not in _WILD or not any(_admits_everyone(key, value) for value in condition.values)


def _admits_everyone(key: str, pattern: str) -> bool:
    """Whether a pattern admits every account: only wildcards, or an ARN whose account is only wildcards."""
    fields = pattern.split(":")
    decisive = fields[4] if key.endswith("arn") and len(fields) > 4 else pattern
    ends_early = key.endswith("arn") and len(fields) < 5 and pattern.endswith("*")
    return ends_early or not decisive.strip("*?")


def _mfa(statement: Statement, facts: Facts) -> Iterator[LintFinding]:
    people = any(
        p.type == "AWS" and not (":role/" in p.value or ":assumed-role/" in p.value or p.value.startswith("AROA"))
        for p in statement.principal_values
    )
    if facts.powerful and people and not has(filter(requires_value, statement.conditions), *_MFA):
        yield at_statement(
            "trust-no-mfa",
            statement,
            "The role may do everything or extend its permissions, and a stolen key is enough to assume it.",
            'Add "Bool": {"aws:MultiFactorAuthPresent": "true"}.',
        )

"""Trust policies that admit every customer of a shared issuer, or every identity of any provider.

`open_trust_refusal` refuses a trust policy when it is written, as AWS refuses trust in a shared issuer without a condition on the
customer. It covers every form of the principal: `*` includes every provider of the account.
Source: IAM User Guide, "Identity-provider controls for shared OIDC providers".
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from daypass.domain.policy.compiled import PolicyDocument, Statement
from daypass.domain.policy.condition import Condition
from daypass.domain.policy.lint.conditions import operator_of, requires_value
from daypass.domain.policy.lint.finding import LintFinding, at_statement
from daypass.domain.policy.lint.oidc import (
    AUDIENCE_CLAIMS,
    claims_of,
    has_no_leading_wildcard,
    restricts_customer,
    unrestricted_issuer,
    url_of_arn,
)
from daypass.domain.policy.model import Effect
from daypass.domain.policy.pattern import fold
from daypass.domain.presets import preset_of

WEB_IDENTITY: Final = "sts:AssumeRoleWithWebIdentity"
WITH_SAML: Final = "sts:AssumeRoleWithSAML"
_PROVIDER = "aws:federatedprovider"
_SAML_KEYS = frozenset({"saml:iss", "saml:doc", "saml:namequalifier", "saml:sub"})  # identify one provider or person
_EXACT = frozenset({"StringEquals", "ArnEquals", "ArnLike", "StringLike"})
_EVERYONE = {WEB_IDENTITY: ("a token", "its sub"), WITH_SAML: ("an assertion", "saml:sub")}


def check_open(document: PolicyDocument) -> Iterator[LintFinding]:
    """The findings about `*` where it includes identities of other providers."""
    for statement in document.statements:
        for action in open_actions(statement):
            what, claim = _EVERYONE[action]
            yield at_statement(
                "trust-public",
                statement,
                f"Everyone with {what} of any identity provider of the account may assume the role by {action}.",
                f"Name the provider as Federated principal, and demand {claim} in a condition.",
            )


def open_trust_refusal(document: PolicyDocument) -> str | None:
    """Why the document is refused, for its author; None when it restricts whom it trusts."""
    found = unrestricted_issuer(document)
    if found is not None:
        principal, preset = found
        claim = "sub" if "sub" in preset.pins else min(preset.pins)
        return (
            f"The trust policy lets in every customer of the identity provider {principal.value}: it must evaluate "
            f"{preset.issuer}:{claim}, or another claim that names a customer, in a condition with a value that names yours."
        )
    for statement in document.statements:
        for action in open_actions(statement):
            return (
                f"The trust policy lets in everyone with {_EVERYONE[action][0]} of any identity provider by {action}: "
                "Principal must name the provider, or a condition must name it and whom it vouches for."
            )
    return None


def open_actions(statement: Statement) -> Sequence[str]:
    """The federated actions by which an Allow admits everyone."""
    everyone = any((named.type, named.value) == ("AWS", "*") for named in statement.principal_values)
    if statement.effect is not Effect.ALLOW or not everyone:
        return ()
    conditions = tuple(filter(requires_value, statement.conditions))
    closed = {WEB_IDENTITY: _names_token(conditions), WITH_SAML: _names_assertion(conditions)}
    return tuple(
        action
        for action, named in closed.items()
        if not named and statement.actions.matches(fold(action), {}) is not statement.not_action
    )


def _names_token(conditions: Sequence[Condition]) -> bool:
    """Whether the conditions hold only for tokens of known issuers and, for a shared issuer, only of one customer."""
    urls = {url for condition in conditions for url in _issuers(condition.key)}
    urls.update(*(_providers(condition, "oidc-provider") for condition in conditions))
    return any(_is_narrow(url, conditions) for url in urls)


def _issuers(key: str) -> set[str]:
    """The issuers whose claim a key may name. It begins with the URL and a colon, and both parts may contain colons."""
    if "." not in key.partition("/")[0].partition(":")[0]:  # without a host in front
        return set()
    urls = {key[:at] for at, char in enumerate(key) if char == ":"}
    shared = {url for url in urls if preset_of(url) is not None}
    return shared or urls


def _is_narrow(url: str, conditions: Sequence[Condition]) -> bool:
    claims = claims_of(conditions, url)
    preset = preset_of(url)
    if preset is not None and preset.demanded:
        return restricts_customer(preset, claims)
    return any(claim not in AUDIENCE_CLAIMS and has_no_leading_wildcard(condition) for claim, condition in claims)


def _names_assertion(conditions: Sequence[Condition]) -> bool:
    return any(
        (condition.key in _SAML_KEYS and has_no_leading_wildcard(condition)) or _providers(condition, "saml-provider")
        for condition in conditions
    )


def _providers(condition: Condition, kind: str) -> set[str]:
    """The providers in a condition on `aws:FederatedProvider`, by URL or name; none when it has wildcards."""
    if condition.key != _PROVIDER or operator_of(condition) not in _EXACT:
        return set()
    named = {url_of_arn(value, kind) for value in condition.values}
    return set() if "" in named else named

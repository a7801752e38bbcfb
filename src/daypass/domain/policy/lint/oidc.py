"""Trust in token issuers: whether a statement restricts the customer, the namespace and the audience.

Source: IAM User Guide, "Identity-provider controls for shared OIDC providers".
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from daypass.domain.policy.compiled import PolicyDocument, PrincipalValue, Statement
from daypass.domain.policy.condition import Condition
from daypass.domain.policy.lint.conditions import operator_of, requires_value
from daypass.domain.policy.lint.finding import LintFinding, Locations, at_place
from daypass.domain.policy.lint.grants import Facts
from daypass.domain.policy.lint.trust import kind_of
from daypass.domain.policy.model import Effect
from daypass.domain.policy.pattern import fold
from daypass.domain.presets import Preset, preset_of

_WEB_IDENTITY = fold("sts:AssumeRoleWithWebIdentity")
_SERVICE_ACCOUNT = "system:serviceaccount:"
_KUBERNETES_NAME = "kubernetes.io/serviceaccount/name"
_KUBERNETES_NAMESPACE = "kubernetes.io/namespace"
AUDIENCE_CLAIMS = frozenset({"aud", "oaud", "azp", "iss"})  # these restrict whom a token is for, not who holds it
_AUDIENCE = frozenset({"aud", "oaud"})
_LIKE = frozenset({"StringLike", "ArnLike"})
_ACTOR = frozenset({"daypass:actorarn", "daypass:actorid"})


def url_of(principal: PrincipalValue) -> str:
    """The issuer behind a federated principal, without `https://`."""
    return url_of_arn(principal.value, "oidc-provider") or principal.value


def url_of_arn(value: str, kind: str) -> str:
    """The URL or name in a provider ARN of this kind; "" for any other ARN, or for a pattern."""
    name = value.partition(f":{kind}/")[2]
    return "" if set("*?$") & set(value) else name


def check(document: PolicyDocument, facts: Facts) -> Iterator[LintFinding]:
    """The findings about Allow statements for token issuers."""
    locations = Locations(document.text)
    for statement, principal in _oidc_grants(document):
        claims = claims_of(statement.conditions, url_of(principal))
        yield from _provider(statement, principal, facts)
        yield from _check_customer(statement, principal, claims)
        yield from _kubernetes(statement, claims, locations)


def unrestricted_issuer(document: PolicyDocument) -> tuple[PrincipalValue, Preset] | None:
    """The first shared issuer for which the document accepts the tokens of any customer, if its preset demands a restriction."""
    for statement, principal in _oidc_grants(document):
        preset = preset_of(url_of(principal))
        if (
            preset is not None
            and preset.demanded
            and not restricts_customer(preset, claims_of(statement.conditions, url_of(principal)))
        ):
            return principal, preset
    return None


Claims = Sequence[tuple[str, Condition]]
"""A claim (a path) and a condition that requires a value of it."""


def _oidc_grants(document: PolicyDocument) -> Iterator[tuple[Statement, PrincipalValue]]:
    """Every Allow for a token issuer, by statement and principal."""
    for statement in document.statements:
        if statement.effect is not Effect.ALLOW or statement.actions.matches(_WEB_IDENTITY, {}) is statement.not_action:
            continue
        for principal in statement.principal_values:
            if kind_of(principal) == "oidc":
                yield statement, principal


def claims_of(conditions: Sequence[Condition], url: str) -> Claims:
    """The conditions that require a value of a claim of this issuer."""
    prefix = fold(url) + ":"
    return [
        (condition.key[len(prefix) :], condition)
        for condition in conditions
        if condition.key.startswith(prefix) and requires_value(condition)
    ]


def restricts_customer(preset: Preset, claims: Claims) -> bool:
    """Whether one of the claims is restricted to values of one customer."""
    return any(
        claim in preset.pins
        and condition.values
        and all(_fixes_customer(preset.pins[claim], v) for v in condition.values)
        for claim, condition in claims
    )


def _fixes_customer(beginning: str, value: str) -> bool:
    """Whether a value begins with literal text that belongs to one customer. A variable may have any value."""
    return "${" not in value and re.match(beginning, value) is not None


# --- Who is admitted -------------------------------------------------------------------------------------------------


def _provider(statement: Statement, principal: PrincipalValue, facts: Facts) -> Iterator[LintFinding]:
    url = url_of(principal)
    foreign = principal.value.startswith("arn:") and facts.account and principal.value.split(":")[4] != facts.account
    if foreign or (facts.providers is not None and url not in facts.providers):
        yield at_place(
            "oidc-unknown-provider",
            principal.line,
            principal.column,
            f"The account of the role has no provider {url}, so none of its tokens is accepted.",
            "Create the provider (`daypass provider add`), or correct the name.",
            statement,
        )


def _check_customer(statement: Statement, principal: PrincipalValue, claims: Claims) -> Iterator[LintFinding]:
    url = url_of(principal)
    preset = preset_of(url)
    at = (principal.line, principal.column)
    if not any(claim in _AUDIENCE for claim, _ in claims):
        yield at_place(
            "oidc-no-audience",
            *at,
            "A token for any of the provider's client ids is accepted, whatever it was issued for.",
            f'Add "StringEquals": {{"{url}:aud": "…"}}.',
            statement,
        )
    if preset is not None:
        for claim, _ in claims:
            if not preset.sends(claim):
                why = f"{preset.title} does not put {claim} into its tokens, so the condition never holds."
                yield at_place("oidc-unknown-claim", *at, why, "Check the spelling of the claim.", statement)
    if preset is not None and preset.shared:
        yield from _shared(statement, principal, preset, claims)
    elif not _names_actor(statement) and not any(
        claim not in AUDIENCE_CLAIMS and has_no_leading_wildcard(condition) for claim, condition in claims
    ):
        yield at_place(
            "oidc-any-subject",
            *at,
            f"Anyone with a token of {url} may assume the role.",
            f'Add a condition on "{url}:sub".',
            statement,
        )


def _names_actor(statement: Statement) -> bool:
    """Whether only certain actors get a session, for whichever person they have a token."""
    return any(
        condition.key in _ACTOR and requires_value(condition) and not any(set("*?") & set(v) for v in condition.values)
        for condition in statement.conditions
    )


def has_no_leading_wildcard(condition: Condition) -> bool:
    """Whether no value of the condition begins with a wildcard."""
    if operator_of(condition) not in _LIKE:
        return True
    return all(value and value[0] not in "*?" for value in condition.values)


def _shared(statement: Statement, principal: PrincipalValue, preset: Preset, claims: Claims) -> Iterator[LintFinding]:
    if restricts_customer(preset, claims):
        return
    at = (principal.line, principal.column)
    tried = sorted({claim for claim, _ in claims if claim in preset.pins})
    form = f'"{preset.issuer}:sub" in the form {preset.forms[0].sub}, or ' if preset.forms else ""
    fix = f"Demand {form}one of: {', '.join(sorted(preset.pins))}."
    if tried:
        why = f"The condition on {', '.join(tried)} also matches tokens of other customers of {preset.title}."
        yield at_place("oidc-wide-subject", *at, why, fix, statement)
    else:
        why = f"All customers of {preset.title} have tokens of this issuer, and any of them may assume the role."
        yield at_place("oidc-no-subject", *at, why, fix, statement)


# --- Kubernetes ------------------------------------------------------------------------------------------------------


def _kubernetes(statement: Statement, claims: Claims, locations: Locations) -> Iterator[LintFinding]:
    named = {claim for claim, _ in claims}
    for claim, condition in claims:
        at = locations.of(statement, condition)
        if claim == _KUBERNETES_NAME and not named & {_KUBERNETES_NAMESPACE, "sub"}:
            yield _any_namespace(at, statement, "The name of a service account is its own in every namespace")
        if claim != "sub" or operator_of(condition) not in _LIKE:
            continue
        for value in condition.values:
            yield from _service_account(statement, at, value, named)


def _service_account(statement: Statement, at: tuple[int, int], value: str, named: set[str]) -> Iterator[LintFinding]:
    if not value.startswith(_SERVICE_ACCOUNT):
        return
    namespace, _, name = value.removeprefix(_SERVICE_ACCOUNT).partition(":")
    if any(wild in namespace for wild in "*?") and _KUBERNETES_NAMESPACE not in named:
        yield _any_namespace(at, statement, f"{value} matches service accounts of every namespace")
    elif any(wild in name for wild in "*?") and _KUBERNETES_NAME not in named:
        yield at_place(
            "kubernetes-any-account",
            *at,
            f"{value} matches every service account that anyone makes in the namespace.",
            "Name the service account.",
            statement,
        )


def _any_namespace(at: tuple[int, int], statement: Statement, why: str) -> LintFinding:
    return at_place(
        "kubernetes-any-namespace",
        *at,
        f"{why}; anyone who can create one anywhere in the cluster can assume the role.",
        "Name namespace and service account.",
        statement,
    )

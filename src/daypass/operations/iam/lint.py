"""The linter's findings about a document of an account, with what it needs to know of the document's environment.

`domain.policy.lint` contains all rules.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import chain
from typing import Any, Final, TypeAlias

from daypass.domain.directory import Account, Attachment, InlinePolicy, OidcProvider, Role
from daypass.domain.policy.document import PolicyKind, compile_stored
from daypass.domain.policy.lint.finding import LintFinding
from daypass.domain.policy.lint.grants import Facts, powerful
from daypass.domain.policy.lint.run import lint, lint_text
from daypass.domain.policy.pattern import Patterns
from daypass.operations.crud import Params
from daypass.operations.iam import faults
from daypass.operations.iam.builtin import Catalog, policy_text
from daypass.operations.iam.context import ReadContext
from daypass.operations.iam.holdings import INLINE, Holdings, PolicySource
from daypass.operations.principals import SizedCache
from daypass.ports import Reader

MAX_CHARACTERS: Final = 32_768
"""A longer document exceeds every quota and will not be stored, so it is not linted."""

_MAX_ENTITIES: Final = 1000  # accounts, providers and policies of one owner that are read
_OF_POWERFUL = frozenset({"trust-no-mfa", "role-long-session"})


def findings_of(  # a document and its environment
    tx: Reader, account: str, builtin: Catalog, text: str, kind: PolicyKind, role_name: str = ""
) -> tuple[LintFinding, ...]:
    """The findings about a document of an account; for a trust policy, using the permissions of its role if that exists."""
    if len(text) > MAX_CHARACTERS:
        return ()
    facts = surroundings(tx, account)
    role = tx.get(Role, account=account, name=role_name) if role_name and kind is PolicyKind.TRUST else None
    return lint_text(text, kind, facts_of_role(tx, role, facts, builtin) if role is not None else facts)


def findings_of_role(  # a role, its environment, and the change
    tx: Reader, role: Role, builtin: Catalog, *, seconds: int, more: Sequence[str] = (), without: str = ""
) -> tuple[LintFinding, ...]:
    """The warnings about a role's trust policy after a change: those that depend on the role's permissions.

    `seconds`: the new longest session. `more`: the texts of the added policies. `without`: the inline policy that is
    replaced.
    """
    if not _powerful(chain(_permissions(tx, role.id, builtin, without), more), role.account):
        return ()
    facts = replace(surroundings(tx, role.account), powerful=True, max_session_seconds=seconds)
    findings = lint(compile_stored(role.trust_document, PolicyKind.TRUST), facts)
    return tuple(finding for finding in findings if finding.id in _OF_POWERFUL)


def surroundings(tx: Reader, account: str) -> Facts:
    """The linter's facts about an account: the other accounts of the installation, and the account's providers."""
    return Facts(
        account=account,
        accounts=frozenset(found.id for found in tx.find(Account, limit=_MAX_ENTITIES)),
        providers=frozenset(found.url for found in tx.find(OidcProvider, account=account, limit=_MAX_ENTITIES)),
    )


def facts_of_role(tx: Reader, role: Role, facts: Facts, builtin: Catalog) -> Facts:
    """The facts for a role's trust policy: the role's permissions and its longest session."""
    gives = _powerful(_permissions(tx, role.id, builtin), role.account)
    return replace(facts, powerful=gives, max_session_seconds=role.max_session_seconds)


def _permissions(tx: Reader, owner_id: str, builtin: Catalog, without: str = "") -> Iterator[str]:
    """The texts of an owner's policies without the inline one named `without`."""
    for inline in tx.find(InlinePolicy, owner_id=owner_id, order="name", limit=_MAX_ENTITIES):
        if inline.name != without:
            yield inline.document
    for attachment in tx.find(Attachment, owner_id=owner_id, order="policy_arn", limit=_MAX_ENTITIES):
        if text := policy_text(tx, builtin.texts, attachment.policy_arn):
            yield text


def _powerful(texts: Iterable[str], account: str) -> bool:
    return any(_is_powerful(f"{account}:{text}") for text in texts)


def _decide_powerful(key: str) -> bool:
    account, _, text = key.partition(":")
    return powerful((compile_stored(text, PolicyKind.IDENTITY),), account)


_is_powerful: SizedCache[bool] = SizedCache(_decide_powerful, 500_000)
"""Decided once, because each change of the role or of its trust policy needs it."""


# --- Elevation


def longer(ctx: ReadContext, p: Params) -> tuple[LintFinding, ...]:
    """UpdateRole, when it sets MaxSessionDuration."""
    role = _role(ctx, p)
    if role is None or p.get("MaxSessionDuration") is None:
        return ()
    return findings_of_role(ctx.tx, role, ctx.builtin, seconds=p["MaxSessionDuration"])


def attached(ctx: ReadContext, p: Params) -> tuple[LintFinding, ...]:
    """AttachRolePolicy."""
    role, arn = _role(ctx, p), p["PolicyArn"]
    text = policy_text(ctx.tx, ctx.builtin.texts, arn, account=ctx.account)
    if role is None or not text:
        return ()
    return findings_of_role(ctx.tx, role, ctx.builtin, seconds=role.max_session_seconds, more=(text,))


def inlined(ctx: ReadContext, p: Params) -> tuple[LintFinding, ...]:
    """PutRolePolicy."""
    role = _role(ctx, p)
    if role is None:
        return ()
    seconds, name = role.max_session_seconds, p["PolicyName"]
    return findings_of_role(ctx.tx, role, ctx.builtin, seconds=seconds, more=(p["PolicyDocument"],), without=name)


def _role(ctx: ReadContext, p: Params) -> Role | None:
    return ctx.tx.get(Role, account=ctx.account, name=p["RoleName"])


# --- PolicyExclusionList: simulates without some of the principal's policies


Test: TypeAlias = Callable[[PolicySource], bool]

_MEMBERS = ("PolicyType", "PolicyArn", "InlinePolicyIdentifier")


def excluded(identifiers: Sequence[Mapping[str, Any]] | None) -> Test:
    """Whether a source is excluded by any of these identifiers. Raises DaypassError(INVALID_INPUT)."""
    tests = [_test(identifier) for identifier in identifiers or ()]
    return lambda source: any(test(source) for test in tests)


def without(holdings: Holdings, test: Test) -> Holdings:
    """The remaining policies. An excluded boundary does not limit."""
    boundary = holdings.boundary
    if boundary is not None and any(map(test, boundary)):
        boundary = None
    return replace(holdings, identity=remaining(holdings.identity, test), boundary=boundary)


def remaining(sources: tuple[PolicySource, ...], test: Test) -> tuple[PolicySource, ...]:
    return tuple(source for source in sources if not test(source))


def _test(identifier: Mapping[str, Any]) -> Test:
    given = [name for name in _MEMBERS if identifier.get(name) is not None]
    if len(given) != 1:
        raise faults.invalid_input(f"A policy identifier must have exactly one of {', '.join(_MEMBERS)}.")
    if given[0] == "PolicyType":
        kind = identifier["PolicyType"]
        return lambda source: source.kind == kind
    return (
        _by_arn(identifier["PolicyArn"]) if given[0] == "PolicyArn" else _by_name(identifier["InlinePolicyIdentifier"])
    )


def _by_arn(pattern: str) -> Test:
    head, separator, name = pattern.partition(":policy/")
    if not separator or not name or any(wild in head for wild in "*?") or name.count("*") > 1:
        raise faults.invalid_arn(pattern)
    patterns = Patterns([pattern])
    return lambda source: bool(source.name and source.arn) and patterns.matches(source.arn, {})


def _by_name(identifier: Mapping[str, Any]) -> Test:
    owner = identifier["AttachmentName"]
    if owner.count("*") > 1:
        raise faults.invalid_input(f"AttachmentName {owner} has more than one *.")
    kind, name, owners = identifier["AttachmentType"], identifier["PolicyName"], Patterns([owner])
    return lambda source: (
        source.kind == INLINE and (source.owner[0], source.name) == (kind, name) and owners.matches(source.owner[1], {})
    )

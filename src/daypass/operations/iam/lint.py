"""The linter's findings about a document of an account, with what it needs to know of the document's environment.

`domain.policy.lint` contains all rules.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import chain
from typing import Final

from daypass.domain.directory import Account, Attachment, InlinePolicy, OidcProvider, Role
from daypass.domain.policy.document import PolicyKind, compile_stored
from daypass.domain.policy.lint.finding import Finding
from daypass.domain.policy.lint.grants import powerful
from daypass.domain.policy.lint.known import Facts
from daypass.domain.policy.lint.run import lint, lint_text
from daypass.operations.iam.builtin import Catalog, policy_text
from daypass.operations.sized_cache import SizedCache
from daypass.ports import Reader

MAX_CHARACTERS: Final = 32_768
"""A longer document exceeds every quota and will not be stored, so it is not linted."""

_MAX_ENTITIES: Final = 1000  # accounts, providers and policies of one owner that are read
_OF_POWERFUL = frozenset({"trust-no-mfa", "role-long-session"})


def findings_of(  # a document and its environment
    tx: Reader, account: str, builtin: Catalog, text: str, kind: PolicyKind, role_name: str = ""
) -> tuple[Finding, ...]:
    """The findings about a document of an account; for a trust policy, using the permissions of its role if that exists."""
    if len(text) > MAX_CHARACTERS:
        return ()
    facts = surroundings(tx, account)
    role = tx.get(Role, account=account, name=role_name) if role_name and kind is PolicyKind.TRUST else None
    return lint_text(text, kind, facts_of_role(tx, role, facts, builtin) if role is not None else facts)


def findings_of_role(  # a role, its environment, and the change
    tx: Reader, role: Role, builtin: Catalog, *, seconds: int, more: Sequence[str] = (), without: str = ""
) -> tuple[Finding, ...]:
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

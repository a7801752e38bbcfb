"""Lints an account's stored policies, and documents before they are stored. It changes nothing.

`domain.policy.lint` contains all rules; this module supplies the facts about a document's environment.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, TypeAlias

from daypass.domain.directory import (
    Account,
    Attachment,
    Group,
    InlinePolicy,
    ManagedPolicy,
    OidcProvider,
    Role,
    User,
)
from daypass.domain.errors import DaypassError, ErrorKind
from daypass.domain.policy.compiled import PolicyKind
from daypass.domain.policy.document import PolicyDocument, compile_stored
from daypass.domain.policy.lint.facts import Facts
from daypass.domain.policy.lint.finding import Finding
from daypass.domain.policy.lint.grants import powerful
from daypass.domain.policy.lint.run import lint, lint_text
from daypass.operations import heavy
from daypass.operations.iam.builtin import Catalog, catalog, policy_text
from daypass.operations.management import allow
from daypass.operations.outcome import served
from daypass.operations.sized_cache import SizedCache
from daypass.ports import Call, Env, Reader, Scene

Owner: TypeAlias = Role | User | Group | ManagedPolicy

MOST_CHARACTERS: Final = 32_768
"""A longer document exceeds every quota and will not be stored, so it is not linted."""

_MOST: Final = 1000  # accounts, providers and policies of one owner that are read
_OF_POWERFUL = frozenset({"trust-no-mfa", "role-long-session"})
_ORDER: Final = ("role", "user", "group", "policy")
_ENTITIES: Final[Mapping[str, type[Owner]]] = {
    "role": Role,
    "user": User,
    "group": Group,
    "policy": ManagedPolicy,
}


@dataclass(frozen=True, slots=True)
class Linted:
    """A policy with its findings. `arn` is its owner; `policy` is its name, or "trust" for a role's trust policy."""

    arn: str
    policy: str
    kind: PolicyKind
    findings: tuple[Finding, ...]


async def lint_account(
    env: Env, call: Call, account: str = "", after: str = "", limit: int = 100
) -> tuple[list[Linted], str]:
    """daypass:LintPolicies: policies of an account that have findings, and the cursor of the next page ("" at the end).

    A page covers `limit` roles, users, groups or policies. It may be empty and still have a next page.
    Raises DaypassError: ACCESS_DENIED, VALIDATION.
    """
    owner = account or call.caller.account
    decision = await allow(env, call, "LintPolicies", "policy", "*", owner)
    kind, _, name = after.partition(":") if after else (_ORDER[0], "", "")
    if kind not in _ENTITIES:
        raise DaypassError(ErrorKind.VALIDATION, "`after` is not the `next` of a page.")
    page = await heavy.read(env, call, _lint_page, owner, kind, name, limit)
    await env.journal.commit(served(call, account=owner, decision=decision, detail={"after": after}))
    return page


def _lint_page(scene: Scene, owner: str, kind: str, after: str, limit: int) -> tuple[list[Linted], str]:
    tx, builtin = scene.tx, catalog(scene.builtin)
    entities = tx.find(_ENTITIES[kind], account=owner, order="name", after=after, limit=limit)
    facts = surroundings(tx, owner)
    found = [linted for entity in entities for linted in _policies(tx, entity, facts, builtin)]
    return [linted for linted in found if linted.findings], _next(kind, entities, limit)


async def lint_document(env: Env, call: Call, text: str, kind: PolicyKind, role: str = "") -> tuple[Finding, ...]:
    """daypass:LintPolicies for a document that is not stored yet; `role` names the role of a trust policy.

    Raises DaypassError: ACCESS_DENIED, NOT_FOUND.
    """
    decision = await allow(env, call, "LintPolicies", "policy", "*")
    findings = await heavy.read(env, call, _lint_document, call.caller.account, text, kind, role)
    await env.journal.commit(served(call, decision=decision, detail={"findings": len(findings)}))
    return findings


def _lint_document(scene: Scene, owner: str, text: str, kind: PolicyKind, role: str) -> tuple[Finding, ...]:
    if role and scene.tx.get(Role, account=owner, name=role) is None:
        raise DaypassError(ErrorKind.NOT_FOUND, f"The role with name {role} cannot be found.")
    return findings_of(scene.tx, owner, catalog(scene.builtin), text, kind, role)


def findings_of(  # a document and its environment
    tx: Reader, account: str, builtin: Catalog, text: str, kind: PolicyKind, role_name: str = ""
) -> tuple[Finding, ...]:
    """The findings about a document of an account; for a trust policy, using the permissions of its role if that exists."""
    if len(text) > MOST_CHARACTERS:
        return ()
    facts = surroundings(tx, account)
    role = tx.get(Role, account=account, name=role_name) if role_name and kind is PolicyKind.TRUST else None
    return lint_text(text, kind, _of_role(tx, role, facts, builtin) if role is not None else facts)


def findings_of_role(  # a role, its environment, and the change
    tx: Reader, role: Role, builtin: Catalog, *, seconds: int, more: Sequence[str] = (), without: str = ""
) -> tuple[Finding, ...]:
    """The warnings about a role's trust policy after a change: those that depend on the role's permissions.

    `seconds`: the new longest session. `more`: the texts of the added policies. `without`: the inline policy that is
    replaced.
    """
    kept = _permissions(tx, role.id, builtin, without)
    documents = (*kept, *(compile_stored(text, PolicyKind.IDENTITY) for text in more))
    if not powerful(documents, role.account):
        return ()
    facts = replace(surroundings(tx, role.account), powerful=True, max_session_seconds=seconds)
    found = lint(compile_stored(role.trust_document, PolicyKind.TRUST), facts)
    return tuple(finding for finding in found if finding.id in _OF_POWERFUL)


def surroundings(tx: Reader, account: str) -> Facts:
    """The linter's facts about an account: the other accounts of the installation, and the account's providers."""
    return Facts(
        account=account,
        accounts=frozenset(found.id for found in tx.find(Account, limit=_MOST)),
        providers=frozenset(found.url for found in tx.find(OidcProvider, account=account, limit=_MOST)),
    )


def _next(kind: str, entities: Sequence[Owner], limit: int) -> str:
    if len(entities) == limit:
        return f"{kind}:{entities[-1].name}"
    place = _ORDER.index(kind) + 1
    return f"{_ORDER[place]}:" if place < len(_ORDER) else ""


def _policies(tx: Reader, entity: Owner, facts: Facts, builtin: Catalog) -> Iterator[Linted]:
    """The policies that an entity owns. Attached policies are linted where they are managed."""
    if isinstance(entity, ManagedPolicy):
        if text := policy_text(tx, {}, entity.arn):
            yield _linted(entity.arn, entity.name, PolicyKind.MANAGED, text, facts)
        return
    if isinstance(entity, Role):
        of_role = _of_role(tx, entity, facts, builtin)
        yield _linted(entity.arn, "trust", PolicyKind.TRUST, entity.trust_document, of_role)
    for inline in tx.find(InlinePolicy, owner_id=entity.id, order="name", limit=_MOST):
        yield _linted(entity.arn, inline.name, PolicyKind.IDENTITY, inline.document, facts)


def _linted(arn: str, name: str, kind: PolicyKind, text: str, facts: Facts) -> Linted:
    return Linted(arn, name, kind, lint(compile_stored(text, kind), facts))


def _of_role(tx: Reader, role: Role, facts: Facts, builtin: Catalog) -> Facts:
    """The facts for a role's trust policy: the role's permissions and its longest session."""
    documents = tuple(_permissions(tx, role.id, builtin))
    return replace(facts, powerful=powerful(documents, role.account), max_session_seconds=role.max_session_seconds)


def _permissions(tx: Reader, owner_id: str, builtin: Catalog, without: str = "") -> Iterator[PolicyDocument]:
    """An owner's policies without the inline one named `without`. Compiled once, because each attachment needs them."""
    for inline in tx.find(InlinePolicy, owner_id=owner_id, order="name", limit=_MOST):
        if inline.name != without:
            yield _compiled(inline.document)
    for attachment in tx.find(Attachment, owner_id=owner_id, order="policy_arn", limit=_MOST):
        if text := policy_text(tx, builtin.texts, attachment.policy_arn):
            yield _compiled(text)


_compiled: SizedCache[PolicyDocument] = SizedCache(lambda text: compile_stored(text, PolicyKind.IDENTITY), 500_000)

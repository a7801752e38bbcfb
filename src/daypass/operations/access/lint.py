"""Lints an account's stored policies, and documents before they are stored. It changes nothing.

`domain.policy.lint` contains all rules, and `iam.lint` gives them the facts about a document's environment.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from daypass.domain.directory import (
    Group,
    InlinePolicy,
    ManagedPolicy,
    Role,
    User,
)
from daypass.domain.errors import DaypassError, ErrorKind
from daypass.domain.policy.compiled import PolicyKind
from daypass.domain.policy.document import compile_stored
from daypass.domain.policy.lint.finding import Finding
from daypass.domain.policy.lint.known import Facts
from daypass.domain.policy.lint.run import lint
from daypass.operations import heavy
from daypass.operations.iam.builtin import Catalog, policy_text
from daypass.operations.iam.lint import facts_of_role, findings_of, surroundings
from daypass.operations.management import allow
from daypass.operations.outcome import served
from daypass.ports import Call, Env, Reader, Scene

Owner: TypeAlias = Role | User | Group | ManagedPolicy

_MAX_ENTITIES: Final = 1000  # accounts, providers and policies of one owner that are read
_MAX_FINDINGS: Final = 200  # in one page: showing them takes 10 ms of the event loop (attack A235)
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

    A page covers at most `limit` roles, users, groups or policies. It may be empty and still have a next page.
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
    tx, builtin = scene.tx, Catalog(scene.builtin)
    entities = tx.find(_ENTITIES[kind], account=owner, order="name", after=after, limit=limit)
    facts = surroundings(tx, owner)
    found: list[Linted] = []
    for entity in entities:
        found += [linted for linted in _policies(tx, entity, facts, builtin) if linted.findings]
        if sum(len(linted.findings) for linted in found) >= _MAX_FINDINGS:
            return found, f"{kind}:{entity.name}"
    return found, _next(kind, entities, limit)


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
    return findings_of(scene.tx, owner, Catalog(scene.builtin), text, kind, role)


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
        of_role = facts_of_role(tx, entity, facts, builtin)
        yield _linted(entity.arn, "trust", PolicyKind.TRUST, entity.trust_document, of_role)
    for inline in tx.find(InlinePolicy, owner_id=entity.id, order="name", limit=_MAX_ENTITIES):
        yield _linted(entity.arn, inline.name, PolicyKind.IDENTITY, inline.document, facts)


def _linted(arn: str, name: str, kind: PolicyKind, text: str, facts: Facts) -> Linted:
    return Linted(arn, name, kind, lint(compile_stored(text, kind), facts))

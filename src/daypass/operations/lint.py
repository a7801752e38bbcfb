"""Lints the policies of an account as they are stored, and documents before they are. It changes nothing.

What is judged, and how, is `domain.policy.lint`'s alone; here is only what the linter is told of the surroundings.
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
    PolicyVersion,
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
from daypass.operations.iam.builtin import Catalog, catalog
from daypass.operations.management import allow
from daypass.operations.outcome import served
from daypass.ports import Call, Env, Reader

Owner: TypeAlias = Role | User | Group | ManagedPolicy

MOST_CHARACTERS: Final = 32_768
"""A longer document is over every quota: it is not going to be stored, so nothing is said of it."""

_MOST: Final = 1000  # accounts, providers and policies of one owner that are looked at
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
    """A policy with its findings. `arn` owns it; `policy` is its name, or "trust" of a role's trust policy."""

    arn: str
    policy: str
    kind: PolicyKind
    findings: tuple[Finding, ...]


async def lint_account(
    env: Env, call: Call, account: str = "", after: str = "", limit: int = 100
) -> tuple[list[Linted], str]:
    """daypass:LintPolicies: policies of an account that have findings, and where the next page begins ("": nowhere).

    A page looks at `limit` roles, users, groups or policies; it may hold nothing and still have a next one.
    Raises DaypassError: ACCESS_DENIED, VALIDATION.
    """
    owner = account or call.caller.account
    decision = await allow(env, call, "LintPolicies", "policy", "*", owner)
    kind, _, name = after.partition(":") if after else (_ORDER[0], "", "")
    if kind not in _ENTITIES:
        raise DaypassError(ErrorKind.VALIDATION, "`after` is not the `next` of a page.")
    builtin = catalog(env.builtin)

    def look(tx: Reader) -> tuple[list[Linted], str]:
        entities = tx.find(_ENTITIES[kind], account=owner, order="name", after=name, limit=limit)
        facts = surroundings(tx, owner)
        found = [linted for entity in entities for linted in _policies(tx, entity, facts, builtin)]
        return [linted for linted in found if linted.findings], _next(kind, entities, limit)

    page = await env.directory.read(look)
    await env.journal.commit(served(call, account=owner, decision=decision, detail={"after": after}))
    return page


async def lint_document(env: Env, call: Call, text: str, kind: PolicyKind, role: str = "") -> tuple[Finding, ...]:
    """daypass:LintPolicies, for a document that is not stored yet; `role` names the one that a trust policy is for.

    Raises DaypassError: ACCESS_DENIED, NOT_FOUND.
    """
    decision = await allow(env, call, "LintPolicies", "policy", "*")
    owner, builtin = call.caller.account, catalog(env.builtin)

    def look(tx: Reader) -> tuple[Finding, ...]:
        if role and tx.get(Role, account=owner, name=role) is None:
            raise DaypassError(ErrorKind.NOT_FOUND, f"The role with name {role} cannot be found.")
        return findings_of(tx, owner, builtin, text, kind, role)

    findings = await env.directory.read(look)
    await env.journal.commit(served(call, decision=decision, detail={"findings": len(findings)}))
    return findings


def findings_of(  # a document with its surroundings
    tx: Reader, account: str, builtin: Catalog, text: str, kind: PolicyKind, role_name: str = ""
) -> tuple[Finding, ...]:
    """The findings about a document of an account; of a trust policy, with the powers of its role if that exists."""
    if len(text) > MOST_CHARACTERS:
        return ()
    facts = surroundings(tx, account)
    role = tx.get(Role, account=account, name=role_name) if role_name and kind is PolicyKind.TRUST else None
    return lint_text(text, kind, _of_role(tx, role, facts, builtin) if role is not None else facts)


def findings_of_role(  # a role with its surroundings, and what is to change
    tx: Reader, role: Role, builtin: Catalog, *, seconds: int, more: Sequence[str] = (), without: str = ""
) -> tuple[Finding, ...]:
    """What a role's trust policy is to be warned of once its longest session lasts `seconds` and it has `more` policies
    (their texts), and not the inline one named `without`: the findings that depend on the role's powers.
    """
    kept = _permissions(tx, role.id, builtin, without)
    documents = (*kept, *(compile_stored(text, PolicyKind.IDENTITY) for text in more))
    if not powerful(documents, role.account):
        return ()
    facts = replace(surroundings(tx, role.account), powerful=True, max_session_seconds=seconds)
    found = lint(compile_stored(role.trust_document, PolicyKind.TRUST), facts)
    return tuple(finding for finding in found if finding.id in _OF_POWERFUL)


def surroundings(tx: Reader, account: str) -> Facts:
    """What the linter is told of an account: the others of the installation, and the providers that it has."""
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
    """The policies that an entity owns; attached ones are linted where they are made."""
    if isinstance(entity, ManagedPolicy):
        version = _managed(tx, entity.arn)
        if version is not None:
            yield _linted(entity.arn, entity.name, PolicyKind.MANAGED, version.document, facts)
        return
    if isinstance(entity, Role):
        of_role = _of_role(tx, entity, facts, builtin)
        yield _linted(entity.arn, "trust", PolicyKind.TRUST, entity.trust_document, of_role)
    for inline in tx.find(InlinePolicy, owner_id=entity.id, order="name", limit=_MOST):
        yield _linted(entity.arn, inline.name, PolicyKind.IDENTITY, inline.document, facts)


def _linted(arn: str, name: str, kind: PolicyKind, text: str, facts: Facts) -> Linted:
    return Linted(arn, name, kind, lint(compile_stored(text, kind), facts))


def _of_role(tx: Reader, role: Role, facts: Facts, builtin: Catalog) -> Facts:
    """The facts for a role's trust policy: how much the role may do, and for how long."""
    documents = tuple(_permissions(tx, role.id, builtin))
    return replace(facts, powerful=powerful(documents, role.account), max_session_seconds=role.max_session_seconds)


def _permissions(tx: Reader, owner_id: str, builtin: Catalog, without: str = "") -> Iterator[PolicyDocument]:
    """What an owner's policies are, but for the inline one named `without`."""
    for inline in tx.find(InlinePolicy, owner_id=owner_id, order="name", limit=_MOST):
        if inline.name != without:
            yield compile_stored(inline.document, PolicyKind.IDENTITY)
    for attachment in tx.find(Attachment, owner_id=owner_id, order="policy_arn", limit=_MOST):
        version = builtin.version(attachment.policy_arn) or _managed(tx, attachment.policy_arn)
        if version is not None:
            yield compile_stored(version.document, PolicyKind.IDENTITY)


def _managed(tx: Reader, arn: str) -> PolicyVersion | None:
    policy = tx.get(ManagedPolicy, arn=arn)
    return tx.get(PolicyVersion, policy_id=policy.id, version=policy.default_version) if policy is not None else None

"""The linter's findings about the stored policies of an account, and about documents before they are stored."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, TypeAlias, TypeVar

from daypass.domain.access.lint import RuleFacts, lint_rule, named_by
from daypass.domain.access.rule import Rule, RuleError, read_rule
from daypass.domain.directory import Group, InlinePolicy, ManagedPolicy, Membership, OidcProvider, Role, User
from daypass.domain.errors import DaypassError, ErrorKind
from daypass.domain.oauth.client import ClientSettings
from daypass.domain.oauth.resource_server import ResourceServerSettings
from daypass.domain.oauth.resource_server import policy_text as scope_text
from daypass.domain.policy.compiled import PolicyKind
from daypass.domain.policy.document import compile_stored
from daypass.domain.policy.lint.finding import DocumentPlaces, LintFinding, Step, at_fault, at_place
from daypass.domain.policy.lint.grants import Facts
from daypass.domain.policy.lint.run import lint
from daypass.domain.provider_settings import ProviderSettings, dump_settings
from daypass.operations import heavy, providers
from daypass.operations.grants.targets import check_surroundings
from daypass.operations.iam.builtin import Catalog, policy_text
from daypass.operations.iam.lint import facts_of_role, findings_of, surroundings
from daypass.operations.management import allow
from daypass.operations.oauth import clients, targets
from daypass.operations.outcome import served
from daypass.ports import Call, Env, Reader, Scene

Owner: TypeAlias = Role | User | Group | ManagedPolicy
Entity = TypeVar("Entity", Role, User, Group)

_MAX_ENTITIES: Final = 1000  # accounts, providers and policies of one owner that are read
_MAX_FINDINGS: Final = 200  # in one page: showing them takes 10 ms of the event loop (attack A235)
_ORDER: Final = ("role", "user", "group", "policy")
_ENTITIES: Final[Mapping[str, type[Owner]]] = {
    "role": Role,
    "user": User,
    "group": Group,
    "policy": ManagedPolicy,
}


async def lint_document(env: Env, call: Call, text: str, kind: str, role: str = "") -> tuple[LintFinding, ...]:
    """daypass:LintPolicies for a document that is not stored yet. `kind`: a `PolicyKind`, rule, client, resource-server or
    provider. `role` names the role of a trust policy.

    Raises DaypassError: ACCESS_DENIED, NOT_FOUND.
    """
    decision = await allow(env, call, "LintPolicies", "policy", "*")
    findings, usable = await heavy.read(env, call, _lint_document, call.caller.account, text, kind, role)
    if usable is not None:
        try:
            await _check_surroundings(env, call, usable)
        except DaypassError as error:
            findings = (at_fault(text, error.public), *findings)
    await env.journal.commit(served(call, decision=decision, detail={"findings": len(findings)}))
    return findings


Written: TypeAlias = Rule | ClientSettings | ResourceServerSettings | ProviderSettings
_SETTINGS: Final[Mapping[str, Callable[[str], Written]]] = {
    "client": clients.read_settings,
    "resource-server": targets.read_settings,
    "provider": providers.read_settings,
}
KINDS: Final = ("rule", *_SETTINGS, *PolicyKind)


async def _check_surroundings(env: Env, call: Call, written: Written) -> None:
    """The checks of a write that need more than the document. Raises DaypassError(VALIDATION)."""
    if isinstance(written, Rule):
        check_surroundings(env, written, call.now)
    elif isinstance(written, ClientSettings):
        await clients.check_settings(env, call.caller.account, written)
    elif isinstance(written, ProviderSettings):
        provider = OidcProvider(call.caller.account, "", call.now, settings=dump_settings(written))
        if fault := await env.issuers.fault(provider):
            raise DaypassError(ErrorKind.VALIDATION, fault)


def _lint_document(
    scene: Scene, owner: str, text: str, kind: str, role: str
) -> tuple[tuple[LintFinding, ...], Written | None]:
    """The findings, and what was read from a document that is not a policy; None when it cannot be read."""
    if kind == "rule":
        return _lint_rule(scene.tx, owner, text)
    if kind in _SETTINGS:
        return _lint_settings(scene, owner, text, _SETTINGS[kind])
    if role and scene.tx.get(Role, account=owner, name=role) is None:
        raise DaypassError(ErrorKind.NOT_FOUND, f"The role with name {role} cannot be found.")
    return findings_of(scene.tx, owner, Catalog(scene.builtin), text, PolicyKind(kind), role), None


def _lint_rule(tx: Reader, owner: str, text: str) -> tuple[tuple[LintFinding, ...], Rule | None]:
    try:
        compiled = read_rule(owner, "rule", text)
    except RuleError:
        return lint_rule(text, owner), None
    listed = tx.find(Role, account=owner, order="name", limit=_MAX_ENTITIES)
    roles, people = {each.arn: dict(each.tags) for each in listed}, dict[str, frozenset[str]]()
    for arn in named_by(compiled):
        if (role := _existing(tx, Role, owner, arn)) is not None:
            roles[arn] = dict(role.tags)
        elif _existing(tx, User, owner, arn) is not None:
            people[arn] = frozenset((arn,))
        elif (group := _existing(tx, Group, owner, arn)) is not None:
            people[arn] = _members(tx, group)
    facts = RuleFacts(roles, len(listed) < _MAX_ENTITIES, people)
    return lint_rule(text, owner, facts), compiled.rule


def _existing(tx: Reader, kind: type[Entity], owner: str, arn: str) -> Entity | None:
    """The entity with this ARN. Names are found in any case; an ARN is not."""
    found = tx.get(kind, account=owner, name=arn.rpartition("/")[2])
    return found if found is not None and found.arn == arn else None


def _members(tx: Reader, group: Group) -> frozenset[str]:
    listed = tx.find(Membership, group_id=group.id, order="user_id", limit=_MAX_ENTITIES)
    return frozenset(user.arn for each in listed if (user := tx.get(User, id=each.user_id)) is not None)


def _lint_settings(
    scene: Scene, owner: str, text: str, read: Callable[[str], Written]
) -> tuple[tuple[LintFinding, ...], Written | None]:
    try:
        settings = read(text)
    except DaypassError as error:
        return (at_fault(text, error.public),), None
    places = DocumentPlaces(text)
    findings = [*_unknown_roles(scene.tx, owner, settings, places), *_within(scene, owner, settings, places)]
    return tuple(findings), settings


def _unknown_roles(tx: Reader, owner: str, settings: Written, places: DocumentPlaces) -> Iterator[LintFinding]:
    """Roles of the account that settings name, and that do not exist."""
    named: list[tuple[tuple[Step, ...], str]] = []
    if isinstance(settings, ClientSettings):
        named = [(("roles", i), arn) for i, arn in enumerate(settings.roles)]
        named += [(("default_role",), settings.default_role), (("role",), settings.role)]
    elif isinstance(settings, ProviderSettings):
        roles = settings.sign_in.roles if settings.sign_in is not None else ()
        named = [(("sign_in", "roles", i), arn) for i, arn in enumerate(roles)]
        named.append((("default_role",), settings.default_role))
    for path, arn in named:
        if arn.startswith(f"arn:aws:iam::{owner}:role/") and _existing(tx, Role, owner, arn) is None:
            why = f"The account {owner} has no role {arn.partition(':role/')[2]}."
            yield at_place("unknown-role", *places.at(*path), why, "Check the name, or create the role.")


def _within(scene: Scene, owner: str, settings: Written, places: DocumentPlaces) -> Iterator[LintFinding]:
    """The findings about the policies in the settings of a resource server, each at the policy."""
    if not isinstance(settings, ResourceServerSettings):
        return
    policies: list[tuple[tuple[Step, ...], Mapping[str, object] | None, PolicyKind]] = [
        (("scopes", name, "policy"), each.policy, PolicyKind.SESSION) for name, each in settings.scopes.items()
    ]
    policies.append((("policy",), settings.policy, PolicyKind.RESOURCE))
    for path, policy, kind in policies:
        if policy is None:
            continue
        line, column = places.at(*path)
        for each in findings_of(scene.tx, owner, Catalog(scene.builtin), scope_text(policy), kind):
            yield replace(each, line=line, column=column, end_line=line, end_column=column)


# --- The stored policies of an account


@dataclass(frozen=True, slots=True)
class Linted:
    """A policy with its findings. `arn` is its owner; `policy` is its name, or "trust" for a role's trust policy."""

    arn: str
    policy: str
    kind: PolicyKind
    findings: tuple[LintFinding, ...]


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

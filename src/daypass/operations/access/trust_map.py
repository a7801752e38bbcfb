"""The principals that an account's trust policies name, for a picture: roles with equal policies are one group. If there are
many groups, those whose policies name the same principals are one, whatever their conditions.

Only documents are read here. Whether one principal may assume one role is decided by `who_can` and `what_can`.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator

from msgspec import Struct
from msgspec.structs import replace

from daypass.domain.arn import is_account_id, root_arn
from daypass.domain.directory import Group, Membership, Role
from daypass.domain.policy.document import PolicyKind
from daypass.domain.policy.model import Effect
from daypass.domain.policy.plain import plain
from daypass.domain.trust import ASSUME_ROLE
from daypass.operations import heavy
from daypass.operations.access.denials import certainly_denied
from daypass.operations.access.snapshot import context_in
from daypass.operations.iam.holdings import Gatherer, policies_in
from daypass.operations.management import allow
from daypass.operations.outcome import served
from daypass.operations.principals import compiled
from daypass.ports import Call, Env, Scene

_MOST_ROLES = 20_000
_MANY = 24  # groups
_MOST_GROUPS = 300
_NAMED = 12  # roles of a group that are named


class Trusted(Struct, frozen=True):
    """A principal that a statement names. `kind`: AWS, Federated, Service or *; `value` as the policy has it."""

    kind: str
    value: str
    allows: bool
    where: str
    words: str


class TrustGroup(Struct, frozen=True):
    """Roles whose trust policies say the same, or name the same principals. `names`: the first of them; `trusted`: of the first role."""

    names: tuple[str, ...]
    count: int
    trusted: tuple[Trusted, ...]


class GroupOfPeople(Struct, frozen=True):
    """A group of users whose policies may let them assume roles, and the number of its members."""

    name: str
    members: int


class TrustMap(Struct, frozen=True):
    """`groups`: the largest first; `roles`: how many roles there are in all of them; `more`: there are further roles."""

    groups: tuple[TrustGroup, ...]
    people: tuple[GroupOfPeople, ...]
    roles: int
    more: bool


async def trust_map(env: Env, call: Call, part: str = "") -> TrustMap:
    """daypass:WhoCanAccess, within the caller's account. `part`: only roles with this in their names.

    Raises DaypassError: ACCESS_DENIED, UNAVAILABLE.
    """
    decision = await allow(env, call, "WhoCanAccess", "access", "*")
    found = await heavy.read(env, call, _read, call, part.lower())
    await env.journal.commit(served(call, decision=decision, detail={"roles": found.roles, "part": part[:128]}))
    return found


def _read(scene: Scene, call: Call, part: str) -> TrustMap:
    ctx = context_in(scene, call)
    groups: dict[Hashable, TrustGroup] = {}
    number, after = 0, ""
    while number < _MOST_ROLES and (roles := ctx.tx.find(Role, account=ctx.account, order="name", after=after)):
        after = roles[-1].name
        for role in roles:
            if part in role.name.lower():
                number += 1
                trusted = _trusted(role.trust_document)
                _add(groups, frozenset(trusted), TrustGroup((role.name,), 1, trusted))
    if len(groups) > _MANY:
        exact, groups = groups, {}
        for group in exact.values():
            _add(groups, frozenset((each.kind, each.value, each.allows) for each in group.trusted), group)
    ordered = sorted(groups.values(), key=lambda group: (-group.count, group.names))
    return TrustMap(tuple(ordered), tuple(_people(scene, call)), number, number >= _MOST_ROLES)


def _add(groups: dict[Hashable, TrustGroup], key: Hashable, more: TrustGroup) -> None:
    known = groups.get(key)
    if known is not None:
        more = replace(known, names=(*known.names, *more.names)[:_NAMED], count=known.count + more.count)
    groups[key] = more


def _trusted(text: str) -> tuple[Trusted, ...]:
    """The principals in the order of the statements. A document that cannot be read names nobody."""
    document = compiled(text, PolicyKind.TRUST)
    found: list[Trusted] = []
    for statement, words in zip(document.statements, plain(document), strict=True):
        conditions = f", if {'; '.join(words.conditions)}" if words.conditions else ""
        may = "may" if words.allows else "may not"
        where = f"trust policy{f', {words.sid}' if words.sid else ''}, line {words.line}"
        for named in statement.principal_values:
            value = root_arn(named.value) if is_account_id(named.value) else named.value
            kind = "*" if value == "*" or statement.not_principal else named.type
            said = f"{'; '.join(words.principals)} {may} {', '.join(words.actions)}{conditions}"
            found.append(Trusted(kind, value, statement.effect is Effect.ALLOW, where, said))
    return tuple(dict.fromkeys(found))


def _people(scene: Scene, call: Call) -> Iterator[GroupOfPeople]:
    """The groups whose policies may let their members assume a role of the account."""
    ctx = context_in(scene, call)
    gatherer = Gatherer(ctx)
    for group in ctx.tx.find(Group, account=ctx.account, order="name", limit=_MOST_GROUPS):
        if not certainly_denied(policies_in(gatherer.of(group).identity), ASSUME_ROLE):
            yield GroupOfPeople(group.name, ctx.tx.count(Membership, group_id=group.id))

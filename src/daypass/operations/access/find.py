"""Finds objects by a part of a name, an id or an ARN, and shows whom the trust policies of an account name.

Each kind of result is shown only to a caller whose policies let them list that kind. One look-up by index, or over the names
of one account, answers a request: no document is read.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable, Iterator, Sequence
from typing import Final, NamedTuple

from msgspec import Struct
from msgspec.structs import replace

from daypass.api.access import FoundOut
from daypass.domain.access.request import original_principal
from daypass.domain.arn import is_account_id, root_arn
from daypass.domain.directory import (
    AccessKey,
    AccessRequest,
    ApprovalRule,
    Group,
    ManagedPolicy,
    Membership,
    OAuthClient,
    OidcProvider,
    ResourceServer,
    Role,
    SamlProvider,
    User,
)
from daypass.domain.policy.document import PolicyKind
from daypass.domain.policy.model import Effect
from daypass.domain.policy.plain import plain
from daypass.domain.trust import ASSUME_ROLE
from daypass.operations import heavy
from daypass.operations.access.snapshot import context_in
from daypass.operations.access.subject import certainly_denied
from daypass.operations.authorize import would_allow
from daypass.operations.iam.holdings import Gatherer, policies_in
from daypass.operations.management import allow, allow_own, arn_of
from daypass.operations.outcome import served
from daypass.operations.principals import compiled, find_by_id
from daypass.ports import Call, Env, Reader, Scene, SessionFilter, Viewer

_EACH: Final = 6  # results of a kind
_MOST_POLICIES: Final = 50
_NEWEST: Final = 100  # sessions whose names are looked at
_SESSION: Final = re.compile("[0-9a-f]{32}")
_REQUEST: Final = re.compile("[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_KEY: Final = re.compile("A[KS]IA[A-Z0-9]{12,124}")


class _Kind(NamedTuple):
    """A kind of object, and the permission that shows it; "{}" stands for the account."""

    name: str
    entity: type[User | Role | Group | ApprovalRule | OAuthClient | ResourceServer]
    action: str
    resource: str
    key: str = "id"  # the field that is the id of a result


_NAMED: Final = (
    _Kind("role", Role, "iam:ListRoles", "arn:aws:iam::{}:role/"),
    _Kind("user", User, "iam:ListUsers", "arn:aws:iam::{}:user/"),
    _Kind("group", Group, "iam:ListGroups", "arn:aws:iam::{}:group/"),
    _Kind("approval-rule", ApprovalRule, "daypass:ListApprovalRules", "arn:aws:daypass::{}:approval-rule/*", "name"),
    _Kind("client", OAuthClient, "daypass:ListClients", "arn:aws:daypass::{}:client/*"),
    _Kind(
        "resource-server",
        ResourceServer,
        "daypass:ListResourceServers",
        "arn:aws:daypass::{}:resource-server/*",
        "identifier",
    ),
)
_PROVIDERS: Final = ("iam:ListOpenIDConnectProviders", "iam:ListSAMLProviders")
_OTHER: Final = (("ListSessions", "session"), ("ListAccessRequests", "access-request"), ("ReadAudit", "audit"))


async def find(env: Env, call: Call, text: str) -> list[FoundOut]:
    """daypass:Find, within the caller's account. It needs no permission itself. Raises DaypassError(ACCESS_DENIED)."""
    account = call.caller.account
    decision = await allow_own(env, call, "Find", "access")
    questions = [(kind.action, kind.resource.format(account)) for kind in _NAMED]
    questions += [(action, f"arn:aws:iam::{account}:{action[8:12].lower()}-provider/*") for action in _PROVIDERS]
    questions += [(f"daypass:{action}", arn_of(account, kind, "*")) for action, kind in _OTHER]
    may = dict(zip([action for action, _ in questions], await would_allow(env, call, questions), strict=True))
    wanted = text.strip()
    found = await env.directory.read(lambda tx: [*_directory(tx, call, may, wanted)], account=account)
    if wanted and may["daypass:ListSessions"]:
        found += await _sessions(env, account, wanted)
    for kind, pattern in (("request", _REQUEST), ("access-key", _KEY)):
        if may["daypass:ReadAudit"] and pattern.fullmatch(wanted):
            found.append(FoundOut(kind, wanted, wanted, ""))
    await env.journal.commit(served(call, decision=decision, detail={"text": wanted[:256], "found": len(found)}))
    return found


async def _sessions(env: Env, account: str, wanted: str) -> list[FoundOut]:
    """The session with this id; otherwise those of the newest that have `wanted` in their names, or this ARN."""
    exact = _SESSION.fullmatch(wanted)
    role, _, name = wanted.rpartition(":assumed-role/")[2].rpartition("/")
    query = SessionFilter(session_id=wanted, limit=1) if exact else SessionFilter(limit=_NEWEST)
    views, _ = await env.records.sessions(Viewer(account), query)
    claims = [view.claims for view in views if exact or name.lower() in view.claims.name.lower()]
    named = [each for each in claims if not role or each.arn.endswith(f"/{role}")]
    return [FoundOut("session", each.session_id, each.name, each.arn) for each in named[:_EACH]]


def _directory(tx: Reader, call: Call, may: dict[str, bool], wanted: str) -> Iterator[FoundOut]:
    account, name = call.caller.account, wanted
    if wanted.startswith("arn:"):
        kind, _, rest = wanted.rpartition(":")[2].partition("/")
        # The role of a session is before its name; the path of a user or role is.
        name = rest.partition("/")[0] if kind == "assumed-role" else rest.rpartition("/")[2]
    if not name:
        return
    if wanted.startswith(("AIDA", "AROA")):
        principal = find_by_id(tx, wanted)
        if principal is not None and principal.account == account:
            yield from _shown([principal], may)
            return
    for each in _NAMED:
        if may[each.action]:
            yield from _named(tx, account, each, name, wanted)
    if may[_PROVIDERS[0]]:
        oidc = tx.find(OidcProvider, account=account, order="url")
        yield from (FoundOut("provider", one.arn, one.url, one.arn) for one in oidc if name.lower() in one.url.lower())
    if may[_PROVIDERS[1]]:
        saml = tx.find(SamlProvider, account=account, order="name")
        yield from (
            FoundOut("provider", one.arn, one.name, one.arn) for one in saml if name.lower() in one.name.lower()
        )
    key = tx.get(AccessKey, id=wanted) if _KEY.fullmatch(wanted) else None
    owner = tx.get(User, id=key.owner_id) if key is not None and key.account == account else None
    yield from _shown([owner] if owner is not None else (), may)
    yield from _requests(tx, call, wanted, everything=may["daypass:ListAccessRequests"])


def _named(tx: Reader, account: str, kind: _Kind, name: str, wanted: str) -> Iterator[FoundOut]:
    """Those with `name` in their names, those that begin with it first, and the one whose id or ARN is `wanted`."""
    names = tx.names(kind.entity, account, name, 4 * _EACH)
    first = sorted(dict.fromkeys(names), key=lambda found: not found.lower().startswith(name.lower()))[:_EACH]
    members = [one for each in first for one in tx.find(kind.entity, account=account, name=each, limit=_EACH)]
    whole = wanted.removeprefix(arn_of(account, kind.name, ""))
    if kind.entity in (OAuthClient, ResourceServer):
        identified = tx.get(kind.entity, account=account, **{kind.key: whole})
        members = [*([identified] if identified is not None else []), *members]
    for one in [*dict.fromkeys(members)][:_EACH]:
        arn = arn_of(account, kind.name, one.name) if isinstance(one, ApprovalRule) else one.arn
        yield FoundOut(kind.name, getattr(one, kind.key), one.name, arn)


def _shown(principals: Sequence[User | Role], may: dict[str, bool]) -> Iterator[FoundOut]:
    for each in principals:
        kind = _NAMED[0] if isinstance(each, Role) else _NAMED[1]
        if may[kind.action]:
            yield FoundOut(kind.name, each.id, each.name, each.arn)


def _requests(tx: Reader, call: Call, wanted: str, *, everything: bool) -> Iterator[FoundOut]:
    request = tx.get(AccessRequest, id=wanted) if _SESSION.fullmatch(wanted) else None
    if request is None or request.account != call.caller.account:
        return
    if everything or original_principal(call.caller.hops) in (request.requester_id, request.beneficiary_id):
        yield FoundOut("access-request", request.id, f"Access request {request.id}", "")


async def find_policies(env: Env, call: Call, part: str) -> list[str]:
    """ARNs of managed policies with `part` in their names: those of the account, then those of AWS and of Daypass."""
    account, wanted = call.caller.account, part.lower()
    if not all(await would_allow(env, call, [("iam:ListPolicies", "*")])):
        return []

    def own(tx: Reader) -> list[str]:
        found = (
            tx.get(ManagedPolicy, account=account, name=name)
            for name in tx.names(ManagedPolicy, account, part, _MOST_POLICIES)
        )
        return [policy.arn for policy in found if policy is not None]

    built_in = (arn for arn in env.builtin if wanted in arn.rpartition("/")[2].lower())
    return [*await env.directory.read(own, account=account), *sorted(built_in, key=lambda arn: (len(arn), arn))][
        :_MOST_POLICIES
    ]


# --- Trust map


_MOST_ROLES = 20_000
_MANY = 40  # groups
_MOST_GROUPS = 300
_TRUST_MAP_NAMED = 12  # roles of a group that are named


class Trusted(Struct, frozen=True):
    """A principal that a statement names. `kind`: AWS, Federated, Service or *; `value` as the policy has it; `keys` of its
    conditions.
    """

    kind: str
    value: str
    allows: bool
    keys: tuple[str, ...]
    where: str
    words: str

    def without_values(self) -> Trusted:
        """The same for roles whose conditions have different values."""
        hold = f", if the conditions on {', '.join(self.keys)} hold" if self.keys else ""
        return replace(self, where="trust policies", words=f"{self.words.partition(', if ')[0]}{hold}")


class TrustGroup(Struct, frozen=True):
    """Roles whose trust policies say the same, or name the same principals under conditions on the same keys.

    `names`: the first of them. `path`: of all of them; "" if they have different ones.
    """

    names: tuple[str, ...]
    count: int
    path: str
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
                _add(groups, (role.path, frozenset(trusted)), TrustGroup((role.name,), 1, role.path, trusted))
    exact = groups.values()
    for key in _KEYS:
        groups = {}
        for group in exact:
            _add(groups, key(group), group)
        if len(groups) <= _MANY:
            break
    ordered = sorted(groups.values(), key=lambda group: (-group.count, group.names))
    return TrustMap(tuple(ordered), tuple(_people(scene, call)), number, number >= _MOST_ROLES)


def _add(groups: dict[Hashable, TrustGroup], key: Hashable, more: TrustGroup) -> None:
    known = groups.get(key)
    if known is not None:
        trusted = known.trusted
        if trusted != more.trusted:
            trusted = tuple(dict.fromkeys(each.without_values() for each in trusted))
        names, path = (*known.names, *more.names)[:_TRUST_MAP_NAMED], known.path if known.path == more.path else ""
        more = TrustGroup(names, known.count + more.count, path, trusted)
    groups[key] = more


def _in_general(group: TrustGroup) -> Hashable:
    return frozenset((each.kind, each.value, each.allows, each.keys) for each in group.trusted)


_KEYS: Final[Sequence[Callable[[TrustGroup], Hashable]]] = (
    lambda group: frozenset(group.trusted),
    lambda group: (group.path, _in_general(group)),
    _in_general,
)
"""What roles of one group have in common, from the finest. The first that makes few groups is taken, else the last."""


def _trusted(text: str) -> tuple[Trusted, ...]:
    """The principals in the order of the statements. A document that cannot be read names nobody."""
    document = compiled(text, PolicyKind.TRUST)
    found: list[Trusted] = []
    for statement, words in zip(document.statements, plain(document), strict=True):
        conditions = f", if {'; '.join(words.conditions)}" if words.conditions else ""
        keys = tuple(sorted({condition.written_key for condition in statement.conditions}))
        may = "may" if words.allows else "may not"
        where = f"trust policy{f', {words.sid}' if words.sid else ''}, line {words.line}"
        for named in statement.principal_values:
            value = root_arn(named.value) if is_account_id(named.value) else named.value
            kind = "*" if value == "*" or statement.not_principal else named.type
            said = f"{'; '.join(words.principals)} {may} {', '.join(words.actions)}{conditions}"
            found.append(Trusted(kind, value, statement.effect is Effect.ALLOW, keys, where, said))
    return tuple(dict.fromkeys(found))


def _people(scene: Scene, call: Call) -> Iterator[GroupOfPeople]:
    """The groups whose policies may let their members assume a role of the account."""
    ctx = context_in(scene, call)
    gatherer = Gatherer(ctx)
    for group in ctx.tx.find(Group, account=ctx.account, order="name", limit=_MOST_GROUPS):
        if not certainly_denied(policies_in(gatherer.of(group).identity), ASSUME_ROLE):
            yield GroupOfPeople(group.name, ctx.tx.count(Membership, group_id=group.id))

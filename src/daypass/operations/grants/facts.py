"""The facts that a decision about access depends on, read in the transaction that makes the decision.

Persons, roles, rules and their versions are read together, so that a decision never combines two states of the
directory.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from msgspec import Struct

from daypass.domain.access.person import identifiers, linked_person, original_principal, source_identity
from daypass.domain.access.request import EndReason
from daypass.domain.access.rule import CompiledRule, OnCall, Rule, RuleError, read_rule
from daypass.domain.access.terms import NOWHERE, RoleRef, Version, decode, digest
from daypass.domain.arn import account_of
from daypass.domain.claims import Caller
from daypass.domain.directory import (
    AccessKey,
    AccessRequest,
    ApprovalRule,
    Attachment,
    Grant,
    InlinePolicy,
    KeyStatus,
    LoginProfile,
    Revocation,
    Role,
    User,
)
from daypass.domain.errors import DaypassError, ErrorKind
from daypass.domain.policy.model import Context
from daypass.domain.revocation_index import revoked_by
from daypass.domain.session import PERSON_TAG, FeedPosition, Hop
from daypass.operations.grants.federated import is_federated, provider_of
from daypass.operations.grants.snapshot import once
from daypass.operations.iam.builtin import policy_text
from daypass.operations.principals import arn_of_principal, find_by_arn, find_by_id, groups_of
from daypass.operations.sized_cache import SizedCache
from daypass.ports import Reader

_MANY = 10_000
_LOOKED_AT = 10_000  # roles that one search looks through
_BATCH = 500


class Person(Struct, frozen=True):
    """The person behind a caller.

    Attributes:
        id: the principal id of the first hop; "" when another person acts for it.
        principal_ids: those of all hops.
        names: ARNs that rules can name: of users and their groups, of roles, of subjects of identity providers.
        identifiers: see `domain.access.person`.
        hops: the chain, which revocations can end.
    """

    id: str
    arn: str
    principal_ids: tuple[str, ...]
    names: tuple[str, ...]
    identifiers: tuple[str, ...]
    access_key_id: str
    mfa_at: int
    hops: tuple[Hop, ...] = ()


class Circumstances(NamedTuple):
    """What conditions on requesters test: the context keys of a request, and the schedules that name the person now."""

    context: Context
    on_call: frozenset[OnCall] = frozenset()

    def under(self, rule: Rule) -> Context:
        """The keys for conditions of this rule: on call is whom its own schedule names, not that of another (attack A279)."""
        return {**self.context, "daypass:oncall": "true" if rule.on_call in self.on_call else "false"}


class Target(NamedTuple):
    """A role of a request, with the rule that applies to it and the versions of both."""

    role: Role
    rule: CompiledRule
    version: Version


def person_of(tx: Reader, caller: Caller, mfa_at: int = 0) -> Person:
    """The person behind a caller. `mfa_at`: ms, when a code in this request was accepted; 0: no code."""
    ids = tuple(dict.fromkeys(hop.principal_id for hop in caller.hops))
    identity = caller.session.source_identity if caller.session is not None else ""
    tagged = [value for key, value in caller.tags if key.lower() == PERSON_TAG]
    return Person(
        id=original_principal(caller.hops),
        arn=caller.arn,
        principal_ids=ids,
        names=names_of(tx, ids),
        identifiers=identifiers(caller.hops, identity, (*tagged, *linked(tx, ids))),
        access_key_id=caller.hops[0].access_key_id,
        mfa_at=mfa_at or caller.mfa_at,
        hops=caller.hops,
    )


def person_of_user(tx: Reader, user: User) -> Person:
    """A user who has not made a request."""
    ids = (user.id,)
    identifiers = with_links(tx, (f"principal:{user.id}",), ids)
    return Person(user.id, user.arn, ids, names_of(tx, ids), identifiers, "", 0)


def linked(tx: Reader, ids: Iterable[str]) -> list[str]:
    """Values of PERSON_TAG of the users with these ids. A session tag cannot hide them."""
    users = [tx.get(User, id=each) for each in ids if each.startswith("AIDA")]
    return [
        value for user in users if user is not None for key, value in user.tags if key.lower() == PERSON_TAG and value
    ]


def with_links(tx: Reader, persons: Iterable[str], ids: Iterable[str]) -> tuple[str, ...]:
    """Stored identifiers of a person, with the values of PERSON_TAG that its users have now (attack A214)."""
    return tuple(sorted({*persons, *map(linked_person, linked(tx, ids))}))


def names_of(tx: Reader, ids: Iterable[str]) -> tuple[str, ...]:
    """The ARNs of principals as they are now. A principal that has been deleted has none."""
    names: list[str] = []
    for each in ids:
        if arn := arn_of_principal(tx, each):
            names.append(arn)
            names += [group.arn for group in groups_of(tx, each)] if each.startswith("AIDA") else []
    return tuple(names)


def is_disabled(tx: Reader, ids: Iterable[str]) -> bool:
    """Whether a user among these principals was deleted, or has neither an active key nor a password, or a provider of one
    was deleted or disabled.
    """
    for each in ids:
        if is_federated(each) and provider_of(tx, each) is None:
            return True
        if not each.startswith("AIDA"):
            continue
        if tx.get(User, id=each) is None:
            return True
        active = any(key.status is KeyStatus.ACTIVE for key in tx.find(AccessKey, owner_id=each))
        if not active and tx.get(LoginProfile, user_id=each) is None:
            return True
    return False


def is_stopped(tx: Reader, hops: Iterable[Hop], now: int, identifiers: Iterable[str] = ()) -> bool:
    """Whether a revocation has ended a session with these hops, or stops it from getting others. The hops are compared as
    when a session is used, so that a revocation counts from when it was made, even if it is stored later (attack A324).

    `identifiers`: of the person; those that are source identities can be revoked, too.
    """
    earliest: dict[str, Hop] = {}  # of each account
    for hop in sorted(hops, key=lambda hop: hop.issued_at):
        earliest.setdefault(hop.account, hop)
        for subject, value, began in _subjects_of(tx, hop):
            revocations = tx.find(Revocation, account=hop.account, subject=subject, value=value)
            if any(_is_ended(tx, each, hop, began, now) for each in revocations):
                return True
    identities = {each for each in identifiers if each.startswith("source-identity:")}
    return any(
        _is_ended(tx, each, hop, hop.issued_at, now)
        for hop in (earliest.values() if identities else ())
        for each in _of_source_identities(tx, hop.account, identities)
    )


def _subjects_of(tx: Reader, hop: Hop) -> list[tuple[str, str, int]]:
    """The subjects of revocations, each with its value, that name a hop, and from when (ms) a revocation counts.

    A grant whose session cast a vote may end as planned; the vote counts on (attack A323), unless somebody revokes the
    grant afterwards (A329).
    """
    grant = tx.get(Grant, id=hop.grant_id) if hop.grant_id else None
    as_planned = grant is not None and grant.end_reason in (EndReason.DONE, EndReason.TICKET_CLOSED)
    named = [
        ("principal", hop.principal_id),
        ("role", hop.principal_id),
        ("account", hop.account),
        ("session", hop.session_id),
        ("access_key", hop.access_key_id),
        ("client", hop.client_id),
        ("grant", hop.grant_id),
    ]
    ended = grant.ended_at if grant is not None and as_planned else hop.issued_at
    return [(subject, value, ended if subject == "grant" else hop.issued_at) for subject, value in named if value]


def _is_ended(tx: Reader, revocation: Revocation, hop: Hop, began: int, now: int) -> bool:
    """Positions are compared, too, where the hop has one: the clocks of servers differ (attack A338). Those of another epoch
    cannot be, so the revocation ends the hop, as it ends the session (attack A376).
    """
    if revocation.blocks_at(now) or revocation.issued_before > began:
        return True
    return bool(hop.seen.epoch) and began == hop.issued_at and revoked_by(revocation, hop, tx.epoch())


def _of_source_identities(tx: Reader, account: str, identities: Collection[str]) -> list[Revocation]:
    """The revocations of these source identities: letters of each case mean one person. Their values are ASCII."""
    prefix, subject = source_identity(""), "source_identity"
    values = sorted(each.removeprefix(prefix) for each in identities if each.isascii() and each.isprintable())
    return tx.find_among(Revocation, "value", values, order="id", any_case=True, account=account, subject=subject)


def is_revoked(tx: Reader, request: AccessRequest, ids: Iterable[str], now: int) -> bool:
    """Whether these principals, a source identity of the request, or all sessions of the account of the roles were revoked
    after the request was made, or are blocked. Everything that it gives is void then (attacks A334, A381), in a restored
    database, too (A324).
    """
    made_at, seen = request.created_at, decode(request.document).seen
    account = Hop("", request.account, "", made_at, seen, "")
    return is_stopped(tx, [account, *(hop_of(tx, each, made_at, seen=seen) for each in ids)], now, request.persons)


def hop_of(tx: Reader, principal_id: str, issued_at: int, access_key_id: str = "", seen: FeedPosition = NOWHERE) -> Hop:
    """A principal as the first hop of a chain."""
    return Hop("", _account_of(tx, principal_id), principal_id, issued_at, seen, access_key_id)


def _account_of(tx: Reader, principal_id: str) -> str:
    """The account of a principal of `session.Hop`."""
    entity = find_by_id(tx, principal_id)
    if entity is not None:
        return entity.account
    return account_of(principal_id) or principal_id.partition(":")[0]


# --- Roles and rules -----------------------------------------------------------------------------------------------


def targets_of(
    tx: Reader,
    builtin: Mapping[str, str],
    refs: Sequence[RoleRef],
    names: Sequence[str],
    now: Circumstances | None,
    rules: Sequence[str] = (),
) -> tuple[Target, ...]:
    """Roles with their rules for a person with these names. Raises DaypassError: NOT_FOUND, ACCESS_DENIED.

    `now` None: conditions on requesters are not tested. `rules`: the name of the only rule for each role; (): any.
    """
    only = rules or [""] * len(refs)
    return tuple(_target(tx, builtin, ref, names, now, rule) for ref, rule in zip(refs, only, strict=True))


def _target(
    tx: Reader, builtin: Mapping[str, str], ref: RoleRef, names: Sequence[str], now: Circumstances | None, only: str
) -> Target:
    role = find_by_arn(tx, Role, ref.arn)
    if role is None or ref.id not in ("", role.id):
        raise DaypassError(ErrorKind.NOT_FOUND, f"The role {ref.arn} cannot be found.")
    rule = rule_for(tx, role, names, now, only)
    if rule is None or (only and is_superseded(tx, role, rule, names)):
        raise DaypassError(
            ErrorKind.ACCESS_DENIED,
            f"No approval rule allows the person who gets the access to request {ref.arn}.",
            private={"reason": "no rule", "resource": ref.arn},
        )
    return Target(role, rule, Version(role.id, version_of(tx, role, builtin), rule.name, rule.digest))


def rule_for(
    tx: Reader, role: Role, names: Sequence[str], now: Circumstances | None, only: str = ""
) -> CompiledRule | None:
    """The most specific rule for the role whose requesters include a person with these names. `only`: a rule's name."""
    rules = rules_for(tx, role.account, names, now)
    return _most_specific([rule for rule in rules if only in ("", rule.name)], role)


def is_superseded(tx: Reader, role: Role, rule: CompiledRule, names: Sequence[str]) -> bool:
    """Whether a more specific rule applies to the role and a person with these names. It is newer than what was requested
    under `rule`. One with conditions does not count: they may not have held when the request was made (attack A209).
    """
    above = once(tx, ("above", role.id, rule.name), lambda: _more_specific(tx, role, rule))
    return any(each.requesters.include(names, None) for each in above)


def _more_specific(tx: Reader, role: Role, rule: CompiledRule) -> list[CompiledRule]:
    """The rules without conditions that would take the place of this one for a person whom they include."""
    rules = once(tx, ("rules", role.account), lambda: rules_of(tx, role.account))
    plain = [each for each in rules if each.name != rule.name and not each.requesters.conditional]
    return [each for each in plain if _most_specific((each, rule), role) is each]


def rules_for(tx: Reader, account: str, names: Sequence[str], now: Circumstances | None) -> list[CompiledRule]:
    """The rules of an account whose requesters include a person with these names. `now` None: conditions are not tested."""
    found = [rule for rule in rules_of(tx, account) if rule.requesters.include(names, None)]
    return [rule for rule in found if now is None or rule.requesters.include(names, now.under(rule.rule))]


def requestable_roles(
    tx: Reader, account: str, names: Sequence[str], after: str, count: int
) -> tuple[list[tuple[Role, CompiledRule]], str]:
    """Roles after `after`, by name, with their rules, that a person with these names may request; conditions of rules aside.

    Looks through a limited number of roles, and stops at `count`. Also returns where the next call goes on; "" at the end.
    """
    rules, found = rules_for(tx, account, names, None), list[tuple[Role, CompiledRule]]()
    if not rules:
        return found, ""
    for _ in range(_LOOKED_AT // _BATCH):
        roles = tx.find(Role, account=account, order="name", after=after, limit=_BATCH)
        for role in roles:
            if (rule := _most_specific(rules, role)) is not None:
                found.append((role, rule))
                if len(found) == count:
                    return found, role.name
        if len(roles) < _BATCH:
            return found, ""
        after = roles[-1].name
    return found, after


def _most_specific(rules: Iterable[CompiledRule], role: Role) -> CompiledRule | None:
    tags = dict(role.tags)
    fitting = [rule for rule in rules if rule.covers(role.arn, tags)]
    return max(fitting, key=lambda rule: rule.specificity, default=None)


def rules_of(tx: Reader, account: str) -> list[CompiledRule]:
    """The rules of an account. A stored rule that this program cannot read applies to nothing."""
    found = (compiled(stored) for stored in tx.find(ApprovalRule, account=account, order="name", limit=_MANY))
    return [rule for rule in found if rule is not None]


def compiled(stored: ApprovalRule) -> CompiledRule | None:
    """A stored rule, compiled; None when it cannot be read."""
    return _compiled(f"{stored.account}\n{stored.name}\n{stored.document}")


def _compile(text: str) -> CompiledRule | None:
    account, name, document = text.split("\n", 2)
    try:
        return read_rule(account, name, document)
    except RuleError:
        return None


# In characters. All rules of an account fit: otherwise each of its requests would compile all of them (attack A263).
_compiled: SizedCache[CompiledRule | None] = SizedCache(_compile, 4_000_000)


def version_of(tx: Reader, role: Role, builtin: Mapping[str, str]) -> str:
    """See `role_digest`; computed once in a snapshot."""
    return once(tx, ("version", role.id), lambda: role_digest(tx, role, builtin))


def role_digest(tx: Reader, role: Role, builtin: Mapping[str, str]) -> str:
    """The version of a role: a digest of everything that decides who may assume it and what it permits."""
    inline = tx.find(InlinePolicy, owner_id=role.id, order="name", limit=_MANY)
    attached = tx.find(Attachment, owner_id=role.id, order="policy_arn", limit=_MANY)
    boundary = [role.boundary_arn, policy_text(tx, builtin, role.boundary_arn)] if role.boundary_arn else None
    parts: list[Any] = [
        [role.id, role.arn, role.trust_document, role.trust_bindings, role.tags],
        [role.max_session_seconds, role.chained_max_seconds],
        boundary,
        [[policy.name, policy.document] for policy in inline],
        [[each.policy_arn, policy_text(tx, builtin, each.policy_arn)] for each in attached],
    ]
    return digest(parts)


def persons_of(tx: Reader, request: AccessRequest) -> tuple[str, ...]:
    """The identifiers of the requester and the beneficiary: those that the request stores, and those that they have now."""
    return with_links(tx, request.persons, (request.requester_id, request.beneficiary_id))


def principals_in(request: AccessRequest) -> tuple[str, ...]:
    """The principal ids of the beneficiary that the request stores: the person, and the roles of its session."""
    return (request.beneficiary_id, *(text[5:] for text in request.persons if text.startswith("role:")))

"""Gathers facts before the transaction that makes or accepts a request: the risk for the person who gets the
access, whether that person is on call, and whether the ticket is open.

These look-ups read the record or ask another system, so they run before the transaction. The transaction checks the
rules again: a rule that has changed in between is applied as it is then.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from msgspec import Struct

from daypass.domain.access.request import identifier
from daypass.domain.access.risk import MAX_SCORE, UNKNOWN, Reason, RiskFacts, breadth_of, score
from daypass.domain.access.rule import CompiledRule, OnCall
from daypass.domain.directory import AccessKey, AccessReview, MfaDevice, Passkey, Role, User
from daypass.domain.errors import DaypassError, ErrorKind
from daypass.domain.events import EventType
from daypass.domain.strict_json import read_json
from daypass.observability import logs
from daypass.operations.grants.persons import Person, linked, person_of
from daypass.operations.grants.targets import rules_of
from daypass.operations.iam.builtin import allowed_actions
from daypass.operations.principals import find_by_arn
from daypass.ports import Call, Env, OutboundFailed, Reader, RecordFilter, SessionFilter, SessionView, Viewer

_HISTORY_MS: Final = 90 * 86_400_000
_DAY_MS: Final = 86_400_000
_SEEN: Final = 200  # sessions that are looked at
_RECORDS: Final = 600  # records that are looked at: more than _PAGES for each denial that counts
_MANY: Final = 1_000
_FIRST_SESSION: Final = 2  # hops: the subject of a provider, and the session that its proof gave
_READ: Final = (
    "Get",
    "List",
    "Read",
    "Simulate",
    "Decode",
    "Find",
    "WhoCan",
    "WhatCan",
)  # how the names of operations of pages begin
_EMERGENCY_SECONDS: Final = 5  # that an emergency waits for the record
_PAGES: Final = 100  # refused reads by a session, as of pages, that count as one refusal


class PreparedRequest(Struct, frozen=True):
    """The results: context keys of the request for conditions, the schedules that name the person now, and the risk with
    its reasons.
    """

    keys: Mapping[str, str]
    on_call: frozenset[OnCall]
    risk: int
    reasons: tuple[Reason, ...]

    @property
    def stored_reasons(self) -> str:
        """The reasons as the request stores them."""
        return json.dumps([reason._asdict() for reason in self.reasons], separators=(",", ":"))


class _Facts(Struct, frozen=True):
    person: Person
    roles: tuple[Role, ...]
    access_keys: frozenset[str]  # all long-term keys of the person: a new one has no past
    breadth: float
    key_created_at: int
    device_created_at: int
    alerts: int
    webhooks: tuple[str, ...]
    schedules: tuple[OnCall, ...]
    called: frozenset[str]  # what a schedule may call the person, in lower case


async def prepare(
    env: Env, call: Call, account: str, arns: Sequence[str], ticket: str, *, emergency: bool = False
) -> PreparedRequest:
    """Raises DaypassError(VALIDATION) when a rule's webhook does not confirm the ticket. An emergency does not ask it."""
    known = await env.directory.read(lambda tx: _read_facts(tx, env, call, account, arns), account=call.caller.account)
    if ticket and not emergency:
        for url in known.webhooks:
            await _confirm(env, account, url, ticket, known.person.arn, arns)
    on_call = await _on_call(env, account, known, call.now)
    risk, reasons = await _risk(env, call, account, known, emergency=emergency)
    keys = {"daypass:riskscore": str(risk), **({"daypass:ticketid": ticket} if ticket else {})}
    return PreparedRequest(keys, on_call, risk, reasons)


async def _on_call(env: Env, account: str, known: _Facts, now: int) -> frozenset[OnCall]:
    """The schedules of the rules that name the person now. Nobody is on call by a schedule that cannot be read.

    All are read at once, so that an emergency waits no longer for several that hang than for one (attack A264).
    """

    async def names_person(schedule: OnCall) -> bool:
        try:
            people = await env.schedules.on_call(schedule.kind, schedule.calendar, now, owner=account)
        except OutboundFailed as error:
            logs.get().warning("access.schedule_failed", account=account, error=str(error))
            return False
        return not people.isdisjoint(known.called)

    found = await asyncio.gather(*map(names_person, known.schedules))
    return frozenset(schedule for schedule, named in zip(known.schedules, found, strict=True) if named)


def _read_facts(tx: Reader, env: Env, call: Call, account: str, arns: Sequence[str]) -> _Facts:
    roles = tuple(role for role in (find_by_arn(tx, Role, arn) for arn in arns) if role is not None)
    actions = [action for role in roles for action in allowed_actions(tx, env, role.id)]
    person = person_of(tx, call.caller)
    keys = {key.id: key for each in person.principal_ids for key in tx.find(AccessKey, owner_id=each)}
    key = keys.get(person.access_key_id)
    devices = [each for user_id in person.principal_ids for each in _devices(tx, user_id)]
    covering = [rule for rule in rules_of(tx, account) if any(rule.covers(r.arn, dict(r.tags)) for r in roles)]
    return _Facts(
        person=person,
        roles=roles,
        access_keys=frozenset(filter(None, (*keys, person.access_key_id))),
        breadth=breadth_of(actions),
        key_created_at=key.created_at if key is not None else 0,
        device_created_at=max((at for _, at in devices), default=0),
        alerts=sum(1 for blocked, _ in devices if blocked) + _open_reviews(tx, account, person),
        webhooks=_webhooks(covering, person),
        schedules=tuple(dict.fromkeys(rule.rule.on_call for rule in covering if rule.rule.on_call is not None)),
        called=_called(tx, call, person),
    )


def _devices(tx: Reader, user_id: str) -> list[tuple[bool, int]]:
    """MFA devices and passkeys of a user: whether a copy of it was detected, and when it was registered (ms)."""
    passkeys = [(passkey.blocked_at > 0, passkey.created_at) for passkey in tx.find(Passkey, user_id=user_id)]
    virtual = [(False, device.enabled_at or 0) for device in tx.find(MfaDevice, owner_id=user_id)]
    return passkeys + virtual


def _open_reviews(tx: Reader, account: str, person: Person) -> int:
    """Emergencies of the person whose review has not been closed."""
    found = tx.find(AccessReview, account=account, closed_at=0, order="id", limit=_MANY)
    return sum(1 for review in found if set(review.persons) & set(person.identifiers))


def _called(tx: Reader, call: Call, person: Person) -> frozenset[str]:
    """The user name, the values of PERSON_TAG, and the source identity that a provider gave the person.

    A user of an account chooses the source identity alone, and could name somebody who is on call (attack A205). So does
    whoever assumes a further role (attack A210): only the first session of a chain has what the provider says.
    """
    users = [tx.get(User, id=each) for each in person.principal_ids if each.startswith("AIDA")]
    session = call.caller.session
    names = [user.name for user in users if user is not None] + linked(tx, person.principal_ids)
    hops = call.caller.hops
    given = len(hops) == _FIRST_SESSION and hops[0].principal_id.startswith("arn:")
    if session is not None and session.source_identity and given:
        names.append(session.source_identity)
    return frozenset(name.strip().casefold() for name in names)


def _webhooks(rules: Sequence[CompiledRule], person: Person) -> tuple[str, ...]:
    tickets = [rule.rule.ticket for rule in rules if rule.requesters.include(person.names, None)]
    return tuple(dict.fromkeys(ticket.webhook for ticket in tickets if ticket is not None and ticket.webhook))


async def _confirm(env: Env, account: str, url: str, ticket: str, requester: str, roles: Sequence[str]) -> None:
    """Asks a rule's webhook whether a ticket is open. Anything but a clear yes refuses the request."""
    body = json.dumps({"ticket": ticket, "requester": requester, "roles": list(roles)}).encode()
    try:
        answer = read_json(await env.outbound.post(url, body, {"content-type": "application/json"}, owner=account))
        confirmed = isinstance(answer, dict) and answer.get("open") is True
    except OutboundFailed as error:
        raise DaypassError(
            ErrorKind.VALIDATION,
            "The ticket could not be checked: the ticket system does not answer.",
            private={"reason": "ticket webhook", "fault": str(error)},
        ) from None
    except ValueError:
        confirmed = False
    if not confirmed:
        raise DaypassError(ErrorKind.VALIDATION, "The ticket is not open.", private={"reason": "ticket webhook"})


async def _risk(
    env: Env, call: Call, account: str, known: _Facts, *, emergency: bool
) -> tuple[int, tuple[Reason, ...]]:
    """The score with its reasons. An emergency neither waits long for the record nor is refused because of it (A331)."""
    if not emergency:
        return score(await _risk_facts(env, call, account, known, emergency=False))
    try:
        async with asyncio.timeout(_EMERGENCY_SECONDS):
            return score(await _risk_facts(env, call, account, known, emergency=True))
    except (DaypassError, TimeoutError) as error:
        logs.get().warning("access.risk_unknown", account=account, error=str(error) or "timeout")
        return MAX_SCORE, (UNKNOWN,)


async def _risk_facts(env: Env, call: Call, account: str, known: _Facts, *, emergency: bool) -> RiskFacts:
    viewer, person, now = Viewer(account), known.person, call.now
    own = SessionFilter(account=account, root_principal_id=person.id, since=now - _HISTORY_MS, limit=_SEEN)
    sessions = (await env.records.sessions(viewer, own))[0]
    habits = (await env.records.sessions(viewer, replace(own, before=(now - _DAY_MS, ""))))[0]
    keys = known.access_keys | {view.claims.hops[-1].access_key_id for view in (*sessions, *habits)}
    earlier = await _records(env, account, keys, RecordFilter(since=now - _HISTORY_MS, until=now - _DAY_MS))
    today = RecordFilter(type=EventType.REQUEST_DENIED.value, since=now - _DAY_MS)
    denied = await _records(env, account, keys, today)
    peers = await _peers(env, account, known, now)
    addresses = (*(str(body.get("source", {}).get("ip", "")) for body in earlier), *(view.source_ip for view in habits))
    return RiskFacts(
        at=now,
        role_ids=tuple(role.id for role in known.roles) or (identifier(person.id),),
        used_role_ids=frozenset(hop.principal_id for view in sessions for hop in view.claims.hops),
        session_times=tuple(view.claims.issued_at for view in habits),
        source_ip=call.facts.source_ip,
        known_ips=frozenset(filter(None, addresses)),
        denials=_denials(denied),
        key_created_at=known.key_created_at,
        breadth=known.breadth,
        break_glass=emergency,
        device_created_at=known.device_created_at,
        alerts=known.alerts,
        peer_times=tuple(view.claims.issued_at for view in peers),
        peer_ips=frozenset(view.source_ip for view in peers if view.source_ip),
    )


def _denials(denied: Sequence[Mapping[str, Any]]) -> int:
    """The number of refusals. The menu of the console offers pages that the person may not open: to look at them is no
    sign of risk. They count a little, so that many do not hide others among the newest records. Reads with a long-term
    key count in full: a browser has a session.
    """
    pages = [body for body in denied if body["actor"].get("session_id") and _is_read(str(body.get("operation")))]
    return len(denied) - len(pages) + len(pages) // _PAGES


def _is_read(operation: str) -> bool:
    return operation.rpartition(":")[2].startswith(_READ)


async def _records(env: Env, account: str, keys: Collection[str], wanted: RecordFilter) -> list[Mapping[str, Any]]:
    """The newest records of what the person did with its long-term keys and in its sessions, those of browsers included.

    They are found by the keys of sessions, too: otherwise what somebody tries in a session would not count (attack A291).
    """
    if not keys:
        return []
    its = replace(wanted, account=account, access_key_ids=tuple(sorted(keys)), limit=_RECORDS)
    return [view.body for view in await env.records.search(Viewer(account), its) if view.body is not None]


async def _peers(env: Env, account: str, known: _Facts, now: int) -> list[SessionView]:
    """Recent sessions of the roles by other persons. Sessions of other roles cannot hide them (attack A291)."""
    found: list[SessionView] = []
    for role in known.roles:
        of_role = SessionFilter(account=account, principal_id=role.id, since=now - _HISTORY_MS, limit=_SEEN)
        found += (await env.records.sessions(Viewer(account), of_role))[0]
    return [view for view in found if view.claims.hops[0].principal_id != known.person.id]

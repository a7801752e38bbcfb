"""Records how a request ended: the actor, the account, and the result.

No response is sent before its event is durable. A refusal reveals to its caller only `DaypassError.public`. The reasons
go to the record of the account that made the decision and, sealed for that account, into the encoded authorization
message. A message about another account's decision always has the same length, whether a decision was made or not.
"""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, Final

from msgspec.structs import replace

from daypass.domain.claims import Caller, RequestFacts
from daypass.domain.directory import ReplayEntry
from daypass.domain.errors import DaypassError, ErrorKind, Family
from daypass.domain.events import Event, EventType
from daypass.domain.policy.model import Decision
from daypass.domain.status_list import brief
from daypass.ports import Call, Env, OutboundFailed, Tx

OWNER: Final = "account"
"""The key of `DaypassError.private` for the account that gets the record and the message (default: the caller's)."""

ACTOR: Final = "actor"
"""The key of `DaypassError.private` for the actor of a refusal, when it has no credentials of this installation."""

_UNPROVEN: Final = frozenset({Family.CREDENTIALS, Family.PROOF})
_EXPLAINED: Final = frozenset({*(kind for kind in ErrorKind if kind.family in _UNPROVEN), ErrorKind.MALFORMED_REQUEST})
"""Kinds of which the record states the message for the caller, if nothing more is known: one kind has many reasons. These
messages hold no parameter of the request, which could be a secret."""

_USUAL_AGENT: Final = 512  # characters of a User-Agent
_FOREIGN: Final = 6144  # bytes: explanations for another account are padded to a multiple of this
_MAX_EXPLANATION: Final = 262_144  # bytes, unpacked


def actor_of(caller: Caller | None) -> Mapping[str, Any]:
    """The actor of an event: {} when no identity is proven. A caller with a long-term key always gives the same value."""
    if caller is None:
        return {}
    known = caller.derived.actor
    if known is None:
        known = caller.derived.actor = _actor_of(caller)
    return known


def _actor_of(caller: Caller) -> Mapping[str, Any]:
    actor: dict[str, Any] = {
        "kind": caller.kind,
        "account": caller.account,
        "arn": caller.arn,
        "principal_id": caller.principal_id,
        "access_key_id": caller.access_key_id,
    }
    session = caller.session
    if session is not None:
        origin = caller.hops[0]
        actor["session_id"] = session.session_id
        actor["origin"] = {"principal_id": origin.principal_id, "access_key_id": origin.access_key_id}
        if session.source_identity:
            actor["source_identity"] = session.source_identity
    return actor


def source_of(facts: RequestFacts) -> Mapping[str, str]:
    """The source of an event: how the request came."""
    if len(facts.user_agent) > _USUAL_AGENT:
        return _source(facts.source_ip, facts.user_agent, facts.region)
    return _usual_source(facts.source_ip, facts.user_agent, facts.region)


def _source(ip: str, user_agent: str, region: str) -> Mapping[str, Any]:
    return {"ip": ip, "user_agent": user_agent, "region": region}


_usual_source = lru_cache(maxsize=1024)(_source)  # clients repeat


def served(
    call: Call,
    *,
    kind: EventType = EventType.REQUEST_ALLOWED,
    account: str = "",
    session_id: str = "",
    decision: Decision | None = None,
    detail: Mapping[str, Any] | None = None,
) -> Event:
    """The event of a request that succeeded. `account` is the owner of the resource, by default the caller's."""
    session = call.caller.session
    event = event_of(
        kind,
        call.facts,
        actor_of(call.caller),
        at=call.now,
        account=account or call.caller.account,
        session_id=session_id,
        decision=decision,
        detail=detail,
    )
    if session is not None and (session.grant_id or session.client_id):
        return replace(event, grant_id=session.grant_id, client_id=session.client_id)
    return event


def event_of(
    kind: EventType,
    facts: RequestFacts,
    actor: Mapping[str, Any],
    *,
    at: int,
    account: str,
    session_id: str = "",
    decision: Decision | None = None,
    detail: Mapping[str, Any] | None = None,
) -> Event:
    """An event about a successful request, with any actor."""
    return Event(
        kind,
        at,
        account,
        actor,
        source_of(facts),
        facts.request_id,
        facts.trace_id,
        facts.operation,
        "",  # no error
        session_id,
        decision.recorded if decision is not None else None,
        detail if detail is not None else {},
    )


async def refused(
    env: Env,
    facts: RequestFacts,
    caller: Caller | None,
    error: DaypassError,
    detail: Mapping[str, Any],
    replays: Sequence[ReplayEntry] = (),
) -> str:
    """Records a refusal durably and returns the encoded authorization message ("" when there is none).

    `detail`: the request's parameters, redacted. `replays`: one-time proofs that the refused request consumes. A refusal without a proven sender is shortened, and counted when it
    repeats others (`audit.refusals`). A refusal for lack of time or capacity is only counted. Raises
    DaypassError(UNAVAILABLE) when it cannot be recorded: the caller must return that error instead.
    """
    private = {key: value for key, value in error.private.items() if key not in (OWNER, ACTOR)}
    if error.kind in _EXPLAINED:
        private.setdefault("reason", error.public)
    owner = str(error.private.get(OWNER, "")) or (caller.account if caller else "")
    event = Event(
        type=_event_type(error.kind, caller),
        at=env.clock.now(),
        account=owner,
        actor=error.private.get(ACTOR) or actor_of(caller),
        source=source_of(facts),
        request_id=facts.request_id,
        trace_id=facts.trace_id,
        operation=facts.operation,
        error=error.kind.value,
        decision=error.explanation,
        detail={**detail, **({"private": private} if private else {})},
    )
    if replays and error.kind is not ErrorKind.THROTTLED:
        await _commit_and_consume(env, event, replays)
    elif error.kind is ErrorKind.THROTTLED:
        env.refusals.count(brief(event))  # there may be many: overload must not cost a commit each
    elif event.actor or error.explanation is not None:
        await env.journal.commit(event)
    elif error.kind is ErrorKind.OVERLOADED:
        env.refusals.count(brief(event))
    else:
        await env.refusals.record(brief(event))
    if error.explanation is None or not owner:
        return ""
    foreign = caller is None or owner != caller.account
    packed = pack(error.explanation, facts.request_id, _FOREIGN if foreign else 1)
    return env.sealer.seal_message(owner, packed)


async def _commit_and_consume(env: Env, event: Event, replays: Sequence[ReplayEntry]) -> None:
    """Records a refusal, and the use of its proofs. A proof that was used before may be why it is refused."""

    def change(tx: Tx) -> tuple[None, Event]:
        for entry in replays:
            if tx.get(ReplayEntry, purpose=entry.purpose, id=entry.id) is None:
                tx.insert(entry)
        return None, event

    await env.journal.write(change, account=event.account)


def _event_type(kind: ErrorKind, caller: Caller | None) -> EventType:
    family = kind.family
    if family is Family.DENIED:
        return EventType.REQUEST_DENIED
    if caller is None and family in _UNPROVEN:
        return EventType.REQUEST_UNAUTHENTICATED
    if caller is None and family is Family.REQUEST:
        return EventType.REQUEST_MALFORMED
    return EventType.REQUEST_FAILED


def pack(explanation: Mapping[str, Any], salt: str, multiple: int) -> bytes:
    """An explanation, deflated, then padded to a multiple of this number of bytes with incompressible data."""
    packed = zlib.compress(json.dumps(explanation, separators=(",", ":"), ensure_ascii=True).encode("ascii"), 6)
    body = len(packed).to_bytes(4, "big") + packed
    padding = -len(body) % multiple
    return body + hashlib.shake_256(salt.encode("utf-8", "replace")).digest(padding)


def unpack(payload: bytes) -> dict[str, Any]:
    """The explanation in the output of `pack`. Raises ValueError."""
    size = int.from_bytes(payload[:4], "big")
    if len(payload) < 4 or size > len(payload) - 4:
        raise ValueError("not a packed explanation")
    inflater = zlib.decompressobj()
    try:
        text = inflater.decompress(payload[4 : 4 + size], _MAX_EXPLANATION)
    except zlib.error:
        raise ValueError("not a packed explanation") from None
    if not inflater.eof:
        raise ValueError("explanation over the size limit")
    explanation = json.loads(text)
    if not isinstance(explanation, dict):
        raise ValueError("not an explanation")  # noqa: TRY004 (the bytes are bad, not the caller's types)
    return explanation


# --- The check of a URL that the server will request, when it is written


def check_web_address(env: Env, what: str, url: str) -> None:
    """Raises DaypassError(VALIDATION) for a URL that can never be requested. `what`: how the caller calls it, "The target".

    The addresses of a name are checked at each request: they can change.
    """
    try:
        env.outbound.check(url)
    except OutboundFailed as error:
        raise DaypassError(
            ErrorKind.VALIDATION,
            f"{what} cannot be requested: {error}. The operator names hosts of private networks in access.private_hosts.",
        ) from None

"""How a request ends on the record: who acted, on whose account, with what result.

Nothing is answered before its event is durable. A refusal tells its caller only what `DaypassError.public` says; the
reasons go to the record of the account that owns the decision, and, sealed for that account, into the encoded
authorization message. A message about another account's decision has the same length whether there was anything to
decide or not.
"""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final

from daypass.domain.claims import Caller, RequestFacts
from daypass.domain.errors import DaypassError, ErrorKind
from daypass.domain.events import Canonical, Event, EventType
from daypass.domain.policy.model import Decision
from daypass.ports import Call, Env

OWNER: Final = "account"
"""The key of `DaypassError.private` that names the account whose record and whose message this is (default: the caller's)."""

ACTOR: Final = "actor"
"""The key of `DaypassError.private` under which a refusal names who acted, where that is nobody with credentials of ours."""

_UNPROVEN = frozenset(
    {
        ErrorKind.MISSING_CREDENTIALS,
        ErrorKind.INCOMPLETE_SIGNATURE,
        ErrorKind.SIGNATURE_MISMATCH,
        ErrorKind.UNKNOWN_CREDENTIALS,
        ErrorKind.EXPIRED_CREDENTIALS,
        ErrorKind.INVALID_IDENTITY_TOKEN,
        ErrorKind.EXPIRED_IDENTITY_TOKEN,
        ErrorKind.IDP_REJECTED_CLAIM,
    }
)
_MALFORMED = frozenset(
    {
        ErrorKind.MISSING_ACTION,
        ErrorKind.UNKNOWN_OPERATION,
        ErrorKind.UNSUPPORTED_OPERATION,
        ErrorKind.MALFORMED_REQUEST,
        ErrorKind.REQUEST_TOO_LARGE,
        ErrorKind.MISSING_PARAMETER,
        ErrorKind.INVALID_PARAMETER,
        ErrorKind.VALIDATION,
        ErrorKind.INVALID_INPUT,
    }
)
_USUAL_AGENT: Final = 512  # characters of a User-Agent
_FOREIGN: Final = 6144  # bytes: explanations for another account are padded to a multiple of this
_MAX_EXPLANATION: Final = 262_144  # bytes, unpacked


def actor_of(caller: Caller | None) -> Mapping[str, Any]:
    """Who acted, for an event: {} when nobody is proven. A caller with a long-term key is always told the same way."""
    if caller is None:
        return {}
    kept: Canonical | None = caller.memo.get("actor")
    if kept is None:
        kept = caller.memo["actor"] = _actor_of(caller)
    return kept


def _actor_of(caller: Caller) -> Canonical:
    actor = Canonical()
    actor |= {
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
    """How it came, for an event."""
    if len(facts.user_agent) > _USUAL_AGENT:
        return _source(facts.source_ip, facts.user_agent, facts.region)
    return _usual_source(facts.source_ip, facts.user_agent, facts.region)


def _source(ip: str, user_agent: str, region: str) -> Canonical:
    return Canonical(ip=ip, user_agent=user_agent, region=region)


_usual_source = lru_cache(maxsize=1024)(_source)  # the same clients come again and again


def decision_json(decision: Decision) -> Mapping[str, Any]:
    """A decision for an event, as it stands in every event that has it."""
    kept: Canonical | None = decision.memo.get("json")
    if kept is None:
        kept = decision.memo["json"] = _decision_json(decision)
    return kept


def _decision_json(decision: Decision) -> Canonical:
    shown = Canonical()
    shown |= {
        "allowed": decision.allowed,
        "determining": [
            {
                "layer": d.layer._value_,  # before Python 3.12 `value` runs Python code
                "policy": d.policy,
                "statement": d.statement,
                "sid": d.sid,
                "effect": d.effect._value_,
            }
            for d in decision.determining
        ],
    }
    if decision.blocked_by is not None:
        shown["blocked_by"] = decision.blocked_by.value
        shown["explicit"] = decision.explicit
    return shown


def served(
    call: Call,
    *,
    kind: EventType = EventType.REQUEST_ALLOWED,
    account: str = "",
    session_id: str = "",
    decision: Decision | None = None,
    detail: Mapping[str, Any] | None = None,
) -> Event:
    """The event of a request that was served. `account` is the owner of what was acted on, the caller's by default."""
    return event_of(
        kind,
        call.facts,
        actor_of(call.caller),
        at=call.now,
        account=account or call.caller.account,
        session_id=session_id,
        decision=decision,
        detail=detail,
    )


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
    """An event about a request that went well, with whatever actor stands behind it."""
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
        decision_json(decision) if decision is not None else None,
        detail if detail is not None else {},
    )


async def refused(
    env: Env, facts: RequestFacts, caller: Caller | None, error: DaypassError, detail: Mapping[str, Any]
) -> str:
    """Puts a refusal on the record, durably, and returns the encoded authorization message ("" when there is none).

    `detail`: the request's parameters, redacted. Raises DaypassError(UNAVAILABLE) when it cannot be recorded: the caller
    must answer that instead of the refusal.
    """
    private = {key: value for key, value in error.private.items() if key not in (OWNER, ACTOR)}
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
    await env.journal.commit(event)
    if error.explanation is None or not owner:
        return ""
    foreign = caller is None or owner != caller.account
    packed = pack(error.explanation, facts.request_id, _FOREIGN if foreign else 1)
    return env.sealer.seal_message(owner, packed)


def _event_type(kind: ErrorKind, caller: Caller | None) -> EventType:
    if kind is ErrorKind.ACCESS_DENIED:
        return EventType.REQUEST_DENIED
    if caller is None and kind in _UNPROVEN:
        return EventType.REQUEST_UNAUTHENTICATED
    if caller is None and kind in _MALFORMED:
        return EventType.REQUEST_MALFORMED
    return EventType.REQUEST_FAILED


def pack(explanation: Mapping[str, Any], salt: str, multiple: int) -> bytes:
    """An explanation, deflated, then padded to a multiple of so many bytes with what does not deflate."""
    packed = zlib.compress(json.dumps(explanation, separators=(",", ":"), ensure_ascii=True).encode("ascii"), 6)
    body = len(packed).to_bytes(4, "big") + packed
    padding = -len(body) % multiple
    return body + hashlib.shake_256(salt.encode("utf-8", "replace")).digest(padding)


def unpack(payload: bytes) -> dict[str, Any]:
    """The explanation that `pack` packed. Raises ValueError."""
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

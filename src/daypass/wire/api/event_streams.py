"""The paths with which an account's people look at event streams: what waits, and what could not be delivered."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import Query
from pydantic import Field

from daypass.operations.ssf import poll, streams
from daypass.wire.api import schemas as s
from daypass.wire.api.router import new_router

router = new_router()
_EVENTS = "/event-streams/{stream_id}/events"


class EventStreamOut(s.EntityOut):
    id: str
    account: str
    created_by: str
    description: str
    method: str
    endpoint_url: str
    event_types: list[str]
    delivery_status: str
    reason: str
    failures: int = Field(description="Attempts to push that failed since the last success.")
    created_at: int
    updated_at: int


class EventStreamsOut(s.Out):
    event_streams: list[EventStreamOut]


class SecurityEventOut(s.DeliveryOut):
    id: str = Field(description="The `jti` of its SET.")
    stream_id: str
    event: str
    finished_at: s.OptionalMillis


class SecurityEventsOut(s.Out):
    security_events: list[SecurityEventOut]
    next: str = Field("", description="`after` of the next page; empty at the end.")


@router.get("/event-streams", name="ListEventStreams", tags=["event streams"])
async def list_event_streams(env: s.EnvDep, call: s.CallDep, account: s.AccountQuery = "") -> EventStreamsOut:
    """The event streams of an account."""
    listed = await streams.list_streams(env, call, account)
    return EventStreamsOut(event_streams=[EventStreamOut.of(each) for each in listed])


@router.get(_EVENTS, name="ListSecurityEvents", tags=["event streams"])
async def list_security_events(
    env: s.EnvDep,
    call: s.CallDep,
    stream_id: s.IdPath,
    account: s.AccountQuery = "",
    outcome: Annotated[Literal["waiting", "delivered", "dead"], Query()] = "dead",
    after: s.AfterQuery = "",
    limit: s.LimitQuery = 100,
) -> SecurityEventsOut:
    """Security events of a stream, oldest first; by default those that could not be delivered."""
    events, following = await poll.list_events(env, call, stream_id, account, outcome=outcome, after=after, limit=limit)
    return SecurityEventsOut(security_events=[SecurityEventOut.of(each) for each in events], next=following)


@router.post(_EVENTS + "/{event_id}/retry", name="RetrySecurityEvent", tags=["event streams"])
async def retry_security_event(
    env: s.EnvDep, call: s.CallDep, stream_id: s.IdPath, event_id: s.IdPath, account: s.AccountQuery = ""
) -> SecurityEventOut:
    """Delivers a dead security event again."""
    return SecurityEventOut.of(await poll.retry_event(env, call, stream_id, account, event_id))

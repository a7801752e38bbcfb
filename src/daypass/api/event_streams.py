"""Event streams (SSF) and their security events."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from daypass.api.notifications import DeliveryOut
from daypass.api.operation import Command, Id, InAccount, OnePage, Operation, OptionalMillis, Output


class EventStreamOut(Output):
    id: str
    account: str
    created_by: str
    description: str
    method: str
    endpoint_url: str
    event_types: list[str]
    delivery_status: str
    reason: str
    failures: Annotated[int, Meta(description="Attempts to push that failed since the last success.")]
    created_at: int
    updated_at: int


class ListSecurityEventsInput(OnePage):
    stream_id: Id
    outcome: Literal["waiting", "delivered", "dead"] = "dead"


class SecurityEventOut(DeliveryOut):
    id: Annotated[str, Meta(description="The `jti` of its SET.")]
    stream_id: str
    event: str
    finished_at: OptionalMillis


class RetrySecurityEventInput(InAccount):
    stream_id: Id
    event_id: Id


LIST_EVENT_STREAMS = Operation(
    "ListEventStreams",
    "GET /event-streams",
    "The event streams of an account.",
    "event streams",
    InAccount,
    EventStreamOut,
    items="event_streams",
    command=Command(
        "stream ls",
        "List the event streams of your account.",
        columns=("STREAM=id", "STATUS=delivery_status", "METHOD", "ENDPOINT=endpoint_url", "FAILURES"),
    ),
)
LIST_SECURITY_EVENTS = Operation(
    "ListSecurityEvents",
    "GET /event-streams/{stream_id}/events",
    "Security events of a stream, oldest first; by default those that could not be delivered.",
    "event streams",
    ListSecurityEventsInput,
    SecurityEventOut,
    items="security_events",
    paged=True,
    command=Command(
        "stream events STREAM_ID",
        "List events of a stream, oldest first. Dead events could not be delivered.",
        columns=("EVENT=id", "TYPE=event:end", "CREATED=created_at", "ATTEMPTS", "ERROR"),
    ),
)
RETRY_SECURITY_EVENT = Operation(
    "RetrySecurityEvent",
    "POST /event-streams/{stream_id}/events/{event_id}/retry",
    "Delivers a dead security event again.",
    "event streams",
    RetrySecurityEventInput,
    SecurityEventOut,
    command=Command(
        "stream retry STREAM_ID EVENT_ID", "Deliver a dead event again.", says=("Event {id} waits for delivery.",)
    ),
)

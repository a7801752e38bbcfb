"""Notifications about access requests: written with the change that they report, delivered afterwards.

A notification is a row in the transaction of its event, for each channel of the account that wants the event. So none
is lost and none reports what did not happen. Delivery is repeated with growing pauses; after the last attempt the
notification is dead, and stays visible for 30 days, so that somebody can retry it. A link in a notification carries no authority.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from daypass.domain.access.message import email_of, message_of, slack_of, teams_of
from daypass.domain.directory import Notification, NotificationChannel, RequestState
from daypass.domain.errors import DaypassError, ErrorKind, ignored
from daypass.domain.events import Event, EventType
from daypass.operations import tickets
from daypass.operations.principals import principal_behind
from daypass.operations.ssf.logout import CLIENT, LOGOUT, channel_of, tell
from daypass.ports import Env, OutboundFailed, Reader, Tx

_ASKING: Final = frozenset({EventType.ACCESS_REQUESTED.value, EventType.ACCESS_ESCALATED.value})
_HANDLED: Final = frozenset(
    {EventType.ACCESS_APPROVED, EventType.ACCESS_DENIED, EventType.ACCESS_CANCELLED, EventType.ACCESS_EXPIRED}
)
TEST: Final = "notification.test"
_PAUSES_MS: Final = (10_000, 60_000, 300_000, 1_800_000, 7_200_000, 21_600_000)
"""The pauses after failed attempts. A notification that fails once more is dead."""
_LEASE_MS: Final = 60_000
MAX_ACCOUNTS: Final = 1_000
_AT_ONCE: Final = 4  # deliveries of one account
_ROUNDS: Final = 16
_KEEP_MS: Final = 30 * 86_400_000
_CHANNELS: Final = 100


def announce(env: Env, tx: Tx, event: Event) -> Event:
    """Writes the notifications of an event, in the event's transaction, and returns the event."""
    for channel in tx.find(NotificationChannel, account=event.account, order="name", limit=_CHANNELS):
        if _wants(channel, event):
            tx.insert(_notification(env, channel, event.type.value, event.at, document_of(env, tx, event)))
    return event


def _wants(channel: NotificationChannel, event: Event) -> bool:
    """Whether a channel reports an event. One that reports requests also says when a request needs nobody any more."""
    if channel.kind in tickets.KINDS:
        return event.type.value in tickets.EVENTS
    if event.type.value in channel.event_types:
        return True
    handled = event.type in _HANDLED and event.detail.get("state") != RequestState.PENDING.value
    return handled and not _ASKING.isdisjoint(channel.event_types)


def document_of(env: Env, tx: Reader, event: Event) -> dict[str, Any]:
    """The content of a notification: the event's facts, and a link."""
    request, actor = str(event.detail.get("request", "")), str(event.actor.get("arn", ""))
    origin = event.actor.get("origin")
    return {
        "type": event.type.value,
        "at": event.at,
        "account": event.account,
        "actor": actor or "daypass",
        "principal": principal_behind(tx, origin["principal_id"], actor) if origin else "",
        "detail": dict(event.detail),
        "link": f"{env.limits.public_url}/console/access-request?id={request}" if request else "",
    }


def _notification(
    env: Env, channel: NotificationChannel, kind: str, now: int, document: Mapping[str, Any]
) -> Notification:
    text = json.dumps(document, separators=(",", ":"), sort_keys=True, default=list)
    return Notification(env.ids.session(), channel.account, channel.name, kind, text, now, next_at=now)


def notification_for_test(env: Env, channel: NotificationChannel, now: int, actor: str) -> Notification:
    document = {"type": TEST, "at": now, "account": channel.account, "actor": actor, "detail": {}, "link": ""}
    return _notification(env, channel, TEST, now, document)


# --- Delivery ------------------------------------------------------------------------------------------------------


async def waiting_accounts(env: Env, after: str = "") -> list[str]:
    """Up to MAX_ACCOUNTS accounts after `after` that have notifications to be delivered now or later. Raises
    DaypassError(UNAVAILABLE).
    """
    return await env.directory.read(lambda tx: _waiting_accounts(tx, after), account="")


def _waiting_accounts(tx: Reader, after: str) -> list[str]:
    found: list[str] = []
    while len(found) < MAX_ACCOUNTS and (
        following := tx.find(Notification, outcome="", order="account", after=after, limit=1)
    ):
        after = following[0].account
        found.append(after)
    return found


async def deliver_due(env: Env, account: str) -> int:
    """Delivers notifications of an account that are due, the oldest first, and returns the number of attempts. Stops after
    some of them, because other accounts wait. Raises DaypassError(UNAVAILABLE).
    """
    attempts = 0
    for _ in range(_ROUNDS):
        now = env.clock.now()
        waiting = await env.directory.read(
            lambda tx: tx.find(Notification, outcome="", account=account, order="next_at", limit=_AT_ONCE), account=""
        )
        due = [notification for notification in waiting if notification.next_at <= now]
        attempts += sum(await asyncio.gather(*(_deliver(env, notification, now) for notification in due)))
        if len(due) < _AT_ONCE:
            break
    return attempts


async def _deliver(env: Env, notification: Notification, now: int) -> bool:
    """Whether this process got the notification, and has tried to deliver it."""
    channel = await _lease(env, notification, now)
    if channel is not None:
        await _attempt(env, channel, notification)
    return channel is not None


async def _lease(env: Env, notification: Notification, now: int) -> NotificationChannel | None:
    """The channel, if this process gets the notification: two processes do not deliver it at the same time."""

    def change(tx: Tx) -> tuple[NotificationChannel | None, Event]:
        found = tx.get(Notification, id=notification.id)
        if found is None or found != notification:
            raise DaypassError(ErrorKind.CONCURRENT_MODIFICATION, "Another process delivers it.")
        by_name = {"account": found.account, "name": found.channel}
        channel = channel_of(tx, found) if found.event == LOGOUT else tx.get(NotificationChannel, **by_name)
        if channel is None:
            tx.replace(replace(found, outcome="dead", error="The channel has been deleted."))
        else:
            tx.replace(replace(found, next_at=now + _LEASE_MS))
        return channel, _recorded(found, now, "claimed")

    with ignored(ErrorKind.CONCURRENT_MODIFICATION):
        return await env.journal.write(change)
    return None


async def _attempt(env: Env, channel: NotificationChannel, notification: Notification) -> None:
    fault = ""
    try:
        await send(env, channel, notification)
    except OutboundFailed as error:
        fault = str(error)[:500]
    now = env.clock.now()

    def change(tx: Tx) -> tuple[None, Event]:
        found = tx.get(Notification, id=notification.id)
        if found is None:
            raise DaypassError(ErrorKind.NOT_FOUND, "The notification is gone.")
        after = replace(found, attempts=found.attempts + 1, error=fault)
        if not fault:
            after = replace(after, outcome="delivered", delivered_at=now)
        elif found.attempts >= len(_PAUSES_MS):
            after = replace(after, outcome="dead")
        else:
            after = replace(after, next_at=now + _PAUSES_MS[found.attempts])
        tx.replace(after)
        _forget_old(tx, found.account, now)
        return None, _recorded(after, now, after.outcome or "failed")

    await env.journal.write(change)


def _forget_old(tx: Tx, account: str, now: int) -> None:
    """Deletes more old notifications of an account than an attempt adds."""
    for outcome in ("delivered", "dead"):
        for old in tx.find(Notification, account=account, outcome=outcome, order="next_at", limit=2):
            if old.created_at < now - _KEEP_MS:
                tx.delete(old)


def _recorded(notification: Notification, now: int, what: str) -> Event:
    detail = {"notification": notification.id, "channel": notification.channel, "outcome": what}
    if notification.error:
        detail["error"] = notification.error
    return Event(EventType.NOTIFICATION, now, notification.account, detail=detail)


async def send(env: Env, channel: NotificationChannel, notification: Notification) -> None:
    """One attempt. Raises OutboundFailed."""
    if channel.kind == CLIENT:
        await tell(env, channel, notification)
        return
    document = json.loads(notification.document)
    message = message_of(document)
    if channel.kind == "email":
        await env.mail.send(channel.target, *email_of(message))
        return
    if channel.kind in tickets.KINDS:
        secret = secret_of(env, channel).decode()
        system = tickets.system_of(env.outbound, channel.target, secret, channel.account)
        await tickets.deliver(system, channel.kind, document, message)
        return
    headers = {"content-type": "application/json"}
    vote = _vote(document["detail"]) if channel.sealed_secret else ""
    if channel.kind == "slack":
        body = slack_of(message, vote)
    elif channel.kind == "teams":
        body = teams_of(message, vote)
    else:
        body = json.dumps({**document, "id": notification.id}, separators=(",", ":"), sort_keys=True).encode()
        headers |= signature(secret_of(env, channel), notification.id, env.clock.wall() // 1000, body)
    await env.outbound.post(channel.target, body, headers, owner=channel.account)


def _vote(detail: Mapping[str, Any]) -> str:
    """The text that an approver in a chat sends back: the request and the terms; "" if nobody can vote there."""
    return f"{detail['request']}.{detail['chat_binding']}" if detail.get("chat_binding") else ""


def signature(secret: bytes, message_id: str, at: int, body: bytes) -> dict[str, str]:
    """The headers of a signed webhook (Standard Webhooks): HMAC-SHA256 over id, time (s) and body."""
    mac = hmac.new(secret, f"{message_id}.{at}.".encode() + body, hashlib.sha256).digest()
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(at),
        "webhook-signature": f"v1,{base64.b64encode(mac).decode()}",
    }


def _owner(name: str) -> str:
    return f"notification-channel:{name}"


def secret_of(env: Env, channel: NotificationChannel) -> bytes:
    """The secret of a channel that has one."""
    return env.sealer.open_secret(channel.sealed_secret, channel.account, _owner(channel.name))


def seal(env: Env, account: str, name: str, secret: bytes) -> bytes:
    """The secret of a channel, as it is stored."""
    return env.sealer.seal_secret(secret, account, _owner(name))

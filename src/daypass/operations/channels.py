"""Notification channels of an account, and the notifications that could not be delivered."""

from __future__ import annotations

import base64
import re
from dataclasses import replace
from typing import Final, NamedTuple
from urllib.parse import urlsplit

from daypass.domain.directory import Notification, NotificationChannel
from daypass.domain.errors import DaypassError, ErrorKind
from daypass.domain.events import Event, EventType
from daypass.operations import notifications, tickets
from daypass.operations.crud import Collection
from daypass.operations.management import allow, read_page, read_recorded
from daypass.operations.outcome import check_web_address, served
from daypass.ports import Call, Env, Reader, Tx

KINDS: Final = ("webhook", "email", "slack", "teams", *tickets.KINDS)
EVENTS: Final = tuple(sorted(kind.value for kind in EventType if kind.value.startswith(("access.", "mfa."))))
MAX_CHANNELS: Final = 20
CHANNELS: Final = Collection(
    NotificationChannel, "NotificationChannel", "notification-channel", "notification channel", MAX_CHANNELS
)
"""The notifications that wait for a deleted one become dead."""
_NAME: Final = re.compile(r"[A-Za-z0-9_+=,.@-]{1,64}")
_ADDRESS: Final = re.compile(r"[A-Za-z0-9._%+=-]{1,64}@[A-Za-z0-9.-]{1,190}")
_SIGNING_SECRET: Final = re.compile(r"[0-9A-Za-z]{32,64}")
_TEAMS_KEY_BYTES: Final = 32
_SECRET_PREFIX: Final = "whsec_"


class NewChannel(NamedTuple):
    """A channel as it is written. `secret`: for a webhook, `whsec_` and base64; "": one is made; for a ticket system,
    "USER:TOKEN", or a bearer token; for Slack, the signing secret of its application, and for Teams, the security token of
    an outgoing webhook, for votes in the chat; "": no votes in the chat. The events of a ticket system are always `tickets.EVENTS`.
    """

    kind: str
    target: str
    event_types: tuple[str, ...]
    secret: str = ""

    def __repr__(self) -> str:
        return f"NewChannel({self.kind!r}, {len(self.event_types)} events)"


async def put_channel(
    env: Env, call: Call, account: str, name: str, new: NewChannel
) -> tuple[NotificationChannel, str]:
    """daypass:PutNotificationChannel on `notification-channel/NAME`. Also returns a secret that was made, else "".

    Raises DaypassError: ACCESS_DENIED, VALIDATION, LIMIT_EXCEEDED.
    """
    owner = account or call.caller.account
    decision = await allow(env, call, "PutNotificationChannel", "notification-channel", name, owner)
    if new.kind in tickets.KINDS:
        new = new._replace(event_types=tickets.EVENTS)
    _check(env, name, new)
    made = ""
    secret = new.secret
    if new.kind == "webhook" and not secret:
        made = secret = _SECRET_PREFIX + base64.b64encode(env.ids.seed()).decode()
    sealed = notifications.seal(env, owner, name, _bytes_of(new.kind, secret)) if secret else b""

    def change(tx: Tx) -> tuple[NotificationChannel, Event]:
        old = tx.get(NotificationChannel, account=owner, name=name)
        created = old.created_at if old is not None else call.now
        channel = NotificationChannel(owner, name, new.kind, new.target, sealed, new.event_types, created, call.now)
        CHANNELS.put(tx, old, channel)
        host = urlsplit(new.target).hostname if new.kind != "email" else ""
        return channel, CHANNELS.changed(call, channel, decision, kind=new.kind, host=host, events=new.event_types)

    return await env.journal.write(change, account=call.caller.account), made


def _check(env: Env, name: str, new: NewChannel) -> None:
    if not _NAME.fullmatch(name):
        raise DaypassError(ErrorKind.VALIDATION, "A channel's name is 1 to 64 letters, digits and +=,.@_-")
    if new.kind not in KINDS:
        raise DaypassError(ErrorKind.VALIDATION, f"The kind is one of: {', '.join(KINDS)}.")
    if not new.event_types or not set(new.event_types) <= set(EVENTS):
        raise DaypassError(ErrorKind.VALIDATION, f"The events are some of: {', '.join(EVENTS)}.")
    if new.kind == "email":
        addresses = [address.strip() for address in new.target.split(",")]
        if not 1 <= len(addresses) <= 20 or not all(map(_ADDRESS.fullmatch, addresses)):
            raise DaypassError(ErrorKind.VALIDATION, "The target of an e-mail channel is 1 to 20 addresses.")
    else:
        check_web_address(env, "The target", new.target)
    _check_secret(new)


def _check_secret(new: NewChannel) -> None:
    if new.kind == "slack" and new.secret and not _SIGNING_SECRET.fullmatch(new.secret):
        raise DaypassError(
            ErrorKind.VALIDATION,
            "The secret of a Slack channel is its application's signing secret: 32 to 64 letters and digits.",
        )
    if new.kind in tickets.KINDS:
        if not new.secret or not new.secret.isascii() or not new.secret.isprintable():
            raise DaypassError(ErrorKind.VALIDATION, "The secret of a ticket system is USER:TOKEN, or a bearer token.")
        try:
            tickets.check_target(new.kind, new.target)
        except ValueError as error:
            raise DaypassError(ErrorKind.VALIDATION, str(error)) from None


def _bytes_of(kind: str, secret: str) -> bytes:
    if kind == "slack" or kind in tickets.KINDS:
        return secret.encode()
    try:
        found = base64.b64decode(secret.removeprefix(_SECRET_PREFIX), validate=True)
    except ValueError:  # also: not ASCII
        found = b""
    if kind == "teams":
        if len(found) != _TEAMS_KEY_BYTES:
            raise DaypassError(
                ErrorKind.VALIDATION, "The secret of a Teams channel is an outgoing webhook's security token."
            )
        return found
    if not 24 <= len(found) <= 64:
        raise DaypassError(ErrorKind.VALIDATION, "A webhook's secret is whsec_ and 24 to 64 bytes in base64.")
    return found


async def send_test(env: Env, call: Call, account: str, name: str) -> Notification:
    """daypass:TestNotificationChannel: queues a notification that tests the channel."""
    owner = account or call.caller.account
    decision = await allow(env, call, "TestNotificationChannel", "notification-channel", name, owner)

    def change(tx: Tx) -> tuple[Notification, Event]:
        notification = notifications.notification_for_test(
            env, CHANNELS.existing(tx, owner, name), call.now, call.caller.arn
        )
        tx.insert(notification)
        detail = {"notification_channel": name, "notification": notification.id}
        return notification, served(call, account=owner, decision=decision, detail=detail)

    return await env.journal.write(change, account=call.caller.account)


async def list_notifications(
    env: Env, call: Call, account: str, *, outcome: str = "", after: str = "", limit: int = 100
) -> tuple[list[Notification], str]:
    """daypass:ListNotifications, newest first. `outcome`: "waiting", "delivered" or "dead"; "": all."""
    wanted = {"outcome": "" if outcome == "waiting" else outcome} if outcome else {}

    def query(tx: Reader, owner: str) -> tuple[list[Notification], str]:
        return read_page(tx, Notification, "-id", after, limit, account=owner, **wanted)

    return await read_recorded(env, call, "ListNotifications", "notification-channel", "*", account, query)


async def retry_notification(env: Env, call: Call, account: str, notification_id: str) -> Notification:
    """daypass:RetryNotification: delivers a notification again, or now, that could not be delivered.

    Raises DaypassError(NOT_FOUND) for any other. One whose first attempt is under way would arrive twice.
    """
    owner = account or call.caller.account
    decision = await allow(env, call, "RetryNotification", "notification-channel", "*", owner)

    def change(tx: Tx) -> tuple[Notification, Event]:
        notification = tx.get(Notification, id=notification_id)
        if notification is None or notification.account != owner or not notification.error:
            raise DaypassError(ErrorKind.NOT_FOUND, f"No notification that failed has the id {notification_id}.")
        again = replace(notification, outcome="", attempts=0, next_at=call.now)
        tx.replace(again)
        return again, served(call, account=owner, decision=decision, detail={"notification": notification_id})

    return await env.journal.write(change, account=call.caller.account)

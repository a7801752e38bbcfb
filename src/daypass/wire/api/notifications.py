"""The paths of notification channels and of notifications."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import Query
from pydantic import Field

from daypass.domain.directory import NotificationChannel
from daypass.operations.notifications import channels
from daypass.wire.api import schemas as s
from daypass.wire.api.router import new_router

router = new_router()
_CHANNEL = "/notification-channels/{name}"


class ChannelIn(s.In):
    kind: Literal["webhook", "email", "slack", "teams", "jira", "servicenow"]
    target: str = Field(min_length=3, max_length=2048, description="A URL; for e-mail, addresses with commas.")
    events: list[Annotated[str, Field(max_length=64)]] = Field(min_length=1, max_length=20)
    secret: str = Field(
        "",
        max_length=1024,
        description="Of a webhook: whsec_…; empty: one is made and shown once. Of Jira and ServiceNow: USER:TOKEN, or a bearer token. Of Slack: the signing secret of its application, and of Teams: the security token of an outgoing webhook, to approve in the chat.",
    )

    def channel(self) -> channels.NewChannel:
        return channels.NewChannel(self.kind, self.target, tuple(dict.fromkeys(self.events)), self.secret)


class ChannelOut(s.Out):
    name: str
    account: str
    kind: str
    target: str
    events: list[str]
    created_at: int
    updated_at: int

    @classmethod
    def of(cls, channel: NotificationChannel) -> ChannelOut:
        return cls.copied(channel, events=channel.event_types)


class NewChannelOut(ChannelOut):
    secret: str = Field("", description="The secret that signs the webhooks, if it was made; shown this once.")


class ChannelsOut(s.Out):
    notification_channels: list[ChannelOut]


class NotificationOut(s.DeliveryOut):
    account: str
    channel: str
    event: str
    next_at: s.OptionalMillis
    delivered_at: s.OptionalMillis


class NotificationsOut(s.Out):
    notifications: list[NotificationOut]
    next: str = Field("", description="`after` of the next page; empty at the end.")


@router.get("/notification-channels", name="ListNotificationChannels", tags=["notifications"])
async def list_notification_channels(env: s.EnvDep, call: s.CallDep, account: s.AccountQuery = "") -> ChannelsOut:
    """The notification channels of an account, by name."""
    listed = await channels.CHANNELS.every(env, call, account)
    return ChannelsOut(notification_channels=[ChannelOut.of(channel) for channel in listed])


@router.put(_CHANNEL, name="PutNotificationChannel", tags=["notifications"])
async def put_notification_channel(
    env: s.EnvDep, call: s.CallDep, name: s.IdPath, body: ChannelIn, account: s.AccountQuery = ""
) -> NewChannelOut:
    """Creates or replaces a notification channel."""
    channel, secret = await channels.put_channel(env, call, account, name, body.channel())
    return NewChannelOut(**ChannelOut.of(channel).model_dump(), secret=secret)


@router.delete(_CHANNEL, name="DeleteNotificationChannel", tags=["notifications"], status_code=204)
async def delete_notification_channel(
    env: s.EnvDep, call: s.CallDep, name: s.IdPath, account: s.AccountQuery = ""
) -> None:
    """Deletes a notification channel."""
    await channels.CHANNELS.delete(env, call, name, account)


@router.post(_CHANNEL + "/test", name="TestNotificationChannel", tags=["notifications"], status_code=202)
async def send_test_notification(
    env: s.EnvDep, call: s.CallDep, name: s.IdPath, account: s.AccountQuery = ""
) -> NotificationOut:
    """Sends a notification that tests the channel."""
    return NotificationOut.of(await channels.send_test(env, call, account, name))


@router.get("/notifications", name="ListNotifications", tags=["notifications"])
async def list_notifications(
    env: s.EnvDep,
    call: s.CallDep,
    account: s.AccountQuery = "",
    outcome: Annotated[Literal["", "waiting", "delivered", "dead"], Query()] = "",
    after: s.AfterQuery = "",
    limit: s.LimitQuery = 100,
) -> NotificationsOut:
    """Notifications, newest first; `dead`: those that could not be delivered."""
    notifications, following = await channels.list_notifications(
        env, call, account, outcome=outcome, after=after, limit=limit
    )
    return NotificationsOut(notifications=[NotificationOut.of(each) for each in notifications], next=following)


@router.post("/notifications/{notification_id}/retry", name="RetryNotification", tags=["notifications"])
async def retry_notification(
    env: s.EnvDep, call: s.CallDep, notification_id: s.IdPath, account: s.AccountQuery = ""
) -> NotificationOut:
    """Delivers a notification again that could not be delivered; one that waits for its next attempt, now."""
    return NotificationOut.of(await channels.retry_notification(env, call, account, notification_id))

"""Notification channels, notifications, the chat users who may vote, and event streams."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Final, Literal

from msgspec import Meta

from daypass.api.operation import Command, InAccount, Input, OnePage, Operation, OptionalMillis, Output, ResourcePages

DEFAULT_EVENTS: Final = (
    *("access.requested", "access.emergency", "access.approved", "access.denied", "access.escalated", "access.ended"),
)


class ChannelOut(Output):
    name: str
    account: str
    kind: str
    target: str
    events: Annotated[list[str], Meta(extra={"from": "event_types"})]
    created_at: int
    updated_at: int


class PutNotificationChannelInput(InAccount):
    kind: Literal["webhook", "email", "slack", "teams", "jira", "servicenow"]
    target: Annotated[str, Meta(min_length=3, max_length=2048, description="A URL; for e-mail, addresses with commas.")]
    events: Annotated[
        tuple[Annotated[str, Meta(max_length=64)], ...],
        Meta(
            min_length=1,
            max_length=20,
            description="Events to report, such as access.ended. Default: those of requests, votes and grants.",
        ),
    ] = DEFAULT_EVENTS
    secret: Annotated[
        str,
        Meta(
            max_length=1024,
            description="Webhook: whsec_…; if empty, one is made and shown once. Jira and ServiceNow: USER:TOKEN, or a bearer token. Slack: the signing secret of the application. Teams: the security token of an outgoing webhook. Slack and Teams need it for approvals in the chat.",
            extra={"secret": True},
        ),
    ] = ""


class NewChannelOut(ChannelOut):
    secret: Annotated[
        str,
        Meta(
            description="The secret that signs the webhooks, if it was made; shown this once.", extra={"secret": True}
        ),
    ] = ""


class DeliveryOut(Output):
    """Something in a queue of deliveries: a notification or a security event."""

    id: str
    outcome: Annotated[str, Meta(description="Empty while it waits; delivered or dead.")]
    attempts: int
    created_at: int
    error: str


class NotificationOut(DeliveryOut):
    account: str
    channel: str
    event: str
    next_at: OptionalMillis
    delivered_at: OptionalMillis


class ListNotificationsInput(OnePage):
    outcome: Annotated[
        Literal["", "waiting", "delivered", "dead"], Meta(description="Only those with this outcome; empty: all.")
    ] = ""


class CreateChatCodeInput(Input):
    chat_user: Annotated[
        str,
        Meta(
            max_length=256,
            description="The only chat user who can use the code; empty: any sender. Teams takes only codes for their sender.",
        ),
    ] = ""


class ChatCodeOut(Output):
    code: Annotated[str, Meta(description="Send `link CODE` from the chat within ten minutes. Give it to nobody.")]
    expires_at: int


class ListChatUsersInput(InAccount):
    user: Annotated[str, Meta(max_length=64, description="Name of a user; empty: you.")] = ""


class ChatUserOut(Output):
    id: Annotated[str, Meta(description="The service, the key of its application, the workspace and the user there.")]
    name: Annotated[str, Meta(description="As the chat service named the user.")]
    created_at: int


class DeleteChatUserInput(InAccount):
    user: Annotated[str, Meta(max_length=64, description="Name of a user; empty: you.")] = ""


operation = partial(Operation, section="notifications")
stream_operation = partial(Operation, section="event streams")

LIST_NOTIFICATION_CHANNELS = operation(
    "ListNotificationChannels",
    "GET /notification-channels",
    "The notification channels of an account, by name.",
    InAccount,
    ChannelOut,
    items="notification_channels",
    command=Command("notify ls", "List the channels.", columns=("CHANNEL=name", "KIND", "TARGET", "EVENTS")),
)
PUT_NOTIFICATION_CHANNEL = operation(
    "PutNotificationChannel",
    "PUT /notification-channels/{name}",
    "Creates or replaces a notification channel.",
    PutNotificationChannelInput,
    NewChannelOut,
    command=Command(
        "notify set NAME KIND TARGET",
        "Create or replace channel NAME. TARGET is a URL, or for e-mail addresses with commas.",
        says=(
            "Channel {name} reports: {events}.",
            "Its webhooks are signed with this secret, which is shown once: {secret}",
        ),
        noun="channel",
        replaces=LIST_NOTIFICATION_CHANNELS,
        why="this replaces the channel and its secret",
        options={"events": "--event"},
        help="For tickets: https://HOST?project=KEY&type=Task (jira), https://HOST?table=incident (servicenow). Shows "
        "the change of an existing channel and asks first; it also gets a new secret.",
    ),
)
DELETE_NOTIFICATION_CHANNEL = operation(
    "DeleteNotificationChannel",
    "DELETE /notification-channels/{name}",
    "Deletes a notification channel.",
    InAccount,
    status=204,
    command=Command(
        "notify rm NAME",
        "Delete channel NAME.",
        says=("Deleted channel {name}.",),
        noun="channel",
        confirm="Delete channel {name}?",
    ),
)
SEND_TEST_NOTIFICATION = operation(
    "TestNotificationChannel",
    "POST /notification-channels/{name}/test",
    "Sends a notification that tests the channel.",
    InAccount,
    NotificationOut,
    status=202,
    unique="SendTestNotification",
    command=Command(
        "notify test NAME",
        "Send a test over channel NAME. `daypass notify log` shows whether it arrived.",
        says=("Notification {id} is on its way.",),
    ),
)
LIST_NOTIFICATIONS = operation(
    "ListNotifications",
    "GET /notifications",
    "Notifications, newest first; `dead`: those that could not be delivered.",
    ListNotificationsInput,
    NotificationOut,
    items="notifications",
    paged=True,
    command=Command(
        "notify log",
        "List notifications, newest first.",
        columns=("NOTIFICATION=id", "CHANNEL", "EVENT", "STATE=outcome|waiting", "ATTEMPTS", "ERROR"),
        flags={"--dead": ("outcome", "dead", "Only those that could not be delivered.")},
    ),
)
RETRY_NOTIFICATION = operation(
    "RetryNotification",
    "POST /notifications/{notification_id}/retry",
    "Delivers a notification again that could not be delivered; one that waits for its next attempt, now.",
    InAccount,
    NotificationOut,
    command=Command(
        "notify retry NOTIFICATION_ID",
        "Deliver a notification again that could not be delivered. One that waits for its next attempt is due at once.",
        says=("Notification {id} waits for delivery.",),
    ),
)
CREATE_CHAT_CODE = operation(
    "CreateChatCode",
    "POST /chat-codes",
    "Makes a code that links a chat user with you. Your session's MFA is at most 15 minutes old.",
    CreateChatCodeInput,
    ChatCodeOut,
    status=201,
    command=Command(
        "notify chat-code",
        "Make a code that links your chat user with you.",
        says=(
            "Send this from your chat user within ten minutes, and give it to nobody:",
            "/daypass link {code}",
            "In Teams, mention the webhook with: link {code}",
        ),
        options={"chat_user": "--for"},
        help='In Teams, mention the webhook with "link" first: it answers with the chat user that you give to --for.',
    ),
)
LIST_CHAT_USERS = operation(
    "ListChatLinks",
    "GET /chat-users",
    "The chat users who may vote as a user. Your own need no permission.",
    ListChatUsersInput,
    ChatUserOut,
    items="chat_users",
    unique="ListChatUsers",
    command=Command(
        "notify chat-users",
        "List the chat users who may approve as you.",
        columns=("CHAT USER=id", "NAME", "LINKED=created_at"),
    ),
)
DELETE_CHAT_USER = operation(
    "DeleteChatLink",
    "DELETE /chat-users/{chat_user_id}",
    "Removes the link of a chat user. Your own need no permission.",
    DeleteChatUserInput,
    status=204,
    unique="DeleteChatUser",
    command=Command(
        "notify chat-unlink CHAT_USER_ID",
        "Remove the link of a chat user.",
        says=("Removed the link of {chat_user_id}.",),
        noun="chat_user",
        confirm="Remove the link of {chat_user_id}?",
    ),
)


# --- Event streams (SSF) and their security events


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
    outcome: Annotated[Literal["waiting", "delivered", "dead"], Meta(description="Only those with this outcome.")] = (
        "dead"
    )


class SecurityEventOut(DeliveryOut):
    id: Annotated[str, Meta(description="The `jti` of its SET.")]
    stream_id: str
    event: str
    finished_at: OptionalMillis


LIST_EVENT_STREAMS = stream_operation(
    "ListEventStreams",
    "GET /event-streams",
    "The event streams of an account.",
    InAccount,
    EventStreamOut,
    items="event_streams",
    command=Command(
        "stream ls",
        "List the event streams of your account.",
        columns=("STREAM=id", "STATUS=delivery_status", "METHOD", "ENDPOINT=endpoint_url", "FAILURES"),
    ),
)
LIST_SECURITY_EVENTS = stream_operation(
    "ListSecurityEvents",
    "GET /event-streams/{stream_id}/events",
    "Security events of a stream, oldest first; by default those that could not be delivered.",
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
RETRY_SECURITY_EVENT = stream_operation(
    "RetrySecurityEvent",
    "POST /event-streams/{stream_id}/events/{event_id}/retry",
    "Delivers a dead security event again.",
    InAccount,
    SecurityEventOut,
    command=Command(
        "stream retry STREAM_ID EVENT_ID", "Deliver a dead event again.", says=("Event {id} waits for delivery.",)
    ),
)
CHANNEL_PAGES = ResourcePages(
    "/console/notifications",
    "Notification channels",
    "channel",
    LIST_NOTIFICATION_CHANNELS,
    "name",
    (
        "No channels.",
        "A channel reports access requests: to a webhook, by e-mail, in a chat, or as a ticket.",
    ),
    create=PUT_NOTIFICATION_CHANNEL,
    remove=DELETE_NOTIFICATION_CHANNEL,
    actions=(SEND_TEST_NOTIFICATION,),
)
NOTIFICATION_PAGES = ResourcePages(
    "/console/sent-notifications",
    "Sent notifications",
    "notification",
    LIST_NOTIFICATIONS,
    "id",
    ("No notifications.", "Sent and undelivered notifications are listed here."),
    actions=(RETRY_NOTIFICATION,),
)
EVENT_STREAM_PAGES = ResourcePages(
    "/console/event-streams",
    "Event streams",
    "event stream",
    LIST_EVENT_STREAMS,
    "id",
    ("No event streams.", "Other systems follow ended sessions and changed credentials by streams (SSF)."),
)

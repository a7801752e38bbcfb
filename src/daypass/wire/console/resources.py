"""The resources that have described pages: a row for each."""

from __future__ import annotations

from typing import Final

from daypass.api import access, notifications, oauth, providers, record
from daypass.api import notifications as event_streams
from daypass.domain.oauth.client import ClientSettings
from daypass.domain.oauth.resource_server import ResourceServerSettings
from daypass.wire.console.described import ResourcePages

_NEW_CLIENT: Final = """{
  "token_endpoint_auth_method": "none",
  "grant_types": ["authorization_code", "refresh_token"],
  "redirect_uris": ["https://app.example.com/callback"],
  "roles": []
}"""

RESOURCES: Final = (
    ResourcePages(
        "/console/clients",
        "OAuth clients",
        "client",
        oauth.LIST_CLIENTS,
        "client_id",
        ("No OAuth clients.", "Applications that act for people are clients."),
        one="/console/client",
        show=oauth.GET_CLIENT,
        create=oauth.CREATE_CLIENT,
        change=oauth.UPDATE_CLIENT,
        remove=oauth.DELETE_CLIENT,
        actions=(oauth.CREATE_CLIENT_SECRET, oauth.DELETE_CLIENT_SECRET),
        example={"settings": _NEW_CLIENT},
        settings=ClientSettings,
    ),
    ResourcePages(
        "/console/resource-servers",
        "Resource servers",
        "resource server",
        oauth.LIST_RESOURCE_SERVERS,
        "identifier",
        (
            "No resource servers.",
            "Services that accept access tokens are resource servers. Their scopes limit tokens.",
        ),
        one="/console/resource-server",
        show=oauth.GET_RESOURCE_SERVER,
        create=oauth.PUT_RESOURCE_SERVER,
        change=oauth.PUT_RESOURCE_SERVER,
        remove=oauth.DELETE_RESOURCE_SERVER,
        example={"settings": '{\n  "scopes": {"read": {}}\n}'},
        settings=ResourceServerSettings,
    ),
    ResourcePages(
        "/console/notifications",
        "Notification channels",
        "channel",
        notifications.LIST_NOTIFICATION_CHANNELS,
        "name",
        (
            "No channels.",
            "A channel reports access requests: to a webhook, by e-mail, in a chat, or as a ticket.",
        ),
        create=notifications.PUT_NOTIFICATION_CHANNEL,
        remove=notifications.DELETE_NOTIFICATION_CHANNEL,
        actions=(notifications.SEND_TEST_NOTIFICATION,),
    ),
    ResourcePages(
        "/console/sent-notifications",
        "Sent notifications",
        "notification",
        notifications.LIST_NOTIFICATIONS,
        "id",
        ("No notifications.", "Sent and undelivered notifications are listed here."),
        actions=(notifications.RETRY_NOTIFICATION,),
    ),
    ResourcePages(
        "/console/scim-tokens",
        "SCIM tokens",
        "SCIM token",
        providers.LIST_SCIM_TOKENS,
        "name",
        ("No SCIM tokens.", "A directory, such as Entra ID or Okta, provisions users and groups with a token."),
        create=providers.CREATE_SCIM_TOKEN,
        remove=providers.DELETE_SCIM_TOKEN,
    ),
    ResourcePages(
        "/console/event-streams",
        "Event streams",
        "event stream",
        event_streams.LIST_EVENT_STREAMS,
        "id",
        ("No event streams.", "Other systems follow ended sessions and changed credentials by streams (SSF)."),
    ),
    ResourcePages(
        "/console/keys",
        "Access keys",
        "access key",
        access.LIST_LONG_LIVED_KEYS,
        "access_key_id",
        ("No active access keys.", "People and workloads here use roles."),
    ),
    ResourcePages(
        "/console/anomalies",
        "Anomalies",
        "anomaly",
        record.LIST_ANOMALIES,
        "session_id",
        (
            "No anomalies.",
            "A session that deviates from what is usual for its principal is listed here, with the reasons.",
        ),
    ),
)

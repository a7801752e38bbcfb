"""Accounts, providers, clients, notification channels, devices: the functions that perform the operations."""

from __future__ import annotations

import json
from functools import partial
from typing import Any, Final

from daypass.api import accounts as account_api
from daypass.api import notifications as notification_api
from daypass.api import oauth as oauth_api
from daypass.api import policies
from daypass.api import providers as provider_api
from daypass.domain.directory import OAuthClient, OidcProvider, ResourceServer
from daypass.domain.oauth.client import parse_client
from daypass.operations import accounts, channels, guardrails, providers, scim_tokens
from daypass.operations.access_requests import chat
from daypass.operations.assume import pod_identity
from daypass.operations.guardrails import ShownSettings
from daypass.operations.oauth import clients, consent, targets
from daypass.operations.record.measure import Check, Measured, measure
from daypass.operations.sign_in import devices
from daypass.operations.sign_in.devices import Whose
from daypass.operations.ssf import poll, streams
from daypass.ports import Call, Env
from daypass.wire.endpoints.endpoint import Endpoint, Over, calls, items_as


def endpoints(shown: ShownSettings) -> tuple[Endpoint, ...]:
    """The table of this module. `shown`: the settings of the server, without secrets."""

    async def read(env: Env, call: Call, _: Any) -> Any:
        sections = await guardrails.read_settings(env, call, shown)
        return {"sections": {section: dict(values) for section, values in sections.items()}}

    return (Endpoint(account_api.READ_SETTINGS, read), *_ACCOUNTS, *_PROVIDERS, *_OAUTH, *_DEVICES, *_NOTIFICATIONS)


# --- Accounts, roles, the server


async def _create_account(env: Env, call: Call, q: account_api.CreateAccountInput) -> Over:
    made = await accounts.create_account(env, call, q.name, q.id, root_key=q.root_key)
    key = {"access_key_id": made.access_key_id, "secret_access_key": made.secret} if made.access_key_id else None
    return Over(made.account, root_key=key)


def _measurements(found: Measured) -> Over:
    operations = [Over(each.latency, operation=each.operation) for each in found.operations]
    failed = round(found.auth_failing[0], 1)
    checks = [_check(each) for each in found.checks]
    return Over(found, operations=operations, checks=checks, auth_failing_seconds=failed)


def _check(check: Check) -> Over:
    last = check.last
    if last is None:
        return Over(check, last_at=None, last_ms=None, problem=None)
    return Over(check, last_at=last.at, last_ms=round(last.seconds * 1000, 1), problem=last.why)


_ACCOUNTS: Final = (
    Endpoint(account_api.CREATE_ACCOUNT, _create_account),
    Endpoint(account_api.LIST_ACCOUNTS, calls(accounts.list_accounts)),
    Endpoint(account_api.LIST_GUARDRAILS, calls(guardrails.GUARDRAILS.every, account="account_id")),
    Endpoint(account_api.GET_GUARDRAIL, calls(guardrails.GUARDRAILS.get, key="name", account="account_id")),
    Endpoint(account_api.PUT_GUARDRAIL, calls(guardrails.put_guardrail, account="account_id")),
    Endpoint(account_api.DELETE_GUARDRAIL, calls(guardrails.delete_guardrail, account="account_id")),
    Endpoint(account_api.GET_ROLE_SETTINGS, calls(guardrails.get_role_settings)),
    Endpoint(account_api.PUT_ROLE_SETTINGS, calls(guardrails.put_role_settings)),
    Endpoint(account_api.READ_MEASUREMENTS, calls(measure, _measurements)),
)

# --- Identity providers and SCIM


def _provider_keys(found: tuple[OidcProvider, Any]) -> Over:
    provider, status = found
    return Over(status, arn=provider.arn)


def _provider_settings(found: providers.ProviderWithSettings) -> Over:
    return Over(found.provider, settings=found.members)


async def _create_scim_token(env: Env, call: Call, q: provider_api.CreateScimTokenInput) -> Any:
    token, secret = await scim_tokens.create_token(env, call, q.name, q.user, q.days)
    return {"scim_token": token, "token": secret, "url": env.limits.public_url.rstrip("/") + "/scim/v2"}


_PROVIDERS: Final = (
    Endpoint(provider_api.LIST_PROVIDERS, calls(providers.list_providers)),
    Endpoint(
        provider_api.GET_PROVIDER_SETTINGS, calls(providers.get_provider_settings, _provider_settings, name="provider")
    ),
    Endpoint(
        provider_api.PUT_PROVIDER_SETTINGS,
        calls(providers.put_provider_settings, _provider_settings, name="provider", members="settings"),
    ),
    Endpoint(provider_api.GET_PROVIDER_KEYS, calls(providers.get_provider_keys, _provider_keys, name="provider")),
    Endpoint(
        provider_api.REFRESH_PROVIDER_KEYS,
        calls(partial(providers.get_provider_keys, refresh=True), _provider_keys, name="provider"),
    ),
    Endpoint(
        provider_api.GET_ALLOWED_ISSUERS,
        calls(providers.get_allowed_issuers, lambda found: found or {"issuers": None, "updated_at": 0}),
    ),
    Endpoint(provider_api.PUT_ALLOWED_ISSUERS, calls(providers.put_allowed_issuers)),
    Endpoint(provider_api.DELETE_ALLOWED_ISSUERS, calls(partial(providers.put_allowed_issuers, issuers=None))),
    Endpoint(provider_api.LIST_POD_IDENTITY_ASSOCIATIONS, calls(pod_identity.ASSOCIATIONS.every)),
    Endpoint(provider_api.CREATE_POD_IDENTITY_ASSOCIATION, calls(pod_identity.create_association)),
    Endpoint(provider_api.DELETE_POD_IDENTITY_ASSOCIATION, calls(pod_identity.ASSOCIATIONS.delete, key="subject")),
    Endpoint(provider_api.CREATE_SCIM_TOKEN, _create_scim_token),
    Endpoint(provider_api.LIST_SCIM_TOKENS, calls(scim_tokens.list_tokens)),
    Endpoint(provider_api.DELETE_SCIM_TOKEN, calls(scim_tokens.delete_token)),
)

# --- OAuth


def _client(client: OAuthClient) -> Over:
    return Over(
        client,
        client_id=client.id,
        type=parse_client(client.settings).type,
        settings=json.loads(client.settings),
        secrets=[{"id": key, "created_at": int(at)} for key, at, _ in client.secrets],
    )


def _server(server: ResourceServer) -> Over:
    return Over(server, settings=json.loads(server.settings))


async def _server_metadata(env: Env, call: Call, q: Any) -> Any:
    server = await targets.SERVERS.get(env, call, q.identifier, q.account)
    return targets.metadata(env, server)


_OAUTH: Final = (
    Endpoint(oauth_api.LIST_CLIENTS, calls(clients.CLIENTS.page, items_as(_client))),
    Endpoint(oauth_api.CREATE_CLIENT, calls(clients.create_client, _client, members="settings")),
    Endpoint(oauth_api.GET_CLIENT, calls(clients.CLIENTS.get, _client, key="client_id")),
    Endpoint(oauth_api.UPDATE_CLIENT, calls(clients.update_client, _client, members="settings")),
    Endpoint(oauth_api.DELETE_CLIENT, calls(clients.delete_client)),
    Endpoint(
        oauth_api.CREATE_CLIENT_SECRET,
        calls(clients.create_client_secret, lambda made: {"id": made.secret_id, "client_secret": made.secret}),
    ),
    Endpoint(oauth_api.DELETE_CLIENT_SECRET, calls(clients.delete_client_secret)),
    Endpoint(oauth_api.LIST_RESOURCE_SERVERS, calls(targets.SERVERS.page, items_as(_server))),
    Endpoint(oauth_api.GET_RESOURCE_SERVER_METADATA, _server_metadata),
    Endpoint(oauth_api.GET_RESOURCE_SERVER, calls(targets.SERVERS.get, _server, key="identifier")),
    Endpoint(oauth_api.PUT_RESOURCE_SERVER, calls(targets.put_resource_server, _server, members="settings")),
    Endpoint(oauth_api.DELETE_RESOURCE_SERVER, calls(targets.SERVERS.delete, key="identifier")),
    Endpoint(oauth_api.LIST_CONSENTS, calls(consent.list_consents)),
    Endpoint(oauth_api.DELETE_CONSENT, calls(consent.delete_consent, unverified_id="consent_id")),
)

# --- MFA devices


async def _list_devices(env: Env, call: Call, q: policies.ListMfaDevicesInput) -> Over:
    listed = await devices.list_devices(env, call, Whose(q.user, q.account))
    return Over(listed, user=listed.user.arn, virtual_devices=listed.virtual)


_DEVICES: Final = (
    Endpoint(policies.LIST_MFA_DEVICES, _list_devices),
    Endpoint(
        policies.UPDATE_PASSKEY,
        lambda env, call, q: devices.rename_passkey(env, call, q.passkey_id, q.name, Whose(q.user, q.account)),
    ),
    Endpoint(
        policies.DELETE_PASSKEY,
        lambda env, call, q: devices.remove_passkey(env, call, q.passkey_id, Whose(q.user, q.account)),
    ),
    Endpoint(
        policies.CREATE_RECOVERY_CODES, calls(devices.create_recovery_codes, lambda codes: {"codes": list(codes)})
    ),
)

# --- Notifications, chat users, event streams


async def _put_channel(env: Env, call: Call, q: Any) -> Over:
    new = channels.NewChannel(q.kind, q.target, tuple(dict.fromkeys(q.events)), q.secret)
    channel, secret = await channels.put_channel(env, call, q.account, q.name, new)
    return Over(channel, secret=secret)


async def _create_chat_code(env: Env, call: Call, q: notification_api.CreateChatCodeInput) -> Any:
    return {"code": await chat.create_code(env, call, q.chat_user), "expires_at": call.now + chat.CODE_MS}


_NOTIFICATIONS: Final = (
    Endpoint(notification_api.LIST_NOTIFICATION_CHANNELS, calls(channels.CHANNELS.every)),
    Endpoint(notification_api.PUT_NOTIFICATION_CHANNEL, _put_channel),
    Endpoint(notification_api.DELETE_NOTIFICATION_CHANNEL, calls(channels.CHANNELS.delete, key="name")),
    Endpoint(notification_api.SEND_TEST_NOTIFICATION, calls(channels.send_test)),
    Endpoint(notification_api.LIST_NOTIFICATIONS, calls(channels.list_notifications)),
    Endpoint(notification_api.RETRY_NOTIFICATION, calls(channels.retry_notification)),
    Endpoint(notification_api.CREATE_CHAT_CODE, _create_chat_code),
    Endpoint(
        notification_api.LIST_CHAT_USERS, lambda env, call, q: chat.list_links(env, call, Whose(q.user, q.account))
    ),
    Endpoint(
        notification_api.DELETE_CHAT_USER,
        lambda env, call, q: chat.delete_link(env, call, q.chat_user_id, Whose(q.user, q.account)),
    ),
    Endpoint(notification_api.LIST_EVENT_STREAMS, calls(streams.list_streams)),
    Endpoint(notification_api.LIST_SECURITY_EVENTS, calls(poll.list_events)),
    Endpoint(notification_api.RETRY_SECURITY_EVENT, calls(poll.retry_event)),
)

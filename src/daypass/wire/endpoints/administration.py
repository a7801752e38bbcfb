"""Accounts, providers, clients, notification channels, devices: the functions that perform the operations."""

from __future__ import annotations

import json
from typing import Any, Final

from daypass.api import accounts as account_api
from daypass.api import notifications as notification_api
from daypass.api import notifications as stream_api
from daypass.api import oauth as oauth_api
from daypass.api import policies
from daypass.api import providers as provider_api
from daypass.domain.directory import OAuthClient, ResourceServer
from daypass.domain.oauth.client import parse_client
from daypass.operations import accounts, channels, guardrails, providers, scim_tokens
from daypass.operations.access_requests import chat
from daypass.operations.assume import pod_identity
from daypass.operations.guardrails import ShownSettings
from daypass.operations.oauth import clients, consent, targets
from daypass.operations.record.measure import Check, measure
from daypass.operations.sign_in import devices
from daypass.operations.sign_in.devices import Whose
from daypass.operations.ssf import poll, streams
from daypass.ports import Call, Env
from daypass.wire.endpoints.endpoint import Endpoint, Over


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


async def _measure(env: Env, call: Call, q: account_api.ReadMeasurementsInput) -> Over:
    found = await measure(env, call, q.since, q.until)
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
    Endpoint(account_api.LIST_ACCOUNTS, lambda env, call, q: accounts.list_accounts(env, call, q.after, q.limit)),
    Endpoint(account_api.LIST_GUARDRAILS, lambda env, call, q: guardrails.GUARDRAILS.every(env, call, q.account_id)),
    Endpoint(
        account_api.GET_GUARDRAIL, lambda env, call, q: guardrails.GUARDRAILS.get(env, call, q.name, q.account_id)
    ),
    Endpoint(
        account_api.PUT_GUARDRAIL,
        lambda env, call, q: guardrails.put_guardrail(env, call, q.account_id, q.name, q.document),
    ),
    Endpoint(
        account_api.DELETE_GUARDRAIL,
        lambda env, call, q: guardrails.delete_guardrail(env, call, q.account_id, q.name),
    ),
    Endpoint(
        account_api.GET_ROLE_SETTINGS,
        lambda env, call, q: guardrails.get_role_settings(env, call, q.name, q.account),
    ),
    Endpoint(
        account_api.PUT_ROLE_SETTINGS,
        lambda env, call, q: guardrails.put_role_settings(env, call, q.name, q.chained_max_seconds, q.account),
    ),
    Endpoint(account_api.READ_MEASUREMENTS, _measure),
)

# --- Identity providers and SCIM


async def _provider_keys(env: Env, call: Call, q: Any, *, refresh: bool = False) -> Over:
    provider, status = await providers.get_provider_keys(env, call, q.provider, q.account, refresh=refresh)
    return Over(status, arn=provider.arn)


async def _allowed_issuers(env: Env, call: Call, q: Any) -> Any:
    return await providers.get_allowed_issuers(env, call, q.account) or {"issuers": None, "updated_at": 0}


async def _provider_settings(env: Env, call: Call, q: Any) -> Over:
    found = await providers.get_provider_settings(env, call, q.provider, q.account)
    return Over(found.provider, settings=found.members)


async def _put_provider_settings(env: Env, call: Call, q: provider_api.PutProviderSettingsInput) -> Over:
    found = await providers.put_provider_settings(env, call, q.provider, q.settings, q.account)
    return Over(found.provider, settings=found.members)


async def _create_scim_token(env: Env, call: Call, q: provider_api.CreateScimTokenInput) -> Any:
    token, secret = await scim_tokens.create_token(env, call, q.name, q.user, q.days)
    return {"scim_token": token, "token": secret, "url": env.limits.public_url.rstrip("/") + "/scim/v2"}


_PROVIDERS: Final = (
    Endpoint(provider_api.LIST_PROVIDERS, lambda env, call, q: providers.list_providers(env, call, q.account)),
    Endpoint(provider_api.GET_PROVIDER_SETTINGS, _provider_settings),
    Endpoint(provider_api.PUT_PROVIDER_SETTINGS, _put_provider_settings),
    Endpoint(provider_api.GET_PROVIDER_KEYS, _provider_keys),
    Endpoint(provider_api.REFRESH_PROVIDER_KEYS, lambda env, call, q: _provider_keys(env, call, q, refresh=True)),
    Endpoint(provider_api.GET_ALLOWED_ISSUERS, _allowed_issuers),
    Endpoint(
        provider_api.PUT_ALLOWED_ISSUERS,
        lambda env, call, q: providers.put_allowed_issuers(env, call, tuple(q.issuers), q.account),
    ),
    Endpoint(
        provider_api.DELETE_ALLOWED_ISSUERS,
        lambda env, call, q: providers.put_allowed_issuers(env, call, None, q.account),
    ),
    Endpoint(
        provider_api.LIST_POD_IDENTITY_ASSOCIATIONS,
        lambda env, call, q: pod_identity.ASSOCIATIONS.every(env, call, q.account),
    ),
    Endpoint(
        provider_api.CREATE_POD_IDENTITY_ASSOCIATION,
        lambda env, call, q: pod_identity.create_association(env, call, q.subject, q.role, q.issuer, q.account),
    ),
    Endpoint(
        provider_api.DELETE_POD_IDENTITY_ASSOCIATION,
        lambda env, call, q: pod_identity.ASSOCIATIONS.delete(env, call, q.subject, q.account),
    ),
    Endpoint(provider_api.CREATE_SCIM_TOKEN, _create_scim_token),
    Endpoint(provider_api.LIST_SCIM_TOKENS, lambda env, call, _: scim_tokens.list_tokens(env, call)),
    Endpoint(provider_api.DELETE_SCIM_TOKEN, lambda env, call, q: scim_tokens.delete_token(env, call, q.name)),
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


async def _list_clients(env: Env, call: Call, q: Any) -> Any:
    found, following = await clients.CLIENTS.page(env, call, q.account, q.after, q.limit)
    return [_client(each) for each in found], following


async def _create_client(env: Env, call: Call, q: oauth_api.CreateClientInput) -> Over:
    return _client(await clients.create_client(env, call, q.name, q.settings, q.account))


async def _get_client(env: Env, call: Call, q: Any) -> Over:
    return _client(await clients.CLIENTS.get(env, call, q.client_id, q.account))


async def _update_client(env: Env, call: Call, q: oauth_api.UpdateClientInput) -> Over:
    changed = await clients.update_client(
        env, call, q.client_id, q.account, name=q.name, enabled=q.enabled, members=q.settings
    )
    return _client(changed)


async def _create_client_secret(env: Env, call: Call, q: Any) -> Any:
    made = await clients.create_client_secret(env, call, q.client_id, q.account)
    return {"id": made.secret_id, "client_secret": made.secret}


async def _list_servers(env: Env, call: Call, q: Any) -> Any:
    found, following = await targets.SERVERS.page(env, call, q.account, q.after, q.limit)
    return [_server(each) for each in found], following


async def _get_server(env: Env, call: Call, q: Any) -> Over:
    return _server(await targets.SERVERS.get(env, call, q.identifier, q.account))


async def _server_metadata(env: Env, call: Call, q: Any) -> Any:
    server = await targets.SERVERS.get(env, call, q.identifier, q.account)
    return targets.metadata(env, server)


async def _put_server(env: Env, call: Call, q: oauth_api.PutResourceServerInput) -> Over:
    return _server(await targets.put_resource_server(env, call, q.identifier, q.name, q.settings, q.account))


_OAUTH: Final = (
    Endpoint(oauth_api.LIST_CLIENTS, _list_clients),
    Endpoint(oauth_api.CREATE_CLIENT, _create_client),
    Endpoint(oauth_api.GET_CLIENT, _get_client),
    Endpoint(oauth_api.UPDATE_CLIENT, _update_client),
    Endpoint(oauth_api.DELETE_CLIENT, lambda env, call, q: clients.delete_client(env, call, q.client_id, q.account)),
    Endpoint(oauth_api.CREATE_CLIENT_SECRET, _create_client_secret),
    Endpoint(
        oauth_api.DELETE_CLIENT_SECRET,
        lambda env, call, q: clients.delete_client_secret(env, call, q.client_id, q.secret_id, q.account),
    ),
    Endpoint(oauth_api.LIST_RESOURCE_SERVERS, _list_servers),
    Endpoint(oauth_api.GET_RESOURCE_SERVER_METADATA, _server_metadata),
    Endpoint(oauth_api.GET_RESOURCE_SERVER, _get_server),
    Endpoint(oauth_api.PUT_RESOURCE_SERVER, _put_server),
    Endpoint(
        oauth_api.DELETE_RESOURCE_SERVER,
        lambda env, call, q: targets.SERVERS.delete(env, call, q.identifier, q.account),
    ),
    Endpoint(oauth_api.LIST_CONSENTS, lambda env, call, q: consent.list_consents(env, call, q.person, q.account)),
    Endpoint(oauth_api.DELETE_CONSENT, lambda env, call, q: consent.delete_consent(env, call, q.consent_id, q.account)),
)

# --- MFA devices


async def _list_devices(env: Env, call: Call, q: policies.ListMfaDevicesInput) -> Over:
    listed = await devices.list_devices(env, call, Whose(q.user, q.account))
    return Over(listed, user=listed.user.arn, virtual_devices=listed.virtual)


async def _create_recovery_codes(env: Env, call: Call, _: Any) -> Any:
    return {"codes": list(await devices.create_recovery_codes(env, call))}


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
    Endpoint(policies.CREATE_RECOVERY_CODES, _create_recovery_codes),
)

# --- Notifications, chat users, event streams


async def _put_channel(env: Env, call: Call, q: Any) -> Over:
    new = channels.NewChannel(q.kind, q.target, tuple(dict.fromkeys(q.events)), q.secret)
    channel, secret = await channels.put_channel(env, call, q.account, q.name, new)
    return Over(channel, secret=secret)


async def _create_chat_code(env: Env, call: Call, q: notification_api.CreateChatCodeInput) -> Any:
    return {"code": await chat.create_code(env, call, q.chat_user), "expires_at": call.now + chat.CODE_MS}


_NOTIFICATIONS: Final = (
    Endpoint(
        notification_api.LIST_NOTIFICATION_CHANNELS, lambda env, call, q: channels.CHANNELS.every(env, call, q.account)
    ),
    Endpoint(notification_api.PUT_NOTIFICATION_CHANNEL, _put_channel),
    Endpoint(
        notification_api.DELETE_NOTIFICATION_CHANNEL,
        lambda env, call, q: channels.CHANNELS.delete(env, call, q.name, q.account),
    ),
    Endpoint(
        notification_api.SEND_TEST_NOTIFICATION, lambda env, call, q: channels.send_test(env, call, q.account, q.name)
    ),
    Endpoint(
        notification_api.LIST_NOTIFICATIONS,
        lambda env, call, q: channels.list_notifications(
            env, call, q.account, outcome=q.outcome, after=q.after, limit=q.limit
        ),
    ),
    Endpoint(
        notification_api.RETRY_NOTIFICATION,
        lambda env, call, q: channels.retry_notification(env, call, q.account, q.notification_id),
    ),
    Endpoint(notification_api.CREATE_CHAT_CODE, _create_chat_code),
    Endpoint(
        notification_api.LIST_CHAT_USERS, lambda env, call, q: chat.list_links(env, call, Whose(q.user, q.account))
    ),
    Endpoint(
        notification_api.DELETE_CHAT_USER,
        lambda env, call, q: chat.delete_link(env, call, q.chat_user_id, Whose(q.user, q.account)),
    ),
    Endpoint(stream_api.LIST_EVENT_STREAMS, lambda env, call, q: streams.list_streams(env, call, q.account)),
    Endpoint(
        stream_api.LIST_SECURITY_EVENTS,
        lambda env, call, q: poll.list_events(
            env, call, q.stream_id, q.account, outcome=q.outcome, after=q.after, limit=q.limit
        ),
    ),
    Endpoint(
        stream_api.RETRY_SECURITY_EVENT,
        lambda env, call, q: poll.retry_event(env, call, q.stream_id, q.account, q.event_id),
    ),
)

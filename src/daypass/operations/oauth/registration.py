"""Dynamic client registration (RFC 7591), and the management of its own registration by a client (RFC 7592).

It is off by default. The initial access token is an access token of whoever may create clients, so that the evaluator decides. The
registration access token of a client lets it read, change and delete its own registration; it never widens what the
client may ask for, and is worth nothing once the client is disabled.
"""

from __future__ import annotations

import hmac
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, Final

from msgspec import Struct

from daypass.domain.directory import OAuthClient
from daypass.domain.errors import DaypassError, ErrorKind
from daypass.domain.events import Event, EventType
from daypass.domain.jws import text_digest
from daypass.domain.oauth.client import SECRET_METHODS, ClientSettings, dump_client, parse_client
from daypass.domain.oauth.client_metadata import settings_of
from daypass.operations.oauth.client_authentication import AuthenticatedClient
from daypass.operations.oauth.clients import check_settings, checked_name, create_client, describe, hash_of, new_secret
from daypass.operations.outcome import event_of
from daypass.operations.principals import find_current
from daypass.operations.revocation import new_revocation
from daypass.ports import Call, Env, Tx

_PREFIX: Final = "dprg_"


class RegisteredClient(Struct, frozen=True):
    """A client with its registration access token, and the secret of a new client that uses one."""

    client: OAuthClient
    token: str
    secret: str = ""

    def __repr__(self) -> str:
        return f"RegisteredClient({self.client.id})"


async def register(env: Env, call: Call, document: Mapping[str, Any]) -> RegisteredClient:
    """daypass:CreateClient, with iam:CreateOpenIDConnectProvider. `document`: client metadata.

    Raises DaypassError: ACCESS_DENIED, INVALID_CLIENT_METADATA, LIMIT_EXCEEDED.
    """
    settings = _settings(document)
    token, secret = _PREFIX + env.ids.secret(), ""
    hashed: tuple[tuple[str, str, str], ...] = ()
    if settings.token_endpoint_auth_method in SECRET_METHODS:
        secret_id, secret = new_secret(env.ids.seed())
        hashed = ((secret_id, str(call.now), hash_of(secret, env.ids.secret())),)

    def complete(client: OAuthClient) -> OAuthClient:
        return replace(client, secrets=hashed, registration=text_digest(token))

    members = json.loads(dump_client(settings))
    with _about_metadata():
        client = await create_client(env, call, _name(document) or "application", members, complete=complete)
    return RegisteredClient(client, token, secret)


async def registered_by(env: Env, client_id: str, unverified_token: str) -> OAuthClient:
    """The client whose registration access token this is. Raises DaypassError(UNKNOWN_CREDENTIALS)."""
    client = await find_current(env, lambda: env.directory.entity(OAuthClient, client_id))
    digest = text_digest(unverified_token)
    known = client is not None and client.enabled and bool(client.registration)
    if client is None or not known or not hmac.compare_digest(client.registration, digest):
        raise DaypassError(ErrorKind.UNKNOWN_CREDENTIALS, "The registration access token is not valid.")
    return client


async def update_registration(
    env: Env, call: Call, client: OAuthClient, document: Mapping[str, Any], token: str
) -> RegisteredClient:
    """Replaces the metadata of a client by its own (RFC 7592, 2.2). Raises DaypassError: INVALID_CLIENT_METADATA and others."""
    if document.get("client_id", client.id) != client.id:
        raise DaypassError(ErrorKind.INVALID_CLIENT_METADATA, "client_id: it cannot be changed.")
    old = parse_client(client.settings)
    settings, secret, secrets = _settings(document, old), "", client.secrets
    with _about_metadata():
        await check_settings(env, client.account, settings)
    if settings.token_endpoint_auth_method not in SECRET_METHODS:
        secrets = ()
    elif not secrets:
        secret_id, secret = new_secret(env.ids.seed())
        secrets = ((secret_id, str(call.now), hash_of(secret, env.ids.secret())),)
    changed = replace(
        client,
        name=_name(document) or client.name,
        settings=dump_client(settings),
        secrets=secrets,
        updated_at=call.now,
    )

    def change(tx: Tx) -> tuple[None, Event]:
        _unchanged(tx, client)
        tx.replace(changed)
        return None, _event(call, client, before=describe(client), after=describe(changed))

    await env.journal.write(change, account=client.account)
    return RegisteredClient(changed, token, secret)


async def delete_registration(env: Env, call: Call, client: OAuthClient) -> None:
    """Deletes a client at its own request, with its refresh tokens and sessions (RFC 7592, 2.3). Raises DaypassError."""
    reason = "the OAuth client deleted its registration"
    revocation = new_revocation(
        env.ids, client.account, ("client", client.id), now=call.now, by=client.arn, reason=reason
    )

    def change(tx: Tx) -> tuple[None, Event]:
        _unchanged(tx, client)
        tx.delete(client)
        tx.insert(revocation)
        return None, _event(call, client, deleted=True, revocation=revocation.id)

    await env.journal.write(change, account=client.account, urgent=True)


def _unchanged(tx: Tx, client: OAuthClient) -> None:
    if tx.get(OAuthClient, id=client.id) != client:
        raise DaypassError(ErrorKind.CONCURRENT_MODIFICATION, "The client has just been changed; try again.")


def _event(call: Call, client: OAuthClient, **detail: Any) -> Event:
    actor = AuthenticatedClient(client, parse_client(client.settings)).actor
    kind, detail = EventType.DIRECTORY_CHANGED, {"client": client.arn, **detail}
    return event_of(kind, call.facts, actor, at=call.now, account=client.account, detail=detail)


def _settings(document: Mapping[str, Any], old: ClientSettings | None = None) -> ClientSettings:
    try:
        return settings_of(document, old)
    except ValueError as error:
        uri = str(error).startswith(("redirect_uris", "grant_types: authorization_code needs redirect_uris"))
        kind = ErrorKind.INVALID_REDIRECT_URI if uri else ErrorKind.INVALID_CLIENT_METADATA
        raise DaypassError(kind, str(error)) from None


@contextmanager
def _about_metadata() -> Iterator[None]:
    """Refuses settings that cannot be used in the words of RFC 7591, 3.2.2."""
    try:
        yield
    except DaypassError as error:
        if error.kind is not ErrorKind.VALIDATION:
            raise
        raise DaypassError(ErrorKind.INVALID_CLIENT_METADATA, error.public) from None


def _name(document: Mapping[str, Any]) -> str:
    name = document.get("client_name", "")
    if not isinstance(name, str):
        raise DaypassError(ErrorKind.INVALID_CLIENT_METADATA, "client_name: a string is expected.")
    return checked_name(name.strip()) if name.strip() else ""

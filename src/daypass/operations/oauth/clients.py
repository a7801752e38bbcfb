"""OAuth clients of an account: creating, changing and deleting them, and their secrets.

Whoever can change how a client authenticates can act as that client. So these operations also need the permission that
AWS requires for the same change to an identity provider (`operations.management.ALSO`). A secret is returned once.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from functools import lru_cache
from typing import Any, Final

from msgspec import Struct

from daypass.domain.directory import OAuthClient
from daypass.domain.errors import DaypassError, ErrorKind
from daypass.domain.events import Event
from daypass.domain.jws import JoseError, base64url
from daypass.domain.oauth.client import (
    ANY,
    COMMAND_LINE_ID,
    SAME_DEVICE_ID,
    SECRET_METHODS,
    ClientSettings,
    check_signing_keys,
    dump_client,
    key_source_of,
    parse_client,
)
from daypass.domain.ssf import CredentialChange
from daypass.operations import heavy
from daypass.operations.crud import Collection
from daypass.operations.iam import login_profiles
from daypass.operations.management import allow
from daypass.operations.outcome import check_web_address
from daypass.operations.revocation import new_revocation
from daypass.operations.ssf import push
from daypass.ports import Call, Env, Tx

CLIENTS_PER_ACCOUNT: Final = 1_000
MAX_SECRETS: Final = 2
"""Active secrets of one client: the old one and the new one during a rotation."""

_KIND: Final = "client"
CLIENTS: Final = Collection(OAuthClient, "Client", _KIND, "client", CLIENTS_PER_ACCOUNT, key="id", identity="arn")
_MAX_NAME: Final = 128
_SECRET: Final = "client-secret"
_MATERIAL: Final = {
    "jwk": ("jwks", "jwks_uri"),
    "x509": (
        "tls_client_auth_subject_dn",
        "tls_client_auth_san_dns",
        "tls_client_auth_san_uri",
        "trust_anchor",
        "tls_client_certificates",
    ),
}
"""The settings that say what proves a client, by the type of the credential."""


class NewSecret(Struct, frozen=True):
    """A client with a new secret, which is not stored."""

    client: OAuthClient
    secret_id: str
    secret: str

    def __repr__(self) -> str:
        return f"NewSecret({self.secret_id})"


async def create_client(
    env: Env,
    call: Call,
    name: str,
    members: Mapping[str, Any],
    account: str = "",
    *,
    complete: Callable[[OAuthClient], OAuthClient] = lambda client: client,
) -> OAuthClient:
    """daypass:CreateClient, with iam:CreateOpenIDConnectProvider. `members`: as in `domain.oauth.client.ClientSettings`.
    `complete`: adds what the client proves itself with.

    Raises DaypassError: ACCESS_DENIED, VALIDATION, LIMIT_EXCEEDED.
    """
    owner = account or call.caller.account
    decision = await allow(env, call, "CreateClient", _KIND, "*", owner)
    settings = dump_client(await _parsed(env, call, members))
    client = complete(
        OAuthClient(env.ids.unique("DPCL"), owner, checked_name(name), call.now, call.now, settings=settings)
    )

    def change(tx: Tx) -> tuple[OAuthClient, Event]:
        CLIENTS.put(tx, None, client)
        return client, CLIENTS.changed(call, client, decision, after=describe(client))

    return await env.journal.write(change, account=call.caller.account)


async def update_client(
    env: Env,
    call: Call,
    client_id: str,
    account: str = "",
    *,
    name: str | None = None,
    enabled: bool | None = None,
    members: Mapping[str, Any] | None = None,
) -> OAuthClient:
    """daypass:UpdateClient, with iam:UpdateOpenIDConnectProviderThumbprint. None: no change; `members` replaces all settings.

    Raises DaypassError: ACCESS_DENIED, NOT_FOUND, VALIDATION, CONCURRENT_MODIFICATION.
    """
    old, decision = await CLIENTS.authorized(env, call, "UpdateClient", client_id, account)
    settings = old.settings if members is None else dump_client(await _parsed(env, call, members))
    updated = replace(
        old,
        name=old.name if name is None else checked_name(name),
        enabled=old.enabled if enabled is None else enabled,
        settings=settings,
        secrets=old.secrets if parse_client(settings).token_endpoint_auth_method in SECRET_METHODS else (),
        updated_at=call.now,
    )

    def change(tx: Tx) -> tuple[OAuthClient, Event]:
        if CLIENTS.existing(tx, old.account, old.id) != old:
            raise DaypassError(ErrorKind.CONCURRENT_MODIFICATION, "The client has just been changed; try again.")
        tx.replace(updated)
        _announce(env, tx, call, _changes(old, updated))
        return updated, CLIENTS.changed(call, updated, decision, before=describe(old), after=describe(updated))

    return await env.journal.write(change, account=call.caller.account)


async def delete_client(env: Env, call: Call, client_id: str, account: str = "") -> None:
    """daypass:DeleteClient. Its refresh tokens and its sessions end with it.

    Raises DaypassError: ACCESS_DENIED, NOT_FOUND.
    """
    old, decision = await CLIENTS.authorized(env, call, "DeleteClient", client_id, account)
    reason = "the OAuth client was deleted"
    revocation = new_revocation(
        env.ids, old.account, ("client", old.id), now=call.now, by=call.caller.arn, reason=reason
    )

    def change(tx: Tx) -> tuple[None, Event]:
        client = CLIENTS.existing(tx, old.account, old.id)
        tx.delete(client)
        _announce(env, tx, call, _changes(client, replace(client, secrets=())))
        tx.insert(revocation)
        return None, CLIENTS.changed(call, old, decision, deleted=True, revocation=revocation.id)

    await env.journal.write(change, account=call.caller.account, urgent=True)


# --- Secrets ---------------------------------------------------------------------------------------------------------


async def create_client_secret(env: Env, call: Call, client_id: str, account: str = "") -> NewSecret:
    """daypass:CreateClientSecret, with iam:UpdateOpenIDConnectProviderThumbprint. Adds a secret to the one in use, if any.

    Raises DaypassError: ACCESS_DENIED, NOT_FOUND, VALIDATION (the client does not use secrets), LIMIT_EXCEEDED.
    """
    old, decision = await CLIENTS.authorized(env, call, "CreateClientSecret", client_id, account)
    if parse_client(old.settings).token_endpoint_auth_method not in SECRET_METHODS:
        raise DaypassError(ErrorKind.VALIDATION, "This client does not authenticate with a secret.")
    secret_id, secret = new_secret(env.ids.seed())
    hashed = hash_of(secret, env.ids.secret())

    def change(tx: Tx) -> tuple[OAuthClient, Event]:
        client = CLIENTS.existing(tx, old.account, old.id)
        if len(client.secrets) >= MAX_SECRETS:
            raise DaypassError(
                ErrorKind.LIMIT_EXCEEDED, f"A client has at most {MAX_SECRETS} secrets: delete one first."
            )
        made = replace(client, secrets=(*client.secrets, (secret_id, str(call.now), hashed)), updated_at=call.now)
        tx.replace(made)
        _announce(env, tx, call, _changes(client, made))
        return made, CLIENTS.changed(call, made, decision, secret_added=secret_id)

    return NewSecret(await env.journal.write(change, account=call.caller.account), secret_id, secret)


async def delete_client_secret(env: Env, call: Call, client_id: str, secret_id: str, account: str = "") -> OAuthClient:
    """daypass:DeleteClientSecret. Raises DaypassError: ACCESS_DENIED, NOT_FOUND."""
    old, decision = await CLIENTS.authorized(env, call, "DeleteClientSecret", client_id, account)

    def change(tx: Tx) -> tuple[OAuthClient, Event]:
        client = CLIENTS.existing(tx, old.account, old.id)
        kept = tuple(secret for secret in client.secrets if secret[0] != secret_id)
        if kept == client.secrets:
            raise DaypassError(ErrorKind.NOT_FOUND, f"The client has no secret {secret_id[:64]}.")
        made = replace(client, secrets=kept, updated_at=call.now)
        tx.replace(made)
        _announce(env, tx, call, _changes(client, made))
        return made, CLIENTS.changed(call, made, decision, secret_deleted=secret_id)

    return await env.journal.write(change, account=call.caller.account, urgent=True)


# --- Shared ----------------------------------------------------------------------------------------------------------


def describe(client: OAuthClient) -> dict[str, Any]:
    """A client for people and for the record, without the hashes of its secrets."""
    return {
        "client_id": client.id,
        "name": client.name,
        "enabled": client.enabled,
        "settings": json.loads(client.settings),
        "secrets": [secret_id for secret_id, _, _ in client.secrets],
    }


def _announce(env: Env, tx: Tx, call: Call, changes: Iterable[CredentialChange]) -> None:
    push.announce(env, tx, changes, call.now, actor_id=call.caller.principal_id)


def _changes(before: OAuthClient, after: OAuthClient) -> list[CredentialChange]:
    """The changed credentials of a client: secrets, keys, certificates."""
    ids = [{secret_id for secret_id, _, _ in client.secrets} for client in (before, after)]
    found = [(_SECRET, "create", name) for name in sorted(ids[1] - ids[0])]
    found += [(_SECRET, "delete", name) for name in sorted(ids[0] - ids[1])]
    if before.settings != after.settings:
        old, new = parse_client(before.settings), parse_client(after.settings)
        for kind, members in _MATERIAL.items():
            if any(getattr(old, name) != getattr(new, name) for name in members):
                found.append((kind, "update", ""))
    return [CredentialChange(after.account, after.id, *change, "application") for change in found]


def checked_name(name: str) -> str:
    if not 0 < len(name) <= _MAX_NAME or not name.isprintable() or name != name.strip():
        raise DaypassError(ErrorKind.VALIDATION, f"A name is 1 to {_MAX_NAME} printable characters.")
    return name


async def _parsed(env: Env, call: Call, members: Mapping[str, Any]) -> ClientSettings:
    settings = await heavy.parse(env, call, read_settings, json.dumps(members, default=str))
    await check_settings(env, call.caller.account, settings)
    return settings


async def check_settings(env: Env, account: str, settings: ClientSettings) -> None:
    """Refuses keys that could never verify and addresses that can never be requested: later each request fails, far from
    the cause. Raises DaypassError(VALIDATION).
    """
    source = key_source_of(account, "", settings)
    if source is not None and (fault := await env.issuers.fault(source)):
        raise DaypassError(ErrorKind.VALIDATION, fault.replace("static_jwks", "jwks").replace("jwks_url", "jwks_uri"))
    try:
        check_signing_keys(settings)
    except ValueError as error:
        raise DaypassError(ErrorKind.VALIDATION, str(error)) from None
    if settings.backchannel_logout_uri:
        check_web_address(env, "backchannel_logout_uri", settings.backchannel_logout_uri)


def read_settings(text: str) -> ClientSettings:
    """The settings as written. Raises DaypassError(VALIDATION) that names the member."""
    try:
        return parse_client(text)
    except ValueError as error:
        raise DaypassError(ErrorKind.VALIDATION, str(error)) from None


# --- Secrets of OAuth clients: how they are made, stored and verified


_FORM: Final = re.compile(r"([0-9a-f]{8})\.([A-Za-z0-9_-]{54})")
_WRONG: Final = "the secret is not one of the client's"


def new_secret(seed: bytes) -> tuple[str, str]:
    """The id and the text of the secret of this seed of 40 random bytes."""
    secret_id, text = hashlib.sha256(seed).hexdigest()[:8], base64url(seed)
    return secret_id, f"{secret_id}.{text}"


def hash_of(secret: str, salt: str) -> str:
    """The stored form of a secret."""
    return login_profiles.hashed(secret, salt, login_profiles.RANDOM_COST)


def check_secret(client: OAuthClient, secret: str) -> None:
    """Raises JoseError unless it is one of the client's."""
    form = _FORM.fullmatch(secret)
    named = (
        [] if form is None else [hashed for known, _, hashed in client.secrets if hmac.compare_digest(known, form[1])]
    )
    if not named or not login_profiles.matches(secret, named[0]):
        raise JoseError(_WRONG)


# --- The clients that every installation has


_WEEK: Final = 7 * 86_400
_HALF_A_DAY: Final = 43_200
_DEVICE: Final = "urn:ietf:params:oauth:grant-type:device_code"
CONFIRMATION: Final = "/v1/sessions/confirmation"
"""The page that shows a code for a tool on another device."""


@lru_cache(maxsize=8)
def built_in(client_id: str, issuer: str) -> OAuthClient:
    """A client of `BUILT_IN`. It is public, and signs in people of any account: what it gets is limited by the person's own
    policies, as with an access key.
    """
    bound, seconds = client_id != COMMAND_LINE_ID, _HALF_A_DAY
    if client_id == COMMAND_LINE_ID:
        name, address, seconds = "Daypass command line", "http://127.0.0.1/callback", _WEEK
    elif client_id == SAME_DEVICE_ID:
        name, address = "AWS CLI", "http://127.0.0.1/oauth/callback"
    else:
        name, address = "AWS CLI on another device", issuer + CONFIRMATION
    settings = ClientSettings(
        token_endpoint_auth_method="none",
        redirect_uris=(address,),
        grant_types=("authorization_code", "refresh_token", *(() if bound else (_DEVICE,))),
        roles=(ANY,),
        dpop_bound_access_tokens=bound,
        refresh_token_seconds=seconds,
    )
    return OAuthClient(client_id, "", name, created_at=0, updated_at=0, settings=dump_client(settings))

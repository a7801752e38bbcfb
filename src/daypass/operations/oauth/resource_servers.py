"""Resource servers of an account: the services that accept its access tokens, and their scopes as session policies."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from daypass.domain.directory import ResourceServer
from daypass.domain.errors import DaypassError, ErrorKind
from daypass.domain.events import Event
from daypass.domain.oauth.client import FAPI_ALGORITHMS
from daypass.domain.oauth.resource_server import (
    ResourceServerSettings,
    dump_resource_server,
    parse_resource_server,
    policy_of,
    policy_text,
)
from daypass.domain.policy.document import PolicyKind, parse
from daypass.operations import heavy
from daypass.operations.crud.collection import Collection
from daypass.operations.management import allow
from daypass.ports import Call, Env, Tx

SERVERS_PER_ACCOUNT: Final = 1_000
_KIND: Final = "resource-server"
SERVERS: Final = Collection(
    ResourceServer, "ResourceServer", _KIND, "resource server", SERVERS_PER_ACCOUNT, key="identifier", identity="arn"
)
"""The tokens of a deleted one stay valid until they expire."""
_IDENTIFIER = re.compile(r"[!-~]{1,512}")
_MAX_NAME: Final = 128


async def put_resource_server(
    env: Env, call: Call, identifier: str, name: str, members: Mapping[str, Any], account: str = ""
) -> ResourceServer:
    """daypass:PutResourceServer. Creates or replaces a resource server.

    `members`: as in `domain.oauth.resource_server.ResourceServerSettings`.
    Raises DaypassError: ACCESS_DENIED, VALIDATION, MALFORMED_POLICY, LIMIT_EXCEEDED, ALREADY_EXISTS when another account
    has it.
    """
    owner = account or call.caller.account
    decision = await allow(env, call, "PutResourceServer", _KIND, identifier, owner)
    if not _IDENTIFIER.fullmatch(identifier):
        raise DaypassError(ErrorKind.VALIDATION, "An identifier is up to 512 printable characters without spaces.")
    if not 0 < len(name) <= _MAX_NAME or not name.isprintable():
        raise DaypassError(ErrorKind.VALIDATION, f"A name is 1 to {_MAX_NAME} printable characters.")
    settings = await heavy.parse(env, call.caller.account, _parsed, json.dumps(members, default=str))
    if settings.algorithm and env.oauth.enabled and settings.algorithm not in env.oauth.signer.algorithms:
        raise DaypassError(
            ErrorKind.VALIDATION, f"algorithm: the server has no keys for {settings.algorithm}: see oauth.algorithm."
        )
    wanted = ResourceServer(owner, identifier, name, call.now, call.now, dump_resource_server(settings))

    def change(tx: Tx) -> tuple[ResourceServer, Event]:
        old = tx.get(ResourceServer, identifier=identifier)
        if old is not None and old.account != owner:
            raise DaypassError(ErrorKind.ALREADY_EXISTS, "A resource server with this identifier is registered.")
        server = wanted if old is None else replace(wanted, created_at=old.created_at, tags=old.tags)
        SERVERS.put(tx, old, server)
        before = None if old is None else describe(old)
        return server, SERVERS.changed(call, server, decision, before=before, after=describe(server))

    return await env.journal.write(change, account=call.caller.account)


def metadata(env: Env, server: ResourceServer) -> dict[str, Any]:
    """The metadata that the resource server can publish (RFC 9728, 2). Raises DaypassError(UNSUPPORTED_OPERATION)."""
    oauth = env.oauth
    if not oauth.enabled:
        message = "OAuth is off: server.public_url is not set."
        raise DaypassError(ErrorKind.UNSUPPORTED_OPERATION, message)
    return {
        "resource": server.identifier,
        "resource_name": server.name,
        "authorization_servers": [oauth.issuer],
        "jwks_uri": f"{oauth.issuer}/.well-known/jwks.json",
        "scopes_supported": list(parse_resource_server(server.settings).scopes),
        "bearer_methods_supported": ["header"],
        "dpop_signing_alg_values_supported": list(FAPI_ALGORITHMS),
        "tls_client_certificate_bound_access_tokens": True,
    }


def describe(server: ResourceServer) -> dict[str, Any]:
    """A resource server for people and for the record."""
    return {"identifier": server.identifier, "name": server.name, "settings": json.loads(server.settings)}


def _parsed(text: str) -> ResourceServerSettings:
    """The settings, with the policies of all scopes checked. Each scope must be usable by itself."""
    try:
        settings = parse_resource_server(text)
    except ValueError as error:
        raise DaypassError(ErrorKind.VALIDATION, str(error)) from None
    if settings.policy is not None:
        try:
            parse(policy_text(settings.policy), PolicyKind.RESOURCE)
        except ValueError as error:
            raise DaypassError(ErrorKind.MALFORMED_POLICY, f"policy: {error}") from None
    for name, scope in settings.scopes.items():
        if scope.policy is None:
            continue
        try:
            parse(policy_text(scope.policy), PolicyKind.SESSION)
            if merged := policy_of((scope,)):
                parse(merged, PolicyKind.SESSION)
        except ValueError as error:  # PolicyError among them
            raise DaypassError(ErrorKind.MALFORMED_POLICY, f"The policy of the scope {name}: {error}") from None
    return settings

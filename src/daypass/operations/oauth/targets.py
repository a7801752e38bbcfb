"""The audiences and scope of a token: what the client and the subject's session may ask for, what the resource servers say
of tokens for them, and whether the principal of the token may have it.

A registered audience belongs to the account of its resource server, whoever asks for it. A token for it needs
`daypass:GetAccessToken` on the resource server; in another account it also needs that resource server's own policy.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from msgspec import Struct

from daypass.domain.context import AUDIENCE_KEY, SCOPE_KEY
from daypass.domain.directory import ResourceServer
from daypass.domain.errors import DaypassError, ErrorKind
from daypass.domain.events import Event
from daypass.domain.oauth.client import BUILT_IN, FAPI_ALGORITHMS
from daypass.domain.oauth.resource_server import (
    ResourceServerSettings,
    dump_resource_server,
    parse_resource_server,
    policy_of,
    policy_text,
    resource_policy_of,
)
from daypass.domain.policy.document import PolicyKind, parse
from daypass.domain.policy.model import Value
from daypass.domain.session import SessionClaims
from daypass.operations import heavy
from daypass.operations.authorize import authorize
from daypass.operations.crud import Collection
from daypass.operations.management import allow
from daypass.operations.oauth.request import TokenRequest
from daypass.ports import Call, Env, Tx

ACTION: Final = "daypass:GetAccessToken"


class TokenTarget(Struct, frozen=True):
    """The targets of a token: audiences and scope.

    `servers`: the resource servers among the audiences. `policy`: the session policy of its scope, "" for none.
    `algorithms`: those that the resource servers ask for. `seconds`: the longest lifetime that they allow; 0: no limit.
    """

    audiences: tuple[str, ...]
    scope: tuple[str, ...]
    servers: tuple[ResourceServer, ...] = ()
    policy: str = ""
    algorithms: frozenset[str] = frozenset()
    seconds: int = 0


async def target_of(env: Env, request: TokenRequest, session: SessionClaims | None) -> TokenTarget:
    """The target of the requested token, within the ceilings of the subject's `session`, if it has one.

    Raises DaypassError: INVALID_TARGET, INVALID_SCOPE, UNAVAILABLE.
    """
    most = None if session is None else session.audiences
    audiences = request.audiences or most or default_audiences(env, request)
    check_audiences(env, request, audiences)
    if session is not None:
        check_ceiling(session, audiences)
    scope = request.scope or (session.scopes if session is not None else None) or ()
    target = await _target(env, request, audiences, scope)
    if session is not None and session.scopes is not None and not set(target.scope) <= set(session.scopes):
        raise DaypassError(ErrorKind.INVALID_SCOPE, "The scope is not within that of the subject token.")
    return target


async def _target(env: Env, request: TokenRequest, audiences: tuple[str, ...], scope: tuple[str, ...]) -> TokenTarget:
    found = [server for name in audiences if (server := await registered(env, name)) is not None]
    if not found:
        _check_scope(request, scope)
        return TokenTarget(audiences, scope)
    servers = [parse_resource_server(each.settings) for each in found]
    known = {name: each for server in servers for name, each in server.scopes.items()}
    if known:
        wanted = scope or tuple(dict.fromkeys(name for server in servers for name in server.default_scopes))
        if not wanted:
            raise DaypassError(ErrorKind.INVALID_SCOPE, "The resource server requires a scope.")
        if unknown := [name for name in wanted if name not in known]:
            raise DaypassError(ErrorKind.INVALID_SCOPE, f"The resource server has no scope {unknown[0]}.")
        scope = wanted
    _check_scope(request, scope)
    try:
        policy = policy_of((known[name] for name in scope if name in known), [each.arn for each in found])
    except ValueError as error:
        raise DaypassError(ErrorKind.INVALID_SCOPE, f"The scope cannot be granted: {error}.") from None
    seconds = [server.token_seconds for server in servers if server.token_seconds]
    algorithms = frozenset(server.algorithm for server in servers if server.algorithm)
    return TokenTarget(audiences, scope, tuple(found), policy, algorithms, min(seconds, default=0))


def ceilings(
    request: TokenRequest, target: TokenTarget, session: SessionClaims | None
) -> tuple[tuple[str, ...] | None, tuple[str, ...] | None]:
    """The ceilings of audiences and scopes of the new session.

    A session for a client, audience or scope is limited to them. A client that every installation has is not limited: it is
    the person.
    """
    client = request.sender.client
    limited = client is not None and client.client.id not in BUILT_IN
    audiences, scopes = (None, None) if session is None else (session.audiences, session.scopes)
    if limited or request.audiences or audiences is not None:
        audiences = target.audiences
    if limited or request.audiences or target.scope or scopes is not None:
        scopes = target.scope
    return audiences, scopes


async def check_permission(env: Env, call: Call, target: TokenTarget, client_id: str) -> None:
    """Whether the caller, the principal of the token, may have it for every resource server of its target.

    Raises DaypassError(ACCESS_DENIED).
    """
    for server in target.servers:
        keys: dict[str, Value] = {AUDIENCE_KEY: server.identifier}
        if target.scope:
            keys[SCOPE_KEY] = target.scope
        if client_id:
            keys["daypass:clientid"] = client_id
        await authorize(
            env,
            call,
            ACTION,
            server.arn,
            context=keys,
            resource_policy=resource_policy_of(server.settings),
            shown="" if server.account == call.caller.account else server.identifier,
        )


def default_audiences(env: Env, request: TokenRequest) -> tuple[str, ...]:
    """The audience of a token for which none is asked: the client's first, or this server."""
    client = request.sender.client
    return client.settings.audiences[:1] if client is not None and client.settings.audiences else (env.oauth.issuer,)


def check_ceiling(session: SessionClaims, audiences: tuple[str, ...]) -> None:
    """Raises DaypassError(INVALID_TARGET) unless tokens of the session may be for these audiences."""
    if session.audiences is not None and not set(audiences) <= set(session.audiences):
        raise DaypassError(
            ErrorKind.INVALID_TARGET,
            "The session is bound to other audiences.",
            private={"bound": session.audiences, "session_id": session.session_id},
        )


def check_audiences(env: Env, request: TokenRequest, audiences: tuple[str, ...]) -> None:
    """Raises DaypassError(INVALID_TARGET) unless the client may ask for these audiences."""
    client = request.sender.client
    if client is None:
        return
    if not set(audiences) <= client.settings.allowed_audiences(env.oauth.issuer):
        raise DaypassError(
            ErrorKind.INVALID_TARGET, "The client may not ask for this audience.", private=client.private
        )


def _check_scope(request: TokenRequest, scope: tuple[str, ...]) -> None:
    client = request.sender.client
    if client is not None and not set(scope) <= set(client.settings.scopes):
        raise DaypassError(ErrorKind.INVALID_SCOPE, "The client may not ask for this scope.", private=client.private)


async def registered(env: Env, audience: str) -> ResourceServer | None:
    """The resource server with this identifier, of any account, as this process has it.

    Most audiences are not registered, so the change feed is not polled for one: a new resource server applies within a
    second.
    """
    return await env.directory.entity(ResourceServer, audience)


# --- Resource servers


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
    settings = await heavy.parse(env, call, read_settings, json.dumps(members, default=str))
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


def read_settings(text: str) -> ResourceServerSettings:
    """The settings as written, with the policies of all scopes checked. Each scope must be usable by itself.

    Raises DaypassError: VALIDATION, MALFORMED_POLICY.
    """
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

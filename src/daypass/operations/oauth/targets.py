"""The audiences and scope of a token: what the client may ask for, and what the resource servers say of tokens for them."""

from __future__ import annotations

from msgspec import Struct

from daypass.domain.directory import ResourceServer
from daypass.domain.errors import DaypassError, ErrorKind
from daypass.domain.oauth.resource_server import ResourceServerSettings, parse_resource_server, policy_of
from daypass.operations.oauth.request import TokenRequest
from daypass.ports import Env


class Target(Struct, frozen=True):
    """What a token is for.

    `policy`: the session policy of its scope, "" for none. `algorithms`: those that the resource servers ask for.
    `seconds`: the longest lifetime that they allow; 0: no limit.
    """

    audiences: tuple[str, ...]
    scope: tuple[str, ...]
    policy: str = ""
    algorithms: frozenset[str] = frozenset()
    seconds: int = 0


async def target_of(
    env: Env, account: str, request: TokenRequest, audiences: tuple[str, ...], scope: tuple[str, ...]
) -> Target:
    """The target of a token of `account` (12 digits) for `audiences`. `scope`: () for the default.

    Raises DaypassError: INVALID_TARGET, INVALID_SCOPE, UNAVAILABLE.
    """
    check_audiences(env, request, audiences)
    servers = [
        resource_server_settings
        for name in audiences
        if (resource_server_settings := await _registered(env, account, name)) is not None
    ]
    if not servers:
        _check_scope(request, scope)
        return Target(audiences, scope)
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
        policy = policy_of(known[name] for name in scope if name in known)
    except ValueError as error:
        raise DaypassError(ErrorKind.INVALID_SCOPE, f"The scope cannot be granted: {error}.") from None
    seconds = [server.token_seconds for server in servers if server.token_seconds]
    algorithms = frozenset(server.algorithm for server in servers if server.algorithm)
    return Target(audiences, scope, policy, algorithms, min(seconds, default=0))


def default_audiences(env: Env, request: TokenRequest) -> tuple[str, ...]:
    """The audience of a token for which none is asked: the client's first, or this server."""
    client = request.sender.client
    return client.settings.audiences[:1] if client is not None and client.settings.audiences else (env.oauth.issuer,)


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


async def _registered(env: Env, account: str, audience: str) -> ResourceServerSettings | None:
    """The settings of the account's resource server with this identifier, as this process has them.

    Most audiences are not registered, so the change feed is not polled for one: a new resource server applies within a
    second.
    """
    server = await env.directory.entity(ResourceServer, account, audience)
    return parse_resource_server(server.settings) if server is not None else None

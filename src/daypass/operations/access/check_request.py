"""A request that a proxy asks about: may its sender do what the request means? The proxy changes nothing and learns only the
answer; the sender's own policies decide, as everywhere, through `authorize`.

Another account's sender also needs the resource policy of the resource server.
"""

from __future__ import annotations

from typing import Final
from urllib.parse import urlsplit

from msgspec import Struct

from daypass.domain.directory import ReplayEntry, ResourceServer
from daypass.domain.errors import DaypassError, ErrorKind
from daypass.domain.gateway import Meaning, meaning_of, read_path
from daypass.domain.oauth.resource_server import ResourceServerSettings, parse_resource_server, resource_policy_of
from daypass.operations.assume.request import commit_once
from daypass.operations.authorize import authorize
from daypass.operations.oauth.targets import TokenTarget, check_permission, registered
from daypass.operations.outcome import OWNER, served
from daypass.ports import Call, Env

ACTION: Final = "CheckRequest"


class Protected(Struct, frozen=True):
    """A resource server whose proxy asks. `origin`: scheme and host as its clients know them."""

    server: ResourceServer
    settings: ResourceServerSettings
    origin: str


async def protected(env: Env, audience: str) -> Protected:
    """The resource server of this identifier. Raises DaypassError(ACCESS_DENIED) for one that is unknown or has no routes."""
    server = await registered(env, audience) if audience else None
    settings = parse_resource_server(server.settings) if server is not None else None
    if server is None or settings is None or not settings.routes:
        raise _refused("no resource server of this name has routes", audience=audience[:512])
    named = urlsplit(server.identifier)
    return Protected(server, settings, settings.origin or f"{named.scheme}://{named.netloc}".lower())


def meaning(target: Protected, method: str, unverified_path: bytes) -> Meaning:
    """What a request asks for. Raises DaypassError(ACCESS_DENIED): its path is ambiguous, or no route fits."""
    account = target.server.account
    try:
        segments = read_path(unverified_path)
    except ValueError as error:
        raise _refused(f"the path is ambiguous: {error}", **{OWNER: account}) from None
    found = meaning_of(target.settings.routes, method, segments, account)
    if found is None:
        raise _refused("no route fits", **{OWNER: account})
    return found


async def check_request(
    env: Env, call: Call, target: Protected, wanted: Meaning, replays: tuple[ReplayEntry, ...] = ()
) -> None:
    """Returns if the caller may do what its request means. Raises DaypassError(ACCESS_DENIED), UNAVAILABLE."""
    session = call.caller.session
    if session is not None:
        ceiling = session.audiences
        if session.may_act is not None or (ceiling is not None and target.server.identifier not in ceiling):
            raise _refused("the session is for other audiences", session_id=session.session_id)
    policy = resource_policy_of(target.server.settings)
    decision = await authorize(env, call, wanted.action, wanted.resource, resource_policy=policy)
    if replays or env.limits.record_decisions == "all":
        detail = {"action": wanted.action, "resource": wanted.resource, "audience": target.server.identifier}
        await commit_once(env, served(call, decision=decision, detail=detail), replays)


async def check_cluster(env: Env, call: Call, server: ResourceServer) -> None:
    """Returns if the caller of an access token for a cluster may still have one. Raises DaypassError(ACCESS_DENIED), UNAVAILABLE."""
    target = TokenTarget((server.identifier,), (), (server,))
    await check_permission(env, call, target, "")
    if env.limits.record_decisions == "all":
        await env.journal.commit(served(call, detail={"audience": server.identifier}))


def _refused(reason: str, **private: str) -> DaypassError:
    return DaypassError(ErrorKind.ACCESS_DENIED, "The request is not allowed.", private={"reason": reason, **private})

"""Introspection (RFC 7662) and revocation (RFC 7009) of access tokens.

The caller must authenticate. A token that it may not see gets the same answer as an invalid one, so that these
operations reveal nothing about other accounts (attack A69).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any, Final

from daypass.api.sessions import RevokeSessionInput
from daypass.domain.claims import Caller
from daypass.domain.directory import ReplayEntry
from daypass.domain.errors import DaypassError, ErrorKind
from daypass.domain.events import Event, EventType
from daypass.domain.oauth.resource_server import JKT, Binding, parse_resource_server
from daypass.domain.policy.model import Decision
from daypass.operations.assume.request import commit_once, consume
from daypass.operations.authenticate import caller_of_session
from daypass.operations.management import allow
from daypass.operations.oauth.access_token import SESSION, OwnToken, is_for, open_access_token
from daypass.operations.oauth.client_authentication import AuthenticatedClient
from daypass.operations.oauth.request import NOBODY, Sender
from daypass.operations.oauth.targets import registered
from daypass.operations.outcome import actor_of, event_of, served
from daypass.operations.revocation import new_revocation
from daypass.operations.sessions.revoke import revoke
from daypass.ports import Call, Env, Tx

INACTIVE: Final[Mapping[str, Any]] = {"active": False}
_REASON: Final = "revoked at the OAuth endpoint"


async def bearer_caller(
    env: Env,
    unverified_text: str,
    now: int,
    proven: Collection[Binding] = (),
    *,
    dpop: bool = False,
    audience: str = "",
) -> Caller:
    """The session of an access token that is for this server, or for `audience`.

    `proven`: the keys that the sender proved to have. `dpop`: the token came with the scheme DPoP. A bound token without its
    key is refused, and so is one that is bound by DPoP but came as a bearer token (attack A75).
    Raises DaypassError: UNKNOWN_CREDENTIALS, UNAVAILABLE.
    """
    try:
        token = await open_access_token(env, unverified_text, now)
        caller = await caller_of_session(env, token.session, now)
    except DaypassError as error:
        raise _unauthenticated(error) from None
    binding, reason = token.binding, ""
    if (
        audience or env.oauth.issuer
    ) not in token.audiences:  # a service that received it is not its subject (attack A25)
        reason = "the token is for another audience"
    elif token.session.may_act is not None:
        reason = "the token is for the exchange by the party in may_act"
    elif binding is not None and binding not in proven:
        reason = "the token is bound to a key that the sender did not prove to have"
    elif dpop != (binding is not None and binding.member == JKT):
        reason = "the token came with the wrong scheme"
    if reason:
        private = {"reason": reason, "session_id": token.session.session_id}
        raise _unauthenticated(DaypassError(ErrorKind.INVALID_IDENTITY_TOKEN, "", private=private))
    return caller


def _unauthenticated(error: DaypassError) -> DaypassError:
    if error.kind is ErrorKind.UNAVAILABLE:
        return error
    message = "The access token is invalid, expired or revoked, or is not for this server."
    return DaypassError(ErrorKind.UNKNOWN_CREDENTIALS, message, private=error.private)


# --- Introspection ---------------------------------------------------------------------------------------------------


async def introspect_token(env: Env, call: Call, unverified_text: str, inspector: Sender = NOBODY) -> Mapping[str, Any]:
    """daypass:IntrospectToken: the claims of a token whose session is valid, or INACTIVE.

    `inspector`: the client that asks, where it is not the caller. Raises DaypassError: ACCESS_DENIED for a token that it
    may not see (to be answered as INACTIVE), UNAVAILABLE.
    """
    token = await _valid_token(env, unverified_text, call.now)
    if token is None:
        await commit_once(env, _event(call, inspector, detail={"active": False}), inspector.replays)
        return INACTIVE
    session, decision = token.session, await _may_see(env, call, token, inspector)
    event = _event(
        call,
        inspector,
        account=session.account,
        session_id=session.session_id,
        decision=decision,
        detail={"active": True},
    )
    await commit_once(env, event, inspector.replays)
    named = {name: value for name, value in token.claims[SESSION].items() if name != "sealed"}
    bound = token.binding is not None and token.binding.member == JKT
    return {"active": True, "token_type": "DPoP" if bound else "Bearer", **token.claims, SESSION: named}


def signed_introspection(env: Env, content: Mapping[str, Any], audience: str, now: int) -> str:
    """The result of an introspection as a signed JWT (RFC 9701, 5). Its type keeps it from being an access token.

    `audience`: the client or principal that asked. Raises DaypassError(UNAVAILABLE).
    """
    server = env.oauth
    claims = {"iss": server.issuer, "aud": audience, "iat": now // 1000, "token_introspection": content}
    return server.signer.sign(claims, server.algorithm, "token-introspection+jwt")


def _event(call: Call, inspector: Sender, *, account: str = "", **more: Any) -> Event:
    """The event of a request of the caller, or of the client."""
    client = inspector.client
    if client is None:
        return served(call, account=account, **more)
    return client.served(call, account=account or client.client.account, **more)


async def _may_see(env: Env, call: Call, token: OwnToken, inspector: Sender) -> Decision | None:
    """None for a token of the session or of one made from it, for its client, and for a service that is its audience;
    otherwise the decision of the caller's policies.
    """
    caller, session, client = call.caller, token.session, inspector.client
    if client is not None:
        if client.client.id == session.client_id or await _serves(env, client, token):
            return None
        private = {**client.private, "session_id": session.session_id}
        raise DaypassError(ErrorKind.ACCESS_DENIED, "The client may not introspect this token.", private=private)
    own = caller.session is not None and caller.session.session_id in {hop.session_id for hop in session.hops}
    if own or (caller.account == session.account and await is_for(env, token, caller)):
        return None
    return await allow(env, call, "IntrospectToken", "session", session.session_id, session.account)


async def _serves(env: Env, client: AuthenticatedClient, token: OwnToken) -> bool:
    """Whether the client introspects for a resource server of its account that the token was issued for."""
    for arn in token.claims[SESSION].get("resource_servers", ()):
        server = await registered(env, arn.split(":resource-server/", 1)[1])
        if server is None or server.arn != arn or server.account != client.client.account:
            continue
        if client.client.id in parse_resource_server(server.settings).introspection_clients:
            return True
    return False


async def _valid_token(env: Env, unverified_text: str, now: int) -> OwnToken | None:
    """The token, if it is valid, its session is not revoked, and its principal exists."""
    try:
        token = await open_access_token(env, unverified_text, now)
        await caller_of_session(env, token.session, now)
    except DaypassError as error:
        if error.kind is ErrorKind.UNAVAILABLE:
            raise
        return None
    return token


# --- Revocation ------------------------------------------------------------------------------------------------------


async def revoke_token(env: Env, call: Call, unverified_text: str, sender: Sender = NOBODY) -> None:
    """Ends the session of a token, in both of its forms, and all sessions made from it. An invalid token is ignored.

    A session may end itself and sessions made from it, and a client those that were issued to it; any other needs
    daypass:RevokeSession. Raises DaypassError: ACCESS_DENIED, UNAUTHORIZED_CLIENT, UNAVAILABLE.
    """
    token = await _valid_token(env, unverified_text, call.now)
    if token is None:
        await commit_once(env, _event(call, sender, detail={"active": False}), sender.replays)
        return
    session, caller, client = token.session, call.caller, sender.client
    if client is not None:
        if client.client.id != session.client_id:  # RFC 7009, 2.1: refused, and the client is informed
            raise token_of_another_client(session=session.session_id)
        actor: Mapping[str, Any] = client.actor
    elif caller.session is None or caller.session.session_id not in {hop.session_id for hop in session.hops}:
        request = RevokeSessionInput("session", session.session_id, session.account, reason=_REASON)
        await revoke(env, call, request, sender.replays)
        return
    else:
        actor = actor_of(caller)
    await end_session(env, call, session.account, session.session_id, actor, sender.replays)


def token_of_another_client(**private: str) -> DaypassError:
    """The refusal to revoke a token that was issued to another client."""
    return DaypassError(
        ErrorKind.UNAUTHORIZED_CLIENT,
        "The token was issued to another client.",
        private={"reason": "other client", **private},
    )


async def end_session(
    env: Env,
    call: Call,
    account: str,
    session_id: str,
    actor: Mapping[str, Any],
    replays: tuple[ReplayEntry, ...] = (),
    *,
    reason: str = _REASON,
    also: Callable[[Tx], None] = lambda _: None,
) -> None:
    """Revokes a session on behalf of its holder or client. `also` writes more in the same
    transaction. Raises DaypassError.
    """
    subject, by = ("session", session_id), str(actor["arn"])
    revocation = new_revocation(env.ids, account, subject, now=call.now, by=by, reason=reason)
    detail = {"revocation": revocation.id, "subject": "session", "value": session_id, "reason": reason}
    event = event_of(
        EventType.SESSION_REVOKED, call.facts, actor, at=call.now, account=account, session_id=session_id, detail=detail
    )

    def change(tx: Tx) -> tuple[None, Event]:
        for entry in replays:
            consume(tx, entry)
        also(tx)
        tx.insert(revocation)
        return None, event

    await env.journal.write(change, account=str(actor.get("account", "")), urgent=True)

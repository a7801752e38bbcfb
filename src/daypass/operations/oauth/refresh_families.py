"""Families of refresh tokens: the one that a token belongs to, and the end of one with every session that its tokens gave.

Sources: RFC 7009; RFC 9700, 4.14.2.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from daypass.domain.directory import RefreshFamily, ReplayEntry
from daypass.domain.errors import DaypassError, ErrorKind
from daypass.operations.assume.request import commit_once
from daypass.operations.oauth.inspect import end_session, token_of_another_client
from daypass.operations.oauth.refresh_family import FamilyContent, content_of, invalid, is_authentic, parse_token
from daypass.operations.oauth.request import Sender
from daypass.ports import Call, Env, Tx


async def opened_family(
    env: Env, unverified_token: str, sender: Sender, *, holder: bool = True
) -> tuple[RefreshFamily, FamilyContent, int]:
    """The family, its content, and the generation of an authentic token of the client, whatever its age.

    `holder`: the sender must prove the key of the family, as for every grant. Raises DaypassError: INVALID_GRANT,
    UNAVAILABLE; without `holder`, for a token of another client, UNAUTHORIZED_CLIENT.
    """
    client, token = sender.known_client, parse_token(unverified_token)
    family = await env.directory.read(lambda tx: tx.get(RefreshFamily, id=token.family), account=client.client.account)
    if family is None:
        raise invalid("the family does not exist")
    content = content_of(env, family)
    if not is_authentic(token, content):
        raise invalid("it is not authentic", family)
    if family.client_id != client.client.id:
        raise invalid("it is of another client", family) if holder else token_of_another_client(family=family.id)
    if family.ended_at or family.expires_at <= env.clock.now():
        raise invalid("its family has ended", family)
    needed = content.key_thumbprint
    if holder and needed and (sender.binding is None or sender.binding.thumbprint != needed):
        raise invalid("it is bound to another key", family)
    return family, content, token.generation


async def revoke_family(env: Env, call: Call, unverified_token: str, sender: Sender) -> None:
    """Ends the family of a refresh token of the client (RFC 7009). A token that is not valid is ignored.

    Raises DaypassError: UNAUTHORIZED_CLIENT, UNAVAILABLE.
    """
    client = sender.known_client
    try:
        family, _, _ = await opened_family(env, unverified_token, sender, holder=False)
    except DaypassError as error:
        if error.kind is not ErrorKind.INVALID_GRANT:
            raise
        await commit_once(env, client.served(call, detail={"active": False}), sender.replays)
        return
    await end_family(env, call, family, client.actor, "revoked at the OAuth endpoint", sender)


async def end_family(
    env: Env, call: Call, family: RefreshFamily, actor: Mapping[str, Any], reason: str, sender: Sender | None = None
) -> None:
    """Ends a family and every session that its tokens gave. Raises DaypassError."""
    replays = sender.replays if sender is not None else ()
    await end_what_was_granted(env, call, family.account, family.id, actor, replays, reason=reason)


async def end_what_was_granted(
    env: Env,
    call: Call,
    account: str,
    identity: str,
    actor: Mapping[str, Any],
    replays: tuple[ReplayEntry, ...] = (),
    *,
    reason: str,
) -> None:
    """Ends a session, and the family of refresh tokens that began with it, if any. `identity`: of both. Raises DaypassError."""

    def also(tx: Tx) -> None:
        family = tx.get(RefreshFamily, id=identity)
        if family is not None and not family.ended_at:
            tx.replace(replace(family, ended_at=call.now))

    await end_session(env, call, account, identity, actor, replays, reason=reason, also=also)

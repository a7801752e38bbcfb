"""Follows revocations: what a verifier in another process needs in order to refuse a revoked session at once.

A follower has only a cursor, so a slow one costs no memory. It sees the revocations of the accounts that it may follow,
and, for all of them, until when what it has seen is complete.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Final, TypeAlias

from msgspec import Struct

from daypass.domain.claims import RequestFacts
from daypass.domain.directory import ReplayEntry, Revocation
from daypass.domain.errors import DaypassError, ErrorKind
from daypass.domain.events import EventType
from daypass.domain.policy.model import Decision
from daypass.domain.session import FeedPosition
from daypass.operations.assume.request import commit_once
from daypass.operations.authenticate import authenticated_again
from daypass.operations.management import EVERY_ACCOUNT, allow
from daypass.operations.outcome import event_of, served
from daypass.ports import Call, Env, FeedState

MAX_ACCOUNTS: Final = 100
_BATCH: Final = 200
_AGAIN_SECONDS: Final = 4.0
"""A follower is authenticated and authorized again this often: its key may be inactive by then, or its policies changed."""


class Reset(Struct, frozen=True):
    """The follower must forget what it knows: the revocations that follow are all there are."""


class RevocationBatch(Struct, frozen=True):
    """Revocations, by position."""

    revocations: tuple[Revocation, ...]


class Heartbeat(Struct, frozen=True):
    """Everything of these accounts up to `state` has been sent. `at`: the server's time, ms.

    `jwks`: the keys that verify access tokens now. `nodes`: only for nodes, see `RevocationFeed.ages`.
    """

    state: FeedState
    at: int
    accounts: tuple[str, ...]
    jwks: bytes
    nodes: Mapping[str, int] | None = None


Change: TypeAlias = "Reset | RevocationBatch | Heartbeat"


class Subscription(Struct, frozen=True):
    """A follower that was authorized. `accounts`: None for every account. `call`: None for a node."""

    call: Call | None
    accounts: frozenset[str] | None


async def subscribe(
    env: Env, call: Call, accounts: Sequence[str] = (), replays: Sequence[ReplayEntry] = ()
) -> Subscription:
    """daypass:FollowRevocations on `revocation/*` of each account: by default the caller's; EVERY_ACCOUNT for the operator.

    `replays`: the one-time proofs of the request, which are consumed.

    Raises DaypassError: ACCESS_DENIED, VALIDATION.
    """
    wanted = tuple(dict.fromkeys(accounts)) or (call.caller.account,)
    if len(wanted) > MAX_ACCOUNTS:
        raise DaypassError(ErrorKind.VALIDATION, f"At most {MAX_ACCOUNTS} accounts can be followed at once.")
    decision = await _allow_each(env, call, wanted)
    await commit_once(env, served(call, decision=decision, detail={"accounts": wanted}), replays)
    return Subscription(call, None if EVERY_ACCOUNT in wanted else frozenset(wanted))


async def _allow_each(env: Env, call: Call, accounts: Sequence[str]) -> Decision | None:
    decision = None
    for account in accounts:
        decision = await allow(env, call, "FollowRevocations", "revocation", "*", account)
    return decision


async def subscribe_node(env: Env, facts: RequestFacts, unverified_proof: str) -> Subscription:
    """Another node of the installation, which follows every account. Raises DaypassError: INVALID_IDENTITY_TOKEN, UNAVAILABLE."""
    await env.nodes.check(unverified_proof)
    event = event_of(EventType.REQUEST_ALLOWED, facts, {}, at=env.clock.now(), account="", detail={"node": True})
    await env.journal.commit(event)
    return Subscription(None, None)


async def follow(
    env: Env, subscription: Subscription, cursor: FeedPosition | None, heartbeat_seconds: float
) -> AsyncIterator[Change]:
    """The changes after `cursor` (None: all that may still match a session), then each new one, with a heartbeat after
    each and at least every `heartbeat_seconds`.

    Ends when the process stops, when the follower's own session has ended, or when it may not follow any more.
    """
    feed, checked_at = env.revocations, env.clock.now()
    unplaced: set[str] = set()
    accounts = (EVERY_ACCOUNT,) if subscription.accounts is None else tuple(sorted(subscription.accounts))
    while not feed.closed:
        version, state, now = feed.version, feed.state(), env.clock.now()
        if _has_ended(env, subscription.call, now):
            return
        if now - checked_at >= _AGAIN_SECONDS * 1000:
            if not await _may_follow(env, subscription.call, accounts, now):
                return
            checked_at = now
        revocations = feed.after(cursor) if cursor is not None else None
        if revocations is None:
            yield Reset()
            unplaced.clear()
            revocations = feed.everything()
        sent = [
            revocation
            for revocation in revocations
            if _concerns(subscription, revocation) and revocation.id not in unplaced
        ]
        for start in range(0, len(sent), _BATCH):
            yield RevocationBatch(tuple(sent[start : start + _BATCH]))
        unplaced.update(revocation.id for revocation in sent if not revocation.position)
        unplaced.difference_update(revocation.id for revocation in sent if revocation.position)
        cursor = state.position
        jwks = env.oauth.signer.jwks() if env.oauth.enabled else b""
        yield Heartbeat(state, now, accounts, jwks, None if subscription.call is not None else feed.ages())
        await feed.changed(version, min(heartbeat_seconds, _AGAIN_SECONDS))


async def _may_follow(env: Env, call: Call | None, accounts: Sequence[str], now: int) -> bool:
    """Whether the subscription would be made now. While the database is unavailable, the cached state is used."""
    if call is None:
        return True
    try:
        caller = await authenticated_again(env, call.caller)
        await _allow_each(env, Call(caller, call.facts, now), accounts)
    except DaypassError as error:
        return error.kind is ErrorKind.UNAVAILABLE
    return True


def _concerns(subscription: Subscription, revocation: Revocation) -> bool:
    return subscription.accounts is None or revocation.account in subscription.accounts


def _has_ended(env: Env, call: Call | None, now: int) -> bool:
    """Whether the session that subscribed has expired or was revoked. It is decided from memory."""
    if call is None:
        return False
    session = call.caller.session
    if session is not None and session.expires_at <= now:
        return True
    return env.revocations.ends(call.caller.hops, session.source_identity if session is not None else "")

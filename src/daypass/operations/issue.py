"""Issuing: the one way in which every session comes into being, whatever proof its first hop brought.

A session is composed, sealed, put on the record, and only then handed out. No credential leaves before its event is
durable; nobody who is blocked gets one; no token is larger than the cap.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from typing import Any, Final, NamedTuple

from daypass.domain.claims import Caller, RequestFacts
from daypass.domain.directory import PolicyContent, Redeemed, Revocation, Tags
from daypass.domain.errors import DaypassError, ErrorKind
from daypass.domain.events import Event, EventType
from daypass.domain.policy.document import PolicyKind, parse
from daypass.domain.policy.model import Decision
from daypass.domain.policy.source import PolicyError
from daypass.domain.session import (
    Hop,
    Seen,
    SessionClaims,
    SessionKind,
    SessionRefused,
    extend_chain,
    merge_tags,
    merge_transitive,
    role_session_seconds,
    transitive_tags,
)
from daypass.domain.value import value
from daypass.operations.authorize import feed_moved
from daypass.operations.outcome import OWNER, actor_of, event_of
from daypass.operations.session_detail import session_detail
from daypass.ports import Env, ManagedPolicyView, RoleView, Tx

MAX_POLICY_ARNS: Final = 10
_DAY_MS: Final = 86_400_000
_FORGET: Final = 4  # old one-time things looked at with each new one: more go than come

# Bound once: before Python 3.12 every look-up of an enum's member runs Python code.
_ROLE: Final = SessionKind.ROLE
_ISSUED: Final = EventType.SESSION_ISSUED


@value
class SessionRequest:
    """What is asked of a new session, in no protocol's words. `duration` in seconds, `minimum_size` in bytes."""

    name: str
    duration: int | None = None
    policy: str = ""
    policy_arns: tuple[str, ...] = ()
    tags: Tags = ()
    transitive_keys: tuple[str, ...] = ()
    source_identity: str = ""
    minimum_size: int = 0


@value
class Origin:
    """What a new session grows from: the chain so far, what it hands on, and who stands in the record for it."""

    hops: tuple[Hop, ...]
    actor: Mapping[str, Any]
    chained: bool = False  # the proof was itself a session
    tags: Tags = ()  # transitive ones only
    source_identity: str = ""
    auth_method: str = "sigv4"
    not_after: int = 0  # ms; the proof ends then, and its session with it; 0: it has no such end
    redeem: Redeemed | None = None  # the one-time proof that the session uses up
    keys: Tags = ()  # context keys that the proof leaves to its session alone, not to those made from it


class Inheritance(NamedTuple):
    """What the new session will have of tags and source identity, inherited and requested together."""

    tags: Tags
    transitive_keys: tuple[str, ...]
    source_identity: str


_NOTHING_INHERITED: Final = Inheritance((), (), "")


class Started(NamedTuple):
    """Time (ms) and feed position of an issue, taken together before the directory is read for it."""

    now: int
    seen: Seen


@value
class Issued:
    """A session that is on the record. `utilization` is the percentage of the token cap, rounded up."""

    claims: SessionClaims
    secret: str
    token: str
    utilization: int

    def credentials(self) -> dict[str, Any]:
        """The Credentials member of every answer of the token service."""
        return {
            "AccessKeyId": self.claims.hops[-1].access_key_id,
            "SecretAccessKey": self.secret,
            "SessionToken": self.token,
            "Expiration": self.claims.expires_at,
        }

    def sizes(self) -> dict[str, int]:
        """The members that tell the token's size."""
        return {"SessionTokenUtilization": self.utilization, "SessionTokenSize": len(self.token)}


def start(env: Env) -> Started:
    """Call it before anything is read that the session will rest on: revocations compare with it."""
    return Started(env.clock.now(), env.directory.seen())


def origin_of(caller: Caller) -> Origin:
    """A signing caller as the origin of a new session."""
    session = caller.session
    if session is None:
        return Origin(caller.hops, actor_of(caller), auth_method=caller.auth_method)
    return Origin(
        caller.hops,
        actor_of(caller),
        chained=True,
        tags=transitive_tags(session),
        source_identity=session.source_identity,
        auth_method=caller.auth_method,
    )


# --- What the new session may ask for --------------------------------------------------------------------------------


def inherit(origin: Origin, request: SessionRequest) -> Inheritance:
    """Tags and source identity of the new session. Raises DaypassError with AWS's codes and messages.

    A transitive tag cannot be overridden and a source identity cannot be changed anywhere in a chain.
    """
    if origin.source_identity and request.source_identity not in ("", origin.source_identity):
        raise DaypassError(ErrorKind.VALIDATION, "The source identity is already set for this assume role session")
    source_identity = origin.source_identity or request.source_identity
    if not (request.tags or request.transitive_keys or origin.tags):
        return Inheritance((), (), source_identity) if source_identity else _NOTHING_INHERITED
    try:
        tags = merge_tags(request.tags, origin.tags)
        transitive = merge_transitive(request.transitive_keys, request.tags, origin.tags)
    except SessionRefused as refusal:
        raise DaypassError(ErrorKind.INVALID_PARAMETER, refusal.message) from None
    return Inheritance(tags, transitive, source_identity)


def check_policies(request: SessionRequest) -> None:
    """The session policies of a request, as far as they can be judged without the directory."""
    if request.policy:
        check_policy(request.policy)
    if len(request.policy_arns) > MAX_POLICY_ARNS:
        raise DaypassError(
            ErrorKind.VALIDATION,
            "1 validation error detected: Value at 'policyArns' failed to satisfy constraint: "
            f"Member must have length less than or equal to {MAX_POLICY_ARNS}",
        )


def check_policy(text: str) -> None:
    """Raises DaypassError(MALFORMED_POLICY) unless `text` is a session policy."""
    try:
        _parse(text)
    except PolicyError as error:
        raise DaypassError(ErrorKind.MALFORMED_POLICY, str(error)) from None


@lru_cache(maxsize=4096)
def _parse(text: str) -> bool:
    """Remembers that a text is well-formed: the same session policy comes again and again."""
    parse(text, PolicyKind.SESSION)
    return True


# --- Managed session policies ----------------------------------------------------------------------------------------


async def keep_policies(
    env: Env, facts: RequestFacts, actor: Mapping[str, Any], account: str, arns: tuple[str, ...], expires_at: int
) -> tuple[str, ...]:
    """The content hashes of managed policies, each kept until at least `expires_at` (ms).

    The policies must be of `account` or come with Daypass. What is kept is kept for a day or two longer than asked, so
    that the sessions that follow need no write.
    """
    hashes: list[str] = []
    for arn in arns:
        view = await _managed_policy(env, account, arn)
        if view.hash not in hashes:
            kept = await env.directory.policy_content(view.hash)
            if kept is None or kept.keep_until < expires_at:
                await _keep(env, facts, actor, account, view, expires_at)
            hashes.append(view.hash)
    return tuple(hashes)


async def _managed_policy(env: Env, account: str, arn: str) -> ManagedPolicyView:
    view = None
    if arn.startswith((f"arn:aws:iam::{account}:policy/", "arn:aws:iam::aws:policy/")):
        view = await env.directory.managed_policy(arn)
        if view is None and await feed_moved(env):
            view = await env.directory.managed_policy(arn)
    if view is None:
        raise DaypassError(ErrorKind.VALIDATION, f"Policy {arn} does not exist or is not attachable.")
    return view


async def _keep(
    env: Env, facts: RequestFacts, actor: Mapping[str, Any], account: str, view: ManagedPolicyView, expires_at: int
) -> None:
    until = (expires_at // _DAY_MS + 2) * _DAY_MS
    content = PolicyContent(hash=view.hash, account=account, document=view.document, keep_until=until)
    detail = {"kept": view.hash, "policy_arn": view.policy.arn, "keep_until": until}
    event = event_of(EventType.DIRECTORY_CHANGED, facts, actor, at=env.clock.now(), account=account, detail=detail)

    def change(tx: Tx) -> tuple[None, Event]:
        kept = tx.get(PolicyContent, hash=view.hash)
        if kept is None:
            tx.insert(content)
        elif kept.keep_until < until:
            tx.replace(replace(kept, keep_until=until))
        for old in tx.find(PolicyContent, order="keep_until", limit=_FORGET):
            if old.keep_until < event.at - _DAY_MS:  # every session that names it has long expired
                tx.delete(old)
        return None, event

    try:
        await env.journal.write(change)
    except DaypassError as error:  # another process kept it in this very moment
        if error.kind is not ErrorKind.ALREADY_EXISTS:
            raise
        await env.journal.write(change)


# --- The session itself ----------------------------------------------------------------------------------------------


async def issue_role_session(
    env: Env,
    facts: RequestFacts,
    origin: Origin,
    view: RoleView,
    request: SessionRequest,
    inherited: Inheritance,
    started: Started,
    decision: Decision,
) -> Issued:
    """A session of this role for someone who has been admitted to it: the end of AssumeRole and of all its kin."""
    role = view.role
    try:
        seconds = role_session_seconds(request.duration, role, chained=origin.chained)
    except SessionRefused as refusal:
        raise DaypassError(ErrorKind.VALIDATION, refusal.message, private={OWNER: role.account}) from None
    expires_at = started.now + seconds * 1000
    if origin.not_after:
        expires_at = min(expires_at, origin.not_after)
    own = new_hop(env, role.account, role.id, request.name, started)
    try:
        hops = extend_chain(origin.hops, own, env.limits.chain_depth)
    except SessionRefused as refusal:
        raise DaypassError(ErrorKind.ACCESS_DENIED, refusal.message, private={OWNER: role.account}) from None
    hashes: tuple[str, ...] = ()
    if request.policy_arns:
        hashes = await keep_policies(env, facts, origin.actor, role.account, request.policy_arns, expires_at)
    claims = SessionClaims(  # mostly by position: so many keywords would cost more than all the rest of it
        _ROLE,
        own.session_id,
        role.account,
        role.id,
        role.arn,
        request.name,
        started.now,
        expires_at,
        started.seen,
        hops,
        inherited.tags,
        inherited.transitive_keys,
        inherited.source_identity,
        policies=(request.policy,) if request.policy else (),
        base_policy=bool(request.policy),
        policy_hashes=hashes,
        derivation_key=env.sealer.derivation_key(),
        auth_method=origin.auth_method,
        keys=origin.keys,
    )
    return await issue(env, facts, origin.actor, claims, request, decision=decision, redeem=origin.redeem)


def new_hop(env: Env, account: str, principal_id: str, name: str, started: Started) -> Hop:
    """The link that a new session is, with a fresh session id and access key id."""
    return Hop(env.ids.session(), account, principal_id, started.now, started.seen, env.ids.access_key("ASIA"), name)


async def issue(
    env: Env,
    facts: RequestFacts,
    actor: Mapping[str, Any],
    claims: SessionClaims,
    request: SessionRequest,
    *,
    decision: Decision | None = None,
    redeem: Redeemed | None = None,
) -> Issued:
    """Seals a session, records it, and hands it out, in that order.

    Raises DaypassError: ACCESS_DENIED when someone in the chain is blocked, PACKED_POLICY_TOO_LARGE, UNAVAILABLE,
    ALREADY_EXISTS when `redeem` has been redeemed before.
    """
    block = env.directory.blocked(claims.hops, claims.source_identity, claims.issued_at)
    if block is not None:
        raise _blocked(block, facts, actor, claims)
    token = env.sealer.seal(claims, request.minimum_size)
    cap = env.limits.token_bytes
    if len(token) > cap:
        raise DaypassError(
            ErrorKind.PACKED_POLICY_TOO_LARGE,
            f"The session token size of {len(token)} bytes exceeds the maximum allowed size of {cap} bytes.",
        )
    secret = await env.sealer.session_secret(claims)
    event = event_of(
        _ISSUED,
        facts,
        actor,
        at=claims.issued_at,
        account=claims.account,
        session_id=claims.session_id,
        decision=decision,
        detail=session_detail(claims, request.policy, request.policy_arns),
    )
    if redeem is None:
        await env.journal.commit(event, claims)
    else:
        await _redeem(env, redeem, event, claims)
    return Issued(claims, secret, token, -(-len(token) * 100 // cap))


async def _redeem(env: Env, redeem: Redeemed, event: Event, claims: SessionClaims) -> None:
    """The session in one transaction with the use of its proof: of all who bring the same one, one gets a session."""

    def change(tx: Tx) -> tuple[None, Event]:
        use_up(tx, redeem)
        return None, event

    await env.journal.write(change, claims)


def use_up(tx: Tx, redeem: Redeemed) -> None:
    """Redeems a one-time thing, and forgets some that are long past. Raises ALREADY_EXISTS when it was redeemed before."""
    tx.insert(redeem)
    for old in tx.find(Redeemed, order="expires_at", limit=_FORGET):
        if old.expires_at < redeem.at - _DAY_MS:
            tx.delete(old)


def _blocked(block: Revocation, facts: RequestFacts, actor: Mapping[str, Any], claims: SessionClaims) -> DaypassError:
    resource = f" on resource: {claims.arn}" if claims.kind is _ROLE else ""
    return DaypassError(
        ErrorKind.ACCESS_DENIED,
        f"User: {actor.get('arn', 'anonymous')} is not authorized to perform: {facts.operation}{resource}",
        private={OWNER: block.account, "reason": "blocked", "revocation": block.id},
        explanation={"allowed": False, "reason": "a revocation blocks new sessions", "revocation": block.id},
    )

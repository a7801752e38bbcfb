"""From a signed request to a `Caller`: the one place where SigV4 proof becomes an identity.

The signature is checked before anything that tells the caller about state: whether a key is active, a session expired
or revoked, a principal deleted. No database is read for a session beyond the cached directory.
"""

from __future__ import annotations

from collections.abc import Awaitable, Collection
from dataclasses import dataclass

from daypass import sigv4
from daypass.domain.arn import root_arn
from daypass.domain.claims import Caller, PrincipalKind, RequestFacts
from daypass.domain.context import merge_principal_tags
from daypass.domain.directory import KeyStatus, Role, Tags, User
from daypass.domain.errors import DaypassError, ErrorKind
from daypass.domain.session import Hop, Seen, SessionClaims, SessionKind
from daypass.operations.authorize import feed_moved
from daypass.operations.outcome import OWNER
from daypass.ports import Env, KeyView, RoleView
from daypass.sigv4.mac import Mac

_INVALID = "The security token included in the request is invalid."
_EXPIRED = "The security token included in the request is expired"


def authenticate(
    env: Env,
    signature: sigv4.UnverifiedSignature,
    facts: RequestFacts,  # noqa: ARG001 (the way in of every proof; bindings to a network will read it)
    services: Collection[str],
) -> Awaitable[Caller]:
    """The principal who signed this request for one of `services`: await it at once.

    Raises DaypassError: UNKNOWN_CREDENTIALS, SIGNATURE_MISMATCH, EXPIRED_CREDENTIALS (also when revoked), UNAVAILABLE.
    """
    now, seen = env.clock.now(), env.directory.seen()  # before the directory is read: revocations rest on it
    if signature.security_token:
        return _session(env, signature, services, now)
    return _long_term(env, signature, services, now, seen)


# --- Long-term keys ------------------------------------------------------------------------------------------------


async def _long_term(
    env: Env, signature: sigv4.UnverifiedSignature, services: Collection[str], now: int, seen: Seen
) -> Caller:
    key_id = signature.access_key_id
    lasting = not key_id.startswith("ASIA")  # a key of these belongs to a session, whose token is missing
    view = await env.directory.access_key(key_id) if lasting else None
    if view is None and lasting and await feed_moved(env):
        view = await env.directory.access_key(key_id)
    if view is None:
        raise _unknown("no such access key", signature)
    holder: _Holder = view.memo.get("holder") or view.memo.setdefault("holder", _holder(view))
    _verify(env, signature, view.secret, services, now, view.key.account, holder.derived)
    if not holder.active:
        view = await _active_again(env, signature, services, now, view)
        holder = _holder(view)
    if holder.gone:
        raise _unknown("owner of the access key is gone", signature, view.key.account)
    key = view.key
    kind, account, arn, principal_id, name = holder.identity
    hops = (Hop("", key.account, key.owner_id, now, seen, key.id, name),)
    # The view's memo, because nothing that is kept of this caller depends on more than the key.
    return Caller(
        kind, account, arn, arn, principal_id, principal_id, name, key.id, seen, hops, None, holder.tags, 0, "sigv4", view.memo
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Holder:
    """What follows from a long-term key alone."""

    derived: dict[tuple[str, str, str], Mac]  # by scope, see `sigv4.verify`
    active: bool
    gone: bool  # the user whose key this is
    identity: tuple[PrincipalKind, str, str, str, str]  # kind, account, ARN, unique id, name
    tags: Tags


def _holder(view: KeyView) -> _Holder:
    key, user = view.key, view.user
    active = key.status is KeyStatus.ACTIVE
    if user is not None:
        identity = (PrincipalKind.USER, user.account, user.arn, user.id, user.name)
        return _Holder({}, active, False, identity, user.tags)
    identity = (PrincipalKind.ROOT, key.account, root_arn(key.account), key.account, "root")
    return _Holder({}, active, key.owner_id != key.account, identity, ())


async def _active_again(
    env: Env, signature: sigv4.UnverifiedSignature, services: Collection[str], now: int, stale: KeyView
) -> KeyView:
    """The key after one poll of the feed, if it is active now. Only its holder gets as far as this poll."""
    view = await env.directory.access_key(signature.access_key_id) if await feed_moved(env) else stale
    if view is None or view.key.status is not KeyStatus.ACTIVE:
        raise _unknown("access key is inactive", signature, stale.key.account)
    _verify(env, signature, view.secret, services, now, view.key.account)
    return view


# --- Sessions ------------------------------------------------------------------------------------------------------


async def _session(env: Env, signature: sigv4.UnverifiedSignature, services: Collection[str], now: int) -> Caller:
    key_id = signature.access_key_id
    claims = await env.sealer.open(signature.security_token, key_id)
    secret = await env.sealer.session_secret(claims)
    _verify(env, signature, secret, services, now, claims.account)
    facts = {OWNER: claims.account, "session_id": claims.session_id, "access_key_id": key_id}
    if claims.expires_at <= now:
        raise DaypassError(ErrorKind.EXPIRED_CREDENTIALS, _EXPIRED, private={**facts, "reason": "expired"})
    if claims.binding:  # to a key or network that a signature alone does not prove
        raise _unknown("session is bound", signature, claims.account)
    revocation = env.directory.revoked(claims)
    if revocation is not None:
        private = {**facts, "reason": "revoked", "revocation": revocation.id}
        raise DaypassError(ErrorKind.EXPIRED_CREDENTIALS, _EXPIRED, private=private)
    caller = await _session_caller(env, claims, key_id)
    if caller is None and await feed_moved(env):
        caller = await _session_caller(env, claims, key_id)
    if caller is None:
        raise _unknown("principal of the session is gone", signature, claims.account)
    return caller


async def _session_caller(env: Env, claims: SessionClaims, key_id: str) -> Caller | None:
    """The caller behind opened claims, or None when its principal is known to be deleted."""
    if claims.kind is SessionKind.ROLE:
        role = await env.directory.role_by_id(claims.principal_id)
        return _role_session(role, claims, key_id) if role is not None else None
    owner_id = claims.user_id if claims.kind is SessionKind.FEDERATED else claims.principal_id
    user: User | None = None
    if owner_id == claims.account:
        if await env.directory.account(claims.account) is None:
            return None
    else:
        view = await env.directory.user(owner_id)
        if view is None or isinstance(view.entity, Role):
            return None
        user = view.entity
    if claims.kind is SessionKind.FEDERATED:
        return _federated(user, claims, key_id)
    if user is None:
        return _root(claims, key_id)
    return _user(user, claims, key_id)


def _role_session(view: RoleView, claims: SessionClaims, key_id: str) -> Caller:
    role = view.role
    return Caller(
        kind=PrincipalKind.ROLE_SESSION,
        account=role.account,
        arn=f"arn:aws:sts::{role.account}:assumed-role/{role.name}/{claims.name}",
        principal_arn=role.arn,
        user_id=f"{role.id}:{claims.name}",
        principal_id=role.id,
        name=claims.name,
        access_key_id=key_id,
        seen=claims.seen,
        hops=claims.hops,
        session=claims,
        tags=merge_principal_tags(role.tags, claims.tags),
        mfa_at=claims.mfa_at,
        auth_method=claims.auth_method or "sigv4",
    )


def _federated(user: User | None, claims: SessionClaims, key_id: str) -> Caller:
    arn = f"arn:aws:sts::{claims.account}:federated-user/{claims.name}"
    return Caller(
        kind=PrincipalKind.FEDERATED_USER,
        account=claims.account,
        arn=arn,
        principal_arn=arn,
        user_id=claims.principal_id,
        principal_id=claims.principal_id,
        name=claims.name,
        access_key_id=key_id,
        seen=claims.seen,
        hops=claims.hops,
        session=claims,
        tags=merge_principal_tags(user.tags if user is not None else (), claims.tags),
        mfa_at=claims.mfa_at,
    )


def _user(user: User, claims: SessionClaims, key_id: str) -> Caller:
    return Caller(
        kind=PrincipalKind.USER,
        account=user.account,
        arn=user.arn,
        principal_arn=user.arn,
        user_id=user.id,
        principal_id=user.id,
        name=user.name,
        access_key_id=key_id,
        seen=claims.seen,
        hops=claims.hops,
        session=claims,
        tags=user.tags,
        mfa_at=claims.mfa_at,
    )


def _root(claims: SessionClaims, key_id: str) -> Caller:
    arn = root_arn(claims.account)
    return Caller(
        kind=PrincipalKind.ROOT,
        account=claims.account,
        arn=arn,
        principal_arn=arn,
        user_id=claims.account,
        principal_id=claims.account,
        name="root",
        access_key_id=key_id,
        seen=claims.seen,
        hops=claims.hops,
        session=claims,
        mfa_at=claims.mfa_at,
    )


# --- Shared --------------------------------------------------------------------------------------------------------


def _verify(
    env: Env,
    signature: sigv4.UnverifiedSignature,
    secret: str,
    services: Collection[str],
    now: int,
    account: str,
    derived: dict[tuple[str, str, str], Mac] | None = None,
) -> None:
    limits = env.limits
    try:
        sigv4.verify(
            signature, secret, now, skew_ms=limits.skew_ms, services=services, regions=limits.regions, known=derived
        )
    except sigv4.SigV4Error as error:
        private = {OWNER: account, "unverified_access_key_id": signature.access_key_id}
        raise DaypassError(ErrorKind(error.kind), error.message, private=private) from None


def _unknown(reason: str, signature: sigv4.UnverifiedSignature, account: str = "") -> DaypassError:
    private = {OWNER: account, "reason": reason, "unverified_access_key_id": signature.access_key_id}
    return DaypassError(ErrorKind.UNKNOWN_CREDENTIALS, _INVALID, private=private)

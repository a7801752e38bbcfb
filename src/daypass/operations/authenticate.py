"""Authenticates a signed request and returns its `Caller`. SigV4 is verified only here.

The signature is verified before any check that reveals state: whether a key is active, a session expired or revoked, or
a principal deleted. For a session, nothing is read but the cached directory.
"""

from __future__ import annotations

from collections.abc import Awaitable, Collection

from msgspec.structs import replace

from daypass import sigv4
from daypass.domain.arn import root_arn
from daypass.domain.claims import Caller, PrincipalKind
from daypass.domain.context import merge_principal_tags
from daypass.domain.directory import KeyStatus, Role, ScimToken, User
from daypass.domain.errors import DaypassError, ErrorKind
from daypass.domain.session import PASSWORD, FeedPosition, Hop, SessionClaims, SessionKind
from daypass.operations import blocks
from daypass.operations.outcome import OWNER
from daypass.operations.principals import refresh_if_changed
from daypass.ports import Env, KeyView, RoleView
from daypass.sigv4.canonical import Mac

_INVALID = "The security token included in the request is invalid."
_EXPIRED = "The security token included in the request is expired"


def authenticate(env: Env, signature: sigv4.UnverifiedSignature, services: Collection[str]) -> Awaitable[Caller]:
    """The principal that signed this request for one of `services`. Await it immediately.

    Raises DaypassError: UNKNOWN_CREDENTIALS, SIGNATURE_MISMATCH, EXPIRED_CREDENTIALS (also when revoked), UNAVAILABLE.
    """
    now, seen = env.clock.now(), env.directory.seen()  # before the directory is read: revocations depend on it
    if signature.security_token:
        return _session(env, signature, services, now)
    return _long_term(env, signature, services, now, seen)


async def names_credentials(env: Env, signature: sigv4.UnverifiedSignature) -> bool:
    """Whether a request names an active access key, or has a session token that opens and has not expired.

    It proves nothing, because the signature is not verified. It only decides whether a large body is read.
    """
    try:
        if signature.security_token:
            claims = await env.sealer.open(signature.security_token, signature.access_key_id)
            return claims.expires_at > env.clock.now()
        view = await env.directory.access_key(signature.access_key_id)
        if view is None and await refresh_if_changed(env):
            view = await env.directory.access_key(signature.access_key_id)
    except DaypassError as error:
        if error.kind is ErrorKind.UNAVAILABLE:
            raise
        return False
    return view is not None and view.key.status is KeyStatus.ACTIVE


async def authenticated_again(env: Env, caller: Caller) -> Caller:
    """The caller of a request that has waited, as they are now. Nothing is signed again.

    Raises DaypassError: UNKNOWN_CREDENTIALS, EXPIRED_CREDENTIALS (also when revoked), UNAVAILABLE.
    """
    if caller.session is not None:
        return await _current(env, caller.session, env.clock.now())
    if blocks.on_caller(env, caller) is not None:
        raise _ended("blocked", caller)
    if caller.access_key_id:
        view = await env.directory.access_key(caller.access_key_id)
        if view is None or view.holder.gone or not view.holder.active:
            raise _ended("access key is inactive", caller)
        return replace(caller, tags=view.holder.tags)
    if caller.scim_token:
        token = await env.directory.entity(ScimToken, caller.scim_token)
        if token is None or token.expires_at <= env.clock.now():
            raise _ended("SCIM token has ended", caller)
    return caller


def _ended(reason: str, caller: Caller) -> DaypassError:
    private = {OWNER: caller.account, "reason": reason, "access_key_id": caller.access_key_id}
    return DaypassError(ErrorKind.UNKNOWN_CREDENTIALS, _INVALID, private=private)


# --- Long-term keys ------------------------------------------------------------------------------------------------


async def _long_term(
    env: Env, signature: sigv4.UnverifiedSignature, services: Collection[str], now: int, seen: FeedPosition
) -> Caller:
    key_id = signature.access_key_id
    long_term = not key_id.startswith("ASIA")  # such a key belongs to a session, and the token is missing
    view = await env.directory.access_key(key_id) if long_term else None
    if view is None and long_term and await refresh_if_changed(env):
        view = await env.directory.access_key(key_id)
    if view is None:
        raise _unknown("no such access key", signature)
    holder = view.holder
    _verify(env, signature, view.secret, services, view.key.account, holder.signing_keys)
    if not holder.active:
        view = await _active_again(env, signature, services, view)
        holder = view.holder
    if holder.gone:
        raise _unknown("owner of the access key is gone", signature, view.key.account)
    key = view.key
    kind, account, arn, principal_id, name = holder.identity
    hops = (Hop("", key.account, key.owner_id, now, seen, key.id, name),)
    return Caller(
        kind, account, arn, arn, principal_id, principal_id, name, key.id, seen, hops, None, holder.tags, 0, "sigv4", holder.derived
    )  # fmt: skip


async def _active_again(
    env: Env, signature: sigv4.UnverifiedSignature, services: Collection[str], stale: KeyView
) -> KeyView:
    """The key after one poll of the feed, if it is active now. Only its holder can cause this poll."""
    view = await env.directory.access_key(signature.access_key_id) if await refresh_if_changed(env) else stale
    if view is None or view.key.status is not KeyStatus.ACTIVE:
        raise _unknown("access key is inactive", signature, stale.key.account)
    _verify(env, signature, view.secret, services, view.key.account)
    return view


# --- Passwords -----------------------------------------------------------------------------------------------------


def caller_of_sign_in(user: User, now: int, seen: FeedPosition, method: str = PASSWORD) -> Caller:
    """The user who proved itself without an access key: in a browser, or by a SCIM token.

    `now`, `seen`: taken before the user was read. `method`: daypass:AuthMethod.
    """
    return _user(user, "", seen, (Hop("", user.account, user.id, now, seen, "", user.name),), method)


# --- Sessions ------------------------------------------------------------------------------------------------------


async def _session(env: Env, signature: sigv4.UnverifiedSignature, services: Collection[str], now: int) -> Caller:
    key_id = signature.access_key_id
    claims = await env.sealer.open(signature.security_token, key_id)
    secret = await env.sealer.session_secret(claims)
    _verify(env, signature, secret, services, claims.account)
    return await caller_of_session(env, claims, now)


async def caller_of_session(env: Env, claims: SessionClaims, now: int) -> Caller:
    """The caller of a session whose holder is verified, at `now` (ms).

    Raises DaypassError: EXPIRED_CREDENTIALS (also when revoked), UNKNOWN_CREDENTIALS, UNAVAILABLE.
    """
    if claims.binding and claims.expires_at > now:  # to a key or network that a signature alone does not prove
        raise _unusable("session is bound", claims)
    return await _current(env, claims, now)


async def _current(env: Env, claims: SessionClaims, now: int) -> Caller:
    key_id = claims.hops[-1].access_key_id
    facts = {OWNER: claims.account, "session_id": claims.session_id, "access_key_id": key_id}
    if claims.expires_at <= now:
        raise DaypassError(ErrorKind.EXPIRED_CREDENTIALS, _EXPIRED, private={**facts, "reason": "expired"})
    caller = await _session_caller(env, claims, key_id)
    if caller is None and await refresh_if_changed(env):
        caller = await _session_caller(env, claims, key_id)
    if caller is None:  # the same error as in AWS; the deletion has also revoked the session
        raise _unusable("principal of the session is gone", claims)
    revocation = env.directory.revoked(claims)
    if revocation is not None:
        private = {**facts, "reason": "revoked", "revocation": revocation.id}
        raise DaypassError(ErrorKind.EXPIRED_CREDENTIALS, _EXPIRED, private=private)
    return caller


def _unusable(reason: str, claims: SessionClaims) -> DaypassError:
    private = {OWNER: claims.account, "reason": reason, "session_id": claims.session_id}
    return DaypassError(ErrorKind.UNKNOWN_CREDENTIALS, _INVALID, private=private)


async def _session_caller(env: Env, claims: SessionClaims, key_id: str) -> Caller | None:
    """The caller with these opened claims, or None when its principal is known to be deleted."""
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
    caller = _user(user, key_id, claims.seen, claims.hops, claims.auth_method or "sigv4")
    return replace(caller, session=claims, mfa_at=claims.mfa_at)


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


def _user(user: User, key_id: str, seen: FeedPosition, hops: tuple[Hop, ...], method: str) -> Caller:
    return Caller(
        kind=PrincipalKind.USER,
        account=user.account,
        arn=user.arn,
        principal_arn=user.arn,
        user_id=user.id,
        principal_id=user.id,
        name=user.name,
        access_key_id=key_id,
        seen=seen,
        hops=hops,
        tags=user.tags,
        auth_method=method,
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
    account: str,
    signing_keys: dict[tuple[str, str, str], Mac] | None = None,
) -> None:
    limits = env.limits
    try:
        sigv4.verify(
            signature,
            secret,
            env.clock.wall(),
            skew_ms=limits.skew_ms,
            services=services,
            regions=limits.regions,
            known=signing_keys,
        )
    except sigv4.SigV4Error as error:
        private = {OWNER: account, "unverified_access_key_id": signature.access_key_id}
        raise DaypassError(ErrorKind(error.kind), error.message, private=private) from None


def _unknown(reason: str, signature: sigv4.UnverifiedSignature, account: str = "") -> DaypassError:
    private = {OWNER: account, "reason": reason, "unverified_access_key_id": signature.access_key_id}
    return DaypassError(ErrorKind.UNKNOWN_CREDENTIALS, _INVALID, private=private)

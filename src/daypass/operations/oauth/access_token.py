"""Access tokens (RFC 9068): converts a session to a signed JWT and back.

The claims are for every verifier of the token. The token also contains the sealed session, so that an exchange never
depends on the claims and never loses a session policy. The sealed session alone gives no access: the secret key of its
AWS form is derived here and is not in the token.
Sources: RFC 9068, 2.2; RFC 8693, 4.1; IAM User Guide, "Pass session tags in AWS STS".
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Any, Final

from msgspec import Struct

from daypass.domain.arn import assumed_role_arn, federated_user_arn
from daypass.domain.claims import Caller, PrincipalKind
from daypass.domain.context import AMR_KEY, AUTH_TIME_KEY
from daypass.domain.errors import DaypassError, ErrorKind
from daypass.domain.jws import JoseError
from daypass.domain.oauth.resource_server import Binding, binding_of
from daypass.domain.revocation_index import hop_claims
from daypass.domain.session import PASSKEY, PASSWORD, Hop, SessionClaims, SessionKind
from daypass.domain.web_identity import SOURCE_IDENTITY, TAGS
from daypass.ports import AuthorizationServer, Env

SESSION: Final = "urn:daypass:session"
"""The claim that contains the sealed session."""

MFA: Final = "urn:daypass:acr:mfa"
SINGLE: Final = "urn:daypass:acr:single-factor"
ACR_VALUES: Final = (SINGLE, MFA)
_SHOWN_POLICIES: Final = 2_048  # characters of session policies that a token shows to its audience
_INVALID: Final = "The token is invalid, expired or revoked."


class AccessToken(Struct, frozen=True):
    """A token. `text`: signed. `expires_at` in ms."""

    audiences: tuple[str, ...]
    scope: tuple[str, ...]
    expires_at: int
    binding: Binding | None
    text: str

    def __repr__(self) -> str:
        return f"AccessToken({self.audiences})"


class OwnToken(Struct, frozen=True):
    """A token that this server signed, and its session. Revocation is not checked."""

    claims: Mapping[str, Any]
    session: SessionClaims

    @property
    def audiences(self) -> tuple[str, ...]:
        audiences = self.claims.get("aud", ())
        return (audiences,) if isinstance(audiences, str) else tuple(audiences)

    @property
    def binding(self) -> Binding | None:
        """The key that its holder must prove to have; None for a bearer token."""
        return binding_of(self.claims)

    @property
    def issued_at(self) -> int:
        """When the token was issued, in ms; its session may be older."""
        return int(self.claims[SESSION]["issued_at"])


async def open_access_token(env: Env, unverified_text: str, now: int) -> OwnToken:
    """Opens a token of this server that has not expired at `now` (ms). Raises DaypassError: INVALID_IDENTITY_TOKEN, UNAVAILABLE.

    The message is the same for every reason; the record has the reason (attack A71).
    """
    server = env.oauth
    try:
        claims = await server.signer.verify(unverified_text)
    except JoseError as error:
        raise invalid_token(str(error)) from None
    named = claims.get(SESSION)
    if claims.get("iss") != server.issuer or not isinstance(named, dict):
        raise invalid_token("its issuer is not this server")
    try:
        session = await env.sealer.open(str(named.get("sealed")), str(named.get("access_key_id")))
    except DaypassError as error:
        if error.kind is ErrorKind.UNAVAILABLE:
            raise
        raise invalid_token("its session does not open") from None
    if session.expires_at <= now:
        raise invalid_token("it has expired", session_id=session.session_id)
    return OwnToken(claims, session)


def invalid_token(reason: str, **private: Any) -> DaypassError:
    """The only refusal of a token of this server."""
    return DaypassError(ErrorKind.INVALID_IDENTITY_TOKEN, _INVALID, private={"reason": reason, **private})


def invalid_session(error: DaypassError) -> DaypassError:
    """The same refusal, for a token whose session `operations.authenticate` refuses."""
    return DaypassError(ErrorKind.INVALID_IDENTITY_TOKEN, _INVALID, private={"reason": error.public, **error.private})


def values_of(session: SessionClaims, key: str) -> tuple[str, ...]:
    """The values of one of the session's context keys."""
    return tuple([value for name, value in session.keys if name == key])


# --- Claims ----------------------------------------------------------------------------------------------------------


def claims_of(
    server: AuthorizationServer, session: SessionClaims, audiences: tuple[str, ...], jti: str, now: int
) -> dict[str, Any]:
    """The claims of a token issued for this session at `now` (ms), without the sealed session."""
    own = session.hops[-1]
    claims: dict[str, Any] = {
        "iss": server.issuer,
        "sub": stable_id(own),
        "aud": audiences[0] if len(audiences) == 1 else list(audiences),
        "client_id": session.client_id or session.arn,
        "jti": jti,
        "iat": now // 1000,
        "exp": session.expires_at // 1000,
        "auth_time": authenticated_at(session),
    }
    if session.scopes:
        claims["scope"] = " ".join(session.scopes)
    if amr := methods_of(session):
        claims["amr"] = amr
    claims["acr"] = acr(mfa="mfa" in amr)
    if session.tags:
        tags = {key: [value] for key, value in session.tags}
        claims[TAGS] = {"principal_tags": tags, "transitive_tag_keys": list(session.transitive_keys)}
    if session.source_identity:
        claims[SOURCE_IDENTITY] = session.source_identity
    if chain := actors_of(session):
        claims["act"] = chain
    if session.may_act is not None:
        claims["may_act"] = {"iss": session.may_act.issuer, "sub": session.may_act.subject}
    claims[SESSION] = {
        "id": session.session_id,
        "account": session.account,
        "issued_at": now,
        "arn": session_arn(session),
        **({"role_arn": session.arn} if session.kind is SessionKind.ROLE else {}),
        "access_key_id": own.access_key_id,
        "hops": hop_claims(session),
    }
    if session.kind is not SessionKind.FEDERATED and not session.policy_hashes and _are_short(session.policies):
        claims[SESSION]["policies"] = list(session.policies)  # each limits it; absent: they are known here alone
    return claims


def _are_short(policies: tuple[str, ...]) -> bool:
    return sum(map(len, policies)) <= _SHOWN_POLICIES


_METHODS: Final = {"sigv4": ("pop",), "x509": ("pop",), PASSWORD: ("pwd",), PASSKEY: ("pop", "user")}  # RFC 8176


def acr(*, mfa: bool) -> str:
    """The authentication context class of a sign-in."""
    return MFA if mfa else SINGLE


def authenticated_at(session: SessionClaims) -> int:
    """When the person at the beginning of the chain was authenticated (s), as the provider says, or here."""
    stated = values_of(session, AUTH_TIME_KEY)
    return int(stated[0]) if stated else session.hops[0].issued_at // 1000


def methods_of(session: SessionClaims) -> list[str]:
    """`amr`: what the provider says, or Daypass's own methods. Empty when the provider says nothing."""
    own = values_of(session, AMR_KEY) or _METHODS.get(session.auth_method, ())
    return [*own, *(("mfa",) if session.mfa_at and "mfa" not in own else ())]


def stable_id(hop: Hop) -> str:
    """aws:userid of a hop: for a role session the role's id and the session name, for any other principal its id."""
    return f"{hop.principal_id}:{hop.name}" if hop.principal_id.startswith("AROA") else hop.principal_id


def session_arn(session: SessionClaims) -> str:
    """As GetCallerIdentity shows it."""
    match session.kind:
        case SessionKind.ROLE:
            return assumed_role_arn(session.account, session.arn.rpartition("/")[2], session.name)
        case SessionKind.FEDERATED:
            return federated_user_arn(session.account, session.name)
        case SessionKind.USER:
            return session.arn


def actors_of(session: SessionClaims) -> dict[str, Any]:
    """The claim `act` of a session: the other principals of its chain. Consecutive hops of one principal are the same party,
    so the sessions of a person who signs in and acts alone have none (RFC 8693, 4.1).
    """
    hops = session.hops
    others = [hop for hop, following in pairwise(hops) if stable_id(hop) != stable_id(following)]
    return acting(tuple(others))


def acting(hops: tuple[Hop, ...]) -> dict[str, Any]:
    """The hops before the session as nested `act` claims, the newest outermost. A chain has at most MAX_HOPS hops."""
    chain: dict[str, Any] = {}
    for hop in hops:
        chain = {"sub": stable_id(hop), **({"act": chain} if chain else {})}
    return chain


# --- Principals as audiences --------------------------------------------------------------------------------------


async def is_for(env: Env, token: OwnToken, caller: Caller) -> bool:
    """Whether the ARN of the caller's role or user is an audience of the token.

    A role that was created after the token was issued is not its audience, even if it has the same ARN (attack A55).
    """
    if caller.principal_arn not in token.audiences:
        return False
    created_at = await _created_at(env, caller)
    return created_at is not None and created_at <= token.issued_at


async def _created_at(env: Env, caller: Caller) -> int | None:
    """When the caller's role or user was created (ms); None for other principals."""
    if caller.kind is PrincipalKind.ROLE_SESSION:
        role = await env.directory.role_by_id(caller.principal_id)
        return role.role.created_at if role is not None else None
    if caller.kind is PrincipalKind.USER:
        user = await env.directory.user(caller.principal_id)
        return user.entity.created_at if user is not None else None
    return None

"""ID tokens and the UserInfo endpoint (OpenID Connect Core 1.0, 2 and 5.3): who signed in, when and how.

An ID token is never an access token: it only identifies its person where its own client asks for an identity assertion.
"""

from __future__ import annotations

import re
from typing import Any, Final

from daypass.domain.directory import BrowserSession, ReplayEntry
from daypass.domain.encoding import text_digest
from daypass.domain.errors import DaypassError, ErrorKind
from daypass.domain.jws import JoseError
from daypass.domain.session import SessionClaims
from daypass.operations.assume.replay import commit_once
from daypass.operations.oauth.access_token import acr, acting, invalid_token, methods_of, session_arn
from daypass.operations.oauth.authorization import AuthorizationRequest
from daypass.operations.outcome import served
from daypass.operations.sign_in import browser_session
from daypass.operations.sign_in.browser_session import SignedIn
from daypass.ports import Call, Env

TYPE: Final = "JWT"
_SECONDS: Final = 300
_DIGEST = re.compile(r"[0-9a-f]{64}")  # of a person of a provider; any other subject is the unique id of a user


def id_token(env: Env, request: AuthorizationRequest, person: SignedIn) -> str:
    """The ID token for a client. Raises DaypassError(UNAVAILABLE) when no key may sign now."""
    server, session, now = env.oauth, person.session, env.clock.now() // 1000
    claims: dict[str, Any] = {
        "iss": server.issuer,
        "sub": subject_of(session),
        "aud": request.client_id,
        "iat": now,
        "exp": now + _SECONDS,
        "auth_time": person.authenticated_at // 1000,
        "acr": acr(mfa=person.mfa),
        "sid": session.session_id,
        "preferred_username": session.name,
        "urn:daypass:arn": session_arn(session),
        **delegation_of(session),
    }
    if methods := list(person.provider.methods) if person.provider is not None else methods_of(session):
        claims["amr"] = methods
    if request.nonce:
        claims["nonce"] = request.nonce
    return server.signer.sign(claims, server.algorithm_for((request.client_id,)), TYPE)


async def signed_in_by(env: Env, account: str, client_id: str, unverified_text: str, now: int) -> SignedIn:
    """The person of an ID token that this server issued to the client, while their browser is still signed in.

    The message is the same for every reason. Raises DaypassError: INVALID_IDENTITY_TOKEN, UNAVAILABLE.
    """
    try:
        claims = await env.oauth.signer.verify(unverified_text, TYPE.lower())
    except JoseError as error:
        raise invalid_token(str(error)) from None
    sid, subject = claims.get("sid"), claims.get("sub")
    if claims.get("iss") != env.oauth.issuer or not isinstance(sid, str) or not isinstance(subject, str):
        raise invalid_token("it is not an ID token of this server")
    if claims.get("aud") != client_id:
        raise invalid_token("the ID token is of another client", session_id=sid)
    if claims["exp"] * 1000 <= now:
        raise invalid_token("it has expired", session_id=sid)
    person = {} if _DIGEST.fullmatch(subject) else {"principal_id": subject}
    rows = await env.directory.read(
        lambda tx: tx.find(BrowserSession, account=account, session_id=sid, limit=1, **person), account=account
    )
    signed_in = await browser_session.read_by_id(env, rows[0].id, now) if rows else None
    if signed_in is None or subject_of(signed_in.session) != subject:
        raise invalid_token("the person is not signed in any more", session_id=sid)
    return signed_in


def client_of_hint(env: Env, unverified_text: str) -> str:
    """The client that an ID token names, for `subject_of_hint`, which checks all of it. Raises DaypassError."""
    claims = env.tokens.read(unverified_text).unverified_claims
    return audience if isinstance(audience := claims.get("aud"), str) else ""


async def subject_of_hint(env: Env, client_id: str, unverified_text: str) -> str:
    """The subject of an ID token that this server once issued to the client: a hint at the person (OpenID Connect Core 1.0,
    3.1.2.1). It may have expired, and proves nothing about who is signed in. Raises DaypassError: VALIDATION, UNAVAILABLE.
    """
    try:
        claims = await env.oauth.signer.verify(unverified_text, TYPE.lower())
    except JoseError as error:
        claims, reason = {}, str(error)
    else:
        reason = "it is not an ID token for this client"
    subject = claims.get("sub")
    if claims.get("iss") != env.oauth.issuer or claims.get("aud") != client_id or not isinstance(subject, str):
        message = "id_token_hint is not an ID token that this server issued to the client."
        raise DaypassError(ErrorKind.VALIDATION, message, private={"reason": reason})
    return subject


def subject_of(session: SessionClaims) -> str:
    """The `sub` of the person at the beginning of a chain: the unique id of a user, a digest for a person of a provider.

    The digest does not change with the role, and does not show other parties who the person is at the provider.
    """
    person = session.hops[0]
    if not person.principal_id.startswith("arn:"):
        return person.principal_id
    return text_digest(f"{person.account}\0{person.principal_id}")


def delegation_of(session: SessionClaims) -> dict[str, Any]:
    """The claim `act` of a token whose `sub` is the person: the parties that the provider named as acting for them, newest
    outermost (attack A118). Empty when there are none.
    """
    chain = acting(tuple(hop for hop in session.hops[1:] if not hop.session_id))
    return {"act": chain} if chain else {}


async def user_info(env: Env, call: Call, replays: tuple[ReplayEntry, ...] = ()) -> dict[str, Any]:
    """daypass:GetUserInfo: the claims of the person who is at the beginning of the caller's session (OpenID Connect Core 1.0,
    5.3). `sub` is that of the ID token. Raises DaypassError: ACCESS_DENIED for a caller without a session, UNAVAILABLE.
    """
    session = call.caller.session
    if session is None:
        raise DaypassError(ErrorKind.ACCESS_DENIED, "Only access tokens of people have claims.")
    await commit_once(env, served(call, session_id=session.session_id), replays)
    first = session.hops[0]
    federated = first.principal_id.startswith("arn:")
    own_name = next((hop.name for hop in session.hops if hop.session_id), first.name)
    return {
        "sub": subject_of(session),
        "preferred_username": own_name if federated else first.name,
        "urn:daypass:arn": session_arn(session),
        **delegation_of(session),
    }

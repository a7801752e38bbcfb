"""ID tokens and the UserInfo endpoint (OpenID Connect Core 1.0, 2 and 5.3): who signed in, when and how.

An ID token is never an access token: it only identifies its person where its own client asks for an identity assertion.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping
from typing import Any, Final

import msgspec
from msgspec import Struct

from daypass.domain import payload
from daypass.domain.context import OPENID_KEY
from daypass.domain.directory import BrowserSession, ReplayEntry, ScimResource, User
from daypass.domain.errors import DaypassError, ErrorKind
from daypass.domain.jws import JoseError
from daypass.domain.oauth.client import AWS_TOOLS, CLAIMS_OF, ClientSettings, parse_client
from daypass.domain.session import SessionClaims
from daypass.domain.web_identity import MAX_GROUPS
from daypass.operations.assume.request import commit_once
from daypass.operations.oauth.access_token import acr, acting, invalid_token, methods_of, session_arn, values_of
from daypass.operations.oauth.client_authentication import AuthenticatedClient, registered_client
from daypass.operations.oauth.refresh_family import FamilyContent
from daypass.operations.outcome import served
from daypass.operations.principals import groups_of, subject_id
from daypass.operations.sign_in import browser_session
from daypass.operations.sign_in.browser_session import SignedIn
from daypass.ports import Call, Env, Reader

TYPE: Final = "JWT"
_SECONDS: Final = 300
_DIGEST = re.compile(r"[0-9a-f]{64}")  # of a person of a provider; any other subject is the unique id of a user


class Authentication(Struct, frozen=True):
    """How a person signed in, for every ID token of the sign-in. `at`: seconds. `sid`: the browser session. `claims`: what
    the person's identity provider said.
    """

    at: int
    mfa: bool
    sid: str
    methods: tuple[str, ...] = ()
    claims: dict[str, Any] = {}


read_authentication: Final = msgspec.json.Decoder(Authentication).decode


def authentication_of(person: SignedIn) -> Authentication:
    """The sign-in of a browser."""
    session, provider = person.session, person.provider
    methods = provider.methods if provider is not None else tuple(methods_of(session))
    claims = provider.claims if provider is not None else {}
    return Authentication(person.authenticated_at // 1000, person.mfa, session.session_id, methods, claims)


async def id_token(
    env: Env,
    client: AuthenticatedClient,
    scopes: Collection[str],
    session: SessionClaims,
    authentication: Authentication,
    nonce: str = "",
) -> str:
    """The ID token for a client about the person of `session`. `scopes`: those of OpenID Connect that the person has consented to.

    Raises DaypassError(UNAVAILABLE) when no key may sign now.
    """
    server, now, settings = env.oauth, env.clock.now() // 1000, client.settings
    claims: dict[str, Any] = {
        "iss": server.issuer,
        # AWS's tools name the profile by it and read the account from it.
        "sub": session_arn(session) if client.client.id in AWS_TOOLS else subject_of(session),
        "aud": client.client.id,
        "iat": now,
        "exp": now + _SECONDS,
        "auth_time": authentication.at,
        "acr": acr(mfa=authentication.mfa),
        "sid": authentication.sid,
        "preferred_username": session.name,
        "urn:daypass:arn": session_arn(session),
        **delegation_of(session),
        **await claims_about(env, settings, scopes, session, authentication.claims),
    }
    if authentication.methods:
        claims["amr"] = list(authentication.methods)
    if nonce:
        claims["nonce"] = nonce
    algorithm = settings.id_token_signed_response_alg or server.algorithm_for((client.client.id,))
    return server.signer.sign(without_withheld(settings, claims), algorithm, TYPE)


async def renewed_id_token(env: Env, client: AuthenticatedClient, content: FamilyContent) -> str:
    """The ID token in the answer to a refresh token (OpenID Connect Core 1.0, 12.2); "" if the person has not consented to one.

    Raises DaypassError(UNAVAILABLE).
    """
    scopes = content.context.get("openid", "").split()
    if "openid" not in scopes:
        return ""
    authentication = read_authentication(content.context["authentication"])
    return await id_token(env, client, scopes, payload.decode(content.session), authentication)


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
    return subject_id(person.account, person.principal_id)


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
    claims = {
        "sub": subject_of(session),
        "preferred_username": own_name if federated else first.name,
        "urn:daypass:arn": session_arn(session),
        **delegation_of(session),
    }
    client = await registered_client(env, session.client_id, session.account)
    if client is None:
        return claims
    settings, scopes = parse_client(client.settings), values_of(session, OPENID_KEY)
    of_provider = await of_browser(env, session) if federated and scopes else {}
    about = await claims_about(env, settings, scopes, session, of_provider)
    return without_withheld(settings, {**claims, **about})


# --- Claims


async def claims_about(
    env: Env, settings: ClientSettings, scopes: Collection[str], session: SessionClaims, of_provider: Mapping[str, Any]
) -> dict[str, Any]:
    """The claims of the person at the beginning of a session that a client may have for these scopes.

    `of_provider`: what the person's identity provider said (`standard_claims`). Raises DaypassError(UNAVAILABLE).
    """
    wanted = {name for scope in scopes for name in CLAIMS_OF.get(scope, ())} & set(settings.claims)
    if not wanted:
        return {}
    person = session.hops[0]
    known = {**_of_tags(dict(session.tags)), **of_provider}
    if person.principal_id.startswith("AIDA"):
        known = await env.directory.read(lambda tx: _of_user(tx, person.principal_id), account=person.account)
    known.setdefault("preferred_username", session.name)
    known.setdefault("name", known["preferred_username"])
    return {name: known[name] for name in sorted(wanted) if name in known}


def without_withheld(settings: ClientSettings, claims: Mapping[str, Any]) -> dict[str, Any]:
    """The claims without those that the client's settings withhold."""
    withheld = {name for names in CLAIMS_OF.values() for name in names} - set(settings.claims)
    return {name: value for name, value in claims.items() if name not in withheld}


async def of_browser(env: Env, session: SessionClaims) -> Mapping[str, Any]:
    """The provider's facts from the sign-in behind a session, while the browser is signed in."""
    ids = [hop.session_id for hop in session.hops if hop.session_id]

    def find(tx: Reader) -> str:
        rows = (tx.find(BrowserSession, account=session.account, session_id=each, limit=1) for each in ids)
        return next((row.proof for found in rows for row in found), "")

    proof = await env.directory.read(find, account=session.account)
    found: Mapping[str, Any] = json.loads(proof).get("claims", {}) if proof else {}
    return found


def _of_user(tx: Reader, user_id: str) -> dict[str, Any]:
    user = tx.get(User, id=user_id)
    if user is None:
        return {}
    tags, scim = dict(user.tags), tx.get(ScimResource, id=user_id)
    known: dict[str, Any] = {"preferred_username": user.name}
    known["groups"] = [group.name for group in groups_of(tx, user_id)][:MAX_GROUPS]
    known |= _of_tags(tags)
    return known if scim is None else known | _of_scim(json.loads(scim.document))


def _of_tags(tags: Mapping[str, str]) -> dict[str, Any]:
    """Claims from the tags of a user, or of the session of a provider's person."""
    known: dict[str, Any] = {"name": tags["name"]} if "name" in tags else {}
    return {**known, "email": tags["email"], "email_verified": False} if "email" in tags else known


def _of_scim(document: Mapping[str, Any]) -> dict[str, Any]:
    """The directory that provisions the user has verified the address."""
    known: dict[str, Any] = {}
    parts = document.get("name", {})
    whole = " ".join(filter(None, (parts.get("givenName"), parts.get("familyName"))))
    if name := document.get("displayName") or parts.get("formatted") or whole:
        known["name"] = name
    if emails := document.get("emails"):
        primary = next((each for each in emails if each.get("primary")), emails[0])
        known |= {"email": primary["value"], "email_verified": True}
    return known

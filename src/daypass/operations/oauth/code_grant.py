"""Redeems authorization codes (RFC 6749, 4.1.3): the session that a person's consent allows.

A second use of a code ends the session that the first one gave: either was not by the client (RFC 6749, 10.5).
"""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Struct, structs

from daypass.domain.directory import BrowserSession, Consent
from daypass.domain.errors import DaypassError
from daypass.domain.oauth import urls
from daypass.domain.oauth.client import BUILT_IN
from daypass.domain.oauth.resource_server import JKT
from daypass.domain.session import IDENTITY_ONLY
from daypass.operations.oauth import codes
from daypass.operations.oauth.authorization import Authorization, person_of, read_authorization
from daypass.operations.oauth.client_authentication import AuthenticatedClient
from daypass.operations.oauth.codes import Code
from daypass.operations.oauth.id_token import authentication_of, subject_of
from daypass.operations.oauth.parties import role_of
from daypass.operations.oauth.refresh import GrantedToken, issue_with_refresh
from daypass.operations.oauth.refresh_families import end_what_was_granted
from daypass.operations.oauth.request import Sender, TokenRequest
from daypass.operations.sign_in.browser_session import SignedIn
from daypass.operations.ssf.logout import note_client
from daypass.ports import Call, Env, Tx


class Redeemed(Struct, frozen=True):
    """The token of a code, and the person who consented."""

    granted: GrantedToken
    person: SignedIn


async def find(env: Env, call: Call, sender: Sender, unverified_code: str) -> Code[Authorization]:
    """The code of the client that sent the request, not used before. Raises DaypassError: INVALID_GRANT, UNAVAILABLE."""
    client = sender.known_client
    code = await codes.find_code(
        env, call.source, codes.AUTHORIZATION, client.client.id, unverified_code, read_authorization
    )
    if code is None:
        raise codes.refused("the client has no such code")
    if code.row.used_at:
        await _end(env, call, client, code.row.family)
        raise codes.used_before()
    return code


async def redeem(
    env: Env, call: Call, code: Code[Authorization], request: TokenRequest, redirect_uri: str, unverified_verifier: str
) -> Redeemed:
    """Consumes a code of `find`. `request`: the token that the authorization request asked for.

    Raises DaypassError: INVALID_GRANT, ACCESS_DENIED, UNAVAILABLE and others of `issue_token`.
    """
    authorization_request, binding = code.content.request, request.sender.binding
    named = authorization_request.redirect_uri if authorization_request.names_redirect_uri else ""
    if redirect_uri not in {named, authorization_request.redirect_uri}:
        raise codes.refused("the redirect_uri is not that of the authorization request")
    if authorization_request.code_challenge or unverified_verifier:
        _check_verifier(unverified_verifier, authorization_request.code_challenge)
    if authorization_request.dpop_jkt and (
        binding is None or (binding.member, binding.thumbprint) != (JKT, authorization_request.dpop_jkt)
    ):
        raise codes.refused("the request has no proof of the key in dpop_jkt")
    return await consented(env, call, code, code.content, request)


def _check_verifier(unverified_verifier: str, challenge: str) -> None:
    """A verifier without a challenge is refused too: somebody may have removed the challenge (RFC 9700, 4.8.2)."""
    if not challenge or not urls.fits(unverified_verifier, challenge):
        raise codes.refused("the code_verifier is not that of the authorization request")


async def consented(
    env: Env, call: Call, code: Code[Any], authorization: Authorization, request: TokenRequest
) -> Redeemed:
    """The token that a person has consented to. It consumes the code. Raises DaypassError: see `redeem`."""
    sender = request.sender
    person = await person_of(env, authorization, call.now)
    if person is None:
        raise codes.refused("the person is not signed in any more")
    if not request.role_arn and code.row.client_id not in BUILT_IN:
        request = structs.replace(request, session=structs.replace(request.session, policy=IDENTITY_ONLY))
    owner = _owner(request, person)

    def also(tx: Tx, identity: str) -> None:
        browser = tx.get(BrowserSession, id=authorization.browser)
        if browser is None or browser.session_id != authorization.session_id:
            raise codes.refused("the person is not signed in any more")
        if authorization.remembered and tx.get(Consent, id=authorization.consent_id) is None:
            raise codes.refused("the consent was withdrawn")
        codes.use(tx, code, call.now, f"{owner}/{identity}")
        if request.openid:
            note_client(tx, authorization.browser, sender.known_client.client)

    try:
        granted = await issue_with_refresh(
            env,
            call,
            request,
            person.session,
            context={
                "sub": subject_of(person.session),
                "auth_time": str(person.authenticated_at // 1000),
                "openid": " ".join(request.openid),
                "authentication": msgspec.json.encode(authentication_of(person)).decode(),
            },
            also=also,
            outlives_session=True,
            consent_id=authorization.consent_id,
        )
    except DaypassError:
        await _end_if_used(env, call, code, sender)
        raise
    return Redeemed(granted, person)


def _owner(request: TokenRequest, person: SignedIn) -> str:
    """The account that owns what a second use of the code ends: a family of refresh tokens, or the session."""
    refreshed = "refresh_token" in request.sender.known_client.settings.grant_types
    return role_of(request.role_arn).account if request.role_arn and not refreshed else person.session.account


async def _end_if_used(env: Env, call: Call, code: Code[Any], sender: Sender) -> None:
    """Ends the session of the other request if two redeem a code in parallel."""
    client = sender.known_client
    now = await env.directory.read(
        lambda tx: tx.get(type(code.row), purpose=code.row.purpose, id=code.row.id), account=code.row.account
    )
    if now is not None and now.used_at:
        await _end(env, call, client, now.family)


async def _end(env: Env, call: Call, client: AuthenticatedClient, family: str) -> None:
    """Ends what the first use of a code gave."""
    account, _, identity = family.partition("/")
    await end_what_was_granted(
        env, call, account, identity, client.actor, reason="its authorization code was used twice"
    )

"""Sign-in with an OpenID Connect provider of an account: the code flow with PKCE, ending in a browser session of a role.

`begin` returns the address at the provider; `complete` redeems the code and verifies the ID token as AssumeRoleWithWebIdentity
does. The trust policies of the provider's sign-in roles decide, in order: the first role that admits the person is the role
of the browser session. Between the two steps all state is in the `state` parameter, sealed and bound to the browser.
Sources: OpenID Connect Core 1.0, 3.1; RFC 9700, 2.1 and 4.4; RFC 9207, 2.4.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlencode

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from daypass.domain.claims import Proof
from daypass.domain.directory import OidcProvider, ReplayEntry, SamlProvider
from daypass.domain.errors import DaypassError, ErrorKind
from daypass.domain.jws import base64url
from daypass.domain.provider_settings import BrowserSignIn, parse_settings, url_of
from daypass.domain.web_identity import claim_at, scalar_text, standard_claims
from daypass.operations.assume.applicant import Applicant, IssuanceSnapshot, proven_applicant, snapshot
from daypass.operations.assume.assume import assume
from daypass.operations.assume.proofs import WITH_WEB_IDENTITY, owned, verified_proof, with_attributes
from daypass.operations.assume.request import AssumeRequest, SessionRequest, requested_role
from daypass.operations.outcome import OWNER
from daypass.operations.principals import account_by_alias
from daypass.operations.sign_in import browser_session
from daypass.operations.sign_in.browser_session import ProviderSignIn
from daypass.operations.sign_in.ticket import BROWSER_FORM, seal, unseal
from daypass.ports import Call, Env, ProviderEndpoints, ProviderTokens, Reader

STATE: Final = "provider"
LIFETIME_MS: Final = 600_000
MAX_NEXT: Final = 3_000
"""The longest address to return to, in characters: `state` is a part of a URL at the provider."""

FRESH_MS: Final = 60_000
"""A sign-in at the provider this long ago counts as one of now: its clock may differ."""

_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9_+=,.@-]+")
_PROVIDER = re.compile(r"arn:aws:iam::([0-9]{12}):oidc-provider/(.{1,255})")
_CODE = re.compile(r"[ -~]{1,4096}")
_UNKNOWN: Final = "People do not sign in with an identity provider here."
_STRANGE: Final = "This answer does not belong to a sign-in of this browser. Sign in again."
_REFUSED: Final = "The identity provider's answer cannot be accepted. Sign in again."


class ProviderState(Struct, frozen=True):
    """The state of one sign-in. `browser`: the digest of the cookie. `fresh_after`: the person must prove who they are
    after this time (s); 0: an earlier proof is enough.
    """

    id: str
    provider: str
    client_id: str
    browser: str
    nonce: str
    verifier: str
    following: str
    expires_at: int
    fresh_after: int = 0


_read_state = msgspec.json.Decoder(ProviderState).decode


class ProviderSource(Struct, frozen=True):
    """An identity provider with which people of an account sign in: its ARN, and its name for people."""

    arn: str
    name: str


async def sources(env: Env, call: Call, account: str) -> list[ProviderSource]:
    """The providers with which people of an account sign in. `account`: its id or alias. Unknown accounts have none."""

    def find(tx: Reader) -> list[ProviderSource]:
        named = account_by_alias(tx, account)
        oidc = tx.find(OidcProvider, account=named, order="url")
        saml = tx.find(SamlProvider, account=named, order="name")
        found = [ProviderSource(each.arn, each.url) for each in oidc if _settings(each) is not None]
        return [*found, *(ProviderSource(each.arn, each.name) for each in saml)]

    return await env.directory.read(find, account=call.source.lane)


def callback_path(provider_arn: str) -> str:
    """The redirect URI's path for one provider. Each has its own: an answer of one cannot pass for one of another (A68)."""
    return f"/login/callback/{hashlib.sha256(provider_arn.encode()).hexdigest()[:32]}"


async def begin(env: Env, call: Call, cookie: str, provider_arn: str, following: str, *, again: bool) -> str:
    """The address at the provider. `following`: the path to return to. `again`: the person must sign in again there.

    Raises DaypassError: NOT_FOUND, VALIDATION, IDP_COMMUNICATION, UNAVAILABLE.
    """
    provider, settings = await _provider(env, provider_arn)
    if len(following) > MAX_NEXT:
        raise too_long()
    endpoints = await env.sign_in.endpoints(provider, call.now)
    secret = env.ids.seed().hex()
    state = ProviderState(
        id=env.ids.session(),
        provider=provider.arn,
        client_id=settings.client_id,
        browser=browser_session.digest(cookie),
        nonce=hashlib.sha256(f"nonce {secret}".encode()).hexdigest(),
        verifier=hashlib.sha512(f"verifier {secret}".encode()).hexdigest(),
        following=following,
        expires_at=call.now + LIFETIME_MS,
        fresh_after=call.now // 1000 if again else 0,
    )
    challenge = base64url(hashlib.sha256(state.verifier.encode()).digest())
    parameters = {
        "response_type": "code",
        "client_id": settings.client_id,
        "redirect_uri": env.limits.public_url + callback_path(provider.arn),
        "scope": " ".join(settings.scopes),
        "state": seal(env, STATE, state),
        "nonce": state.nonce,
        "code_challenge": challenge,
        "code_challenge_method": "S256",
        **({"prompt": "login", "max_age": "0"} if again else {}),
    }
    joint = "&" if "?" in endpoints.authorization else "?"
    return f"{endpoints.authorization}{joint}{urlencode(parameters)}"


def too_long() -> DaypassError:
    """The refusal of an address to return to that does not fit the state."""
    return DaypassError(
        ErrorKind.VALIDATION, "The application's request is too long. It should push its request (RFC 9126)."
    )


class Arrival(Struct, frozen=True):
    """An authorization response in a browser: its path, its parameters, and the browser's cookie."""

    path: str
    unverified: Mapping[str, str]
    cookie: str


class Completed(Struct, frozen=True):
    """The browser's new cookie, and the path to go to."""

    cookie: str
    following: str


async def complete(env: Env, call: Call, arrival: Arrival) -> Completed:
    """Signs the person in. Raises DaypassError: INVALID_IDENTITY_TOKEN, EXPIRED_IDENTITY_TOKEN, ACCESS_DENIED, and others
    of AssumeRoleWithWebIdentity.
    """
    state = _opened(env, call, arrival)
    account = state.provider.split(":")[4]
    try:
        provider, settings = await _provider(env, state.provider)
        endpoints = await env.sign_in.endpoints(provider, call.now)
        code = _code(arrival.unverified, endpoints)
        if settings.client_id != state.client_id:
            raise _refusal("the client of the provider has changed")
        tokens = await env.sign_in.redeem(
            provider, endpoints, code, state.verifier, env.limits.public_url + callback_path(provider.arn)
        )
        if (await _provider(env, state.provider))[1] != settings:
            raise _refusal("the settings of the provider have changed")
        issuance = snapshot(env)
        proof = await verified_proof(env, account, tokens.unverified_id_token, issuance.now)
        claims = env.tokens.read(tokens.unverified_id_token).unverified_claims  # verified by now
        _check_claims(proof, claims, state, tokens)
    except DaypassError as error:
        raise owned(error, account) from None
    signed_in = replace(_provider_sign_in(proof, state, issuance), claims=standard_claims(claims))
    if proof.authenticated_at:  # the same time in ID tokens and access tokens
        proof = replace(proof, authenticated_at=signed_in.authenticated_at)
    name = _session_name(claims, settings.name_claim)
    applicant = _consuming(proven_applicant(call, proof, issuance), state, issuance)
    cookie = await _sign_in(env, call, applicant, settings.roles, with_attributes(name, proof), arrival, signed_in)
    return Completed(cookie, state.following)


async def _sign_in(
    env: Env,
    call: Call,
    applicant: Applicant,
    roles: tuple[str, ...],
    session: SessionRequest,
    arrival: Arrival,
    signed_in: ProviderSignIn,
) -> str:
    """A session of the first role whose trust policy admits the person: the browser's new cookie. Raises DaypassError."""
    cookie = env.ids.secret()
    also = browser_session.signs_in(call, cookie, arrival.cookie, signed_in)
    refusal = DaypassError(ErrorKind.ACCESS_DENIED, "No role of the account is open to you.")
    for arn in roles:
        role = requested_role(arn)
        view = await env.directory.role(role.account, role.name)
        longest = view.role.max_session_seconds if view is not None else 3600
        seconds = min(longest, env.limits.browser_session_ms // 1000)
        request = AssumeRequest(arn, replace(session, duration=seconds), action=WITH_WEB_IDENTITY)
        try:
            await assume(env, applicant, request, BROWSER_FORM, also)
        except DaypassError as error:
            if error.kind is not ErrorKind.ACCESS_DENIED:
                raise
            refusal = error
        else:
            return cookie
    raise refusal


# --- The response ----------------------------------------------------------------------------------------------------


def _opened(env: Env, call: Call, arrival: Arrival) -> ProviderState:
    """The state of a response, if it is of this browser and came to the address of its provider. Raises DaypassError."""
    state = unseal(env, STATE, arrival.unverified.get("state", ""), _read_state)
    if state is None or not hmac.compare_digest(state.browser, browser_session.digest(arrival.cookie)):
        raise DaypassError(ErrorKind.INVALID_IDENTITY_TOKEN, _STRANGE, private={"reason": "state"})
    known = {OWNER: state.provider.split(":")[4], "provider": state.provider}
    if arrival.path != callback_path(state.provider):  # attack A68
        raise DaypassError(ErrorKind.INVALID_IDENTITY_TOKEN, _STRANGE, private={**known, "reason": "mix-up: path"})
    if call.now >= state.expires_at:
        raise DaypassError(
            ErrorKind.EXPIRED_IDENTITY_TOKEN, "This sign-in has taken too long. Sign in again.", private=known
        )
    return state


def _code(unverified: Mapping[str, str], endpoints: ProviderEndpoints) -> str:
    """The code of a response from this provider. Raises DaypassError."""
    issuer = unverified.get("iss")
    if issuer != endpoints.issuer and (issuer is not None or endpoints.names_issuer):  # RFC 9207, 2.4
        raise _refusal("mix-up: iss", unverified_issuer=str(issuer)[:256])
    if error := unverified.get("error", ""):
        shown = error if error.isidentifier() and error.isascii() and len(error) <= 64 else "an error"
        raise DaypassError(
            ErrorKind.ACCESS_DENIED,
            f"The identity provider did not sign you in ({shown}).",
            private={
                "reason": "provider's error",
                "unverified_description": unverified.get("error_description", "")[:256],
            },
        )
    code = unverified.get("code", "")
    if not _CODE.fullmatch(code):
        raise _refusal("no code")
    return code


# --- The ID token ----------------------------------------------------------------------------------------------------


def _check_claims(proof: Proof, claims: Mapping[str, Any], state: ProviderState, tokens: ProviderTokens) -> None:
    """Checks an ID token of the code flow (OpenID Connect Core 1.0, 3.1.3.7). Raises DaypassError."""
    if proof.provider != state.provider:
        raise _refusal("the ID token is of another provider")
    audience, azp = claims.get("aud"), claims.get("azp")
    named = list(audience) if isinstance(audience, list) else [audience]
    if state.client_id not in named or (len(named) > 1 and azp is None) or azp not in (None, state.client_id):
        raise _refusal("the ID token is for another client")
    nonce = claims.get("nonce")
    if not isinstance(nonce, str) or not hmac.compare_digest(
        nonce.encode("utf-8", "surrogatepass"), state.nonce.encode()
    ):
        raise _refusal("the ID token has another nonce")
    at_hash = claims.get("at_hash")
    if at_hash is not None and at_hash != _token_hash(tokens.access_token, str(proof.record.get("alg"))):
        raise _refusal("at_hash is not that of the access token")
    at = claims.get("auth_time")
    if state.fresh_after and (type(at) is not int or at * 1000 < state.fresh_after * 1000 - FRESH_MS):
        raise _refusal("the person was not asked to sign in again: auth_time is missing, or too old")


def _token_hash(access_token: str, algorithm: str) -> str:
    """at_hash (OpenID Connect Core 1.0, 3.1.3.6): the left half of the digest that belongs to the signature algorithm."""
    name = "sha512" if algorithm in ("EdDSA", "Ed25519") else f"sha{algorithm[-3:]}"
    whole = hashlib.new(name, access_token.encode("ascii")).digest()
    return base64url(whole[: len(whole) // 2])


def _provider_sign_in(proof: Proof, state: ProviderState, issuance: IssuanceSnapshot) -> ProviderSignIn:
    """When and how the person signed in there. A time within a minute of now counts as now: the clocks may differ."""
    then = proof.authenticated_at or issuance.now
    if state.fresh_after or abs(issuance.now - then) < FRESH_MS:
        then = issuance.now
    return ProviderSignIn(min(then, issuance.now), proof.methods)


def _session_name(claims: Mapping[str, Any], path: str) -> SessionRequest:
    """The session's name from a claim, in the characters of a session name. Raises DaypassError."""
    text = scalar_text(claim_at(claims, path))
    name = _NOT_IN_NAMES.sub("-", text or "")[:64]
    if text is None:
        raise _refusal(f"the ID token has no claim {path}")
    return SessionRequest(name if len(name) >= 2 else f"{name}--"[:64])


def _consuming(applicant: Applicant, state: ProviderState, issuance: IssuanceSnapshot) -> Applicant:
    """The applicant, whose session consumes the state: one sign-in gives one browser session."""
    parent = applicant.parent
    used = ReplayEntry(STATE, state.id, applicant.account, issuance.now, state.expires_at)
    return replace(applicant, parent=replace(parent, replays=(*parent.replays, used)))


# --- The provider ----------------------------------------------------------------------------------------------------


async def _provider(env: Env, arn: str) -> tuple[OidcProvider, BrowserSignIn]:
    """A provider with which people sign in. Raises DaypassError(NOT_FOUND)."""
    match = _PROVIDER.fullmatch(arn)
    provider = await env.directory.entity(OidcProvider, match[1], url_of(match[2])) if match is not None else None
    settings = _settings(provider) if provider is not None else None
    if provider is None or settings is None:
        raise DaypassError(ErrorKind.NOT_FOUND, _UNKNOWN)
    return provider, settings


def _settings(provider: OidcProvider) -> BrowserSignIn | None:
    try:
        return parse_settings(provider.settings).sign_in
    except ValueError:  # of another version
        return None


def _refusal(reason: str, **private: Any) -> DaypassError:
    return DaypassError(ErrorKind.INVALID_IDENTITY_TOKEN, _REFUSED, private={"reason": reason, **private})

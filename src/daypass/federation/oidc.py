"""Verifies tokens of OpenID Connect providers: from a text to a `Proof`, or to a refusal with a reason.

The order matters: form, signature, and only then the claims. Before the signature is verified, every refusal is the
same, so that a forged token reveals nothing about the account. After it, the error names the cause. Nothing is
normalised: issuer and audience are compared as written. Keys come from `IssuerKeys`, never from the token.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, TypeAlias

from daypass.crypto import jose
from daypass.domain.claims import OneTime, PrincipalKind, Proof
from daypass.domain.directory import OidcProvider
from daypass.domain.errors import DaypassError, ErrorKind
from daypass.domain.jws import ID_JAG, JoseError, UnverifiedJws, actors, iso_time, may_act
from daypass.domain.provider_settings import ProviderSettings, issuer_of, parse_settings, url_of
from daypass.domain.web_identity import (
    UnusableClaimsError,
    audience_keys,
    authentication,
    claim_keys,
    is_usable_url,
    names_another_person,
    no_provider,
    requested_session,
    session_keys,
)
from daypass.federation.keys import IssuerKeys

_LATEST: Final = 253_402_300_799  # seconds: the end of the year 9999
_MAX_AUDIENCES: Final = 50
_MAX_SUBJECT: Final = 255
_MAX_ISSUER: Final = 263  # https:// and the longest URL of a provider
_SHOWN: Final = 128
_FILE_END: Final = "\r\n"  # SDKs send the content of the token file, and files written by people end with a line break

_SPIFFE_ID = re.compile(r"spiffe://([a-z0-9._-]{1,255})((?:/[A-Za-z0-9._-]+)+)")
_LOGOUT = "http://schemas.openid.net/event/backchannel-logout"
_ACCESS_TYPES = frozenset({"at+jwt", "application/at+jwt"})
# Claims by which issuers mark tokens that identify nobody to us (attack A25): Keycloak's `typ`, Cognito's `token_use`.
_NEVER = (("typ", "Refresh"), ("typ", "Offline"), ("typ", "Logout"))
_ACCESS = (("typ", "Bearer"), ("token_use", "access"))


FurtherCheck: TypeAlias = Callable[[OidcProvider, ProviderSettings, str, Mapping[str, Any], int], Awaitable[None]]
"""A further check of a token whose signature, issuer, times and audience are valid, with its claims, at a time (ms). Raises
DaypassError when the token must be refused.
"""


@dataclass(frozen=True, slots=True)
class OidcToken:
    """A well-formed token. Nothing about it has been verified.

    `unverified_issuer`: the issuer as the token names it. `unverified_url`: the provider, as `OidcProvider.url` has it.
    """

    jws: UnverifiedJws
    unverified_issuer: str
    unverified_url: str

    @property
    def unverified_type(self) -> str:
        """`typ` of its header, in lower case and without "application/"; "" for none."""
        return self.jws.typ.lower().removeprefix("application/")

    @property
    def unverified_claims(self) -> Mapping[str, Any]:
        """Its claims. Only for finding out why a token is refused."""
        return self.jws.unverified_claims


class OidcVerifier:
    """Verifies tokens of OpenID Connect providers.

    Args:
        keys: where keys come from.
        checks: applied in order to every token that is otherwise valid.
        observe_skew: called with the provider's URL and this server's time minus the token's time of issue, in seconds.
    """

    def __init__(
        self,
        keys: IssuerKeys,
        *,
        checks: Sequence[FurtherCheck] = (),
        observe_skew: Callable[[str, float], None] = lambda _url, _seconds: None,
    ) -> None:
        self._keys = keys
        self._checks = tuple(checks)
        self._observe_skew = observe_skew

    def read(self, unverified_text: str) -> OidcToken:
        """Parses a token. Raises DaypassError(INVALID_IDENTITY_TOKEN)."""
        try:
            jws = jose.read(unverified_text.rstrip(_FILE_END))
        except JoseError as error:
            message = "The ID Token provided is not a valid JWT. (You may see this error if you sent an Access Token)"
            raise _refusal(f"{message}: {error}") from None
        issuer = jws.unverified_claims.get("iss")
        if isinstance(issuer, str) and len(issuer) > _MAX_ISSUER:  # it is about to be looked up, and remembered
            raise _refusal(f"The claim iss has more than {_MAX_ISSUER} characters")
        if isinstance(issuer, str) and issuer:
            return OidcToken(jws, issuer, url_of(issuer))
        svid = _SPIFFE_ID.fullmatch(str(jws.unverified_claims.get("sub")))
        if issuer is not None or svid is None:
            raise _refusal("Missing a required claim: iss")
        return OidcToken(jws, f"spiffe://{svid[1]}", svid[1])  # JWT-SVIDs need not name their issuer

    async def verify(
        self, provider: OidcProvider, token: OidcToken, now: int, *, identity_assertion: bool = False
    ) -> Proof:
        """Verifies a token from `read` for `provider` at `now` (ms) and returns its facts.

        `identity_assertion`: it must be an identity assertion grant, which is accepted in no other case and used once.

        Raises DaypassError: INVALID_IDENTITY_TOKEN, EXPIRED_IDENTITY_TOKEN, IDP_REJECTED_CLAIM, IDP_COMMUNICATION.
        """
        if not isinstance(token, OidcToken):
            raise TypeError("only what `read` gave can be verified")
        settings = await self._verify_signature(provider, token, now)
        if (token.unverified_type == ID_JAG) is not identity_assertion:  # whatever the settings say
            raise _refusal("An identity assertion grant is accepted from its client at the token endpoint only")
        if identity_assertion:
            settings = replace(settings, one_time=True)
        try:
            return await self._proof(provider, settings, token.jws, now)
        except UnusableClaimsError as error:
            raise _refusal(str(error), token=_record(token.jws)) from None
        except DaypassError as error:  # the record identifies the token
            private = {"reason": error.public, **error.private, "token": _record(token.jws)}
            raise DaypassError(error.kind, error.public, private=private) from None

    async def _proof(self, provider: OidcProvider, settings: ProviderSettings, jws: UnverifiedJws, now: int) -> Proof:
        claims = jws.unverified_claims  # verified by now
        _check_issuer(provider, settings, claims)
        _check_kind(settings, jws.typ, claims)
        self._observe(provider, claims, now)
        expires = _check_times(settings, claims, now)
        subject = _subject(provider, settings, claims)
        audiences, azp = _audiences(provider, claims)
        for check in self._checks:
            await check(provider, settings, jws.text, claims, now)
        requested = requested_session(claims, settings)
        keys = {**claim_keys(provider.url, claims), **audience_keys(provider.url, audiences, azp)}
        issuer = issuer_of(provider.url, settings)
        authenticated_at, methods = authentication(claims)
        try:
            acting, allowed = actors(claims, issuer), may_act(claims, issuer)
        except ValueError as error:  # attack A118: unsupported delegation must not be dropped silently
            raise _refusal(f"The token cannot be used: {error}") from None
        return Proof(
            kind=PrincipalKind.WEB_IDENTITY,
            method="oidc",
            account=provider.account,
            provider=provider.arn,
            subject=subject,
            issuer=issuer,
            audience=azp or audiences[0],
            keys=keys,
            tags=requested.tags,
            transitive_keys=requested.transitive_keys,
            source_identity=requested.source_identity,
            one_time=_one_time(provider, settings, claims, expires) if settings.one_time else None,
            record=_record(jws),
            session_keys=session_keys(provider.arn, provider.url, keys),
            actors=acting,
            may_act=allowed,
            authenticated_at=authenticated_at,
            methods=methods,
        )

    async def _verify_signature(self, provider: OidcProvider, token: OidcToken, now: int) -> ProviderSettings:
        try:
            settings = parse_settings(provider.settings)
            if not is_usable_url(provider.url):
                raise JoseError("the provider's URL cannot begin condition keys")
            key_set = await self._keys.keys(provider, token.jws.kid, now)
            jose.verify(token.jws, key_set.jwks, settings.algorithms)
        except ValueError as error:  # JoseError among them, and settings that cannot be read
            raise no_provider(token.unverified_issuer, provider.account, str(error)) from None
        return settings

    def _observe(self, provider: OidcProvider, claims: Mapping[str, Any], now: int) -> None:
        issued = claims.get("iat")
        if isinstance(issued, int) and _is_time(issued):
            self._observe_skew(provider.url, now / 1000 - issued)


# --- Checks beyond the signature ------------------------------------------------------------------------------


def _refusal(message: str, kind: ErrorKind = ErrorKind.INVALID_IDENTITY_TOKEN, **private: Any) -> DaypassError:
    return DaypassError(kind, message, private=private)


def _check_issuer(provider: OidcProvider, settings: ProviderSettings, claims: Mapping[str, Any]) -> None:
    """Exactly the provider's issuer (attack A23); a JWT-SVID may have none."""
    issuer, expected = claims.get("iss"), issuer_of(provider.url, settings)
    if issuer is None and settings.spiffe_trust_domain:
        return
    if issuer != expected:
        raise _refusal(f"The token's issuer {_quoted(issuer)} is not {expected!r}, that of the provider")


def _check_kind(settings: ProviderSettings, typ: str, claims: Mapping[str, Any]) -> None:
    """Tokens made for another purpose are refused where they can be recognised (RFC 8725, 3.11)."""
    taken = {name.lower() for name in settings.token_types}
    if typ and typ.lower().removeprefix("application/") not in taken and typ.lower() not in taken:
        raise _refusal(f"The token's type {_quoted(typ)} is not among those that are taken: {sorted(taken)}")
    marks = _NEVER if taken & _ACCESS_TYPES else (*_NEVER, *_ACCESS)
    for claim, value in marks:
        if claims.get(claim) == value:
            raise _refusal(f"The token says of itself that it is not one that identifies: {claim} is {value!r}")
    events = claims.get("events")
    if isinstance(events, dict) and _LOGOUT in events:
        raise _refusal("The token is a logout token")


def _check_times(settings: ProviderSettings, claims: Mapping[str, Any], now: int) -> int:
    """The expiry time of the token in seconds. If the clocks disagree, the error names both times (RFC 7519, 4.1.4 to
    4.1.6).
    """
    leeway, seconds = settings.leeway_seconds, now / 1000
    expires, begins, issued = (_time(claims, name) for name in ("exp", "nbf", "iat"))
    if expires is None:
        raise _refusal("Missing a required claim: exp")
    server_time = f"this server's time is {iso_time(int(seconds))}, and {leeway} seconds of leeway are given"
    times = {"now": int(seconds), "exp": expires, "nbf": begins, "iat": issued, "leeway": leeway}
    if seconds >= expires + leeway:
        expired = f"Token expired: it was valid until {iso_time(int(expires))} (exp); {server_time}"
        raise _refusal(expired, ErrorKind.EXPIRED_IDENTITY_TOKEN, times=times)
    for name, time in (("nbf", begins), ("iat", issued)):
        if time is not None and seconds < time - leeway:
            raise _refusal(
                f"Token is not valid yet: it begins at {iso_time(int(time))} ({name}); {server_time}", times=times
            )
    if settings.max_age_seconds:
        if issued is None:
            raise _refusal("Missing a required claim: iat")
        if seconds >= issued + settings.max_age_seconds + leeway:
            old = f"Token expired: it was issued at {iso_time(int(issued))} (iat), more than {settings.max_age_seconds} seconds ago"
            raise _refusal(f"{old}; {server_time}", ErrorKind.EXPIRED_IDENTITY_TOKEN, times=times)
    return expires


def _time(claims: Mapping[str, Any], name: str) -> int | None:
    value = claims.get(name)
    if name in claims and not _is_time(value):
        raise _refusal(f"The claim {name} is not a whole number of seconds since 1970")
    return value


def _is_time(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _LATEST


def _subject(provider: OidcProvider, settings: ProviderSettings, claims: Mapping[str, Any]) -> str:
    subject = claims.get("sub")
    if "sub" not in claims:
        raise _refusal("Missing a required claim: sub")
    if not isinstance(subject, str) or not 0 < len(subject) <= _MAX_SUBJECT or not subject.isprintable():
        raise _refusal(f"The claim sub is not a string of 1 to {_MAX_SUBJECT} printable characters")
    if names_another_person(provider.url, subject):
        raise _refusal("The claim sub begins like the port of another issuer on this host, and a colon")
    if settings.spiffe_trust_domain:
        svid = _SPIFFE_ID.fullmatch(subject)
        if svid is None or svid[1] != settings.spiffe_trust_domain or {".", ".."} & set(svid[2].split("/")):
            raise _refusal(f"The claim sub is not a SPIFFE ID of the trust domain {settings.spiffe_trust_domain!r}")
    return subject


def _audiences(provider: OidcProvider, claims: Mapping[str, Any]) -> tuple[tuple[str, ...], str]:
    """The audiences and the authorized party ("" when there is none): each must be a client id of the provider
    (A16).
    """
    if "aud" not in claims:
        raise _refusal("Missing a required claim: aud")
    value = claims["aud"]
    audiences = tuple(value) if isinstance(value, list) else (value,)
    if not 0 < len(audiences) <= _MAX_AUDIENCES:
        raise _refusal(f"The claim aud does not have 1 to {_MAX_AUDIENCES} values")
    for audience in audiences:
        if not isinstance(audience, str) or audience not in provider.client_ids:
            raise _refusal(
                f"Incorrect token audience: audience {_quoted(audience)} is not among this provider's client ids"
            )
    azp = claims.get("azp", "")
    if "azp" in claims and (not isinstance(azp, str) or azp not in provider.client_ids):
        raise _refusal(
            f"Incorrect token audience: authorized party {_quoted(azp)} is not among this provider's client ids"
        )
    return audiences, azp


def _quoted(value: Any) -> str:
    """A value of a token for a message: one line, of limited length."""
    return repr(value[:_SHOWN]) if isinstance(value, str) else f"of type {type(value).__name__}"


# --- What is kept ----------------------------------------------------------------------------------------------------


def _one_time(provider: OidcProvider, settings: ProviderSettings, claims: Mapping[str, Any], expires: int) -> OneTime:
    """Its id is a digest of account, provider and `jti`, so that no account can consume another account's tokens."""
    jti = claims.get("jti")
    if not isinstance(jti, str) or not jti:
        raise _refusal("Missing a required claim: jti, by which tokens of this provider are used once")
    digest = hashlib.sha256(f"{provider.account}\0{provider.url}\0{jti}".encode()).hexdigest()
    return OneTime("jwt", digest, (expires + settings.leeway_seconds) * 1000)


def _record(jws: UnverifiedJws) -> dict[str, object]:
    """The detail of a verified token on the record: enough to find it at its issuer, never the token itself."""
    claims = jws.unverified_claims
    kept = {name: claims[name] for name in ("sub", "aud", "azp", "jti", "iat", "exp") if name in claims}
    shown = {name: value if isinstance(value, int) else str(value)[:_MAX_SUBJECT] for name, value in kept.items()}
    return {**shown, "kid": jws.kid, "alg": jws.alg}

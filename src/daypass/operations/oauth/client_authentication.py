"""Authenticates OAuth clients. Every endpoint of the authorization server that serves clients does it here.

A client uses the one method that is registered for it, so that a weaker one cannot be tried. The refusal is the same for
every reason, and for a client that does not exist (attack A71); the record has the reason.
Sources: RFC 6749, 2.3; RFC 7523, 3; RFC 8705, 2; RFC 9700, 2.5; FAPI 2.0 Security Profile, 5.3.2.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Mapping
from typing import Any, Final

from msgspec import Struct

from daypass.domain.arn import UNKNOWN, Source, read_arn
from daypass.domain.claims import Caller, RequestFacts
from daypass.domain.directory import OAuthClient, ReplayEntry
from daypass.domain.errors import DaypassError, ErrorKind
from daypass.domain.events import Event, EventType
from daypass.domain.jws import CertificateRefused, JoseError, UnverifiedJws, VerifiedCertificate, base64url, text_digest
from daypass.domain.oauth.client import BUILT_IN, FAPI_ALGORITHMS, AuthMethod, ClientSettings, parse_client
from daypass.domain.oauth.urls import is_document_id
from daypass.operations import rates
from daypass.operations.assume.request import CLIENT_ASSERTION
from daypass.operations.authenticate import authenticated_again
from daypass.operations.oauth.clients import built_in, check_secret
from daypass.operations.oauth.document_clients import document_client
from daypass.operations.outcome import ACTOR, OWNER, event_of
from daypass.operations.principals import find_current, refresh_if_changed
from daypass.operations.rates import charge_client
from daypass.ports import Call, Env

TOKEN_PATH: Final = "/oauth2/token"  # a path
_FAILED: Final = "Client authentication failed."
_ID = re.compile(r"[A-Z0-9]{21}")
_LEEWAY: Final = 10  # seconds, of times in the future; FAPI 2.0, 5.3.2.1
_LONGEST: Final = 3_600  # seconds until an assertion expires: its id is stored that long. Authlib takes an hour
_MAX_JTI: Final = 256


class TlsClientCertificate(Struct, frozen=True):
    """A certificate whose key the client proved at the TLS endpoint.

    `source` is "tls" or "proxy", for the record.
    """

    unverified_der: bytes
    unverified_chain: tuple[bytes, ...] = ()
    source: str = "tls"

    @property
    def thumbprint(self) -> str:
        """x5t#S256 (RFC 8705, 3.1)."""
        return base64url(hashlib.sha256(self.unverified_der).digest())


class PresentedClient(Struct, frozen=True):
    """The credentials by which a request authenticates a client."""

    id: str  # the client that it claims to be
    # The methods that its credentials are of. A certificate is not a credential unless the client uses it.
    methods: frozenset[AuthMethod]
    # secret, unverified_assertion: the credential.
    secret: str = ""
    unverified_assertion: UnverifiedJws | None = None
    certificate: TlsClientCertificate | None = None  # the client's, of the TLS connection
    caller: Caller | None = None  # the principal that signed the request with SigV4; it is verified
    account: str = ""  # of the grant in the request, where a client with a metadata document is looked for; "" for none
    sender: Source = UNKNOWN  # of the request, which a public client is charged to: everybody may name it

    def __repr__(self) -> str:
        return f"PresentedClient({self.id})"


class AuthenticatedClient(Struct, frozen=True):
    """A client that has authenticated, or a public client that named itself.

    `replays`: the one-time credentials that the request must consume. `caller`: the principal of a workload.
    """

    client: OAuthClient
    settings: ClientSettings
    replays: tuple[ReplayEntry, ...] = ()
    certificate: TlsClientCertificate | None = None
    caller: Caller | None = None

    @property
    def method(self) -> str:
        """How it authenticated."""
        return self.settings.token_endpoint_auth_method

    @property
    def actor(self) -> dict[str, Any]:
        """The client as the actor of an event."""
        client = self.client
        return {
            "kind": "OAuthClient",
            "account": client.account,
            "arn": client.arn,
            "principal_id": client.id,
            "access_key_id": "",
            "auth_method": self.method,
        }

    def served(self, call: Call, **more: Any) -> Event:
        """The event of a request that the client was served."""
        more.setdefault("account", self.client.account)
        return event_of(EventType.REQUEST_ALLOWED, call.facts, self.actor, at=call.now, **more)

    @property
    def private(self) -> dict[str, Any]:
        """The client in the private facts of a refusal."""
        return {OWNER: self.client.account, ACTOR: self.actor}


async def authenticate_client(env: Env, presented: PresentedClient, now: int) -> AuthenticatedClient:
    """The client. A refusal polls the change feed first, as one of an unknown client does: credentials that were registered
    at another process are accepted at once, and the time does not tell whether the client exists (attack A71).

    Raises DaypassError: INVALID_CLIENT, THROTTLED, UNAVAILABLE.
    """
    client = await _named(env, presented)
    if client is None:
        raise failed("the client is unknown", unverified_client_id=presented.id[:64])
    try:
        return await _authenticated(env, client, presented, now)
    except DaypassError as error:
        if error.kind is not ErrorKind.INVALID_CLIENT or not await refresh_if_changed(env):
            raise
        again = await _named(env, presented)
        if again is None or again == client:
            raise
    return await _authenticated(env, again, presented, now)


async def _authenticated(env: Env, client: OAuthClient, presented: PresentedClient, now: int) -> AuthenticatedClient:
    known = {OWNER: client.account, "client_id": client.id}
    if not client.enabled:
        raise failed("the client is disabled", **known)
    settings = parse_client(client.settings)
    method = settings.token_endpoint_auth_method
    if method not in presented.methods:
        raise failed(f"the client authenticates with {method}", **known, methods=sorted(presented.methods))
    try:
        replays = await _verified(env, client, settings, presented, now)
    except (JoseError, CertificateRefused) as error:
        raise failed(str(error), **known) from None
    except DaypassError as error:
        if error.kind is not ErrorKind.IDP_COMMUNICATION:
            raise
        raise failed(f"its keys cannot be fetched: {error.private.get('keys', error.public)}", **known) from None
    source = Source(account=client.account, principal=client.id)
    if method == "none":
        network = presented.sender.network
        source = Source(network, account=network, principal=f"{client.id} {network}")
    charge_client(env, source, client.id)
    return AuthenticatedClient(client, settings, replays, presented.certificate, presented.caller)


async def _named(env: Env, presented: PresentedClient) -> OAuthClient | None:
    try:
        return await registered_client(env, presented.id, presented.account)
    except DaypassError as error:
        if error.kind not in (ErrorKind.IDP_COMMUNICATION, ErrorKind.VALIDATION):
            raise
        raise failed(f"its metadata document: {error.private.get('document', '')}", **error.private) from None


def charge_write(env: Env, facts: RequestFacts, client: AuthenticatedClient) -> None:
    """Charges a request that stores something to its network, if it proves nothing: any text can name a public client.

    Raises DaypassError(THROTTLED).
    """
    if client.method == "none":
        rates.charge_write(env, facts)


async def registered_client(env: Env, unverified_id: str, account: str = "") -> OAuthClient | None:
    """The client with this id; None when there is none. A stale cache is not the reason for a refusal.

    `account`: the one in which a client with a metadata document is looked for. Raises DaypassError: see `document_client`.
    """
    if unverified_id in BUILT_IN:
        return built_in(unverified_id, env.oauth.issuer)
    if is_document_id(unverified_id):
        return await document_client(env, account, unverified_id) if account else None
    if not _ID.fullmatch(unverified_id):
        return None
    return await find_current(env, lambda: env.directory.entity(OAuthClient, unverified_id))


def check_current(client: AuthenticatedClient, now: OAuthClient | None) -> None:
    """`now`: the client as it is read when its request acts, which may be long after it has authenticated.

    Raises DaypassError: INVALID_CLIENT when it was deleted or disabled, or a secret was removed; UNAVAILABLE for any other
    change, also one that this process had not read.
    """
    known = client.client
    if known.id in BUILT_IN or is_document_id(known.id):
        return
    if now is None or not now.enabled or not set(known.secrets) <= set(now.secrets):
        raise failed("the client was disabled, or its secret removed, meanwhile", **client.private)
    if now.settings != known.settings:
        private = {**client.private, "reason": "the client was changed meanwhile"}
        raise DaypassError(ErrorKind.UNAVAILABLE, "The client was changed meanwhile. Try again.", private=private)


async def check_again_client(env: Env, *, client: AuthenticatedClient) -> None:
    """`check_current`, and the workload that proved to be the client. Raises DaypassError."""
    if client.caller is not None:
        try:
            await authenticated_again(env, client.caller)
        except DaypassError as error:
            raise error if error.kind is ErrorKind.UNAVAILABLE else failed(error.public, **error.private) from None
    check_current(client, await env.directory.entity(OAuthClient, client.client.id))


def failed(reason: str, **private: Any) -> DaypassError:
    """The only refusal of a client's authentication."""
    return DaypassError(ErrorKind.INVALID_CLIENT, _FAILED, private={"reason": reason, **private})


async def _verified(
    env: Env, client: OAuthClient, settings: ClientSettings, presented: PresentedClient, now: int
) -> tuple[ReplayEntry, ...]:
    """The one-time credentials to consume. Raises JoseError, CertificateRefused, DaypassError."""
    match settings.token_endpoint_auth_method:
        case "private_key_jwt":
            assert presented.unverified_assertion is not None
            claims = await env.oauth.proofs.assertion(client, presented.unverified_assertion, now)
            audiences = [env.oauth.issuer]
            if not settings.requires("token_endpoint_audience"):
                audiences.append(f"{env.oauth.issuer}{TOKEN_PATH}")
            used = _assertion(audiences, client, claims, now)
            _check_algorithm(client, settings, presented.unverified_assertion.alg)
            return (used,)
        case "client_secret_basic" | "client_secret_post":
            check_secret(client, presented.secret)
        case "tls_client_auth":
            await _check_certificate(env, client, settings, presented, now)
        case "self_signed_tls_client_auth":
            certificate = presented.certificate
            if certificate is None or certificate.thumbprint not in settings.tls_client_certificates:
                raise CertificateRefused("the certificate is not one of the client's")
        case "aws_sigv4":
            await _check_role(env, client, settings, presented.caller)
        case "none":
            pass
    return ()


# --- private_key_jwt -------------------------------------------------------------------------------------------------


def _assertion(audiences: Collection[str], client: OAuthClient, claims: Mapping[str, Any], now: int) -> ReplayEntry:
    """The use of an assertion whose signature is verified. `audiences`: it has one of these. Raises JoseError.

    It has no other audience: an assertion for a token endpoint of another server must not be usable here, and one for
    several servers could be passed on by any of them.
    """
    if claims.get("iss") != client.id or claims.get("sub") != client.id:
        raise JoseError("its iss and sub are not the client_id")
    if claims.get("aud") not in audiences:  # a string (FAPI 2.0, 5.3.2.1)
        raise JoseError(f"its only audience must be {' or '.join(audiences)}")
    expires, seconds = _time(claims, "exp", required=True), now // 1000
    if not seconds < expires + _LEEWAY:
        raise JoseError("it has expired")
    if expires > seconds + _LONGEST:
        raise JoseError(f"it expires in more than {_LONGEST} seconds")
    if max(_time(claims, "iat"), _time(claims, "nbf")) > seconds + _LEEWAY:
        raise JoseError("it is not valid yet")
    jti = claims.get("jti")
    if not isinstance(jti, str) or not 0 < len(jti) <= _MAX_JTI:
        raise JoseError("its jti is missing, or is not a usable string")
    used = text_digest(f"{client.id}\0{jti}")
    return ReplayEntry(CLIENT_ASSERTION, used, client.account, now, (expires + _LEEWAY) * 1000)


def _check_algorithm(client: OAuthClient, settings: ClientSettings, algorithm: str) -> None:
    """The sender is the client by now, so the message says what is wrong. Raises DaypassError(INVALID_CLIENT)."""
    if algorithm not in settings.algorithms:
        message = f"{_FAILED} {not_allowed(algorithm)}"
        private = {"reason": f"FAPI 2.0 does not allow {algorithm}", OWNER: client.account, "client_id": client.id}
        raise DaypassError(ErrorKind.INVALID_CLIENT, message, private=private)


def not_allowed(algorithm: str) -> str:
    """Why a client may not sign with it, and what to do."""
    return (
        f"FAPI 2.0 does not allow {algorithm}: sign with {', '.join(FAPI_ALGORITHMS)}, or let the client's "
        "fapi_exceptions have other_algorithms."
    )


def _time(claims: Mapping[str, Any], name: str, *, required: bool = False) -> int:
    value = claims.get(name, None if required else 0)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 2**40:
        raise JoseError(f"its {name} is not a whole number of seconds")
    return value


# --- Certificates ----------------------------------------------------------------------------------------------------


async def _check_certificate(
    env: Env, client: OAuthClient, settings: ClientSettings, presented: PresentedClient, now: int
) -> None:
    """A valid path to the client's trust anchor, and the registered name. A proxy need not have verified the path (A76).

    Raises CertificateRefused.
    """
    certificate = presented.certificate
    if certificate is None:
        raise CertificateRefused("there is no client certificate")
    arn = read_arn(settings.trust_anchor)
    if arn is None:
        raise CertificateRefused("the trust anchor of the client is not an ARN")
    view = await env.directory.trust_anchor(arn.resource.partition("/")[2])
    if view is None or view.anchor.account != client.account or view.anchor.arn != settings.trust_anchor:
        raise CertificateRefused("the client's account has no such trust anchor")
    if not view.anchor.enabled:
        raise CertificateRefused("the trust anchor is disabled")
    crls = tuple(crl.data for crl in view.crls)
    found = await env.certificates.verify(
        presented.sender, view.anchor.certificates, crls, certificate.unverified_der, certificate.unverified_chain, now
    )
    if not _is_named(settings, found):
        raise CertificateRefused("the certificate has another name than the client's")


def _is_named(settings: ClientSettings, certificate: VerifiedCertificate) -> bool:
    if settings.tls_client_auth_subject_dn:
        return certificate.subject == settings.tls_client_auth_subject_dn
    if settings.tls_client_auth_san_dns:
        return ("DNS", settings.tls_client_auth_san_dns) in certificate.sans
    return ("URI", settings.tls_client_auth_san_uri) in certificate.sans


# --- Workloads -------------------------------------------------------------------------------------------------------


async def _check_role(env: Env, client: OAuthClient, settings: ClientSettings, caller: Caller | None) -> None:
    """A session of the client's role. A role that was created later with the same ARN is another one (attack A55)."""
    if caller is None or caller.principal_arn != settings.role or caller.account != client.account:
        raise JoseError("the request is not signed by a session of the client's role")
    view = await env.directory.role_by_id(caller.principal_id)
    if view is None or view.role.created_at > client.updated_at:
        raise JoseError("the role was created after it was registered with the client")

"""The sender of a request: the credentials of a client, a DPoP proof, the certificate of the TLS connection.

It reads them and passes them on; `operations.oauth` decides. A request with two kinds of credentials is refused, as RFC
6749, 2.3 demands: which one counts must not depend on the reader.
"""

from __future__ import annotations

import base64
import binascii
from typing import Final
from urllib.parse import unquote_plus

from msgspec.structs import replace

from daypass.domain.errors import DaypassError, ErrorKind
from daypass.domain.jws import JoseError
from daypass.domain.oauth.resource_server import X5T, Binding
from daypass.domain.oauth.urls import MAX_ID, is_document_id
from daypass.operations.oauth.client_authentication import (
    AuthenticatedClient,
    PresentedClient,
    TlsClientCertificate,
    authenticate_client,
    failed,
    not_allowed,
)
from daypass.operations.oauth.document_clients import account_of_grant
from daypass.operations.oauth.request import DpopProof, Sender, invalid_proof
from daypass.wire.access_token import certificate_of, dpop_of, proof_missing
from daypass.wire.oauth.endpoint import EndpointContext, Form, malformed, one

SIGNED_FOR: Final = "daypass"
"""The service that a workload's signature (SigV4) must name."""

ASSERTION_TYPE: Final = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
_SIGV4: Final = "aws4-"
_TOKENS: Final = 1.0  # that a signed request costs, relative to an STS request


async def sender_of(ctx: EndpointContext, form: Form, *, nonce: bool = True) -> Sender:
    """Who sent a request to the token endpoint, with the proofs that serving it consumes. `nonce`: whether a DPoP proof needs
    one.

    Raises DaypassError: INVALID_CLIENT, INVALID_DPOP_PROOF, USE_DPOP_NONCE, MALFORMED_REQUEST, THROTTLED, UNAVAILABLE.
    """
    client = await client_of(ctx, form)
    proof = await proof_of(ctx, client, nonce=nonce)
    binding = proof.binding if proof is not None else _certificate_binding(client)
    if client is not None:
        _check_binding(ctx, client, binding, dpop=proof is not None)
    return Sender(client, binding, ctx.progress.replays)


async def proof_of(ctx: EndpointContext, client: AuthenticatedClient | None, *, nonce: bool = True) -> DpopProof | None:
    """The DPoP proof of a request, signed as its client may. Raises DaypassError: INVALID_DPOP_PROOF, USE_DPOP_NONCE."""
    proof = await dpop_of(ctx.env, ctx.progress, nonce=nonce)
    if proof is not None and client is not None and proof.algorithm not in client.settings.algorithms:
        raise invalid_proof(f"FAPI 2.0 does not allow {proof.algorithm}", not_allowed(proof.algorithm))
    return proof


async def required_client(ctx: EndpointContext, form: Form) -> AuthenticatedClient:
    """`client_of`, which must not be None. Raises DaypassError."""
    client = await client_of(ctx, form)
    if client is None:
        raise DaypassError(ErrorKind.INVALID_CLIENT, "Authenticate as a client, or send client_id.")
    return client


async def client_of(ctx: EndpointContext, form: Form) -> AuthenticatedClient | None:
    """The client that the request authenticates, or names; None when it has none. Raises DaypassError."""
    presented = await _presented(ctx, form)
    if presented is None:
        return None
    ctx.detail["client_id"] = presented.id[:64]
    presented = replace(presented, sender=ctx.request.source)
    if is_document_id(presented.id):
        presented = replace(presented, account=await _account_of(ctx, form))
    client = await authenticate_client(ctx.env, presented, ctx.env.clock.now())
    ctx.progress.replays = (*ctx.progress.replays, *client.replays)
    ctx.progress.client_proven = client.method != "none"
    ctx.client = client
    return client


async def _account_of(ctx: EndpointContext, form: Form) -> str:
    """The account of the one code or token in the request. With several, one of another account could choose the settings
    for a grant of this one.
    """
    grants = [value for name in ("code", "refresh_token", "token") if (value := one(form, name))]
    return await account_of_grant(ctx.env, ctx.request.source, grants[0]) if len(grants) == 1 else ""


# --- Credentials -----------------------------------------------------------------------------------------------------


async def _presented(ctx: EndpointContext, form: Form) -> PresentedClient | None:
    header = [value.decode("latin-1") for name, value in ctx.request.headers if name == b"authorization"]
    kinds = [bool(header), "client_secret" in form, "client_assertion" in form or "client_assertion_type" in form]
    if sum(kinds) > 1 or len(header) > 1:
        raise malformed("A client authenticates in one way only.")
    client_id = one(form, "client_id")
    certificate, remarks = certificate_of(ctx.request, ctx.certificate_header)
    ctx.detail |= remarks
    if header:
        return await _by_header(ctx, header[0], client_id, certificate)
    if "client_secret" in form:
        secret = one(form, "client_secret")
        return PresentedClient(client_id, frozenset({"client_secret_post"}), secret, certificate=certificate)
    if kinds[2]:
        return _by_assertion(ctx, form, client_id, certificate)
    if not client_id:
        return None
    if certificate is None:
        return PresentedClient(client_id, frozenset({"none"}))
    methods = frozenset({"none", "tls_client_auth", "self_signed_tls_client_auth"})
    return PresentedClient(client_id, methods, certificate=certificate)  # type: ignore[arg-type]  # of literals


async def _by_header(
    ctx: EndpointContext, header: str, client_id: str, certificate: TlsClientCertificate | None
) -> PresentedClient:
    scheme, _, rest = header.partition(" ")
    if scheme.lower() == "basic":
        named, secret = _basic(rest.strip())
        if client_id and client_id != named:
            raise malformed("client_id is not that of the Authorization header.")
        return PresentedClient(named, frozenset({"client_secret_basic"}), secret, certificate=certificate)
    if scheme.lower().startswith(_SIGV4):
        call = await ctx.front.authenticated(ctx.progress, (SIGNED_FOR,), _TOKENS)
        return PresentedClient(client_id, frozenset({"aws_sigv4"}), certificate=certificate, caller=call.caller)
    raise failed("the Authorization header is of another scheme")


def _basic(text: str) -> tuple[str, str]:
    """Client id and secret, each form-urlencoded (RFC 6749, 2.3.1)."""
    try:
        decoded = base64.b64decode(text, validate=True).decode("ascii")
        client_id, colon, secret = decoded.partition(":")
        if not colon:
            raise ValueError("no colon")  # the same refusal
        if "%" in decoded or "+" in decoded:
            return unquote_plus(client_id, errors="strict"), unquote_plus(secret, errors="strict")
        return client_id, secret
    except (ValueError, binascii.Error):
        raise failed("the Authorization header is not Basic credentials") from None


def _by_assertion(
    ctx: EndpointContext, form: Form, client_id: str, certificate: TlsClientCertificate | None
) -> PresentedClient:
    if one(form, "client_assertion_type") != ASSERTION_TYPE:
        raise failed("the client_assertion_type is not the one of RFC 7523")
    try:
        unverified = ctx.env.oauth.proofs.read(one(form, "client_assertion"))
    except JoseError as error:
        raise failed(str(error)) from None
    subject = unverified.unverified_claims.get("sub")
    named = subject if isinstance(subject, str) and len(subject) <= MAX_ID else ""
    if client_id and client_id != named:
        raise malformed("client_id is not that of the client_assertion.")
    return PresentedClient(
        named, frozenset({"private_key_jwt"}), unverified_assertion=unverified, certificate=certificate
    )


# --- Binding ---------------------------------------------------------------------------------------------------------


def _certificate_binding(client: AuthenticatedClient | None) -> Binding | None:
    if client is None or client.certificate is None:
        return None
    by_certificate = client.method in ("tls_client_auth", "self_signed_tls_client_auth")
    if by_certificate or client.settings.tls_client_certificate_bound_access_tokens:
        return Binding(X5T, client.certificate.thumbprint)
    return None


def _check_binding(ctx: EndpointContext, client: AuthenticatedClient, binding: Binding | None, *, dpop: bool) -> None:
    settings = client.settings
    if settings.dpop_bound_access_tokens and not dpop:
        message = "The tokens of this client must be bound: a DPoP proof is missing."
        raise proof_missing(ctx.progress, message)
    if settings.tls_client_certificate_bound_access_tokens and client.certificate is None:
        raise failed("the client's tokens must be bound to a certificate, and there is none", **client.private)
    if binding is None and settings.bound:
        message = "The tokens of this client must be bound: send a DPoP proof, or use a client certificate."
        raise proof_missing(ctx.progress, message)

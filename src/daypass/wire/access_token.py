"""The caller of a request with an access token of this server, or with a SigV4 signature.

Every endpoint that accepts access tokens authenticates them here, so that a bound token is never accepted without its key
(attacks A75 and A76).
Sources: RFC 6750, 2.1 and 3; RFC 9449, 7; RFC 8705, 3.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Final, NamedTuple

from msgspec.structs import replace

from daypass.domain.errors import DaypassError, ErrorKind, Family
from daypass.domain.oauth.client import FAPI_ALGORITHMS
from daypass.domain.oauth.resource_server import X5T, Binding
from daypass.operations import rates
from daypass.operations.assume.request import commit_once
from daypass.operations.oauth.client_authentication import TlsClientCertificate
from daypass.operations.oauth.inspect import bearer_caller
from daypass.operations.oauth.request import DpopProof, check_dpop, invalid_proof, new_nonce
from daypass.operations.outcome import served
from daypass.ports import Call, Env
from daypass.wire.client_certificate import presented_certificate
from daypass.wire.front import Front, RequestProgress
from daypass.wire.http import Header, Request, Response, only_value

SCHEMES: Final = {"bearer": "Bearer", "dpop": "DPoP"}
"""The schemes of access tokens, as the header WWW-Authenticate writes them."""

UNPROVEN: Final = frozenset({Family.CREDENTIALS, Family.PROOF})
"""The refusals that are a 401 where access tokens are accepted."""

DPOP_ERRORS: Final = {ErrorKind.INVALID_DPOP_PROOF: "invalid_dpop_proof", ErrorKind.USE_DPOP_NONCE: "use_dpop_nonce"}
"""The error codes of RFC 9449."""


def authorization_of(request: Request) -> tuple[str, str]:
    """The scheme of the Authorization header in lower case, and the rest; ("", "") for no header, or several."""
    scheme, _, rest = only_value(request.headers, b"authorization").decode("latin-1").partition(" ")
    return scheme.lower(), rest.strip()


async def authenticated_by_any(
    front: Front,
    progress: RequestProgress,
    services: Collection[str],
    tokens: float,
    certificate_header: str = "",
    *,
    consuming: bool = False,
) -> Call:
    """The call of a request with an access token or, without one, a signature. `consuming`: see `by_access_token`.

    Raises DaypassError: see `Front.authenticated` and `by_access_token`.
    """
    if authorization_of(progress.request)[0] in SCHEMES:
        return await by_access_token(front, progress, tokens, certificate_header, consuming=consuming)
    return await front.authenticated(progress, services, tokens)


class TokenAudience(NamedTuple):
    """Whose access tokens are accepted, and where DPoP proofs say that the request goes. "": this server."""

    audience: str = ""
    origin: str = ""


_HERE: Final = TokenAudience()


async def by_access_token(
    front: Front,
    progress: RequestProgress,
    tokens: float,
    certificate_header: str = "",
    in_form: str = "",
    service: TokenAudience = _HERE,
    *,
    consuming: bool = False,
) -> Call:
    """The call of the session of an access token. `in_form`: a bearer token in the body; "": the token is in the header.
    `consuming`: the operation consumes `progress.replays` in its transaction; otherwise they are consumed here, by themselves.

    Raises DaypassError: UNKNOWN_CREDENTIALS, INVALID_DPOP_PROOF, USE_DPOP_NONCE, THROTTLED, UNAVAILABLE.
    """
    env = front.env
    rates.check_source(env, progress.facts())
    scheme, text = ("bearer", in_form) if in_form else authorization_of(progress.request)
    dpop, proven = scheme == "dpop", set[Binding]()
    if dpop:
        proof = await dpop_of(env, progress, text, service.origin)
        if proof is None:
            raise proof_missing(progress, "The scheme DPoP needs a DPoP proof.")
        proven.add(proof.binding)
    certificate, _ = certificate_of(progress.request, certificate_header)
    if certificate is not None:
        proven.add(Binding(X5T, certificate.thumbprint))
    caller = await bearer_caller(env, text, env.clock.now(), proven, dpop=dpop, audience=service.audience)
    call = front.proven(progress, caller, tokens)
    if progress.replays and not consuming:
        await commit_once(env, served(call, detail={"proof": "consumed"}), progress.replays)
        progress.replays = ()
    return call


async def dpop_of(
    env: Env, progress: RequestProgress, access_token: str = "", origin: str = "", *, nonce: bool = True
) -> DpopProof | None:
    """The verified DPoP proof of a request to `origin` ("": this server); None when it has none. Raises DaypassError."""
    request = progress.request
    values = [value for name, value in request.headers if name == b"dpop"]
    if not values:
        return None
    progress.dpop = True
    if len(values) > 1:
        raise invalid_proof("there is more than one")
    text, path = values[0].decode("latin-1"), request.raw_path.decode("latin-1")
    proof = await check_dpop(env, text, request.method, path, access_token, origin, nonce=nonce)
    progress.replays = (*progress.replays, proof.replay)
    return proof


def proof_missing(progress: RequestProgress, message: str) -> DaypassError:
    """The refusal of a request without the DPoP proof that it needs. Its response has the nonce for that proof."""
    progress.dpop = True
    return invalid_proof("none", message)


def certificate_of(request: Request, header: str) -> tuple[TlsClientCertificate | None, dict[str, Any]]:
    """The client certificate of the connection or of a trusted proxy's header, and what the record says about headers that
    were not trusted. Raises DaypassError(MALFORMED_REQUEST).
    """
    seen = presented_certificate(request, header)
    if not seen.certificate:
        return None, seen.remarks
    return TlsClientCertificate(seen.certificate, seen.chain, seen.source), seen.remarks


def challenge(request: Request, kind: ErrorKind, resource: str = "") -> Header:
    """WWW-Authenticate of a 401 where access tokens are accepted (RFC 6750, 3; RFC 9449, 7.1 and 9).

    The header has no error for a request without credentials (RFC 6750, 3.1). `resource`: the address of the metadata of this
    server as a protected resource (RFC 9728, 5.1); "" for none.
    """
    scheme = "DPoP" if kind in DPOP_ERRORS else SCHEMES.get(authorization_of(request)[0], "Bearer")
    code = "" if kind is ErrorKind.MISSING_CREDENTIALS else DPOP_ERRORS.get(kind, "invalid_token")
    algorithms = " ".join(FAPI_ALGORITHMS) if scheme == "DPoP" else ""
    parts = {"error": code, "resource_metadata": resource, "algs": algorithms}
    text = ", ".join(f'{name}="{value}"' for name, value in parts.items() if value) or 'realm="daypass"'
    return b"www-authenticate", f"{scheme} {text}".encode("ascii")


def with_nonce(env: Env, progress: RequestProgress, response: Response) -> Response:
    """The response, with the nonce for the next proof of a client that uses DPoP (RFC 9449, 8.2)."""
    if not progress.dpop:
        return response
    try:
        nonce = new_nonce(env)
    except DaypassError:  # no key may seal now; the next request is refused for that
        return response
    return replace(response, headers=(*response.headers, (b"dpop-nonce", nonce.encode("ascii"))))

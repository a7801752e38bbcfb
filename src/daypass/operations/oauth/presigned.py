"""A presigned GetCallerIdentity request as a subject or actor token: proof that its signer holds the credentials' keys.

The identity follows from the signature, computed from our own keys. Nothing is fetched, and no response is read (attack
A11). The request must be for this server and state in a signed parameter that it is meant for an exchange here, so that
a request that was presigned to sign in elsewhere is not accepted.
"""

from __future__ import annotations

from typing import Final
from urllib.parse import urlsplit

from daypass import sigv4
from daypass.domain.claims import Caller
from daypass.domain.errors import DaypassError, ErrorKind
from daypass.operations.authenticate import authenticate
from daypass.operations.oauth.access_token import invalid_session, invalid_token
from daypass.ports import Env

AUDIENCE: Final = "X-Daypass-Audience"
"""The query parameter that names the issuer. It is signed, like the whole query."""

_MAX: Final = 8192
_REQUIRED: Final = {b"Action": b"GetCallerIdentity", b"Version": b"2011-06-15"}


async def presigned_caller(env: Env, unverified_url: str) -> Caller:
    """The principal that presigned the request. Raises DaypassError: INVALID_IDENTITY_TOKEN, UNAVAILABLE."""
    signature = _signature(env.oauth.issuer, unverified_url)
    try:
        return await authenticate(env, signature, ("sts",))
    except DaypassError as error:
        if error.kind is ErrorKind.UNAVAILABLE:
            raise
        raise invalid_session(error) from None


def _signature(issuer: str, unverified_url: str) -> sigv4.UnverifiedSignature:
    if len(unverified_url) > _MAX or not unverified_url.isascii() or not unverified_url.isprintable():
        raise _unusable("it is not the URL of a presigned request")
    try:
        url, ours = urlsplit(unverified_url), urlsplit(issuer)
    except ValueError:
        raise _unusable("it is not the URL of a presigned request") from None
    if (url.scheme, url.netloc) != (ours.scheme, ours.netloc) or url.path not in ("", "/") or url.fragment:
        raise _unusable(f"its address must begin with {issuer}/")
    query = url.query.encode("ascii")
    pairs = [pair for pair in sigv4.query_pairs(query) if pair[0][:6] != b"X-Amz-"]  # as the signature reads them
    if sorted(pairs) != sorted([*_REQUIRED.items(), (AUDIENCE.encode("ascii"), issuer.encode())]):
        raise _unusable(
            f"its query must be Action=GetCallerIdentity, Version=2011-06-15 and {AUDIENCE}={issuer}, with the signature"
        )
    try:
        host = [(b"host", ours.netloc.encode("ascii"))]
        signature = sigv4.parse_request("GET", b"/", query, host, b"")
    except sigv4.SigV4Error as error:
        raise invalid_token(error.message) from None
    if not signature.presigned:
        raise _unusable("it is not presigned")
    return signature


def _unusable(reason: str) -> DaypassError:
    """The refusal of a URL that is not such a request. It says why, because the URL alone shows it, whoever signed it."""
    public = f"The presigned request cannot be used: {reason}."
    return DaypassError(ErrorKind.INVALID_IDENTITY_TOKEN, public, private={"reason": reason})

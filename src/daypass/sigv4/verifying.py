"""Verifies a claimed signature with a secret and the clock. The comparison takes the same time for every wrong
signature.

Source: IAM User Guide, "Troubleshoot Signature Version 4 signing for AWS API requests".
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Callable, Collection, MutableMapping
from typing import Final, NamedTuple, NoReturn

from daypass.sigv4.canonical import Mac, SigV4Error, format_time, incomplete, mismatch, query_pairs, signature
from daypass.sigv4.request import Headers, UnverifiedSignature, claims, joined, read_scope

PRESIGNED_MAX_MS = (
    900_000  # AWS honours presigned calls to services other than S3 for 15 minutes, whatever they ask for
)
is_region: Final[Callable[[str], object]] = re.compile(r"[A-Za-z0-9._-]{1,64}").fullmatch
"""Whether a text may name a region. It becomes part of ARNs, so nothing in it may separate or match their parts."""


def verify(
    claimed: UnverifiedSignature,
    secret: str,
    now: int,
    *,
    skew_ms: int,
    services: Collection[str],
    regions: Collection[str] = (),
    known: MutableMapping[tuple[str, str, str], Mac] | None = None,
) -> None:
    """Returns normally if the signature was made with `secret`, for one of `services`, close enough to `now`
    (milliseconds).

    `regions`: empty accepts any region name. `known`: where keys derived from this secret are remembered. The signature
    is checked first and in constant time, so that someone without the secret learns nothing from the other answers.

    Raises:
        SigV4Error: signature_mismatch.
    """
    scope = (claimed.date, claimed.region, claimed.service)
    expected = signature(secret, claimed.canonical_request, claimed.amz_date, scope, known)
    if not claimed.signature.isascii() or not hmac.compare_digest(expected, claimed.signature):  # it takes only ASCII
        mismatch()
    check_scope(claimed, now, skew_ms=skew_ms, services=services, regions=regions)


def check_scope(
    claimed: UnverifiedSignature, now: int, *, skew_ms: int, services: Collection[str], regions: Collection[str] = ()
) -> None:
    """Returns normally if a signature by any key is current and for one of these services and regions. Raises
    SigV4Error.
    """
    if claimed.service not in services:
        mismatch(f"Credential should be scoped to correct service: '{min(services, default='')}'.")
    if not is_region(claimed.region) or (regions and claimed.region not in regions):
        mismatch(f"Credential should be scoped to a valid region, not '{claimed.region[:64]}'.")
    window = min(claimed.expires * 1000, PRESIGNED_MAX_MS) if claimed.presigned else skew_ms
    if not now - window <= claimed.signed_at <= now + skew_ms:
        _refuse_time(claimed, now, skew_ms, window)


def _refuse_time(claimed: UnverifiedSignature, now: int, skew_ms: int, window: int) -> NoReturn:
    signed, server = claimed.amz_date, format_time(now)
    if claimed.signed_at > now:
        mismatch(
            f"Signature not yet current: {signed} is still later than {format_time(now + skew_ms)} "
            f"({server} + {skew_ms / 60_000:g} min.)"
        )
    mismatch(
        f"Signature expired: {signed} is now earlier than {format_time(now - window)} "
        f"({server} - {window / 60_000:g} min.)"
    )


# --- Requests that a certificate's key has signed: AWS4-X509-RSA-SHA256 and AWS4-X509-ECDSA-SHA256


CERTIFICATE = b"x-amz-x509"
CHAIN = b"x-amz-x509-chain"
# The message is hashed with SHA-256 whatever hash is named: the public Python client names there the one that the
# certificate itself was signed with.
_AUTHORIZATION = re.compile(
    rb"AWS4-X509-(RSA|ECDSA)-(SHA256|SHA384|SHA512) Credential=([\x21-\x2b\x2d-\x7e]+), ?"
    rb"SignedHeaders=([!#$%&'*+.^_`|~0-9a-z;-]+), ?Signature=([0-9a-f]{2,2048})"
)
_ONCE = frozenset({b"authorization", b"host", b"x-amz-date", b"x-amz-content-sha256", CERTIFICATE, CHAIN})
_SERIAL = re.compile(r"[0-9]{1,49}")  # RFC 5280: at most 20 bytes


class UnverifiedX509(NamedTuple):
    """Unverified claims of a signature by a certificate's key.

    `claimed` has the scope, with the serial number in the place of the access key id; `message` is what was signed.
    """

    claimed: UnverifiedSignature
    algorithm: str  # "RSA" or "ECDSA"
    serial: int
    signature: bytes
    message: bytes
    certificate: str  # base64 of DER
    chain: tuple[str, ...]  # each base64 of DER

    def __repr__(self) -> str:
        return f"UnverifiedX509({self.algorithm}, {self.serial}, {self.claimed!r})"


def parse_x509(method: str, raw_path: bytes, raw_query: bytes, headers: Headers, body: bytes) -> UnverifiedX509:
    """Reads the signature of a request as it came over the wire.

    Raises:
        SigV4Error: no signature (missing_credentials), not readable or ambiguous (incomplete_signature), or a required
        header is not signed (signature_mismatch).
    """
    fields = unique_fields(headers)
    authorization = fields.get(b"authorization")
    if authorization is None:
        raise SigV4Error("missing_credentials", "Request is missing Authentication Token")
    match = _AUTHORIZATION.fullmatch(authorization)
    if match is None:
        incomplete(
            "The Authorization header must have the form 'AWS4-X509-RSA-SHA256 Credential=..., SignedHeaders=..., "
            "Signature=...' or the same with ECDSA."
        )
    if CERTIFICATE not in fields:
        incomplete("The request must have an 'X-Amz-X509' header with the certificate.")
    stamp = fields.get(b"x-amz-date")
    if stamp is None:
        incomplete("The request must have an 'X-Amz-Date' header.")
    kind, named, credential, signed, signature = match.groups()
    if len(signature) % 2:
        incomplete("The signature must be hexadecimal.")
    request = (method, raw_path, query_pairs(raw_query), fields, body)
    claimed = claims(read_scope(credential, signed), signature, stamp, b"", None, request)
    if not _SERIAL.fullmatch(claimed.access_key_id):
        incomplete("The credential scope must begin with the certificate's serial number, in decimal.")
    return UnverifiedX509(
        claimed,
        kind.decode("ascii"),
        int(claimed.access_key_id),
        bytes.fromhex(signature.decode("ascii")),
        _message(f"AWS4-X509-{kind.decode('ascii')}-{named.decode('ascii')}", claimed),
        fields[CERTIFICATE].decode("latin-1"),
        chain_of(fields),
    )


def unique_fields(headers: Headers) -> dict[bytes, bytes]:
    """Header fields by name. Raises SigV4Error when one that matters is given twice: two readers would differ."""
    return joined(headers, _ONCE)


def chain_of(fields: dict[bytes, bytes]) -> tuple[str, ...]:
    """The certificates of X-Amz-X509-Chain, which are comma-separated base64."""
    text = fields.get(CHAIN, b"").decode("latin-1")
    return tuple(part.strip() for part in text.split(",")) if text else ()


def _message(algorithm: str, claimed: UnverifiedSignature) -> bytes:
    digest = hashlib.sha256(claimed.canonical_request).hexdigest()
    scope = f"{claimed.date}/{claimed.region}/{claimed.service}/aws4_request"
    return f"{algorithm}\n{claimed.amz_date}\n{scope}\n{digest}".encode("latin-1")

"""Reading requests that a certificate's key has signed: AWS4-X509-RSA-SHA256 and AWS4-X509-ECDSA-SHA256.

The canonical request is Signature Version 4's; the certificate's serial number replaces the access key id, and a
signature replaces the MAC. It trusts and verifies nothing, because that needs the certificate's key.

Source: IAM Roles Anywhere User Guide, "The IAM Roles Anywhere authentication signing process".
"""

from __future__ import annotations

import hashlib
import re
from typing import NamedTuple

from daypass.sigv4.canonical import SigV4Error, incomplete, query_pairs
from daypass.sigv4.request import Headers, UnverifiedSignature, claims, joined, read_scope

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
    """What a request claims about its signature by a certificate's key.

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

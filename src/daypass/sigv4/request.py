"""Parses what a request claims about its signature. It trusts nothing and looks nothing up.

Source: IAM User Guide, "Authentication methods for AWS API requests" and "Troubleshoot Signature Version 4 signing".
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from functools import lru_cache
from typing import NoReturn

from msgspec import Struct

from daypass.sigv4.canonical import ALGORITHM, SigV4Error, canonical, incomplete, mismatch, query_pairs

MAX_EXPIRES = 604_800
DEFAULT_EXPIRES = 900  # what a presigned request without X-Amz-Expires gets
_START = re.compile(  # of an Authorization header, up to its signature
    rb"AWS4-HMAC-SHA256 Credential=([\x21-\x2b\x2d-\x7e]+), ?SignedHeaders=([!#$%&'*+.^_`|~0-9a-z;-]+), ?"
)
_AUTHORIZATION_PARTS = ("Credential", "Signature", "SignedHeaders")
_QUERY_PARTS = ("X-Amz-Algorithm", "X-Amz-Credential", "X-Amz-Signature", "X-Amz-SignedHeaders", "X-Amz-Date")
_QUERY_MARKS = frozenset({b"X-Amz-Algorithm", b"X-Amz-Credential", b"X-Amz-Signature"})
_LEGACY_MARKS = frozenset({b"AWSAccessKeyId", b"SignatureVersion"})
_ONCE = frozenset({b"authorization", b"x-amz-date", b"date", b"x-amz-security-token", b"x-amz-content-sha256"})
_STAMP = re.compile(r"([0-9]{4})([0-9]{2})([0-9]{2})T([0-9]{2})([0-9]{2})([0-9]{2})Z")
_HTTP_DATE = re.compile(
    r"[A-Z][a-z]{2}, ([0-9]{2}) ([A-Z][a-z]{2}) ([0-9]{4}) ([0-9]{2}):([0-9]{2}):([0-9]{2}) (?:GMT|-0000|\+0000)"
)
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")

_KEPT = 512  # bytes: the longest start of an Authorization header that is remembered

Headers = Sequence[tuple[bytes, bytes]]


class UnverifiedSignature(Struct, frozen=True):
    """Unverified claims of a request's signature. `signed_at` in milliseconds; `expires` in seconds, 0 unless
    presigned.
    """

    access_key_id: str
    date: str  # of the credential scope, YYYYMMDD
    region: str
    service: str
    signature: str
    amz_date: str  # YYYYMMDDTHHMMSSZ
    signed_at: int
    security_token: str
    presigned: bool
    expires: int
    canonical_request: bytes

    def __repr__(self) -> str:  # the canonical request holds the session token: keep both out of logs
        return f"UnverifiedSignature({self.access_key_id!r}, {self.amz_date}/{self.region!r}/{self.service!r})"


def parse_request(
    method: str, raw_path: bytes, raw_query: bytes, headers: Headers, body: bytes | None
) -> UnverifiedSignature:
    """Reads the signature of a request as it came over the wire.

    Args:
        raw_path: as sent, still percent-encoded, without the query.
        raw_query: as sent, still percent-encoded, without the question mark.
        headers: names in lower case, in the order in which they came.
        body: the whole body; its hash is under the signature, whatever X-Amz-Content-SHA256 says. None for a body that
            somebody else has: the signature covers the hash in that header, or an empty body without it.

    Raises:
        SigV4Error: no signature (missing_credentials), not readable or ambiguous (incomplete_signature), or a required
        header is not signed (signature_mismatch).
    """
    fields = dict(headers)
    if len(fields) != len(headers):
        fields = joined(headers)
    pairs = query_pairs(raw_query) if raw_query else []
    authorization = fields.get(b"authorization")
    if pairs and any(name in _QUERY_MARKS for name, _ in pairs):
        if authorization is not None:
            incomplete("Only one authentication mechanism is allowed: the Authorization header or the query string.")
        return _parse_presigned(method, raw_path, pairs, fields, body)
    if authorization is None:
        _refuse_unsigned(pairs, body or b"")
    return _parse_header(method, raw_path, pairs, fields, body, authorization.strip())


def joined(headers: Headers, once: frozenset[bytes] = _ONCE) -> dict[bytes, bytes]:
    """Fields by name; values of one name are joined. Raises SigV4Error for one of `once`: two readers would differ."""
    fields: dict[bytes, bytes] = {}
    for name, value in headers:
        if name in fields:
            if name in once:
                incomplete(f"Header '{name.decode('ascii')}' must be in the request once.")
            fields[name] += b"," + value.strip()
        else:
            fields[name] = value.strip()
    return fields


def _refuse_unsigned(pairs: list[tuple[bytes, bytes]], body: bytes) -> NoReturn:
    if any(name in _LEGACY_MARKS for name, _ in pairs) or b"SignatureVersion=" in body or b"AWSAccessKeyId=" in body:
        incomplete(f"Signature Version 2 is not supported. Use Signature Version 4 ({ALGORITHM}).")
    raise SigV4Error("missing_credentials", "Request is missing Authentication Token")


def _parse_header(
    method: str,
    raw_path: bytes,
    pairs: list[tuple[bytes, bytes]],
    fields: dict[bytes, bytes],
    body: bytes | None,
    authorization: bytes,
) -> UnverifiedSignature:
    scope, signature = _read_authorization(authorization)
    if pairs and any(name == b"X-Amz-Security-Token" for name, _ in pairs):
        incomplete("X-Amz-Security-Token must be a header when the request has an Authorization header.")
    stamp = fields.get(b"x-amz-date")
    if stamp is None:
        stamp = fields.get(b"date")
        if stamp is None:
            incomplete("Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header.")
        stamp = _from_http_date(stamp.strip())
    token = fields.get(b"x-amz-security-token", b"").strip()
    return claims(scope, signature, stamp.strip(), token, None, (method, raw_path, pairs, fields, body))


def _read_authorization(authorization: bytes) -> tuple[CredentialScope, bytes]:
    """Parses an Authorization header and its signature."""
    start, _, signature = authorization.rpartition(b"Signature=")
    if len(start) <= _KEPT and signature.isalnum():
        scope = _read_start(start)
        if scope is not None:
            return scope, signature
    credential, signed, signature = _authorization_parts(authorization)
    return read_scope(credential, signed), signature


@lru_cache(maxsize=1024)  # a client begins all its requests of a day with the same words
def _read_start(start: bytes) -> CredentialScope | None:
    """The text before the signature, or None when it is not in the usual order and spacing."""
    match = _START.fullmatch(start)
    return read_scope(match[1], match[2]) if match else None


def _authorization_parts(authorization: bytes) -> tuple[bytes, bytes, bytes]:
    """The three parts of a header that is not in the usual order and spacing, or the error that names what is wrong."""
    text = authorization.decode("latin-1")
    algorithm, _, rest = text.partition(" ")
    if algorithm != ALGORITHM:
        _refuse_algorithm(algorithm)
    headers: dict[str, str] = {}
    for part in rest.split(","):
        name, equals, value = part.strip().partition("=")
        if not equals:
            incomplete(f"'{name[:64]}' not a valid key=value pair (missing equal-sign) in Authorization header.")
        if name in headers or name not in _AUTHORIZATION_PARTS:
            incomplete(f"Authorization header may have '{name[:64]}' neither twice nor beside its three parameters.")
        headers[name] = value
    absent = [
        f"Authorization header requires '{name}' parameter." for name in _AUTHORIZATION_PARTS if not headers.get(name)
    ]
    if absent:
        incomplete(" ".join(absent))
    credential, signature, signed = (headers[name].encode("latin-1") for name in _AUTHORIZATION_PARTS)
    return credential, signed, signature


def _refuse_algorithm(algorithm: str) -> NoReturn:
    if algorithm.startswith("AWS4-ECDSA"):
        incomplete(f"Signature Version 4A is not supported. Use Signature Version 4 ({ALGORITHM}).")
    named = (
        f": '{algorithm[:64]}'" if algorithm.startswith("AWS") else ""
    )  # anything else may be a token of another scheme
    incomplete(f"Unsupported AWS 'algorithm'{named}. Use {ALGORITHM}.")


def _parse_presigned(
    method: str, raw_path: bytes, pairs: list[tuple[bytes, bytes]], fields: dict[bytes, bytes], body: bytes | None
) -> UnverifiedSignature:
    found: dict[str, bytes] = {}
    for raw_name, value in pairs:
        name = raw_name.decode("latin-1")
        if name.startswith("X-Amz-"):
            if name in found:
                incomplete(f"AWS query-string parameter '{name[:64]}' must be in the request once.")
            found[name] = value
    absent = [f"AWS query-string parameters must include '{name}'." for name in _QUERY_PARTS if not found.get(name)]
    if absent:
        incomplete(" ".join([*absent, "Re-examine the query-string parameters."]))
    algorithm = found["X-Amz-Algorithm"].decode("latin-1")
    if algorithm != ALGORITHM:
        _refuse_algorithm(algorithm)
    if b"x-amz-security-token" in fields:
        incomplete("X-Amz-Security-Token must be a query-string parameter when the request is presigned.")
    expires = _expires(found["X-Amz-Expires"].decode("latin-1")) if "X-Amz-Expires" in found else DEFAULT_EXPIRES
    rest = [pair for pair in pairs if pair[0] != b"X-Amz-Signature"]
    return claims(
        read_scope(found["X-Amz-Credential"], found["X-Amz-SignedHeaders"]),
        found["X-Amz-Signature"],
        found["X-Amz-Date"],
        found.get("X-Amz-Security-Token", b""),
        expires,
        (method, raw_path, rest, fields, body),
    )


def _expires(text: str) -> int:
    """X-Amz-Expires in seconds. Words: Amazon S3 API, AuthorizationQueryParametersError."""
    sign, digits = (text[:1], text[1:]) if text[:1] in ("-", "+") else ("", text)
    if not (digits.isascii() and digits.isdigit()):
        incomplete("X-Amz-Expires should be a number")
    if sign == "-":
        incomplete("X-Amz-Expires must be non-negative")
    seconds = int(digits) if len(digits) <= 10 else MAX_EXPIRES + 1
    if seconds > MAX_EXPIRES:
        incomplete(
            f"X-Amz-Expires must be less than a week (in seconds); that is, the given X-Amz-Expires must be less than "
            f"{MAX_EXPIRES} seconds"
        )
    if seconds == 0:
        incomplete("X-Amz-Expires must be greater than zero")
    return seconds


class CredentialScope(Struct, frozen=True):
    """Credential and SignedHeaders, read; nothing of it is checked yet."""

    access_key_id: str
    date: str
    region: str
    service: str
    term: str
    names: list[bytes]
    ordered: bool  # the names: each once, in order
    usual: bool  # `term` and names are as they must be, host among them
    marked: int  # how many of the names begin with x-amz-


def read_scope(credential: bytes, signed: bytes) -> CredentialScope:
    """Raises SigV4Error (incomplete_signature) when the credential does not have five parts."""
    scope = credential.decode("latin-1").split("/")
    if len(scope) != 5:
        incomplete(
            "Credential must have exactly 5 slash-delimited elements, e.g. keyid/date/region/service/term, "
            f"got '{credential.decode('latin-1')[:256]}'"
        )
    key_id, date, region, service, term = scope
    names = signed.split(b";")
    ordered = names == sorted(set(names))
    usual = ordered and term == "aws4_request" and b"host" in names
    return CredentialScope(key_id, date, region, service, term, names, ordered, usual, _count_marked(names))


def _count_marked(names: Iterable[bytes]) -> int:
    """How many names begin with x-amz-; never too few."""
    return (b"\n" + b"\n".join(names)).count(b"\nx-amz-")


def claims(
    scope: CredentialScope,
    signature: bytes,
    raw_stamp: bytes,
    token: bytes,
    expires: int | None,
    request: tuple[str, bytes, list[tuple[bytes, bytes]], dict[bytes, bytes], bytes | None],
) -> UnverifiedSignature:
    """Reads the Authorization header of this request: method, raw path, query, fields and body."""
    stamp = raw_stamp.decode("latin-1")
    signed_at = _epoch_ms(stamp)
    method, raw_path, pairs, fields, body = request
    # As many x-amz- headers as such names are signed: `canonical` sees to it that each name has its header.
    if not scope.usual or scope.date != stamp[:8] or b"host" not in fields or _count_marked(fields) != scope.marked:
        _check(scope, stamp, fields)
    return UnverifiedSignature(
        scope.access_key_id,
        scope.date,
        scope.region,
        scope.service,
        signature.decode("latin-1"),
        stamp,
        signed_at,
        token.decode("latin-1"),
        expires is not None,
        expires or 0,
        canonical(method, raw_path, pairs, fields, body, scope.names),
    )


def _check(scope: CredentialScope, stamp: str, fields: Mapping[bytes, bytes]) -> None:
    """Host and every x-amz-* header must be under the signature, else they could be changed on the way."""
    if scope.term != "aws4_request":
        mismatch(f"Credential should be scoped with a valid terminator: 'aws4_request', not '{scope.term[:64]}'.")
    if scope.date != stamp[:8]:
        mismatch(
            "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: "
            f"'{scope.date[:16]}' != '{stamp[:8]}', from '{stamp}'."
        )
    names = scope.names
    if b"host" not in names or b"host" not in fields:
        mismatch("'Host' or ':authority' must be a 'SignedHeader' in the AWS Authorization.")
    for name in fields:
        if name[:6] == b"x-amz-" and name not in names:
            mismatch(f"'{name[:64].decode('latin-1')}' must be a 'SignedHeader' in the AWS Authorization.")
    if not scope.ordered:
        mismatch()


@lru_cache(maxsize=1024)
def _epoch_ms(stamp: str) -> int:
    """Milliseconds since the epoch of an ISO-8601 basic time. Raises SigV4Error when it is malformed or not a valid
    time.
    """
    match = _STAMP.fullmatch(stamp)
    if match is None:
        incomplete(
            f"Date must be in ISO-8601 'basic format'. Got '{stamp[:64]}'. See http://en.wikipedia.org/wiki/ISO_8601"
        )
    year, month, day, hour, minute, second = map(int, match.groups())
    seconds = -1
    with suppress(ValueError):
        seconds = int(datetime(year, month, day, hour, minute, second, tzinfo=UTC).timestamp())
    if seconds < 0:
        incomplete(f"Date must be a time that exists. Got '{stamp}'.")
    return seconds * 1000


def _from_http_date(value: bytes) -> bytes:
    """A Date header (RFC 9110, section 5.6.7, IMF-fixdate, or ISO-8601 already) as an ISO-8601 basic time."""
    match = _HTTP_DATE.fullmatch(value.decode("latin-1"))
    if match is None or match[2] not in _MONTHS:
        return value
    return f"{match[3]}{_MONTHS.index(match[2]) + 1:02d}{match[1]}T{match[4]}{match[5]}{match[6]}Z".encode("ascii")

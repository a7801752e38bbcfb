"""AWS Signature Version 4: signing and verifying, headers and presigned. Pure: no I/O, no clock, standard library only.

Verifying takes two steps, because the secret is looked up between them: `parse_request` reads what a request claims
(raises for what no key could make right), `verify` holds it against the secret and the clock. Nothing of an
`UnverifiedSignature` may be believed before `verify` has returned.

Source: AWS page "AWS Signature Version 4 for API requests" and "Create a signed AWS API request".
"""

from __future__ import annotations

import hashlib
import hmac
import re
from calendar import timegm
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from functools import lru_cache
from typing import NoReturn
from urllib.parse import quote, unquote_to_bytes

ALGORITHM = "AWS4-HMAC-SHA256"
MAX_EXPIRES = 604_800
_SAFE = "-_.~"
_AUTH_NAMES = frozenset({"Credential", "SignedHeaders", "Signature"})
_QUERY_AUTH = ("X-Amz-Algorithm", "X-Amz-Credential", "X-Amz-Date", "X-Amz-Expires", "X-Amz-SignedHeaders", "X-Amz-Signature")
_BASIC_DATE = re.compile(r"[0-9]{8}T[0-9]{6}Z")
_HEX64 = re.compile(r"[0-9a-f]{64}")
_SPACES = re.compile(r" {2,}")

MISMATCH = (
    "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key "
    "and signing method. Consult the service documentation for details."
)


class SigV4Error(Exception):
    """Why a signature is refused. `kind` is the value of the ErrorKind that stands for it."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind
        self.message = message


def _missing() -> NoReturn:
    raise SigV4Error("missing_credentials", "Request is missing Authentication Token")


def _incomplete(message: str) -> NoReturn:
    raise SigV4Error("incomplete_signature", message)


def _mismatch(message: str = MISMATCH) -> NoReturn:
    raise SigV4Error("signature_mismatch", message)


@dataclass(frozen=True, slots=True)
class UnverifiedSignature:
    """What a request claims about its signature. Times in milliseconds; `expires` in seconds, 0 unless presigned."""

    access_key_id: str
    date: str  # of the credential scope, YYYYMMDD
    region: str
    service: str
    signed_headers: tuple[str, ...]
    signature: str
    amz_date: str
    signed_at: int
    security_token: str
    presigned: bool
    expires: int
    canonical_request: bytes


# --- Reading a request ---------------------------------------------------------------------------------------------


def parse_request(
    method: str, raw_path: bytes, raw_query: bytes, headers: Sequence[tuple[bytes, bytes]], body: bytes
) -> UnverifiedSignature:
    """Reads the signature of a request as it came over the wire.

    Args:
        raw_path, raw_query: as sent, still percent-encoded.
        headers: names in lower case, in the order in which they came.

    Raises:
        SigV4Error: nothing there (missing_credentials), not readable (incomplete_signature), or something that must be
            signed is not (signature_mismatch).
    """
    by_name: dict[str, list[str]] = {}
    for name, value in headers:
        by_name.setdefault(name.decode("latin-1"), []).append(value.decode("latin-1"))
    pairs = _query_pairs(raw_query)
    in_query = any(name.lower() in ("x-amz-signature", "x-amz-algorithm", "x-amz-credential") for name, _ in pairs)
    authorization = by_name.get("authorization", [])
    if authorization and in_query or len(authorization) > 1:
        _incomplete("A request carries one authentication mechanism: the Authorization header or the query string, once.")
    if in_query:
        return _parse_presigned(method, raw_path, pairs, by_name, body)
    if not authorization:
        legacy = {name for name, _ in pairs} & {"AWSAccessKeyId", "SignatureVersion", "Signature"}
        _incomplete("Signature Version 2 is not supported: use AWS4-HMAC-SHA256.") if legacy else _missing()
    return _parse_header(method, raw_path, pairs, by_name, body, authorization[0])


def _parse_header(
    method: str,
    raw_path: bytes,
    pairs: list[tuple[str, str]],
    headers: dict[str, list[str]],
    body: bytes,
    authorization: str,
) -> UnverifiedSignature:
    algorithm, _, rest = authorization.strip().partition(" ")
    if algorithm != ALGORITHM:
        _incomplete(f"Unsupported signing algorithm: only {ALGORITHM} is accepted.")
    fields = _authorization_fields(rest)
    amz_date, signed_at = _header_time(headers)
    tokens = headers.get("x-amz-security-token", [])
    if len(tokens) > 1:
        _incomplete("X-Amz-Security-Token is there more than once.")
    return _claims(
        fields["Credential"],
        fields["SignedHeaders"],
        fields["Signature"],
        amz_date=amz_date,
        signed_at=signed_at,
        token=tokens[0].strip() if tokens else "",
        expires=0,
        presigned=False,
        canonical=(method, raw_path, pairs, headers, body),
    )


def _authorization_fields(rest: str) -> dict[str, str]:
    fields: dict[str, str] = {}
    for part in rest.split(","):
        name, equals, value = part.strip().partition("=")
        if not equals or name in fields or name not in _AUTH_NAMES:
            _incomplete("Authorization header is not of the form Credential=…, SignedHeaders=…, Signature=….")
        fields[name] = value.strip()
    absent = [name for name in ("Credential", "Signature", "SignedHeaders") if not fields.get(name)]
    if absent:
        _incomplete(" ".join(f"Authorization header requires '{name}' parameter." for name in absent))
    return fields


def _header_time(headers: dict[str, list[str]]) -> tuple[str, int]:
    for name in ("x-amz-date", "date"):
        values = headers.get(name, [])
        if len(values) > 1:
            _incomplete(f"{name} is there more than once.")
        if values:
            return _time(values[0].strip(), http_date=name == "date")
    _incomplete("Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header.")


def _parse_presigned(
    method: str, raw_path: bytes, pairs: list[tuple[str, str]], headers: dict[str, list[str]], body: bytes
) -> UnverifiedSignature:
    found: dict[str, str] = {}
    for name, value in pairs:
        if name.lower().startswith("x-amz-"):
            if name in found:
                _incomplete(f"AWS query-string parameters must be there once: {name!r} is repeated.")
            found[name] = value
    absent = [name for name in _QUERY_AUTH if not found.get(name)]
    if absent:
        _incomplete("AWS query-string parameters must include " + ", ".join(f"'{n}'" for n in _QUERY_AUTH) + ".")
    if found["X-Amz-Algorithm"] != ALGORITHM:
        _incomplete(f"Unsupported signing algorithm: only {ALGORITHM} is accepted.")
    amz_date, signed_at = _time(found["X-Amz-Date"], http_date=False)
    if "x-amz-security-token" in headers and found.get("X-Amz-Security-Token"):
        _incomplete("X-Amz-Security-Token is in both the query string and a header.")
    return _claims(
        found["X-Amz-Credential"],
        found["X-Amz-SignedHeaders"],
        found["X-Amz-Signature"],
        amz_date=amz_date,
        signed_at=signed_at,
        token=found.get("X-Amz-Security-Token") or next(iter(headers.get("x-amz-security-token", [])), "").strip(),
        expires=_expires(found["X-Amz-Expires"]),
        presigned=True,
        canonical=(method, raw_path, [p for p in pairs if p[0] != "X-Amz-Signature"], headers, body),
    )


def _expires(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 10):
        _incomplete("X-Amz-Expires should be a number of seconds.")
    seconds = int(text)
    if not 1 <= seconds <= MAX_EXPIRES:
        _incomplete(f"X-Amz-Expires must be greater than 0 and less than or equal to {MAX_EXPIRES} seconds (a week).")
    return seconds


def _time(text: str, *, http_date: bool) -> tuple[str, int]:
    if _BASIC_DATE.fullmatch(text):
        parts = tuple(int(text[a:b]) for a, b in ((0, 4), (4, 6), (6, 8), (9, 11), (11, 13), (13, 15)))
        try:
            datetime(*parts)  # type: ignore[arg-type]  # noqa: DTZ001  # checks the calendar, nothing else
        except ValueError:
            _incomplete("Date must be in ISO-8601 'basic format', a time that exists.")
        return text, timegm(parts) * 1000
    if http_date:
        try:
            moment = parsedate_to_datetime(text).astimezone(timezone.utc)
        except (ValueError, TypeError, OverflowError, IndexError):
            pass
        else:
            return moment.strftime("%Y%m%dT%H%M%SZ"), int(moment.timestamp()) * 1000
    _incomplete("Date must be in ISO-8601 'basic format': YYYYMMDDTHHMMSSZ. See the SigV4 documentation.")


def _claims(
    credential: str,
    signed: str,
    signature: str,
    *,
    amz_date: str,
    signed_at: int,
    token: str,
    expires: int,
    presigned: bool,
    canonical: tuple[str, bytes, list[tuple[str, str]], dict[str, list[str]], bytes],
) -> UnverifiedSignature:
    scope = credential.split("/")
    if len(scope) != 5:
        _incomplete("Credential must have exactly 5 slash-delimited elements: keyid/date/region/service/term.")
    key_id, date, region, service, term = scope
    if term != "aws4_request":
        _mismatch("Credential should be scoped with a valid terminator: 'aws4_request'.")
    if date != amz_date[:8]:
        _mismatch(
            "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: "
            f"'{date[:16]}' != '{amz_date[:8]}', from '{amz_date}'."
        )
    names = tuple(signed.split(";"))
    _check_signed(names, canonical[3])
    return UnverifiedSignature(
        access_key_id=key_id,
        date=date,
        region=region,
        service=service,
        signed_headers=names,
        signature=signature,
        amz_date=amz_date,
        signed_at=signed_at,
        security_token=token,
        presigned=presigned,
        expires=expires,
        canonical_request=_canonical(*canonical, names),
    )


def _check_signed(names: tuple[str, ...], headers: dict[str, list[str]]) -> None:
    """Host and every x-amz-* header must be under the signature, else they could be changed on the way."""
    if "host" not in names or "host" not in headers:
        _mismatch("'Host' or ':authority' must be a 'SignedHeader' in the AWS Authorization.")
    for name in headers:
        if name.startswith("x-amz-") and name not in names:
            _mismatch(f"Header '{name[:64]}' must be a 'SignedHeader': it is in the request and not under the signature.")
    if len(headers["host"]) > 1:
        _mismatch("There is more than one Host header.")


# --- The canonical request -----------------------------------------------------------------------------------------


def _query_pairs(raw_query: bytes) -> list[tuple[str, str]]:
    """Decoded names and values. A `+` is a plus here: the canonical query string percent-encodes spaces."""
    pairs = []
    for part in raw_query.split(b"&") if raw_query else ():
        if part:
            name, _, value = part.partition(b"=")
            pairs.append((unquote_to_bytes(name).decode("latin-1"), unquote_to_bytes(value).decode("latin-1")))
    return pairs


def _encode(text: str) -> str:
    return text if text.isalnum() and text.isascii() else quote(text.encode("latin-1"), safe=_SAFE)


def _canonical_path(raw_path: bytes) -> str:
    if raw_path in (b"/", b""):
        return "/"
    text = raw_path.decode("latin-1")
    kept: list[str] = []
    for segment in text.split("/"):
        if segment == "..":
            del kept[-1:]
        elif segment not in ("", "."):
            kept.append(segment)
    path = "/" + "/".join(kept)
    if kept and text.endswith("/"):
        path += "/"
    return quote(path.encode("latin-1"), safe="/" + _SAFE)


def _canonical(
    method: str,
    raw_path: bytes,
    pairs: Iterable[tuple[str, str]],
    headers: dict[str, list[str]],
    body: bytes,
    names: tuple[str, ...],
) -> bytes:
    body_hash = hashlib.sha256(body).hexdigest()
    claimed = headers.get("x-amz-content-sha256")
    if claimed is not None and claimed != [body_hash]:
        _mismatch("The provided 'x-amz-content-sha256' header does not match what was computed.")
    query = "&".join(f"{n}={v}" for n, v in sorted((_encode(n), _encode(v)) for n, v in pairs))
    lines = [method, _canonical_path(raw_path), query]
    for name in names:
        values = headers.get(name)
        if values is None:
            _mismatch(f"Header '{name[:64]}' is among the SignedHeaders and not in the request.")
        lines.append(f"{name}:{','.join(_fold(value) for value in values)}")
    lines += ["", ";".join(names), body_hash]
    return "\n".join(lines).encode("latin-1")


def _fold(value: str) -> str:
    value = value.strip()
    return _SPACES.sub(" ", value) if "  " in value else value


# --- Verifying -----------------------------------------------------------------------------------------------------


@lru_cache(maxsize=8192)
def _signing_key(secret: str, date: str, region: str, service: str) -> bytes:
    key = hmac.digest(b"AWS4" + secret.encode("utf-8"), date.encode("latin-1"), "sha256")
    for part in (region, service, "aws4_request"):
        key = hmac.digest(key, part.encode("latin-1"), "sha256")
    return key


def _signature(secret: str, canonical_request: bytes, amz_date: str, scope: tuple[str, str, str]) -> str:
    date, region, service = scope
    to_sign = (
        f"{ALGORITHM}\n{amz_date}\n{date}/{region}/{service}/aws4_request\n"
        f"{hashlib.sha256(canonical_request).hexdigest()}"
    )
    return hmac.digest(_signing_key(secret, date, region, service), to_sign.encode("latin-1"), "sha256").hex()


def verify(
    claimed: UnverifiedSignature,
    secret: str,
    now: int,
    *,
    skew_ms: int,
    services: Collection[str],
    regions: Collection[str] = (),
) -> None:
    """Returns if the signature was made with `secret`, for one of `services`, close enough to `now` (milliseconds).

    `regions`: empty accepts any region name. Raises SigV4Error (signature_mismatch) otherwise. The signature is checked
    first, so that someone without the secret learns nothing from the other answers.
    """
    scope = (claimed.date, claimed.region, claimed.service)
    expected = _signature(secret, claimed.canonical_request, claimed.amz_date, scope)
    given = claimed.signature if _HEX64.fullmatch(claimed.signature) else "0" * 64
    if not hmac.compare_digest(expected.encode(), given.encode()):
        _mismatch()
    if claimed.service not in services:
        _mismatch(f"Credential should be scoped to correct service: '{sorted(services)[0]}'.")
    if regions and claimed.region not in regions:
        _mismatch(f"Credential should be scoped to a valid region, not '{claimed.region[:64]}'.")
    _check_time(claimed, now, skew_ms)


def _check_time(claimed: UnverifiedSignature, now: int, skew_ms: int) -> None:
    signed, server, minutes = claimed.amz_date, format_time(now), f"{skew_ms / 60_000:g} min."
    if claimed.signed_at > now + skew_ms:
        _mismatch(
            f"Signature not yet current: {signed} is still later than {format_time(now + skew_ms)} ({server} + {minutes})"
        )
    if claimed.presigned:
        ends = claimed.signed_at + claimed.expires * 1000
        if now > ends:
            _mismatch(f"Signature expired: {format_time(ends)} is now earlier than {server}")
    elif claimed.signed_at < now - skew_ms:
        _mismatch(f"Signature expired: {signed} is now earlier than {format_time(now - skew_ms)} ({server} - {minutes})")


def format_time(ms: int) -> str:
    """ISO-8601 basic format, as SigV4 writes times."""
    return datetime.fromtimestamp(ms // 1000, timezone.utc).strftime("%Y%m%dT%H%M%SZ")


# --- Signing -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A key and the scope in which it signs."""

    access_key_id: str
    secret: str
    region: str
    service: str
    session_token: str = ""

    def __repr__(self) -> str:
        return f"SigningKey({self.access_key_id!r}, region={self.region!r}, service={self.service!r})"


def sign(
    key: SigningKey, method: str, raw_path: str, raw_query: str, headers: dict[str, str], body: bytes, now: int
) -> dict[str, str]:
    """The headers to send: the given ones (they must have host), X-Amz-Date, the session token and Authorization."""
    amz_date = format_time(now)
    sent = {**headers, "x-amz-date": amz_date}
    if key.session_token:
        sent["x-amz-security-token"] = key.session_token
    lowered = {name.lower(): [value] for name, value in sent.items()}
    names = tuple(sorted(lowered))
    canonical = _canonical(
        method, raw_path.encode("latin-1"), _query_pairs(raw_query.encode("latin-1")), lowered, body, names
    )
    scope = (amz_date[:8], key.region, key.service)
    signature = _signature(key.secret, canonical, amz_date, scope)
    sent["Authorization"] = (
        f"{ALGORITHM} Credential={key.access_key_id}/{'/'.join(scope)}/aws4_request, "
        f"SignedHeaders={';'.join(names)}, Signature={signature}"
    )
    return sent


def presign(
    key: SigningKey, method: str, host: str, raw_path: str, query: Sequence[tuple[str, str]], expires: int, now: int
) -> str:
    """The query string of a presigned request for `host`, valid for `expires` seconds."""
    amz_date = format_time(now)
    scope = (amz_date[:8], key.region, key.service)
    pairs = [
        *query,
        ("X-Amz-Algorithm", ALGORITHM),
        ("X-Amz-Credential", f"{key.access_key_id}/{'/'.join(scope)}/aws4_request"),
        ("X-Amz-Date", amz_date),
        ("X-Amz-Expires", str(expires)),
        ("X-Amz-SignedHeaders", "host"),
    ]
    if key.session_token:
        pairs.append(("X-Amz-Security-Token", key.session_token))
    encoded = [(n.encode().decode("latin-1"), v.encode().decode("latin-1")) for n, v in pairs]
    canonical = _canonical(method, raw_path.encode("latin-1"), encoded, {"host": [host]}, b"", ("host",))
    signature = _signature(key.secret, canonical, amz_date, scope)
    return "&".join(f"{_encode(n)}={_encode(v)}" for n, v in encoded) + f"&X-Amz-Signature={signature}"

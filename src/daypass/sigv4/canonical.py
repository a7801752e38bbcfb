"""The canonical request, the signature over it, and signing requests in their headers or query string.

Bytes in, bytes out; it decides nothing. Source: IAM User Guide, "Create a signed AWS API request".
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, MutableMapping, Sequence
from datetime import UTC, datetime
from hashlib import blake2b, sha256
from typing import NamedTuple, NoReturn
from urllib.parse import quote_from_bytes, unquote_to_bytes

ALGORITHM = "AWS4-HMAC-SHA256"
MISMATCH = (
    "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key "
    "and signing method. Consult the service documentation for details."
)


_SHA256 = re.compile(rb"[0-9a-f]{64}")


class SigV4Error(Exception):
    """Why a signature is refused.

    `kind` is the value of the corresponding ErrorKind: missing_credentials, incomplete_signature or
    signature_mismatch. `message` is for the caller, in AWS's words.
    """

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind
        self.message = message


def incomplete(message: str) -> NoReturn:
    raise SigV4Error("incomplete_signature", message)


def mismatch(message: str = MISMATCH) -> NoReturn:
    raise SigV4Error("signature_mismatch", message)


def query_pairs(raw_query: bytes) -> list[tuple[bytes, bytes]]:
    """Decoded names and values, in order. `+` is a space, as the query protocol reads it: what is signed is what is
    meant.
    """
    if not raw_query:
        return []
    pairs = []
    for part in raw_query.replace(b"+", b"%20").split(b"&"):
        if part:
            name, _, value = part.partition(b"=")
            pairs.append((unquote_to_bytes(name), unquote_to_bytes(value)))
    return pairs


def _canonical_path(raw_path: bytes) -> str:
    """Dot segments removed, slashes merged, and encoded once more (every service but S3 does so)."""
    if raw_path in (b"/", b""):
        return "/"
    kept: list[bytes] = []
    segments = raw_path.split(b"/")
    for segment in segments:
        if segment == b"..":
            del kept[-1:]
        elif segment not in (b"", b"."):
            kept.append(segment)
    path = b"/" + b"/".join(kept)
    if kept and not segments[-1]:
        path += b"/"
    return quote_from_bytes(path, safe="/-_.~")


def encode(value: bytes) -> str:
    return quote_from_bytes(value, safe="-_.~")


def canonical(
    method: str,
    raw_path: bytes,
    pairs: Iterable[tuple[bytes, bytes]],
    fields: Mapping[bytes, bytes],
    body: bytes | None,
    names: Sequence[bytes],
) -> bytes:
    claimed = fields.get(b"x-amz-content-sha256")
    if body is None and claimed is not None and _SHA256.fullmatch(claimed.strip()):
        body_hash = claimed.strip()  # under the signature, as every x-amz- header is; who has the body compares it
    else:
        body_hash = sha256(body or b"").hexdigest().encode()
    if claimed is not None and claimed.strip() != body_hash:  # UNSIGNED-PAYLOAD and the streaming forms included
        mismatch("The provided 'x-amz-content-sha256' header does not match what was computed.")
    if pairs or raw_path != b"/":
        query = "&".join([f"{n}={v}" for n, v in sorted([(encode(n), encode(v)) for n, v in pairs])])
        lines = [f"{method}\n{_canonical_path(raw_path)}\n{query}".encode("latin-1", "replace")]
    else:
        lines = [method.encode("latin-1", "replace") + b"\n/\n"]
    try:
        lines += [name + b":" + b" ".join(fields[name].split()) for name in names]
    except KeyError:  # signed, but absent
        mismatch()
    lines += (b"", b";".join(names), body_hash)
    return b"\n".join(lines)


# --- The signature -------------------------------------------------------------------------------------------------

_KEYS_KEPT = 4096
_SCOPES_KEPT = 64  # scopes of one secret, because the caller chooses the scope
_signing_keys: dict[bytes, Mac] = {}


def _signing_key(secret: str, date: str, region: str, service: str) -> Mac:
    """The derived key. Cached by a hash, so that the cache holds no secret. The oldest entry is evicted."""
    raw = secret.encode("utf-8", "surrogatepass")
    scope = f"{date}/{region}/{service}".encode("latin-1", "replace")
    place = blake2b(b"%d:%b/%b" % (len(raw), raw, scope), digest_size=32).digest()
    key = _signing_keys.get(place)
    if key is None:
        key = Mac(b"AWS4" + raw)
        for part in (date, region, service, "aws4_request"):
            key = Mac(key.digest(part.encode("latin-1")))
        if len(_signing_keys) >= _KEYS_KEPT:
            _signing_keys.pop(next(iter(_signing_keys)), None)
        _signing_keys[place] = key
    return key


def signature(
    secret: str,
    canonical_request: bytes,
    amz_date: str,
    scope: tuple[str, str, str],
    known: MutableMapping[tuple[str, str, str], Mac] | None = None,
) -> str:
    """The signature in hex. `known`: keys that were derived from this very secret, by scope; it is kept small."""
    to_sign = (
        f"{ALGORITHM}\n{amz_date}\n{scope[0]}/{scope[1]}/{scope[2]}/aws4_request\n"
        f"{sha256(canonical_request).hexdigest()}"
    )
    key = known.get(scope) if known is not None else None
    if key is None:
        key = _signing_key(secret, *scope)
        if known is not None:
            if len(known) >= _SCOPES_KEPT:
                known.clear()
            known[scope] = key
    return key.digest(to_sign.encode("latin-1")).hex()


def format_time(ms: int) -> str:
    """A time in milliseconds since the epoch in ISO-8601 basic format, as SigV4 writes it."""
    return datetime.fromtimestamp(ms // 1000, UTC).strftime("%Y%m%dT%H%M%SZ")


# --- HMAC-SHA256 under a key that is used again and again (RFC 2104)


_BLOCK = 64
_INNER = bytes(byte ^ 0x36 for byte in range(256))
_OUTER = bytes(byte ^ 0x5C for byte in range(256))


class Mac:
    """Authenticates messages under one key. Its repr shows nothing of the key."""

    __slots__ = ("_inner", "_outer")

    def __init__(self, key: bytes) -> None:
        if len(key) > _BLOCK:
            key = sha256(key).digest()
        padded = key.ljust(_BLOCK, b"\0")
        self._inner = sha256(padded.translate(_INNER))
        self._outer = sha256(padded.translate(_OUTER))

    def digest(self, message: bytes) -> bytes:
        """32 bytes."""
        inner = self._inner.copy()
        inner.update(message)
        outer = self._outer.copy()
        outer.update(inner.digest())
        return outer.digest()

    def __repr__(self) -> str:
        return "Mac()"


# --- Signing requests, in their headers or in the query string


class SigningKey(NamedTuple):
    """A key and the scope in which it signs."""

    access_key_id: str
    secret: str
    region: str
    service: str
    session_token: str = ""

    def __repr__(self) -> str:
        return f"SigningKey({self.access_key_id!r}, region={self.region!r}, service={self.service!r})"


def sign(
    key: SigningKey, method: str, raw_path: str, raw_query: str, headers: Mapping[str, str], body: bytes, now: int
) -> dict[str, str]:
    """The headers to send: the given ones (they must have host), X-Amz-Date, the session token and Authorization.

    `raw_path` and `raw_query` are as they go over the wire. `now` in milliseconds.
    """
    amz_date = format_time(now)
    sent = {**headers, "x-amz-date": amz_date}
    if key.session_token:
        sent["x-amz-security-token"] = key.session_token
    fields = {name.lower().encode("latin-1"): value.encode("utf-8") for name, value in sent.items()}
    names = sorted(fields)
    pairs = query_pairs(raw_query.encode("utf-8"))
    to_hash = canonical(method, raw_path.encode("utf-8"), pairs, fields, body, names)
    scope = (amz_date[:8], key.region, key.service)
    sent["Authorization"] = (
        f"{ALGORITHM} Credential={key.access_key_id}/{'/'.join(scope)}/aws4_request, "
        f"SignedHeaders={b';'.join(names).decode('latin-1')}, Signature={signature(key.secret, to_hash, amz_date, scope)}"
    )
    return sent


def presign(
    key: SigningKey, method: str, host: str, raw_path: str, query: Sequence[tuple[str, str]], expires: int, now: int
) -> str:
    """The query string of a presigned request for `host`, valid for `expires` seconds from `now` (milliseconds)."""
    amz_date = format_time(now)
    scope = (amz_date[:8], key.region, key.service)
    added = [
        ("X-Amz-Algorithm", ALGORITHM),
        ("X-Amz-Credential", f"{key.access_key_id}/{'/'.join(scope)}/aws4_request"),
        ("X-Amz-Date", amz_date),
        ("X-Amz-Expires", str(expires)),
        ("X-Amz-SignedHeaders", "host"),
    ]
    if key.session_token:
        added.append(("X-Amz-Security-Token", key.session_token))
    pairs = [(n.encode(), v.encode()) for n, v in [*query, *added]]
    to_hash = canonical(method, raw_path.encode("utf-8"), pairs, {b"host": host.encode("utf-8")}, b"", [b"host"])
    signed = signature(key.secret, to_hash, amz_date, scope)
    return "&".join(f"{encode(n)}={encode(v)}" for n, v in pairs) + f"&X-Amz-Signature={signed}"

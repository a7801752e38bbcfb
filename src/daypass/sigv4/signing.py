"""Signing requests, in their headers or in the query string. It sends nothing.

Source: IAM User Guide, "Create a signed AWS API request".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from daypass.sigv4.canonical import ALGORITHM, canonical, encode, format_time, query_pairs, signature


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

"""Presigned requests, as AWS SDKs make them: the signature is in the query string.

Source: IAM User Guide, "Create a signed AWS API request".
"""

from __future__ import annotations

from collections.abc import Sequence

from daypass.sigv4 import SigningKey
from daypass.sigv4.canonical import ALGORITHM, canonical, encode, format_time, signature


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

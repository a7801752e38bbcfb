"""The inline session policies in a payload: a JSON list, deflated with a dictionary."""

from __future__ import annotations

import zlib
from functools import lru_cache

import msgspec

MAX_POLICY_BYTES = 65_536  # of all inline policies of a session, inflated

# Primes the compressor with common policy text. All payload versions use it, so it cannot change.
_POLICY_WORDS = (
    b'"Principal":"Resource":["arn:aws:sts::arn:aws:iam:::role/"Condition":{"StringEquals":{"StringLike":{"aws:'
    b'RequestTag/"Bool":{"aws:PrincipalTag/"NotAction":"Sid":"["{"Version":"2012-10-17","Statement":[{"Effect":"Deny",'
    b'"Action":["s3:GetObject","Action":"*","Resource":"arn:aws:s3:::"},{"Effect":"Allow","Action":"Resource":"*"}]}"]'
)

_decode = msgspec.json.Decoder(tuple[str, ...]).decode


class PayloadTooLarge(ValueError):
    """A session that does not fit in a token."""


@lru_cache(maxsize=256)  # many sessions have the same session policies
def deflate(policies: tuple[str, ...]) -> bytes:
    """Raises PayloadTooLarge when `inflate` would refuse the result."""
    text = msgspec.json.encode(policies)
    if len(text) > MAX_POLICY_BYTES:
        raise PayloadTooLarge("The session policies are too large for a session token.")
    deflater = zlib.compressobj(9, zlib.DEFLATED, -15, zdict=_POLICY_WORDS)
    return deflater.compress(text) + deflater.flush()


def inflate(data: bytes) -> tuple[str, ...]:
    """The policies, at least one. Raises ValueError for any other input."""
    inflater = zlib.decompressobj(-15, zdict=_POLICY_WORDS)
    try:
        text = inflater.decompress(data, MAX_POLICY_BYTES + 1)  # bounds the memory
    except zlib.error:
        raise ValueError("the session policies are damaged") from None
    if len(text) > MAX_POLICY_BYTES or not inflater.eof or inflater.unused_data:
        raise ValueError("the session policies are damaged or too large")
    try:
        policies = _decode(text)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        policies = ()
    if not policies:
        raise ValueError("the session policies are not a list of texts")
    return policies

"""The payload of a session token: `SessionClaims` as compact bytes, and back.

Tokens outlive the process that made them, so this format may only grow at its end or change its version. A payload is
read only after decryption. Even so, anything unexpected is refused: a payload is never partly decoded.
"""

from __future__ import annotations

import zlib
from functools import lru_cache
from typing import Annotated, TypeAlias

import msgspec
from msgspec import Meta, Struct
from msgspec.structs import astuple

from daypass.domain.directory import Tags
from daypass.domain.jws import Party
from daypass.domain.session import MAX_HOPS, FeedPosition, Hop, SessionClaims, SessionKind

__all__ = ["MAX_PAYLOAD_BYTES", "PAYLOAD_VERSION", "PayloadTooLarge", "decode", "encode"]

PAYLOAD_VERSION = 1

MAX_PAYLOAD_BYTES = 16_384

_VERSION = bytes((PAYLOAD_VERSION,))

_Number: TypeAlias = Annotated[int, Meta(ge=0, lt=2**53)]


class _EarlierHop(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """A hop before the session itself. `epoch`: None when it is the session's own."""

    session_id: str
    account: str
    principal_id: str
    issued_at: _Number
    epoch: str | None
    position: _Number
    access_key_id: str
    name: str
    grant_id: str = ""
    client_id: str = ""


class _Payload(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """The sealed MessagePack array. Add a field at the end, with a default, or change the version.

    The hops do not include the session's own hop: except for the access key id, the other fields contain all of it.
    """

    kind: SessionKind
    session_id: str
    account: str
    principal_id: str
    arn: str
    name: str
    issued_at: _Number
    expires_at: _Number
    epoch: str
    position: _Number
    access_key_id: str
    hops: Annotated[tuple[_EarlierHop, ...], Meta(max_length=MAX_HOPS - 1)]
    derivation_key: str
    auth_method: str
    tags: Tags
    transitive_keys: tuple[str, ...]
    source_identity: str
    mfa_at: _Number
    policies: bytes  # deflated, see `payload_policies`; b"": none
    base_policy: bool
    policy_hashes: tuple[str, ...]
    user_id: str
    description: str
    grant_id: str
    binding: str
    status_index: Annotated[int, Meta(ge=-1, lt=2**53)]
    keys: Tags
    client_id: str
    first_issued_at: _Number
    audiences: tuple[str, ...] | None
    scopes: tuple[str, ...] | None
    may_act: Party | None


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(_Payload).decode


def encode(claims: SessionClaims) -> bytes:
    """The payload of a token: the version in one byte, then MessagePack.

    Raises PayloadTooLarge when `decode` would refuse the result, ValueError when the last hop is not the session's.
    """
    c = claims
    own = c.hops[-1]
    itself = (c.session_id, c.account, c.principal_id, c.issued_at, c.seen, own.access_key_id, c.name)
    if astuple(own) != (*itself, c.grant_id, c.client_id):
        raise ValueError("the hops of a session end with the session itself")
    if len(c.hops) > MAX_HOPS:
        raise PayloadTooLarge("The session has too many hops for a session token.")
    data = _VERSION + _packed(c)
    if len(data) > MAX_PAYLOAD_BYTES:
        raise PayloadTooLarge("The session is too large for a session token.")
    return data


def _packed(c: SessionClaims) -> bytes:
    epoch, position = c.seen
    payload = _Payload(
        c.kind,
        c.session_id,
        c.account,
        c.principal_id,
        c.arn,
        c.name,
        c.issued_at,
        c.expires_at,
        epoch,
        position,
        c.hops[-1].access_key_id,
        tuple([_earlier(hop, epoch) for hop in c.hops[:-1]]),
        c.derivation_key,
        c.auth_method,
        c.tags,
        c.transitive_keys,
        c.source_identity,
        c.mfa_at,
        deflate(c.policies) if c.policies else b"",
        c.base_policy,
        c.policy_hashes,
        c.user_id,
        c.description,
        c.grant_id,
        c.binding,
        c.status_index,
        c.keys,
        c.client_id,
        c.first_issued_at,
        c.audiences,
        c.scopes,
        c.may_act,
    )
    return _encode(payload)


def decode(data: bytes) -> SessionClaims:
    """The claims in a payload. Raises ValueError for anything that `encode` would not write."""
    if len(data) > MAX_PAYLOAD_BYTES:
        raise ValueError("the payload is too large")
    if not data.startswith(_VERSION):
        raise ValueError("not a payload of a known version")
    try:
        p = _decode(data[1:])
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(f"not a payload: {error}") from None
    seen = FeedPosition(p.epoch, p.position)
    own = Hop(
        p.session_id, p.account, p.principal_id, p.issued_at, seen, p.access_key_id, p.name, p.grant_id, p.client_id
    )
    return SessionClaims(
        kind=p.kind,
        session_id=p.session_id,
        account=p.account,
        principal_id=p.principal_id,
        arn=p.arn,
        name=p.name,
        issued_at=p.issued_at,
        expires_at=p.expires_at,
        seen=seen,
        hops=(*(_hop(earlier, p.epoch) for earlier in p.hops), own),
        tags=p.tags,
        transitive_keys=p.transitive_keys,
        source_identity=p.source_identity,
        mfa_at=p.mfa_at,
        policies=inflate(p.policies) if p.policies else (),
        base_policy=p.base_policy,
        policy_hashes=p.policy_hashes,
        user_id=p.user_id,
        grant_id=p.grant_id,
        binding=p.binding,
        status_index=p.status_index,
        derivation_key=p.derivation_key,
        auth_method=p.auth_method,
        description=p.description,
        keys=p.keys,
        client_id=p.client_id,
        first_issued_at=p.first_issued_at,
        audiences=p.audiences,
        scopes=p.scopes,
        may_act=p.may_act,
    )


def _earlier(hop: Hop, epoch: str) -> _EarlierHop:
    session_id, account, principal_id, at, seen, key, name, grant_id, client_id = astuple(hop)
    known = None if seen.epoch == epoch else seen.epoch
    return _EarlierHop(session_id, account, principal_id, at, known, seen.position, key, name, grant_id, client_id)


def _hop(earlier: _EarlierHop, epoch: str) -> Hop:
    e = earlier
    seen = FeedPosition(epoch if e.epoch is None else e.epoch, e.position)
    facts = e.session_id, e.account, e.principal_id, e.issued_at, seen, e.access_key_id, e.name
    return Hop(*facts, e.grant_id, e.client_id)


# --- The inline session policies in a payload: a JSON list, deflated with a dictionary


MAX_POLICY_BYTES = 65_536  # of all inline policies of a session, inflated

# Primes the compressor with common policy text. All payload versions use it, so it cannot change.
_POLICY_WORDS = (
    b'"Principal":"Resource":["arn:aws:sts::arn:aws:iam:::role/"Condition":{"StringEquals":{"StringLike":{"aws:'
    b'RequestTag/"Bool":{"aws:PrincipalTag/"NotAction":"Sid":"["{"Version":"2012-10-17","Statement":[{"Effect":"Deny",'
    b'"Action":["s3:GetObject","Action":"*","Resource":"arn:aws:s3:::"},{"Effect":"Allow","Action":"Resource":"*"}]}"]'
)

_payload_policies_decode = msgspec.json.Decoder(tuple[str, ...]).decode


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
        policies = _payload_policies_decode(text)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        policies = ()
    if not policies:
        raise ValueError("the session policies are not a list of texts")
    return policies

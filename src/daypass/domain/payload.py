"""The payload of a session token: `SessionClaims` as compact bytes, and back.

Tokens outlive the process that made them, so this format may only grow at its end or change its version. It is read
only after decryption, but still refuses everything odd: a payload is never half understood.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Sequence
from functools import lru_cache
from json.encoder import encode_basestring
from typing import Any

from daypass.domain.directory import Tags
from daypass.domain.plain import is_plain
from daypass.domain.session import MAX_HOPS, Hop, Seen, SessionClaims, SessionKind

PAYLOAD_VERSION = 1
MAX_PAYLOAD_BYTES = 16_384  # of a whole payload
MAX_POLICY_BYTES = 65_536  # of all inline policies of a session, inflated

# Primes the compressor with what policies are made of. Part of payload version 1: it can never change under it.
_POLICY_WORDS = (
    b'"Principal":"Resource":["arn:aws:sts::arn:aws:iam:::role/"Condition":{"StringEquals":{"StringLike":{"aws:'
    b'RequestTag/"Bool":{"aws:PrincipalTag/"NotAction":"Sid":"["{"Version":"2012-10-17","Statement":[{"Effect":"Deny",'
    b'"Action":["s3:GetObject","Action":"*","Resource":"arn:aws:s3:::"},{"Effect":"Allow","Action":"Resource":"*"}]}"]'
)

# Positions of the array after its version. Fields that are mostly empty stand last, because trailing defaults are
# not written; a new field goes to the end, with a default, or else the version must change.
_SHAPE: tuple[tuple[type, Any], ...] = (
    (str, None),  # kind
    (str, None),  # session_id
    (str, None),  # account
    (str, None),  # principal_id
    (str, None),  # arn
    (str, None),  # name
    (int, None),  # issued_at
    (int, None),  # expires_at
    (list, None),  # database incarnations, each once; hops and `seen` name them by index
    (int, None),  # index of seen.incarnation
    (int, None),  # seen.position
    (list, None),  # hops; of the last one only the access key id, the rest of it being the session itself
    (str, ""),  # derivation_key
    (str, ""),  # auth_method
    (list, []),  # tags: key, value, key, value …
    (list, []),  # transitive_keys
    (str, ""),  # source_identity
    (int, 0),  # mfa_at
    (int, 0),  # base_policy, 0 or 1; the policies themselves follow the array
    (str, ""),  # user_id
    (list, []),  # policy_hashes
    (str, ""),  # description
    (str, ""),  # grant_id
    (str, ""),  # binding
    (int, -1),  # status_index
    (list, []),  # keys: key, value, key, value …
)
_REQUIRED = sum(default is None for _, default in _SHAPE)
_DEFAULTS = [default for _, default in _SHAPE]
_TYPES = [kind for kind, _ in _SHAPE]
_HOP_TYPES = [str, str, str, int, int, int, str, str]
_MAX_INT = 2**53


class PayloadTooLarge(ValueError):
    """A session that fits in no token."""


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is no value")


_dumps = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode
_loads = json.JSONDecoder(parse_constant=_refuse_constant, parse_float=_refuse_constant).decode


def encode(claims: SessionClaims) -> bytes:
    """The payload of a token: a JSON array, then, when there are inline policies, a NUL and their deflated list.

    Raises PayloadTooLarge when `decode` would refuse the result, ValueError when the hops do not end with the session.
    """
    c = claims
    own = c.hops[-1]
    if own != (c.session_id, c.account, c.principal_id, c.issued_at, c.seen, own.access_key_id, c.name):
        raise ValueError("the hops of a session end with the session itself")
    if len(c.hops) > MAX_HOPS:
        raise PayloadTooLarge("The session has too many hops for a session token.")
    data = f"{_encode_required(c)}{_encode_optional(c)}]".encode()
    if c.policies:
        data += b"\0" + _deflate(c.policies)
    if len(data) > MAX_PAYLOAD_BYTES:
        raise PayloadTooLarge("The session is too large for a session token.")
    return data


def _encode_required(c: SessionClaims) -> str:
    """The array's beginning, up to the hops. Nearly always all strings are plain, and were written as they should be."""
    known = [c.seen.incarnation]
    hops = ""
    for session_id, account, principal_id, at, (incarnation, position), key, name in c.hops[:-1]:
        if incarnation not in known:
            known.append(incarnation)
        where = known.index(incarnation)
        hops += f'["{session_id}","{account}","{principal_id}",{at},{where},{position},"{key}","{name}"],'
    incarnations = '","'.join(known)
    text = (
        f'[{PAYLOAD_VERSION},"{c.kind._value_}","{c.session_id}","{c.account}","{c.principal_id}","{c.arn}","{c.name}",'
        f'{c.issued_at},{c.expires_at},["{incarnations}"],0,{c.seen.position},[{hops}"{c.hops[-1].access_key_id}"]'
    )
    return text if is_plain(text, 2 + 5 * len(c.hops) + len(known)) else _quote_required(c, known)


def _quote_required(c: SessionClaims, known: list[str]) -> str:
    hops: list[Any] = [[*h[:4], known.index(h.seen.incarnation), h.seen.position, *h[5:]] for h in c.hops[:-1]]
    values = [
        PAYLOAD_VERSION,
        c.kind,
        c.session_id,
        c.account,
        c.principal_id,
        c.arn,
        c.name,
        c.issued_at,
        c.expires_at,
    ]
    return _dumps([*values, known, 0, c.seen.position, [*hops, c.hops[-1].access_key_id]])[:-1]


def _encode_optional(c: SessionClaims) -> str:
    """The values that have a default, from the first to the last that differs from it, each after its comma."""
    some = c.tags or c.transitive_keys or c.source_identity or c.mfa_at or c.base_policy or c.user_id or c.policy_hashes
    some = some or c.description or c.grant_id or c.binding or c.keys
    if c.auth_method and not some and c.status_index == -1:
        return f",{encode_basestring(c.derivation_key)},{encode_basestring(c.auth_method)}"  # most sessions
    values: list[Any] = [c.derivation_key, c.auth_method, [part for tag in c.tags for part in tag]]
    values += (list(c.transitive_keys), c.source_identity, c.mfa_at, int(c.base_policy), c.user_id)
    values += (list(c.policy_hashes), c.description, c.grant_id, c.binding, c.status_index)
    values.append([part for key in c.keys for part in key])
    defaults = _DEFAULTS[_REQUIRED:]
    while values and values[-1] == defaults[len(values) - 1]:
        values.pop()
    return f",{_dumps(values)[1:-1]}" if values else ""


def decode(data: bytes) -> SessionClaims:
    """The claims in a payload. Raises ValueError on anything that `encode` would not have written."""
    if len(data) > MAX_PAYLOAD_BYTES:
        raise ValueError("the payload is too large")
    text, separator, deflated = data.partition(b"\0")
    (
        kind, session_id, account, principal_id, arn, name, issued_at, expires_at, known, where, position, hops,
        derivation_key, auth_method, tags, transitive, source_identity, mfa_at, base_policy, user_id, hashes,
        description, grant_id, binding, status_index, keys,
    ) = _values(text)  # fmt: skip
    if base_policy > 1 or len(tags) % 2 or len(keys) % 2 or not 1 <= len(hops) <= MAX_HOPS or type(hops[-1]) is not str:
        raise ValueError("a value of the payload is out of range")
    for strings in (known, tags, transitive, hashes, keys):
        _check(strings, [str] * len(strings))
    seen = _seen(known, where, position)
    own = Hop(session_id, account, principal_id, issued_at, seen, hops[-1], name)
    return SessionClaims(
        kind=SessionKind(kind),
        session_id=session_id,
        account=account,
        principal_id=principal_id,
        arn=arn,
        name=name,
        issued_at=issued_at,
        expires_at=expires_at,
        seen=seen,
        hops=(*(_hop(values, known) for values in hops[:-1]), own),
        tags=_pairs(tags),
        transitive_keys=tuple(transitive),
        source_identity=source_identity,
        mfa_at=mfa_at,
        policies=_inflate(deflated) if separator else (),
        base_policy=bool(base_policy),
        policy_hashes=tuple(hashes),
        user_id=user_id,
        grant_id=grant_id,
        binding=binding,
        status_index=status_index,
        derivation_key=derivation_key,
        auth_method=auth_method,
        description=description,
        keys=_pairs(keys),
    )


def _values(text: bytes) -> list[Any]:
    """What the array has behind its version, trailing defaults filled in: as many values as `_SHAPE` says, of its types."""
    try:
        values = _loads(text.decode())
    except RecursionError:
        raise ValueError("the payload is nested too deeply") from None
    if type(values) is not list or not values or type(values[0]) is not int or values[0] != PAYLOAD_VERSION:
        raise ValueError("not a payload of a known version")
    values = values[1:]
    if not _REQUIRED <= len(values) <= len(_SHAPE):
        raise ValueError("the payload has the wrong number of values")
    values += _DEFAULTS[len(values) :]
    _check(values, _TYPES)
    return values


def _pairs(flat: Sequence[str]) -> Tags:
    return tuple(zip(flat[::2], flat[1::2], strict=True))


def _check(values: Sequence[Any], types: Sequence[type]) -> None:
    """Every value has exactly its type (a bool is no int), and integers are in the range that JSON keeps exact."""
    if len(values) != len(types):
        raise ValueError("a list of the payload has the wrong length")
    for value, kind in zip(values, types, strict=True):
        if type(value) is not kind:
            raise ValueError("a value of the payload has the wrong type")
        if isinstance(value, int) and not -1 <= value < _MAX_INT:
            raise ValueError("a number of the payload is out of range")


def _hop(values: Any, known: Sequence[str]) -> Hop:
    if type(values) is not list:
        raise ValueError("a hop of the payload has the wrong type")
    _check(values, _HOP_TYPES)
    session_id, account, principal_id, issued_at, where, position, access_key_id, name = values
    return Hop(session_id, account, principal_id, issued_at, _seen(known, where, position), access_key_id, name)


def _seen(known: Sequence[str], where: int, position: int) -> Seen:
    if not 0 <= where < len(known):
        raise ValueError("a database incarnation of the payload is not listed")
    return Seen(known[where], position)


@lru_cache(maxsize=256)  # a fleet asks with the same few session policies again and again
def _deflate(policies: tuple[str, ...]) -> bytes:
    plain = _dumps(list(policies)).encode()
    if len(plain) > MAX_POLICY_BYTES:
        raise PayloadTooLarge("The session policies are too large for a session token.")
    deflater = zlib.compressobj(9, zlib.DEFLATED, -15, zdict=_POLICY_WORDS)
    return deflater.compress(plain) + deflater.flush()


def _inflate(data: bytes) -> tuple[str, ...]:
    inflater = zlib.decompressobj(-15, zdict=_POLICY_WORDS)
    try:
        plain = inflater.decompress(data, MAX_POLICY_BYTES + 1)  # never more than this in memory, whatever comes
    except zlib.error:
        raise ValueError("the session policies are damaged") from None
    if len(plain) > MAX_POLICY_BYTES or not inflater.eof or inflater.unused_data:
        raise ValueError("the session policies are damaged or too large")
    try:
        policies = _loads(plain.decode())
    except RecursionError:
        raise ValueError("the session policies are nested too deeply") from None
    if type(policies) is not list or not policies:
        raise ValueError("the session policies are not a list")
    _check(policies, [str] * len(policies))
    return tuple(policies)

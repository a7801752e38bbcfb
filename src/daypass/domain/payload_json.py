"""Payloads of versions 1 and 2, which earlier releases read and write: a JSON array, then a NUL and the deflated session policies.

They are written only while servers of an earlier release run beside this one. Nothing here may change as long as such a
release, or a session that it issued, may be in use.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import msgspec
from msgspec.structs import astuple

from daypass.domain.directory import Tags
from daypass.domain.payload_policies import deflate, inflate
from daypass.domain.session import MAX_HOPS, FeedPosition, Hop, SessionClaims, SessionKind

_NEWEST = 2

# Positions of the array after its version. Fields that are usually empty come last, because trailing defaults are
# not written. Add a new field at the end, with a default, or change the version.
_SHAPE: tuple[tuple[type, Any], ...] = (
    (str, None),  # kind
    (str, None),  # session_id
    (str, None),  # account
    (str, None),  # principal_id
    (str, None),  # arn
    (str, None),  # name
    (int, None),  # issued_at
    (int, None),  # expires_at
    (list, None),  # database epochs, each once; hops and `seen` name them by index
    (int, None),  # index of seen.epoch
    (int, None),  # seen.position
    (list, None),  # hops; of the last one only the access key id, because the rest is the session itself
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
    (str, ""),  # client_id; since version 2
    (int, 0),  # first_issued_at; since version 2
)
_SINCE_2 = 2  # positions that version 1 does not have
_REQUIRED = sum(default is None for _, default in _SHAPE)
_DEFAULTS = [default for _, default in _SHAPE]
_TYPES = [kind for kind, _ in _SHAPE]
_HOP_TYPES = [str, str, str, int, int, int, str, str]
_HOP_TYPES_2 = [*_HOP_TYPES, str, str]  # of hops with a grant or a client
_MAX_INT = 2**53


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not a value")


_loads = json.JSONDecoder(parse_constant=_refuse_constant, parse_float=_refuse_constant).decode


def encode(claims: SessionClaims) -> bytes:
    """The payload of a session, in the oldest version that can hold it. `payload.encode` has checked the hops."""
    c = claims
    known = list(dict.fromkeys((c.seen.epoch, *(hop.seen.epoch for hop in c.hops[:-1]))))
    extended = c.client_id or c.first_issued_at or any(hop.grant_id or hop.client_id for hop in c.hops[:-1])
    required: list[Any] = [
        *(2 if extended else 1, c.kind, c.session_id, c.account, c.principal_id, c.arn, c.name),
        *(c.issued_at, c.expires_at, known, 0, c.seen.position),
        [*(_hop_values(hop, known) for hop in c.hops[:-1]), c.hops[-1].access_key_id],
    ]
    optional: list[Any] = [
        *(c.derivation_key, c.auth_method, _flat(c.tags), list(c.transitive_keys), c.source_identity, c.mfa_at),
        *(int(c.base_policy), c.user_id, list(c.policy_hashes), c.description, c.grant_id, c.binding, c.status_index),
        *(_flat(c.keys), c.client_id, c.first_issued_at),
    ]
    while optional and optional[-1] == _DEFAULTS[_REQUIRED + len(optional) - 1]:
        optional.pop()
    data = msgspec.json.encode([*required, *optional])
    return data + b"\0" + deflate(c.policies) if c.policies else data


def decode(data: bytes) -> SessionClaims:
    """The claims in a payload. Raises ValueError for anything that no release wrote."""
    text, separator, deflated = data.partition(b"\0")
    (
        kind, session_id, account, principal_id, arn, name, issued_at, expires_at, known, where, position, hops,
        derivation_key, auth_method, tags, transitive, source_identity, mfa_at, base_policy, user_id, hashes,
        description, grant_id, binding, status_index, keys, client_id, first_issued_at,
    ) = _values(text)  # fmt: skip
    if base_policy > 1 or len(tags) % 2 or len(keys) % 2 or not 1 <= len(hops) <= MAX_HOPS or type(hops[-1]) is not str:
        raise ValueError("a value of the payload is out of range")
    for strings in (known, tags, transitive, hashes, keys):
        _check(strings, [str] * len(strings))
    seen = _seen(known, where, position)
    own = Hop(session_id, account, principal_id, issued_at, seen, hops[-1], name, grant_id, client_id)
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
        policies=inflate(deflated) if separator else (),
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
        client_id=client_id,
        first_issued_at=first_issued_at,
    )


def _values(text: bytes) -> list[Any]:
    """The array after its version, with trailing defaults added: the number and types of values that `_SHAPE` defines."""
    try:
        values = _loads(text.decode())
    except RecursionError:
        raise ValueError("the payload is nested too deeply") from None
    if type(values) is not list or not values or type(values[0]) is not int or values[0] not in (1, _NEWEST):
        raise ValueError("not a payload of a known version")
    version, values = values[0], values[1:]
    if not _REQUIRED <= len(values) <= len(_SHAPE) - (_SINCE_2 if version == 1 else 0):
        raise ValueError("the payload has the wrong number of values")
    values += _DEFAULTS[len(values) :]
    _check(values, _TYPES)
    return values


def _flat(pairs: Tags) -> list[str]:
    return [part for pair in pairs for part in pair]


def _hop_values(hop: Hop, known: Sequence[str]) -> list[Any]:
    session_id, account, principal_id, at, seen, key, name, grant_id, client_id = astuple(hop)
    values = [session_id, account, principal_id, at, known.index(seen.epoch), seen.position, key, name]
    return [*values, grant_id, client_id] if grant_id or client_id else values


def _pairs(flat: Sequence[str]) -> Tags:
    return tuple(zip(flat[::2], flat[1::2], strict=True))


def _check(values: Sequence[Any], types: Sequence[type]) -> None:
    """Every value has exactly its type (a bool is not an int), and integers are in the range that JSON represents exactly."""
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
    extended = len(values) == len(_HOP_TYPES_2)
    _check(values, _HOP_TYPES_2 if extended else _HOP_TYPES)
    session_id, account, principal_id, issued_at, where, position, *others = values
    return Hop(session_id, account, principal_id, issued_at, _seen(known, where, position), *others)


def _seen(known: Sequence[str], where: int, position: int) -> FeedPosition:
    if not 0 <= where < len(known):
        raise ValueError("a database epoch of the payload is not listed")
    return FeedPosition(known[where], position)

"""Verifies the record from its rows alone, and names the first bad one. Standard library only: the client runs it.

It must never trust what a row says of itself: leaves are computed from the bytes where they are shown, chains always.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from daypass.audit.format import HASH_BYTES, LOG_ID_DIGITS, chain_hash, chain_seed, leaf_hash

MAX_RECORD_BYTES = 65_536
_HEX = frozenset("0123456789abcdef")


@dataclass(frozen=True, slots=True)
class RecordRow:
    """One record as it is stored and exported. `data` is None where the reader may see no more than the leaf."""

    log: str  # 32 hex digits
    seq: int
    leaf: bytes  # 32 bytes
    chain: bytes  # 32 bytes
    data: bytes | None = None  # canonical event bytes

    def to_json(self) -> dict[str, Any]:
        """Hashes in hex, the bytes in base64, withheld bytes left out."""
        shown: dict[str, Any] = {
            "log": self.log,
            "seq": self.seq,
            "leaf": self.leaf.hex(),
            "chain": self.chain.hex(),
        }
        if self.data is not None:
            shown["bytes"] = base64.b64encode(self.data).decode("ascii")
        return shown

    @classmethod
    def from_json(cls, unverified: Mapping[str, Any]) -> RecordRow:
        """Raises ValueError on anything that `to_json` does not make; further keys are passed over."""
        seq = unverified.get("seq")
        if type(seq) is not int or not 0 <= seq < 2**63:
            raise ValueError("seq is not a sequence number")
        return cls(
            log=_hex(unverified.get("log"), LOG_ID_DIGITS, "log"),
            seq=seq,
            leaf=bytes.fromhex(_hex(unverified.get("leaf"), 2 * HASH_BYTES, "leaf")),
            chain=bytes.fromhex(_hex(unverified.get("chain"), 2 * HASH_BYTES, "chain")),
            data=_base64(unverified["bytes"]) if "bytes" in unverified else None,
        )


def _hex(value: object, digits: int, name: str) -> str:
    if not isinstance(value, str) or len(value) != digits or not _HEX.issuperset(value):
        raise ValueError(f"{name} is not {digits} lower-case hex digits")
    return value


def _base64(value: object) -> bytes:
    if not isinstance(value, str) or len(value) > 2 * MAX_RECORD_BYTES:
        raise ValueError("bytes is not base64 of a record's size")
    try:
        data = base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError) as error:
        raise ValueError("bytes is not base64") from error
    if base64.b64encode(data).decode("ascii") != value:
        raise ValueError("bytes is not canonical base64")
    return data


@dataclass(frozen=True, slots=True)
class Head:
    """How far a log was known to go: another log's opening names it, or someone keeps it elsewhere."""

    log: str
    seq: int
    chain: bytes


@dataclass(frozen=True, slots=True)
class Verified:
    """A log without a fault from record 0 to `head`.

    `withheld` counts records of which only the leaf was shown; `closed` tells a clean shutdown; `heads` are those that
    the opening names: give them to the verification of the other logs as `known`.
    """

    log: str
    records: int
    head: Head
    closed: bool
    withheld: int = 0
    heads: tuple[Head, ...] = ()


@dataclass(frozen=True, slots=True)
class BadRecord:
    """The first fault of a log: the sequence number at which it shows, and what is wrong there."""

    log: str
    seq: int
    why: str


class _Fault(Exception):
    pass


@dataclass(slots=True)
class _State:
    log: str
    known: Mapping[int, bytes]
    chain: bytes
    seq: int = 0  # of the row that must come next
    withheld: int = 0
    closed: bool = False
    heads: tuple[Head, ...] = field(default_factory=tuple)


def verify_log(
    log_id: str, rows: Iterable[RecordRow], known: Iterable[Head] = (), *, after: Head | None = None
) -> Verified | BadRecord:
    """Verifies one log's rows, in the order of their sequence, from record 0 (or from behind `after`).

    Args:
        log_id: the log that the rows must belong to.
        rows: streamed; only one is held at a time.
        known: heads of logs that are known from elsewhere. Those of this log must be met on the way, so that records
            cut off its end, or rewritten with a fresh chain, show.
        after: a head of this log that has been verified before.
    """
    expected: dict[int, bytes] = {}
    for head in known:
        if head.log == log_id and expected.setdefault(head.seq, head.chain) != head.chain:
            return BadRecord(log_id, head.seq, "two known heads disagree about this record")
    state = _State(log_id, expected, chain_seed(log_id))
    if after is not None:
        state.seq, state.chain = after.seq + 1, after.chain
    start = state.seq
    try:
        for row in rows:
            _step(state, row)
    except _Fault as fault:
        return BadRecord(log_id, state.seq, str(fault))
    beyond = [seq for seq in expected if seq >= state.seq]
    if beyond:
        return BadRecord(log_id, state.seq, f"missing: the log is known to go on to record {max(beyond)}")
    if state.seq == 0:
        return BadRecord(log_id, 0, "missing: the log has no records")
    head = Head(log_id, state.seq - 1, state.chain)
    return Verified(log_id, state.seq - start, head, state.closed, state.withheld, state.heads)


def _step(state: _State, row: RecordRow) -> None:
    if row.log != state.log:
        raise _Fault(f"belongs to another log, {row.log}")
    if row.seq > state.seq:
        raise _Fault(f"missing: the next record here is {row.seq}")
    if row.seq < state.seq:
        raise _Fault(f"out of order: record {row.seq} stands in its place")
    if state.closed:
        raise _Fault("written after the log was closed")
    if row.data is None:
        state.withheld += 1
    elif leaf_hash(row.data) != row.leaf:
        raise _Fault("altered: the leaf is not the hash of the bytes")
    chain = chain_hash(state.chain, row.leaf, row.seq)
    if chain != row.chain:
        raise _Fault("altered: the chain does not follow from the record before and this leaf")
    if state.known.get(row.seq, chain) != chain:
        raise _Fault("rewritten: a head known from elsewhere has another chain here")
    if row.data is not None:
        _read(state, row.seq, row.data)
    state.chain = chain
    state.seq += 1


def _read(state: _State, seq: int, data: bytes) -> None:
    """What verification needs of an event: whether it opens or closes the log, and the heads that it names."""
    if len(data) > MAX_RECORD_BYTES:
        raise _Fault("over the size that a record can have")
    opens = data.startswith(b"{") and b'"type":"log.opened"' in data
    closes = b'"type":"log.closed"' in data
    if not (opens or closes or seq == 0):
        return
    body = _body(data)
    kind = body.get("type")
    if (kind == "log.opened") != (seq == 0):
        raise _Fault("log.opened must be the first record" if seq == 0 else "log.opened again within the log")
    state.closed = kind == "log.closed"
    if seq == 0:
        state.heads = named_heads(body)


def _body(data: bytes) -> dict[str, Any]:
    try:
        body = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise _Fault("not an event") from error
    if not isinstance(body, dict):
        raise _Fault("not an event")
    return body


def named_heads(body: Mapping[str, Any]) -> tuple[Head, ...]:
    """The heads of other logs in the body of a log.opened; what is not one is passed over."""
    detail = body.get("detail")
    listed = detail.get("heads") if isinstance(detail, Mapping) else None
    heads = []
    for item in listed if isinstance(listed, list) else ():
        try:
            heads.append(Head(item["log"], int(item["seq"]), bytes.fromhex(item["chain"])))
        except (KeyError, TypeError, ValueError):
            continue
    return tuple(heads)

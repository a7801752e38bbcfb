"""Verifies the record from its rows alone and reports the first bad row. Standard library only, because the client runs
it.

It must never trust a hash in a row: chain hashes are always computed, and leaves wherever the bytes are present.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from daypass.audit.columns import altered_column, altered_log_column, altered_session_column, session_columns
from daypass.audit.format import HASH_BYTES, LOG_ID_DIGITS, chain_hash, chain_seed, leaf_hash

MAX_RECORD_BYTES = 65_536
_HEX = frozenset("0123456789abcdef")


@dataclass(frozen=True, slots=True)
class RecordRow:
    """One record as it is stored and exported. `data` is None where the reader may see only the leaf."""

    log: str  # 32 hex digits
    seq: int
    leaf: bytes  # 32 bytes
    chain: bytes  # 32 bytes
    data: bytes | None = None  # canonical event bytes
    columns: Mapping[str, Any] | None = None  # the searchable columns, where they are read from the database
    sessions: Sequence[Mapping[str, Any]] = ()  # likewise: the rows of sessions that name this record

    def to_json(self) -> dict[str, Any]:
        """Hashes in hex, the bytes in base64, withheld bytes left out."""
        shown: dict[str, Any] = {"log": self.log, "seq": self.seq, "leaf": self.leaf.hex(), "chain": self.chain.hex()}
        if self.data is not None:
            shown["bytes"] = base64.b64encode(self.data).decode("ascii")
        return shown

    @classmethod
    def from_json(cls, unverified: Mapping[str, Any]) -> RecordRow:
        """Raises ValueError for input that `to_json` does not produce; unknown keys are ignored."""
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
    """A known head of a log, named by another log's opening or stored elsewhere.

    `lost`: for one that the opening names as lost, the number of all records that it says are missing, and between which
    times (ms) they were lost.
    """

    log: str
    seq: int
    chain: bytes
    lost: tuple[int, int, int] | None = None


@dataclass(frozen=True, slots=True)
class Gap:
    """Records of a log that are missing, and that another log's opening names as lost: after a failover, for example.

    `since`, `until`: the times of the losses that the opening names (ms).
    """

    log: str
    first: int
    last: int
    since: int
    until: int


@dataclass(frozen=True, slots=True)
class VerifiedLog:
    """A log that is valid from record 0 to `head`, but for `gaps`.

    `withheld` counts records of which only the leaf was present. `closed` reports a clean shutdown. `heads` are the
    heads named by the opening; pass them to the verification of the other logs as `known`.
    """

    log: str
    records: int
    head: Head
    closed: bool
    withheld: int = 0
    heads: tuple[Head, ...] = ()
    gaps: tuple[Gap, ...] = ()


@dataclass(frozen=True, slots=True)
class BadRecord:
    """The first fault of a log: the sequence number where it was detected, and its description."""

    log: str
    seq: int
    why: str


class _Fault(Exception):
    pass


@dataclass(slots=True)
class _State:
    log: str
    known: Mapping[int, bytes]
    lost: Mapping[int, tuple[int, int, int]]
    chain: bytes
    seq: int = 0  # of the row that must come next
    withheld: int = 0
    closed: bool = False
    records: int = 0
    heads: tuple[Head, ...] = ()
    gaps: list[Gap] = field(default_factory=list)

    def pass_gap(self, last: int) -> None:
        """Goes on after a record that is named as lost."""
        most, since, until = self.lost[last]
        if last - self.seq >= most:
            raise _Fault(f"missing: more than the {most} records that a later log names as lost")
        self.gaps.append(Gap(self.log, self.seq, last, since, until))
        self.chain, self.seq = self.known[last], last + 1


def verify_log(
    log_id: str, rows: Iterable[RecordRow], known: Iterable[Head] = (), *, after: Head | None = None
) -> VerifiedLog | BadRecord:
    """Verifies one log's rows, ordered by sequence number, from record 0 or from the record after `after`.

    Args:
        rows: streamed; only one is held at a time.
        known: heads of logs that are known from elsewhere. The heads of this log must be found in its rows, so that
        truncated records, or records rewritten with a new chain, are detected.
        after: a head of this log that has been verified before.
    """
    expected: dict[int, bytes] = {}
    own = [head for head in known if head.log == log_id]
    for head in own:
        if expected.setdefault(head.seq, head.chain) != head.chain:
            return BadRecord(log_id, head.seq, "two known heads disagree about this record")
    state = _State(log_id, expected, {head.seq: head.lost for head in own if head.lost}, chain_seed(log_id))
    if after is not None:
        state.seq, state.chain = after.seq + 1, after.chain
    try:
        for row in rows:
            _step(state, row)
        _end(state)
    except _Fault as fault:
        return BadRecord(log_id, state.seq, str(fault))
    head = Head(log_id, state.seq - 1, state.chain)
    return VerifiedLog(log_id, state.records, head, state.closed, state.withheld, state.heads, tuple(state.gaps))


def _end(state: _State) -> None:
    last = max(state.known, default=-1)
    if last >= state.seq and last in state.lost:
        state.pass_gap(last)
    if last >= state.seq:
        raise _Fault(f"missing: the log is known to go on to record {last}")
    if state.seq == 0:
        raise _Fault("missing: the log has no records")


def _step(state: _State, row: RecordRow) -> None:
    _check_place(state, row)
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
        if row.columns is not None:
            _compare(row.data, row)
    state.chain = chain
    state.seq += 1
    state.records += 1


def _read(state: _State, seq: int, data: bytes) -> None:
    """The part of an event that verification needs: whether it opens or closes the log, and the heads that it names."""
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


def _check_place(state: _State, row: RecordRow) -> None:
    if row.log != state.log:
        raise _Fault(f"belongs to another log, {row.log}")
    if row.seq > state.seq and row.seq - 1 in state.lost:
        state.pass_gap(row.seq - 1)
    if row.seq > state.seq:
        raise _Fault(f"missing: the next record here is {row.seq}")
    if row.seq < state.seq:
        raise _Fault(f"out of order: record {row.seq} stands in its place")
    if state.closed:
        raise _Fault("written after the log was closed")


def _compare(data: bytes, row: RecordRow) -> None:
    """Checks the columns against the bytes, and the rows of the session that the event issued, if any."""
    body = _body(data)
    altered = altered_column(row.columns or {}, body)
    if altered:
        raise _Fault(f"altered: column {altered} does not follow from the event")
    issued = session_columns(body)
    if issued is not None and not row.sessions:
        raise _Fault(f"missing: the row of session {issued['session_id']}, which this event issued")
    for session in row.sessions[issued is not None :]:
        raise _Fault(f"forged: the row of session {session['session_id']} names this record, which did not issue it")
    altered = altered_session_column(row.sessions[0], body) if issued is not None else ""
    if altered:
        raise _Fault(f"altered: column {altered} of the row of the session that this event issued")


def _body(data: bytes) -> dict[str, Any]:
    try:
        body = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise _Fault("not an event") from error
    if not isinstance(body, dict):
        raise _Fault("not an event")
    return body


def named_heads(body: Mapping[str, Any]) -> tuple[Head, ...]:
    """The heads of other logs in the body of a log.opened, the lost ones first; malformed entries are ignored."""
    detail = body.get("detail")
    detail = detail if isinstance(detail, Mapping) else {}
    listed, lost = detail.get("heads"), detail.get("lost", 0)
    heads = []
    for place, item in enumerate(listed if isinstance(listed, list) else ()):
        try:
            loss = (int(detail["missing"]), int(detail["since"]), int(detail["until"])) if place < lost else None
            heads.append(Head(item["log"], int(item["seq"]), bytes.fromhex(item["chain"]), loss))
        except (KeyError, TypeError, ValueError):
            continue
    return tuple(heads)


def verify_log_rows(openings: Mapping[str, bytes], rows: Iterable[Mapping[str, Any]]) -> list[BadRecord]:
    """Compares the table of logs with their openings.

    Args:
        openings: the bytes of record 0 of each log; b"" where they are not an event, which `verify_log` reports.
        rows: the rows of `audit_logs`.
    """
    bodies: dict[str, Mapping[str, Any]] = {}
    named: dict[str, int] = {}
    for log, data in openings.items():
        try:
            bodies[log] = _body(data)
        except _Fault:
            bodies[log] = {}
        for head in _newly_named(bodies[log]):
            named[head.log] = max(head.seq, named.get(head.log, -1))
    of_logs = [(str(row["log"]), row) for row in rows]
    stored = dict(of_logs)
    rest = Counter(log for log, _ in of_logs) - Counter(stored.keys())
    faults = [BadRecord(log, 0, "forged: a second row of this log") for log in rest]
    faults += [BadRecord(log, 0, "missing: the row of this log") for log in bodies if log not in stored]
    for log, row in stored.items():
        if log not in bodies:
            faults.append(BadRecord(log, 0, "forged: the row of this log, which has no records"))
        elif bodies[log]:
            altered = altered_log_column(row, bodies[log], named.get(log, -1))
            faults += [BadRecord(log, 0, f"altered: column {altered} of the row of this log")] if altered else []
    return faults


def _newly_named(opening: Mapping[str, Any]) -> tuple[Head, ...]:
    """The heads that were in the database when the log was opened, without those that were known to be missing."""
    return tuple(head for head in named_heads(opening) if not head.lost)

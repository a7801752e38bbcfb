"""The last record of each log, written to a side file of the database or of a spool with every commit.

Acknowledged records must be in the database (`acknowledged`). Standard library only: `daypass audit verify` reads it where
no server is installed.
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from daypass.domain.jws import iso_time

NOTE_BYTES = 96
"""The side file begins with a header of this size about the change feed; the heads of logs follow."""
_SLOT_BYTES = 128
_SLOT = re.compile(rb"([0-9a-f]{32}) (0|[1-9][0-9]{0,17}) ([0-9a-f]{64}) (0|[1-9][0-9]{0,17})[ \n]*")


@dataclass(frozen=True, slots=True)
class LogHead:
    """The newest acknowledged record of a log. `chain` is 32 bytes; `at`: when it was acknowledged, ms."""

    log: str
    seq: int
    chain: bytes
    at: int = 0


class LogHeads:
    """One slot of fixed size for each log. Every call except the first must be made under the write lock."""

    def __init__(self, side: int) -> None:
        self._side = side
        self._places: dict[str, int] = {}  # slots of the logs that this process writes

    def note(self, head: LogHead) -> None:
        """Stores `head` as durable. One write of fixed size, in place."""
        place = self._places.get(head.log)
        if place is None:
            beyond = max(0, os.fstat(self._side).st_size - NOTE_BYTES)
            place = self._places[head.log] = NOTE_BYTES + -(-beyond // _SLOT_BYTES) * _SLOT_BYTES
        line = f"{head.log} {head.seq} {head.chain.hex()} {head.at}".ljust(_SLOT_BYTES - 1) + "\n"
        os.pwrite(self._side, line.encode("ascii"), place)

    def all(self) -> list[LogHead]:
        """The heads of all logs that were written since the last `forget`."""
        size = os.fstat(self._side).st_size
        return _parse(os.pread(self._side, size, 0))

    def discard(self, logs: Collection[str]) -> None:
        """Empties the slots of these logs."""
        size = os.fstat(self._side).st_size
        content = os.pread(self._side, size, 0)
        for start in range(NOTE_BYTES, size, _SLOT_BYTES):
            if any(head.log in logs for head in _parse(bytes(NOTE_BYTES) + content[start : start + _SLOT_BYTES])):
                os.pwrite(self._side, b" " * (_SLOT_BYTES - 1) + b"\n", start)

    def forget(self) -> None:
        """Empties the slots. Call it when no other process writes a log."""
        os.ftruncate(self._side, min(NOTE_BYTES, os.fstat(self._side).st_size))
        self._places.clear()


def read_heads(base: Path, identity: str = "") -> list[LogHead]:
    """The heads in the side file beside `base`; [] when there is none, or it is about a database of another identity. See
    `acknowledged.Acknowledged`.
    """
    try:
        content = Path(f"{base}-lock").read_bytes()
    except OSError:
        return []
    return _parse(content) if content.startswith(identity.encode()) else []


def _parse(content: bytes) -> list[LogHead]:
    heads = []
    for start in range(NOTE_BYTES, len(content), _SLOT_BYTES):
        slot = _SLOT.fullmatch(content[start : start + _SLOT_BYTES])
        if slot is not None:  # otherwise it is empty
            heads.append(LogHead(slot[1].decode(), int(slot[2]), bytes.fromhex(slot[3].decode()), int(slot[4])))
    return heads


@dataclass(frozen=True, slots=True)
class FeedHead:
    """The state of the change feed: positions run from `pruned` + 1 to `position` without a gap."""

    epoch: str
    position: int
    pruned: int


@dataclass(frozen=True, slots=True)
class Losses:
    """Acknowledged records that the database lacks."""

    heads: tuple[LogHead, ...] = ()  # the last acknowledged records of logs that are missing
    missing: int = 0  # the number of missing records, as far as it can be determined
    # since, until: the times (ms) of the last record before them and of the last one of them.
    since: int = 0
    until: int = 0

    def detail(self) -> dict[str, object]:
        """For the server's log."""
        return {
            "events": self.missing,
            "acknowledged": [f"{head.log}/{head.seq}" for head in self.heads],
            "since": iso_time(self.since // 1000),
            "until": iso_time(self.until // 1000),
        }

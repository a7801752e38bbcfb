"""One process's log. It assigns the sequence number and chain hash of each record. It stores nothing.

It must never assign a number to two events, and never continue from a record that is not known to be durable.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from msgspec.structs import astuple

from daypass.audit.batch import Item, Outcome, is_own_fault, is_unavailable
from daypass.audit.format import chain_hash
from daypass.audit.packing import pack
from daypass.audit.rows import EventRow
from daypass.domain.directory import Revocation


@dataclass(frozen=True, slots=True)
class Position:
    """The durable end of a log."""

    seq: int
    chain: bytes


@dataclass(slots=True)
class Batch:
    """The rows of one transaction, and the results for its callers once it is durable."""

    start: Position
    end: Position
    records: list[tuple[Any, ...]] = field(default_factory=list)  # in the order of `sql.RECORD_COLUMNS`
    sessions: list[tuple[Any, ...]] = field(default_factory=list)  # in the order of `sql.SESSION_COLUMNS`
    outcome: Outcome = field(default_factory=Outcome)
    wrote: bool = False  # holds directory changes
    proofs: list[tuple[Any, ...]] = field(default_factory=list)  # consumed, in the order of `sql.REPLAY_COLUMNS`
    change_seconds: list[float] = field(default_factory=list)  # how long each change ran
    revocations: list[Revocation] = field(default_factory=list)  # made without the database, without positions

    @property
    def changed(self) -> bool:
        """Whether it has more than rows that can be sent again after a commit whose outcome is unknown."""
        return self.wrote or bool(self.proofs)


Apply: TypeAlias = Callable[[Item, Batch], tuple[Any, EventRow]]
"""Runs the change of an item within the transaction of its batch; its result and the row of its event."""


class Log:
    """A log whose durable end is `end`."""

    def __init__(self, log: str, end: Position) -> None:
        self.id = log
        self.end = end

    def compose(self, items: Sequence[Item], apply: Apply) -> Batch:
        """Assigns each item a sequence number after `end`, in order. A change that raises an error leaves no trace and
        gets no number.

        The batch is a proposal: `end` moves when it is known to be durable (`advance`).
        """
        seq, chain = self.end.seq, self.end.chain
        batch = Batch(self.end, self.end)
        done = batch.outcome.done
        placed: list[tuple[EventRow, bytes]] = []
        for item in items:
            row, value = item.row, None
            if row is None:
                try:
                    value, row = apply(item, batch)
                except Exception as error:
                    if is_unavailable(error) and not is_own_fault(error):
                        raise
                    batch.outcome.failed.append((item, error))
                    continue
            seq += 1
            chain = chain_hash(chain, row.leaf, seq)
            placed.append((row, chain))
            if item.session is not None:
                batch.sessions.append((self.id, seq, *item.session))
            done.append((item, value))
        batch.records = record_rows(self.id, self.end.seq + 1, placed)
        batch.end = Position(seq, chain)
        return batch

    def advance(self, batch: Batch) -> None:
        """Called when the batch is durable: the log continues from its end."""
        self.end = batch.end


def record_rows(log: str, first: int, placed: Sequence[tuple[EventRow, bytes]]) -> list[tuple[Any, ...]]:
    """Rows of consecutive records, in the order of `sql.RECORD_COLUMNS`, from events and their chain hashes."""
    stored = pack([row.data for row, _ in placed])
    return [
        (log, seq, *astuple(row)[:9], data, chain)
        for seq, ((row, chain), data) in enumerate(zip(placed, stored, strict=True), first)
    ]

"""The single writer thread. It takes the waiting items, commits them as one batch and wakes all waiters at once.

It must never acknowledge an item that is not durable. If the stored history of its log differs from the one it
remembers, the log halts.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NamedTuple

from daypass.audit.batch import JournalItem, JournalOptions, TransactionOutcome, describe, is_unavailable, unavailable
from daypass.audit.log import Log, LogBatch, Position
from daypass.audit.queue import WriterQueue
from daypass.audit.sink import Halted, LogLost, Sink, UnknownOutcome
from daypass.observability import logs
from daypass.stores.causes import public_cause

_SLOW_SECONDS = 1.0  # a batch that has waited this long for a hanging sink will not finish
_STUCK_SHARE = 0.9  # of the deadline of a commit: nor will a batch of any sink whose own callers are about to give up
_CHECK_SECONDS = 1.0  # between two checks whether an idle sink is due
_DEFER_SECONDS = 0.1  # between two attempts at items that need a part of the storage that is unavailable


class InDoubt(NamedTuple):
    """A batch of an earlier log of this process that may be durable, and its items."""

    log: Log
    batch: LogBatch
    items: list[JournalItem]


class LogWriter:
    """Runs on its own thread from `open` to the end of `run`. Its plain attributes may be read from anywhere.

    Args:
        wake: takes a `TransactionOutcome` on the writer thread; hands it to the event loop.
        is_hurried: whether an idle sink must be checked now. Asked every second.
    """

    def __init__(
        self,
        sink: Sink,
        options: JournalOptions,
        wake: Callable[[TransactionOutcome], None],
        new_log: Callable[[], str],
        is_hurried: Callable[[], bool] = lambda: False,
    ) -> None:
        self.halted = ""  # why the log accepts no more items
        self.unavailable_since = (
            0.0  # time.monotonic() of the first failure since the last success; 0.0 if there is none
        )
        self.unavailable_why = ""  # the cause, as far as it is known, without paths and hosts
        self.busy_since = 0.0  # time.monotonic() when it began the current batch; 0.0 when idle
        self.failures = 0
        self.queue = WriterQueue(options)
        self._log = Log("", Position(-1, b""))
        self._sink = sink
        self._options = options
        self._wake = wake
        self._new_log = new_log
        self._is_hurried = is_hurried
        self._log_lost = False  # another log has to continue
        self._end_unverified = False  # the stored end of the log must be read before anything is written
        self._in_doubt: LogBatch | None = None
        self._earlier_in_doubt: list[InDoubt] = []
        self._deferred: list[JournalItem] = []
        self._checked = time.monotonic()  # time.monotonic() when the sink was last used

    @property
    def log(self) -> str:
        """This process's log: 32 hex digits."""
        return self._log.id

    @property
    def end(self) -> Position:
        """The last durable record of the log."""
        return self._log.end

    @property
    def stuck_seconds(self) -> float:
        """How long it has waited for a sink that does not respond; 0.0 when it waits for none."""
        began, failing_since = self.busy_since, self.unavailable_since  # read once: the writer's thread resets them
        if not began and not failing_since:
            return 0.0
        now = time.monotonic()
        busy = now - began if began else 0.0
        if busy <= _SLOW_SECONDS and not failing_since:
            return 0.0
        if self._sink.hangs and failing_since:
            return max(busy, now - failing_since)
        limit = _SLOW_SECONDS if self._sink.hangs else _STUCK_SHARE * self._options.deadline_seconds
        return busy if busy > limit else 0.0

    def open(self, log: str) -> None:
        """Opens the log. Raises the sink's error; use another id after that."""
        self._log = self._sink.open(log)

    def run(self) -> None:
        """Commits items until the queue is closed and empty."""
        while not self.queue.ended:
            items = self._take()
            try:
                if items:
                    self._checked = self.busy_since = time.monotonic()
                    self._commit(items)
                    self.busy_since = 0.0
                elif not self.halted and not self.queue.ended:
                    self._idle()
            except BaseException as error:  # noqa: BLE001 - a bug here must stop the log, not strand its waiters
                logs.get().critical("journal_writer_failed", log=self.log, exc_info=True)
                self._halt(f"the writer failed: {type(error).__name__}")
                self._refuse([item for item in items if not item.finished])
            del items  # otherwise their memory is in use until the next batch is here
        self._refuse([item for item in self._deferred if not item.finished])

    def _take(self) -> list[JournalItem]:
        """The items that were deferred and the waiting ones; [] when none arrived for a while."""
        items = self.queue.take(_DEFER_SECONDS if self._deferred else min(_CHECK_SECONDS, self._options.idle_seconds))
        deferred, self._deferred = self._deferred, []
        return deferred + items

    def _idle(self) -> None:
        """Called when there is nothing to write: resolves a batch in doubt, and lets the sink do its periodic work. That
        writes, so it shows whether a storage that has failed can be written again.
        """
        try:
            if self._log_lost:
                self._continue_in_another_log()
            elif self._end_unverified:
                self._reconcile()
            elif self._earlier_in_doubt and self._sink.answers:
                self._resolve_earlier()
            now = time.monotonic()
            if self.unavailable_since or now - self._checked >= self._options.idle_seconds or self._is_hurried():
                self._checked = now
                self._sink.idle()
                self.unavailable_since = 0.0
        except LogLost:
            self._log_lost = True
        except Halted as error:
            self._halt(str(error))
        except Exception as error:
            if not is_unavailable(error):
                raise
            self._database_failed(error)

    # --- A batch

    def _commit(self, batch: list[JournalItem]) -> None:
        """Makes every item of the batch durable, or refuses it. Returns when each waiter has been woken.

        A batch that fails on its data is halved, until the item at fault is alone.
        """
        work = [batch]
        while work:
            group = self._not_abandoned(work.pop())
            if not group:
                continue
            if self.halted:
                self._refuse(group)
                continue
            try:
                self._attempt(group)
            except LogLost:
                self._log_lost = True
                work.append(group)
            except Halted as error:
                self._halt(str(error))
                work.append(group)
            except Exception as error:  # noqa: BLE001 - every failure has a cause: the storage or one item
                if is_unavailable(error):
                    self._database_failed(error)
                    work.append(group)  # items in doubt are finished when their batch is resolved
                    time.sleep(self._options.retry_seconds)
                elif len(group) == 1:
                    self._refuse_faulty(group[0], error)
                else:
                    middle = len(group) // 2
                    work += [group[middle:], group[:middle]]

    def _attempt(self, items: list[JournalItem]) -> None:
        """Resolves what is in doubt, then commits the items in one transaction."""
        if self._log_lost:
            self._continue_in_another_log()
        if self._end_unverified:
            self._reconcile()
            items = [item for item in items if not item.finished]
        if self._earlier_in_doubt and self._sink.answers:
            self._resolve_earlier()
        if items:
            self._deferred += self._transact(items)

    def _continue_in_another_log(self) -> None:
        """Its opening names the acknowledged end of the one that was lost. Entries in doubt there are not durable."""
        name = self._new_log()
        self._log = self._sink.reopen(self._log, name) or self._sink.open(name)
        self._log_lost = self._end_unverified = False
        self._in_doubt = None

    def _not_abandoned(self, items: list[JournalItem]) -> list[JournalItem]:
        """The items whose callers still wait; the rest is refused. The item of a cancelled caller stays, because its
        action has taken place.
        """
        dropped = [item for item in items if item.abandoned and not item.finished]
        if dropped:
            self._refuse(dropped)
        return [item for item in items if not item.finished]

    def _transact(self, items: list[JournalItem]) -> list[JournalItem]:
        """Returns the items for a later attempt: those that need a part of the storage that is unavailable."""
        started = time.perf_counter()
        try:
            batch = self._sink.commit(self._log, items, last=self.queue.ended)
        except UnknownOutcome as unknown:
            new_log = self._sink.reopen(self._log, self._new_log())
            if new_log is None:
                self._in_doubt = unknown.batch
                self._end_unverified = True
                raise unknown.error from None
            self._earlier_in_doubt.append(InDoubt(self._log, unknown.batch, items))
            self._log = new_log
            return []
        batch.outcome.seconds = time.perf_counter() - started
        self.queue.note_changes(batch.change_seconds)
        self._complete(batch)
        return [item for item in items if not item.finished]

    def _reconcile(self) -> None:
        """Reads the end of the stored log and resolves a batch in doubt finally. This is the only place that does
        so.
        """
        in_doubt = self._in_doubt
        durable = self._sink.resolve(self._log, in_doubt)
        self._end_unverified = False
        self._in_doubt = None
        if in_doubt is not None and durable:
            self._complete(in_doubt)

    def _resolve_earlier(self) -> None:
        """Resolves the batches that were in doubt when the log was replaced by another one. An old log that is not as
        it was acknowledged is reported, and does not halt the current one.
        """
        while self._earlier_in_doubt:
            in_doubt = self._earlier_in_doubt[0]
            try:
                durable = self._sink.resolve(in_doubt.log, in_doubt.batch)
            except Halted as error:
                logs.get().critical("journal_earlier_log_differs", log=in_doubt.log.id, why=str(error))
                self._refuse([item for item in in_doubt.items if not item.finished])
            else:
                if durable:
                    self._deliver(in_doubt.batch)
                self._deferred += [item for item in in_doubt.items if not item.finished]
            self._earlier_in_doubt.pop(0)

    # --- Outcomes

    def _complete(self, batch: LogBatch) -> None:
        """Called when the batch is durable: the log continues from here and the waiters are notified."""
        self._log.advance(batch)
        self.unavailable_since = 0.0
        if self.busy_since:  # a waiter that is notified now must not see the old start time
            self.busy_since = time.monotonic()
        self._deliver(batch)

    def _deliver(self, batch: LogBatch) -> None:
        """Notifies the waiters, except those who were refused in the meantime."""
        outcome = batch.outcome
        outcome.done = [pair for pair in outcome.done if not pair[0].finished]
        outcome.failed = [pair for pair in outcome.failed if not pair[0].finished]
        for item, _ in outcome.done:
            item.finished = True
        for item, _ in outcome.failed:
            item.finished = True
        self._wake(outcome)

    def _refuse_faulty(self, item: JournalItem, error: Exception) -> None:
        """Refuses the one item that the storage rejects. Its caller learns only that the request failed."""
        logs.get().error("journal_row_refused", log=self.log, error=describe(error))
        self._refuse([item])

    def _refuse(self, items: list[JournalItem]) -> None:
        for item in items:
            item.finished = True
        why = self.halted or "the batch was given up"
        self._wake(TransactionOutcome(failed=[(item, unavailable(why)) for item in items]))

    def _halt(self, why: str) -> None:
        self.halted = why
        logs.get().critical("journal_halted", log=self.log, why=why)

    def _database_failed(self, error: Exception) -> None:
        self._end_unverified = True
        self.failures += 1
        self.unavailable_why = public_cause(error)
        if not self.unavailable_since:
            self.unavailable_since = time.monotonic()
            logs.get().error("journal_database_unavailable", log=self.log, error=describe(error))

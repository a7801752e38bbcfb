"""The answer of /readyz: why a process cannot serve, whether it serves without the database, and warnings."""

from __future__ import annotations

import asyncio
import time
from typing import Any, Final

from daypass.audit.journal import Journal
from daypass.domain.directory import Account
from daypass.domain.errors import DaypassError
from daypass.observability import logs
from daypass.ports.clock import Clock
from daypass.server import tls
from daypass.server.nodes import Peers, Registration
from daypass.server.ring_keys import KeyRotation
from daypass.stores.directory import Directory

_READY_SECONDS: Final = 2.0  # a readiness probe must have its answer by then
_SPOOL_SECONDS: Final = (
    0.5  # with a spool: load balancers that check every second must not give up a server that serves
)
_LANE: Final = "health"  # of its reads


class ProcessReadiness:
    """Implements `wire.health.Readiness`.

    Attributes:
        stopping: whether the process is stopping.
    """

    def __init__(
        self,
        clock: Clock,
        rotation: KeyRotation,
        directory: Directory,
        journal: Journal,
        registration: Registration,
        peers: Peers | None = None,
    ) -> None:
        self._clock = clock
        self._rings = rotation.rings
        self._rotation = rotation
        self._directory = directory
        self._journal = journal
        self._registration = registration
        self._peers = peers
        self.stopping = False
        self._initialised = False

    async def problems(self, *, detailed: bool) -> list[str]:
        """The reasons why this process, or another one of this node, cannot serve, for an operator; empty when all are ready.

        `detailed`: includes messages of the database driver, which may name hosts. The log always has them.
        """
        problems = [
            "the server is stopping" if self.stopping else "",
            self._clock.problem(),
            self._journal.problem(),
            await self._directory_problem(detailed=detailed),
            *(self._peers.problems() if self._peers is not None else ()),
        ]
        if self._rings.unreadable:
            problems.append(f"ring keys do not open: {', '.join(self._rings.unreadable)}")
        return [problem for problem in problems if problem]

    @property
    def _patience(self) -> float:
        """How long an answer waits for the database, without which a server with a spool serves, too."""
        return _READY_SECONDS if self._journal.spool is None else _SPOOL_SECONDS

    async def _directory_problem(self, *, detailed: bool) -> str:
        """Why the directory cannot be used; "" when it can. Without the database it can be used until it is stale."""
        try:
            async with asyncio.timeout(self._patience):
                await self._directory.refresh()
        except TimeoutError:
            why = "the database does not answer"
        except DaypassError as error:
            cause = str(error.private.get("database", error.public))
            logs.get().warning("ready.database", error=cause)
            why = f"the database cannot be read: {cause}" if detailed else "the database cannot be read"
        else:
            return ""
        spool = self._journal.spool
        if spool is None or spool.fault or self._directory.stale:
            return why
        if self._directory.revocations_unknown:
            return f"{why}, and whether sessions have been revoked is not known"
        return ""

    async def uninitialised(self) -> bool:
        """See `wire.health.Readiness.uninitialised`. Not known while the database does not answer: then False."""
        if not self._initialised:
            reading = self._directory.read(lambda tx: bool(tx.find(Account, limit=1)), account=_LANE)
            try:
                async with asyncio.timeout(self._patience):
                    self._initialised = await reading
            except (TimeoutError, DaypassError):
                return False
        return not self._initialised

    def degraded(self, *, detailed: bool) -> dict[str, Any] | None:
        outage, spool = self._journal.outage, self._journal.spool
        age = self._directory.staleness_seconds()
        if spool is None:
            return None
        undrained = spool.undrained()  # of all processes of this node
        if outage is None and age < _READY_SECONDS and not undrained:
            return None
        events, size = spool.depth
        report: dict[str, Any] = {
            "snapshot": spool.began_without_database,
            "directory_age_seconds": round(age, 1),
            "spool_events": events,
            "spool_bytes": size,
            "spools": undrained,
            "seconds": round(time.monotonic() - outage.since, 1) if outage is not None else 0.0,
        }
        return {**report, "cause": outage.cause} if detailed and outage is not None else report

    def warnings(self, *, detailed: bool) -> list[str]:
        """Warnings for an operator that do not stop this process from serving. `detailed`: includes what the key source
        said, which may name its host, account and key; the log always has it.
        """
        warnings = [self._clock.warning(), self._registration.warning, tls.SERVED.warning(self._clock.now())]
        if missing := self._registration.missing:
            warnings.append(f"{missing} recorded events are missing from the database: see `daypass audit verify`")
        if not self._rings.unreadable and (overdue := self._rings.overdue(self._clock.now())):
            warnings.append(
                f"keys of {', '.join(overdue)} have expired and sign for a day more: the next ones need the database"
            )
        if problem := self._rotation.source_problem:
            why = problem if detailed else "a key source does not open what it needs"
            warnings.append(f"the next start of this server would fail: {why}")
        if self._directory.standby is not None:
            warnings.append(self._directory.standby.warning())
        spool = self._journal.spool
        if spool is not None and spool.fault:
            warnings.append(f"an outage of the database would stop this process: {spool.fault}")
        if spool is not None and (rejected := spool.rejected()):
            warnings.append(
                f"{len(rejected)} spools were set aside and are not on the record: {', '.join(rejected[:3])}"
            )
        return [warning for warning in warnings if warning]

"""Sets the metrics that are read from the state of a process when somebody asks for them."""

from __future__ import annotations

from daypass.audit.journal import Journal
from daypass.observability.metrics import Metrics
from daypass.ports.clock import Clock
from daypass.server.connections import Connections
from daypass.stores.directory import Directory


class Gauges:
    """Gauges are set. Counters grow by what has been added since the last call."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._counted: dict[str, int] = {}

    def set_journal(self, journal: Journal) -> None:
        """The journal, and its spool."""
        metrics, spool = self._metrics, journal.spool
        metrics["daypass_journal_waiting"].set(journal.waiting)
        self._count("daypass_journal_failures", journal.failures)
        if spool is None:
            return
        events, size = spool.depth
        metrics["daypass_degraded"].set(int(journal.outage is not None))
        metrics["daypass_spool_events"].set(events)
        metrics["daypass_spool_bytes"].set(size)
        metrics["daypass_spool_rejected"].set(len(spool.rejected()))
        self._count("daypass_spool_drained", spool.drained)

    def set_clock(self, clock: Clock) -> None:
        """The clock, ahead or behind."""
        self._count("daypass_clock_jumps", clock.jumps)
        self._metrics["daypass_clock_offset_seconds"].set((clock.jump_ms or -clock.lag_ms) / 1000)

    def set_directory(self, directory: Directory) -> None:
        """The directory in memory."""
        metrics = self._metrics
        metrics["daypass_directory_entries"].set(directory.entries)
        metrics["daypass_directory_staleness_seconds"].set(directory.staleness_seconds())
        metrics["daypass_revocations"].set(directory.revocations)
        standby = directory.standby
        if standby is not None:
            metrics["daypass_standby_usable"].set(int(standby.usable))
            metrics["daypass_standby_age_seconds"].set(standby.age_seconds)
            self._count("daypass_standby_reads", standby.reads)

    def set_connections(self, connections: Connections) -> None:
        """Connections, waiting requests and bodies."""
        metrics = self._metrics
        metrics["daypass_connections"].set(connections.count)
        metrics["daypass_requests_waiting"].set(connections.waiting)
        metrics["daypass_body_bytes"].set(connections.bodies.in_flight)
        self._count("daypass_connections_refused", connections.refused)
        self._count("daypass_connections_evicted", connections.evicted)

    def _count(self, name: str, total: int) -> None:
        """Adds what is new in a total to its counter."""
        self._metrics[name].inc(total - self._counted.get(name, 0))
        self._counted[name] = total

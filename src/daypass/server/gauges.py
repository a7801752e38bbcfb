"""Sets the metrics that are read from the state of a process: when somebody asks for them, or every few seconds if the
database or the disk has to be asked.
"""

from __future__ import annotations

import asyncio
import itertools
import shutil
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Connection, func, select

from daypass.audit.completeness import RecordCount
from daypass.audit.journal import Journal
from daypass.client.probe import Probe
from daypass.client.profiles import Profile
from daypass.config import Settings
from daypass.domain.directory import AccessKey, KeyStatus
from daypass.observability import logs
from daypass.observability.measurements import Measurements
from daypass.observability.metrics import Metrics
from daypass.observability.totals import CheckResult
from daypass.ports.clock import Clock
from daypass.server.bodies import Connections
from daypass.server.tls import SERVED
from daypass.stores.directory import Directory
from daypass.stores.engine import Database
from daypass.stores.entities import ENTITY_TABLES
from daypass.stores.nodes import HEARTBEAT_SECONDS

_KEYS_EVERY = 60  # turns
_OLD_MS = 90 * 86_400_000


_access_keys = ENTITY_TABLES[AccessKey].table


def _count_keys(conn: Connection, before: int) -> tuple[int, int]:
    """Active keys that were created since `before` (ms), and older ones."""
    c = _access_keys.c
    query = select(func.count()).where(c.status == KeyStatus.ACTIVE.value)
    every, old = (conn.execute(each).scalar_one() for each in (query, query.where(c.created_at < before)))
    return every - old, old


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

    def set_certificate(self) -> None:
        """The certificate that this process serves."""
        self._metrics["daypass_certificate_expires_seconds"].set(SERVED.ends)

    async def follow(
        self,
        database: Database,
        journal: Journal,
        clock: Clock,
        data: Path,
        on_thread: Callable[[Callable[[], Any]], Awaitable[Any]],
    ) -> None:
        """Compares the record with what is expected (M9), and reads the free space of the disk, until it is cancelled."""
        count = RecordCount()
        for turn in itertools.count():
            await asyncio.sleep(HEARTBEAT_SECONDS)
            log, last = journal.log, journal.head().seq
            drained = journal.outage is None and (journal.spool is None or not journal.spool.depth[0])
            compare = partial(count.compare, log=log, last=last, drained=drained)
            try:
                disk = await on_thread(partial(shutil.disk_usage, data))
                self._metrics["daypass_disk_free_ratio"].set(disk.free / disk.total)
                await on_thread(partial(database.read, compare))
                if turn % _KEYS_EVERY == 0:
                    keys = await on_thread(partial(database.read, partial(_count_keys, before=clock.now() - _OLD_MS)))
                    for age, number in zip(("under_90_days", "over_90_days"), keys, strict=True):
                        self._metrics["daypass_long_lived_keys"].labels(age).set(number)
            except Exception as error:  # noqa: BLE001  # while the database is unavailable, the next time
                logs.get().debug("record.not_compared", error=type(error).__name__)
                continue
            self._count("daypass_record_expected", count.expected)
            self._count("daypass_record_found", count.found)

    def _count(self, name: str, total: int) -> None:
        """Adds what is new in a total to its counter."""
        self._metrics[name].inc(total - self._counted.get(name, 0))
        self._counted[name] = total


# --- The synthetic checks that a server runs against its own address, as any client would: `client.probe`


_DEFAULT_REGION: Final = "us-east-1"


async def follow(settings: Settings, measurements: Measurements, clock: Clock) -> None:
    """Runs the checks every `checks.seconds` until it is cancelled."""
    probe = probe_of(settings)
    while True:
        await asyncio.sleep(settings.checks.seconds)
        try:
            runs = await asyncio.to_thread(lambda: list(probe.run()))
        except Exception:  # noqa: BLE001  # the loop must continue; the checks of this turn are missing in the figures
            logs.get().error("checks.broken", exc_info=True)
            continue
        for run in runs:
            measurements.note_check(
                CheckResult(run.name, clock.now(), run.seconds, run.why, run.forbidden, run.accepted)
            )
            if run.why:
                logs.get().error("checks.failed", check=run.name, why=run.why)


def probe_of(settings: Settings) -> Probe:
    """The checks as configured."""
    checks, region = settings.checks, (settings.aws.regions or (_DEFAULT_REGION,))[0]
    url = checks.url or settings.server.public_url or f"{settings.server.scheme}://127.0.0.1:{settings.server.port}"
    secret = checks.secret_access_key.get_secret_value()
    bundle = str(checks.ca_bundle or "")
    profile = Profile(url.rstrip("/"), checks.access_key_id, secret, "", region, ca_bundle=bundle)
    return Probe(profile, checks.role, checks.denied_role)

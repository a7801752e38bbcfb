"""The adapters of one process: the database, the keys, the directory, the journal, and the application over them.

`start` builds everything; each part is registered to be closed when it is made. `stop`, or a failed `start`, closes what
was made, in reverse order, even if closing one part fails. Nothing here runs at import.
"""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Awaitable, Callable, Coroutine, MutableMapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from typing import Any

from sqlalchemy.exc import SQLAlchemyError

from daypass.audit.batch import JournalOptions, is_unavailable
from daypass.audit.certificate_uses import CertificateUses
from daypass.audit.journal import Journal
from daypass.audit.log import read_times
from daypass.audit.read import THREADS as RECORD_READERS
from daypass.audit.read import Records
from daypass.audit.refusals import Refusals
from daypass.audit.spool import SpoolDirectory
from daypass.audit.status_lists import LogStatusLists
from daypass.config import Settings
from daypass.crypto import jose
from daypass.crypto.authorities import Authorities
from daypass.crypto.ids import Ids
from daypass.crypto.keys import SpoolSigner
from daypass.crypto.seal import Sealer
from daypass.crypto.signing import RingNodeProofs, RingSigner
from daypass.data import BuiltinPolicies
from daypass.domain.errors import DaypassError
from daypass.domain.events import Event, EventType
from daypass.federation.oidc import OidcVerifier
from daypass.federation.saml import SamlServiceProvider
from daypass.federation.saml_metadata import SamlMetadata
from daypass.federation.sign_in import SignInProviders, TokenReviews
from daypass.federation.x509 import X509Verifier
from daypass.observability import logs
from daypass.observability.measurements import Measurements
from daypass.observability.metrics import Metrics
from daypass.operations.rolesanywhere.anchors import record_uses
from daypass.outbound import Mail, Schedules, outbound_of
from daypass.ports import AuthorizationServer, Env
from daypass.ports.clock import Clock
from daypass.server import background, from_settings, gauges
from daypass.server.anomalies import AnomalyWatch
from daypass.server.bodies import Connections
from daypass.server.from_settings import (
    authorization_server,
    further_policies,
    heavy_work,
    issuer_keys,
    key_getter,
    limits_of,
    observe_issuers,
    open_standby,
    rates_of,
)
from daypass.server.gauges import Gauges
from daypass.server.nodes import Peers, PeerStreams, Registration
from daypass.server.readiness import ProcessReadiness
from daypass.server.ring_keys import KeyRotation, key_encryption_key
from daypass.server.snapshots import ProcessSnapshot, SnapshotWriter, read_snapshot, snapshot_exists
from daypass.stores.cache import OwnSessions
from daypass.stores.directory import Directory
from daypass.stores.engine import open_database
from daypass.stores.feed import FeedChange
from daypass.stores.view_codec import DirectoryImage

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]


class Runtime:
    """One process's adapters. `start` before use; `env` is what operations get."""

    env: Env

    def __init__(self, settings: Settings, connections: Connections | None = None) -> None:
        self.settings = settings
        self.connections = connections or Connections()
        self.metrics = Metrics(settings.server.account_labels)
        self.log = logs.get()
        self.database = open_database(
            settings.database_url(),
            readers=settings.database.readers,
            more=RECORD_READERS,
            answer_seconds=settings.database.answer_seconds,
            write_seconds=settings.spool.after_seconds if settings.spool.enabled else None,
            acknowledged=settings.acknowledged_files(),
            epoch=settings.database.epoch,
        )
        self._standby = open_standby(settings)
        self._threads = ThreadPoolExecutor(settings.database.readers, thread_name_prefix="keys")
        self._tasks: list[asyncio.Task[None]] = []
        self._closing = AsyncExitStack()
        self._closing.callback(self.database.close)
        if self._standby is not None:
            self._closing.callback(self._standby.close)
        self._closing.push_async_callback(self._end_threads)
        self._node = Ids().session()  # the id of this process in the registry
        self._own = OwnSessions() if settings.directory.beyond_revocation_staleness == "own" else None
        self._gauges = Gauges(self.metrics)
        self._anomalies = AnomalyWatch(self.metrics) if settings.checks.anomalies else None

    async def start(self) -> None:
        """Builds and starts everything. Raises when any part is not usable; all others are closed then."""
        try:
            await self._start()
        except BaseException:
            await self._closing.aclose()
            raise

    async def _start(self) -> None:
        snapshot = await self._snapshot_if_unreachable()
        await self._open_keys(snapshot)
        sealer = Sealer(self.rings, self.clock)
        builtin = BuiltinPolicies(further_policies(self.settings.aws.policies))
        self.directory = self._directory(sealer, builtin)
        self._closing.push_async_callback(self.directory.stop)
        self.directory.on_ring_keys(self._rotation.load)
        await self.directory.start(await self._image(snapshot, sealer))
        await self._open_journal(snapshot)
        self.env = self._environment(sealer, builtin)
        await self._rotation.record(self.journal)
        self._start_tasks()

    async def _snapshot_if_unreachable(self) -> ProcessSnapshot | None:
        """The snapshot to serve from, if the database does not answer; None if it answers or there is none. Raises
        SnapshotUnusable, RingError.
        """
        if not snapshot_exists(self.settings):
            return None
        try:
            await self._on_thread(lambda: read_times(self.database))
        except (DaypassError, SQLAlchemyError) as error:
            if not is_unavailable(error):
                raise
            kek = key_encryption_key(self.settings, new=False)
            wall = time.time_ns() // 1_000_000
            snapshot: ProcessSnapshot = await self._on_thread(lambda: read_snapshot(self.settings, kek, wall))
            return snapshot
        return None

    async def _image(self, snapshot: ProcessSnapshot | None, sealer: Sealer) -> DirectoryImage | None:
        spools = self._spool_place()
        if snapshot is None or spools is None:
            return None
        image: DirectoryImage = await self._on_thread(lambda: snapshot.image(sealer, spools, self._node))
        age = (self.clock.now() - image.as_of) / 1000
        self.log.error("snapshot.in_use", age_seconds=round(age, 1), views=len(image.views))
        return image

    async def _open_keys(self, snapshot: ProcessSnapshot | None) -> None:
        """The clock and the rings. Raises RingError when a key does not open."""
        mark, reference = (
            (snapshot.as_of, None) if snapshot is not None else await self._on_thread(lambda: read_times(self.database))
        )
        self.clock = Clock(mark=mark, reference=reference)
        if warning := self.clock.warning():
            self.log.warning("clock.behind", why=warning)
        self._rotation = KeyRotation(self.settings, self.database, self.clock, self._on_thread)
        if snapshot is None:
            self.rings = await self._rotation.open()
        else:
            self.rings = await self._rotation.open_without_database(snapshot.kek, snapshot.ring_keys)
        self._closing.push_async_callback(self._rotation.stop)

    def _directory(self, sealer: Sealer, builtin: BuiltinPolicies) -> Directory:
        directory = self.settings.directory
        return Directory(
            self.database,
            sealer,
            self.clock,
            builtin=builtin,
            poll_seconds=directory.poll_ms / 1000,
            max_staleness_seconds=directory.max_staleness_seconds,
            entries=directory.entries,
            preload=directory.preload,
            revocation_staleness_seconds=directory.revocation_staleness_seconds,
            node=self._node,
            own=self._own,
            standby=self._standby,
        )

    async def _open_journal(self, snapshot: ProcessSnapshot | None) -> None:
        """The journal, and the files by which other processes find this one. From a snapshot, the log begins in the spool."""
        settings = self.settings
        self._peers = self._peers_of(settings) if settings.spool.enabled else None
        if self._peers is not None:
            self._closing.callback(self._peers.close)
        self.journal = self._journal()
        self._registration = Registration(
            self.database, self.clock, self._node, socket.gethostname(), self._on_thread, self.journal.note_recorded
        )
        self._closing.push_async_callback(self._registration.remove)
        self._closing.push_async_callback(self.journal.close)
        await self.journal.start(snapshot.start if snapshot is not None else None)
        self.readiness = ProcessReadiness(
            self.clock, self._rotation, self.directory, self.journal, self._registration, self._peers
        )
        if snapshot is not None:
            if self._peers is not None:
                self._peers.poll()  # revocations of the processes on this machine, before anything is served
            return
        await self._registration.report()
        await self._on_thread(self.database.join)

    def _peers_of(self, settings: Settings) -> Peers:
        def problem() -> str:
            return self.clock.problem() or self.journal.problem()

        return Peers(settings.spool_directory(), self._node, self.directory, problem)

    def _environment(self, sealer: Sealer, builtin: BuiltinPolicies) -> Env:
        tokens = self._token_verifier(sealer)
        self.records = Records(self.database, self.clock, self.directory.revoked, self.directory.feed.everything)
        self._closing.callback(self.records.close)
        self.certificate_uses = CertificateUses(self.journal, self.clock, record_uses)
        self._closing.push_async_callback(self.certificate_uses.flush)
        self.refusals = Refusals(self.journal, self.clock, self.settings.server.anonymous_refusals)
        self._closing.push_async_callback(self.refusals.close)
        self.heavy = heavy_work(self.settings, self.directory, builtin)
        self._closing.push_async_callback(self.heavy.close)
        oauth = authorization_server(self.settings, self.rings, self.clock, self.issuers, self._getter)
        proofs = RingNodeProofs(RingSigner(self.rings, self.clock, ("ES256",)), self.clock, self._node)
        outbound = outbound_of(self.settings)
        peers = self.settings.peers
        self._measurements = Measurements(self.metrics, self.clock.now, self._set_gauges)
        self._peer_streams = PeerStreams(peers.urls, str(peers.ca_bundle or ""), proofs, self.directory)
        self._closing.callback(self._peer_streams.stop)
        return Env(
            self.clock,
            Ids(),
            self.directory,
            self.journal,
            sealer,
            limits_of(self.settings),
            records=self.records,
            builtin=builtin,
            tokens=tokens,
            issuers=self.issuers,
            saml_metadata=SamlMetadata(),
            saml=self._service_provider(sealer),
            certificates=X509Verifier(),
            certificate_uses=self.certificate_uses,
            refusals=self.refusals,
            heavy=self.heavy,
            rates=rates_of(self.settings.rates, self.metrics),
            oauth=oauth,
            revocations=self.directory.feed,
            nodes=proofs,
            statuses=self._statuses(oauth),
            authorities=Authorities(self.rings, self.clock),
            outbound=outbound,
            mail=Mail(self.settings.access),
            schedules=Schedules(self.settings.access, outbound, self.heavy),
            sign_in=self._sign_in,
            measurements=self._measurements,
        )

    def _statuses(self, oauth: AuthorizationServer) -> LogStatusLists:
        return LogStatusLists(
            self.journal.first_log,
            self.clock,
            oauth.issuer,
            oauth.sign,
            self.directory.feed,
            self.records.run,
            self.settings.oauth.status_ttl_seconds,
        )

    def _start_tasks(self) -> None:
        running = [
            self._rotation.run(self.journal),
            self._rotation.check_sources(),
            self._registration.run(),
            self.certificate_uses.run(),
            self.refusals.run(),
            from_settings.follow(self.env, self.metrics, self.settings.access.sweep_seconds),
            background.follow_notifications(self.env, self.settings.access.sweep_seconds),
            self._measurements.run(),
            self._gauges.follow(self.database, self.journal, self.clock, self.settings.server.data, self._on_thread),
        ]
        if self.env.oauth.enabled:
            running.append(background.follow(self.env))
        if self._anomalies is not None:
            running.append(self._anomalies.run(self.env))
        if self.settings.checks.seconds:
            running.append(gauges.follow(self.settings, self._measurements, self.clock))
        if self._peers is not None:
            running.append(self._peers.run())
            running += self._snapshot_tasks(self._peers)
        self._tasks = [asyncio.create_task(each) for each in running]
        self._closing.push_async_callback(self._end_tasks)
        for task in self._tasks:
            task.add_done_callback(self._report_ended)
        self._peer_streams.start()
        self.heavy.prepare()

    def _report_ended(self, task: asyncio.Task[None]) -> None:
        """Logs a background task that has ended by itself: what it did is not done any more."""
        if not task.cancelled() and not self.readiness.stopping:
            name = getattr(task.get_coro(), "__qualname__", task.get_name())
            self.log.error("background_task.ended", task=name, exc_info=task.exception())

    async def _end_tasks(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _snapshot_tasks(self, peers: Peers) -> list[Coroutine[Any, Any, None]]:
        if not self.settings.snapshot.enabled or self.database.dialect != "postgresql":
            return []
        kek = self._rotation.kek
        snapshots = SnapshotWriter(self.settings, kek, self.directory, self.rings, self.journal, peers)
        self._closing.callback(snapshots.close)
        return [snapshots.run()]

    def _token_verifier(self, sealer: Sealer) -> OidcVerifier:
        settings = self.settings.federation
        getter = key_getter(settings, sealer)
        self.issuers = issuer_keys(settings, getter, self.directory, self.journal, self.clock, self.metrics)
        self.issuers.start()
        self._closing.push_async_callback(self.issuers.stop)
        self._threads.submit(jose.prepare)  # only the first token waits for it
        self._sign_in, self._getter = SignInProviders(getter), getter
        reviews = TokenReviews(getter)
        return OidcVerifier(self.issuers, checks=(reviews,), observe_skew=self.metrics.observe_skew)

    def _service_provider(self, sealer: Sealer) -> SamlServiceProvider:
        return SamlServiceProvider(
            sealer,
            self.heavy,
            self.settings.server.public_url,
            aws_addresses=self.settings.saml.aws_addresses,
            observe_skew=self.metrics.observe_skew,
        )

    def _journal(self) -> Journal:
        options = JournalOptions(**self.settings.journal.model_dump())
        return Journal(
            self.database,
            self.clock,
            Ids(),
            socket.gethostname(),
            options,
            on_changes=self._changed,
            on_batch=self._committed,
            spool=self._spool_place(),
        )

    def _changed(self, changes: Sequence[FeedChange]) -> None:
        self.directory.apply_local(changes)
        if self._peers is not None:
            self._peers.publish(changes)

    def _committed(self, events: Sequence[Event], seconds: float) -> None:
        self.metrics.observe_commit(events, seconds)
        if self._anomalies is not None:
            self._anomalies.take(events)
        if self._own is not None:
            for event in events:
                if event.type is EventType.SESSION_ISSUED:
                    self._own.add(event.session_id)

    def _spool_place(self) -> SpoolDirectory | None:
        settings = self.settings
        if not settings.spool.enabled:
            return None
        return SpoolDirectory(settings.spool_directory(), settings.spool.max_bytes, SpoolSigner(self.rings, self.clock))

    async def stop(self) -> None:
        """Drains the journal and closes everything."""
        self.readiness.stopping = True
        await self._closing.aclose()

    async def _end_threads(self) -> None:
        await asyncio.to_thread(self._threads.shutdown, cancel_futures=True)  # a load of keys may still be running

    async def _on_thread(self, work: Callable[[], Any]) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)

    # --- health

    def observe_streams(self, count: int) -> None:
        """See `wire.health.Health`."""
        self.metrics["daypass_event_streams"].set(count)

    def render_metrics(self, *, openmetrics: bool = False) -> bytes:
        """The metrics with current gauges. See `Metrics.render`."""
        self._set_gauges()
        return self.metrics.render(openmetrics=openmetrics)

    def _set_gauges(self) -> None:
        values = self._gauges
        values.set_journal(self.journal)
        values.set_clock(self.clock)
        values.set_directory(self.directory)
        values.set_connections(self.connections)
        values.set_certificate()
        self.metrics["daypass_heavy_waiting"].set(self.heavy.waiting)
        observe_issuers(self.issuers, self.metrics)

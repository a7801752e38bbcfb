"""What one process holds: the database, the keys, the directory, the journal, and the application over them.

It builds everything in `start` and takes it down in `stop`, in the opposite order; nothing here runs at import.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, MutableMapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from daypass.audit.batch import JournalOptions
from daypass.audit.clock import HighWaterClock
from daypass.audit.journal import DurableJournal
from daypass.audit.opening import load_mark
from daypass.audit.read import AuditReader
from daypass.config import ConfigError, Settings
from daypass.crypto import jose
from daypass.crypto.ids import RandomIds
from daypass.crypto.keys import KeyEncryptionKey, KeyRings, RingError, StoredKey
from daypass.crypto.seal import RingSealer
from daypass.data import builtin_policies, policies_in
from daypass.domain.errors import DaypassError
from daypass.domain.events import Event, EventType
from daypass.domain.policy.document import PolicyKind, parse
from daypass.domain.policy.source import PolicyError
from daypass.federation.kubernetes import TokenReviews
from daypass.federation.oidc import OidcVerifier
from daypass.federation.saml import SamlServiceProvider
from daypass.federation.saml_metadata import MetadataReader
from daypass.federation.x509 import X509Verifier
from daypass.observability import logs
from daypass.observability.metrics import Metrics
from daypass.ports import Env, Limits
from daypass.server.federation import issuer_keys, key_getter, observe_issuers
from daypass.server.sightings import SubjectSightings
from daypass.stores.directory import CachedDirectory
from daypass.stores.engine import open_database
from daypass.stores.ring_keys import RingKeyRow, insert_ring_key, load_ring_keys

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
_ROTATION_SECONDS = 3600.0
_DAY_MS = 86_400_000


def key_encryption_key(settings: Settings) -> KeyEncryptionKey:
    """From the settings; without any, `master.key` in the data directory, made at the first start."""
    text = settings.keys.encryption_key.get_secret_value()
    if text:
        return KeyEncryptionKey.from_text(text)
    file = settings.keys.encryption_key_file
    if file is not None:
        return KeyEncryptionKey.from_file(file, create=False)
    return KeyEncryptionKey.from_file(settings.server.data / "master.key", create=True)


def further_policies(directory: Path | None) -> dict[str, str]:
    """An operator's own AWS-named managed policies by ARN. Raises ConfigError for what holds none."""
    if directory is None:
        return {}
    try:
        if not directory.is_dir():
            raise ConfigError(f"aws.policies: {directory} is no directory.")
        texts = policies_in(directory)
    except (OSError, ValueError) as error:
        raise ConfigError(f"aws.policies: {error}") from None
    for arn, text in texts.items():
        try:
            parse(text, PolicyKind.MANAGED)
        except PolicyError as error:
            raise ConfigError(f"aws.policies: {arn}: {error.message}") from None
    return dict(texts)


def public_url(settings: Settings) -> str:
    """Where others reach the installation: as the settings say, or else where it listens. No slash at its end."""
    server = settings.server
    scheme = "http" if server.tls_cert is None else "https"
    return server.public_url or f"{scheme}://{server.host}:{server.port}"


class Runtime:
    """One process's adapters. `start` before use; `env` is what operations get."""

    env: Env

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.metrics = Metrics()
        self.log = logs.get()
        self.database = open_database(settings.database_url(), readers=settings.database.readers)
        self._threads = ThreadPoolExecutor(settings.database.readers, thread_name_prefix="keys")
        self._tasks: list[asyncio.Task[None]] = []
        self._draining = False
        self._failures = 0  # of the journal, as far as they are in the metric

    async def start(self) -> None:
        """Builds and starts everything. Raises when a part of it is not usable: a server that cannot work does not start."""
        settings = self.settings
        self.clock = HighWaterClock(mark=await self._on_thread(lambda: self.database.read(load_mark)))
        self.rings = KeyRings(self._fetch_keys, key_encryption_key(settings))
        made = await self.rings.maintain(self._insert_key, self.clock.now(), settings.keys.rotate_days * _DAY_MS)
        if self.rings.unreadable:
            raise RingError(
                f"ring keys {', '.join(self.rings.unreadable)} do not open: "
                "the key-encryption key is not the one of this database, or rows were altered."
            )
        sealer = RingSealer(self.rings, self.clock)
        builtin = {**builtin_policies(), **further_policies(settings.aws.policies)}
        self.directory = CachedDirectory(
            self.database,
            sealer,
            self.clock,
            builtin=builtin,
            poll_seconds=settings.directory.poll_ms / 1000,
            max_staleness_seconds=settings.directory.max_staleness_seconds,
            entries=settings.directory.entries,
        )
        await self.directory.start()
        self.journal = self._journal()
        await self.journal.start()
        tokens = self._token_verifier(sealer)
        self.records = AuditReader(self.database, self.clock, self.directory.revoked)
        self.sightings = SubjectSightings(self.journal, self.clock)
        self.env = Env(
            self.clock,
            RandomIds(),
            self.directory,
            self.journal,
            sealer,
            self._limits(),
            records=self.records,
            builtin=builtin,
            tokens=tokens,
            issuers=self.issuers,
            saml_metadata=MetadataReader(),
            saml=self._service_provider(sealer),
            certificates=X509Verifier(),
            sightings=self.sightings,
        )
        await self._record_keys(made)
        self._tasks.append(asyncio.create_task(self._rotate()))
        self._tasks.append(asyncio.create_task(self.sightings.run()))

    def _limits(self) -> Limits:
        settings = self.settings
        return Limits(
            chain_depth=settings.sessions.chain_depth,
            token_bytes=settings.sessions.token_bytes,
            regions=frozenset(settings.aws.regions),
            skew_ms=settings.sessions.skew_seconds * 1000,
            public_url=public_url(settings),
        )

    def _token_verifier(self, sealer: RingSealer) -> OidcVerifier:
        settings = self.settings.federation
        getter = key_getter(settings, sealer)
        self.issuers = issuer_keys(settings, getter, self.directory, self.journal, self.clock, self.metrics)
        self.issuers.start()
        self._threads.submit(jose.prepare)  # nothing waits for it but the first token
        reviews = TokenReviews(getter)
        return OidcVerifier(jose, self.issuers, checks=(reviews,), observe_skew=self.metrics.observe_skew)

    def _service_provider(self, sealer: RingSealer) -> SamlServiceProvider:
        return SamlServiceProvider(
            sealer,
            self.settings.server.public_url,
            aws_addresses=self.settings.saml.aws_addresses,
            observe_skew=self.metrics.observe_skew,
        )

    def _journal(self) -> DurableJournal:
        options = JournalOptions(**self.settings.journal.model_dump())
        return DurableJournal(
            self.database,
            self.clock,
            RandomIds(),
            socket.gethostname(),
            options,
            on_changes=self.directory.apply_local,
            on_batch=self._observe_commit,
        )

    async def stop(self) -> None:
        """Drains the journal and closes everything."""
        self._draining = True
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.sightings.flush()
        await self.issuers.stop()
        await self.journal.close()
        await self.directory.stop()
        self.records.close()
        self.database.close()
        self._threads.shutdown()

    # --- keys

    async def _on_thread(self, work: Callable[[], Any]) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)

    async def _fetch_keys(self) -> list[StoredKey]:
        rows: list[RingKeyRow] = await self._on_thread(lambda: self.database.read(load_ring_keys))
        return [StoredKey(*row) for row in rows]

    async def _insert_key(self, key: StoredKey) -> bool:
        row = RingKeyRow(*(getattr(key, name) for name in RingKeyRow._fields))

        def insert() -> bool:
            with self.database.write_transaction() as conn:
                return insert_ring_key(conn, row)

        return bool(await self._on_thread(insert))

    async def _record_keys(self, made: tuple[StoredKey, ...]) -> None:
        for key in made:
            detail = {"ring": key.ring, "key": key.id, "not_before": key.not_before, "sign_until": key.sign_until}
            await self.journal.commit(Event(EventType.KEY_ADDED, self.clock.now(), detail=detail))

    async def _rotate(self) -> None:
        while True:
            await asyncio.sleep(_ROTATION_SECONDS)
            try:
                rotate_ms = self.settings.keys.rotate_days * _DAY_MS
                await self._record_keys(await self.rings.maintain(self._insert_key, self.clock.now(), rotate_ms))
            except Exception as error:  # noqa: BLE001  # tried again in an hour; keys are made a day ahead
                self.log.warning("keys.rotation_failed", error=type(error).__name__)

    # --- what the world sees of its health

    def _observe_commit(self, events: int, seconds: float) -> None:
        self.metrics["daypass_journal_batch_events"].observe(events)
        self.metrics["daypass_journal_commit_seconds"].observe(seconds)

    async def problems(self) -> list[str]:
        """What keeps this process from serving, in words for an operator; empty when it is ready."""
        found = ["the server is stopping"] if self._draining else []
        if self.journal.problem():
            found.append(self.journal.problem())
        try:
            await self.directory.refresh()
        except DaypassError as error:
            found.append(f"the database cannot be read: {error.private.get('database', error.public)}")
        if self.rings.unreadable:
            found.append(f"ring keys do not open: {', '.join(self.rings.unreadable)}")
        return found

    def render_metrics(self) -> bytes:
        """The Prometheus exposition, gauges taken now."""
        self.metrics["daypass_journal_waiting"].set(self.journal.waiting)
        self.metrics["daypass_journal_failures"].inc(self.journal.failures - self._failures)
        self._failures = self.journal.failures
        self.metrics["daypass_directory_entries"].set(self.directory.entries)
        self.metrics["daypass_directory_staleness_seconds"].set(self.directory.staleness_seconds())
        self.metrics["daypass_revocations"].set(self.directory.revocations)
        observe_issuers(self.issuers, self.metrics)
        return self.metrics.render()

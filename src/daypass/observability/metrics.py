"""The metrics of one process, in one place, with one loop that documents them.

Labels are closed sets: operations of the service models, error codes, outcomes. A label never contains a role or any
other value that a caller chooses. Providers, which accounts choose, are limited in number, and so are the accounts that
the operator names. The region of a server is a label that Prometheus adds to its target.
"""

from __future__ import annotations

import asyncio
import os
import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

from daypass.domain.events import Event, EventType
from daypass.observability.exemplars import Exemplars
from daypass.observability.totals import (
    ATTEMPTS,
    CAUSES,
    ISSUING,
    NO_CAUSE,
    UNAVAILABLE,
    AssumeAttempt,
    RequestTally,
    Totals,
    attempt_of,
    number_of,
    outcome_of,
    totals_of,
)

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
OPENMETRICS = "application/openmetrics-text"
SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.5, 1.0, 2.5, 5.0)
_AHEAD = (1.0, 5.0, 10.0, 30.0, 60.0, 300.0, 600.0, 3600.0)
TOKEN_AGES = (*(-seconds for seconds in reversed(_AHEAD)), 0.0, *_AHEAD)
_LIFETIMES = (300.0, 900.0, 1800.0, 3600.0, 7200.0, 14400.0, 28800.0, 43200.0, 86400.0)
_MAX_PROVIDERS = 100
OTHER = "other"
"""The label of all providers and accounts that have none of their own."""
_PUBLISH_SECONDS = 0.1
_BATCH = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric's documentation; the reference page is made from these."""

    name: str
    kind: type[Counter | Gauge | Histogram]
    help: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()


METRICS: tuple[Metric, ...] = (
    Metric("daypass_requests", Counter, "Requests answered.", ("operation", "code")),
    Metric("daypass_request_seconds", Histogram, "From request line to answer.", ("operation",), SECONDS),
    Metric(
        "daypass_assume",
        Counter,
        "Attempts to get a session, from the events on the record. `proof`: `key`, `session` (a chained "
        "attempt), `token`, `saml` or `certificate`. `outcome`: `issued`, `denied`, `failed` or "
        "`unavailable`. `role_class`: `elevated` for a session by an access grant, otherwise `standard`. "
        "`account`: a name in `server.metrics_accounts`, or `other`.",
        AssumeAttempt._fields,
    ),
    Metric(
        "daypass_refused",
        Counter,
        "Refusals on the record. `cause`: `trust_policy`, `caller_policy`, `blocked`, `expired`, `revoked`, "
        "`credentials`, `proof`, `issuer`, `request`, `throttled` or `unavailable`.",
        ("cause", "account"),
    ),
    Metric(
        "daypass_session_seconds",
        Histogram,
        "Lifetimes of issued sessions (M6).",
        ("role_class", "account"),
        _LIFETIMES,
    ),
    Metric(
        "daypass_anomalies",
        Counter,
        "Sessions that deviate from what is usual for their principal (M7). `severity`: `high` (a large "
        "deviation, or a role of high privilege) or `low`; `unjudged`: too many at once.",
        ("severity", "account"),
    ),
    Metric(
        "daypass_record_expected",
        Counter,
        "Records of this server that must be in the database (M9), compared every few seconds.",
    ),
    Metric("daypass_record_found", Counter, "Those that are (M9)."),
    Metric(
        "daypass_long_lived_keys",
        Gauge,
        "Active long-term access keys of all accounts (O1). `age`: `under_90_days` or `over_90_days`.",
        ("age",),
    ),
    Metric("daypass_disk_free_ratio", Gauge, "Free part of the data directory's disk, 0 to 1."),
    Metric(
        "daypass_certificate_expires_seconds",
        Gauge,
        "End of the certificate in `server.tls_cert`, in seconds since the epoch; 0 without one.",
    ),
    Metric("daypass_issuance_seconds", Histogram, "Latency of issued sessions (M2).", ("operation",), SECONDS),
    Metric("daypass_errors", Counter, "Requests that ended in a constant 500: each is a bug."),
    Metric("daypass_events", Counter, "Durable events.", ("type",)),
    Metric("daypass_connections", Gauge, "Open connections."),
    Metric("daypass_event_streams", Gauge, "Open streams of revocations."),
    Metric("daypass_connections_refused", Counter, "Connections refused because there were too many."),
    Metric("daypass_connections_evicted", Counter, "Idle connections ended to make room."),
    Metric("daypass_requests_waiting", Gauge, "Requests that wait for their turn."),
    Metric("daypass_body_bytes", Gauge, "Bytes of request bodies in flight."),
    Metric("daypass_journal_batch_events", Histogram, "Events in a group commit.", (), _BATCH),
    Metric("daypass_journal_commit_seconds", Histogram, "Duration of a group commit.", (), SECONDS),
    Metric("daypass_journal_failures", Counter, "Failed group commits."),
    Metric("daypass_journal_waiting", Gauge, "Events waiting for the writer."),
    Metric(
        "daypass_degraded", Gauge, "Workers whose events go to the local spool because the database is unavailable."
    ),
    Metric("daypass_spool_events", Gauge, "Events in the spool that are not in the database yet."),
    Metric("daypass_spool_bytes", Gauge, "Size of the batches in the spool."),
    Metric("daypass_spool_drained", Counter, "Events moved from a spool to the database."),
    Metric("daypass_spool_rejected", Gauge, "Spools set aside because they were altered or do not fit the record."),
    Metric("daypass_clock_jumps", Counter, "Refused jumps of the system clock."),
    Metric(
        "daypass_clock_offset_seconds",
        Gauge,
        "System clock less Daypass's time: above zero while a jump is refused and nothing is issued, below "
        "zero while the clock is behind the recorded time.",
    ),
    Metric("daypass_directory_staleness_seconds", Gauge, "Since the last good poll of the change feed."),
    Metric("daypass_standby_usable", Gauge, "1 while the standby of `database.read_url` is read, otherwise 0."),
    Metric(
        "daypass_standby_age_seconds", Gauge, "Greatest age of its data, up to five seconds on an idle installation."
    ),
    Metric("daypass_standby_reads", Counter, "Snapshots read from the standby of `database.read_url`."),
    Metric("daypass_directory_entries", Gauge, "Views in the directory cache."),
    Metric("daypass_throttled", Counter, "Requests over a rate: `principal`, `account` or `source`.", ("rate",)),
    Metric("daypass_heavy_waiting", Gauge, "Heavy work that waits for a process."),
    Metric("daypass_grants_open", Gauge, "Access grants that are approved or in use (M6)."),
    Metric(
        "daypass_access_requests",
        Counter,
        "Access requests. `event`: requested, emergency, accepted, approved (each vote), denied, cancelled, "
        "expired, ended, reviewed.",
        ("event", "account"),
    ),
    Metric(
        "daypass_approval_seconds",
        Histogram,
        "From an access request to the vote that approved or denied it (M6).",
        ("outcome",),
        (10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0, 14400.0, 86400.0),
    ),
    Metric(
        "daypass_checks",
        Counter,
        "Synthetic checks (M5) of the server by itself (`checks.seconds`); `daypass probe` has the same "
        "metric. `expects`: `success` or `refusal`. `outcome`: `passed`, `failed`, or `accepted` for what "
        "must be refused. `cause`: that of `daypass_refused`, which the measures subtract.",
        ("check", "cause", "expects", "outcome"),
    ),
    Metric("daypass_revocations", Gauge, "Revocations in force."),
    Metric(
        "daypass_issuer_fetches",
        Counter,
        "Fetches of issuers' keys. `outcome`: `ok`, or what failed (url, address, resolve, connect, tls, "
        "timeout, redirect, status, content, size, protocol, busy, secret, file, keys).",
        ("outcome",),
    ),
    Metric("daypass_issuer_keys_age_seconds", Gauge, "Since the last good fetch of the oldest keys in use."),
    Metric("daypass_issuers_failing", Gauge, "Issuers in use whose last fetch of keys failed."),
    Metric(
        "daypass_token_skew_seconds",
        Histogram,
        "Server's time less a verified token's `iat`: below zero, the issuer's clock is ahead. The first "
        "hundred providers of a process have a label; others are `other`.",
        ("provider",),
        TOKEN_AGES,
    ),
)

_WORST = frozenset(
    {
        "daypass_certificate_expires_seconds",
        "daypass_disk_free_ratio",
        "daypass_long_lived_keys",
        "daypass_spool_rejected",
        "daypass_clock_offset_seconds",
        "daypass_directory_staleness_seconds",
        "daypass_standby_age_seconds",
        "daypass_issuer_keys_age_seconds",
        "daypass_issuers_failing",
        "daypass_grants_open",
    }
)
_ACCESS = {kind: kind.value.partition(".")[2] for kind in EventType if kind.value.startswith("access.")}
_ISSUED = EventType.SESSION_ISSUED
_VOTES = {"approved": EventType.ACCESS_APPROVED, "denied": EventType.ACCESS_DENIED}


class Metrics:
    """The instruments. `observe` is on the hot path, so its figures are summed up first. Use it from one event loop.
    `accounts`: those that have a label of their own, by id.
    """

    def __init__(self, accounts: Mapping[str, str] = MappingProxyType({})) -> None:
        reserve()
        self._accounts = accounts
        self.registry = CollectorRegistry()
        self._by_name: dict[str, Any] = {m.name: self._make(m) for m in METRICS}
        self._tallies: dict[tuple[str, str], RequestTally] = {}
        # Since they were last published: events by type, attempts by their labels, lifetimes of sessions.
        self._events: dict[EventType, int] = {}
        self._attempts: dict[AssumeAttempt, int] = {}
        lifetimes = self["daypass_session_seconds"]
        self._lifetimes = {
            labels: RequestTally((), [lifetimes.labels(*labels)], _LIFETIMES)
            for labels in product(("standard", "elevated"), (*accounts.values(), OTHER))
        }
        self._due = False  # `_publish` is scheduled
        self._exemplars = Exemplars(SECONDS)
        self._begin_at_zero()
        self._skews: dict[str, Callable[[float], None]] = {}

    def _make(self, metric: Metric) -> Counter | Gauge | Histogram:
        extra: dict[str, Any] = {"buckets": metric.buckets} if metric.buckets else {}
        if metric.kind is Gauge:
            extra["multiprocess_mode"] = "livemax" if metric.name in _WORST else "livesum"
        return metric.kind(metric.name, metric.help, metric.labels, registry=self.registry, **extra)

    def _begin_at_zero(self) -> None:
        """The first event of a series counts only if the series was there before."""
        for account in (*self._accounts.values(), OTHER):
            for operation, proof in (
                ("sts:AssumeRole", "key"),
                ("sts:AssumeRole", "session"),
                ("sts:AssumeRoleWithWebIdentity", "token"),
            ):
                for cause in CAUSES:
                    outcome = "issued" if cause == NO_CAUSE else outcome_of(cause)
                    self["daypass_assume"].labels(operation, proof, outcome, cause, "standard", account)
            for cause in CAUSES - {NO_CAUSE}:
                self["daypass_refused"].labels(cause, account)
            for event in _ACCESS.values():
                self["daypass_access_requests"].labels(event, account)
            for severity in ("high", "low", "unjudged"):
                self["daypass_anomalies"].labels(severity, account)

    def __getitem__(self, name: str) -> Any:
        return self._by_name[name]

    def observe(self, operation: str, code: str, seconds: float) -> None:
        """One answered request. `code` is the wire's error code, "" when it was served. It is visible within a tenth of
        a second.
        """
        tally = self._tallies.get((operation, code))
        if tally is None:
            tally = self._tallies[(operation, code)] = self._tally(operation, code)
        tally.add(seconds)
        self._publish_soon()

    def observe_trace(self, operation: str, code: str, seconds: float, trace_id: str) -> None:
        """The trace of an answered request: an exemplar of its figures."""
        issued = operation in ISSUING and not code
        self._exemplars.note(operation or "unknown", code, seconds, trace_id, issued=issued)

    def observe_commit(self, events: Sequence[Event], seconds: float) -> None:
        """One durable group commit of the journal."""
        self["daypass_journal_batch_events"].observe(len(events))
        self["daypass_journal_commit_seconds"].observe(seconds)
        counts, attempts = self._events, self._attempts
        for event in events:
            kind = event.type
            counts[kind] = counts.get(kind, 0) + 1
            if kind is _ISSUED or event.error:
                attempt = attempt_of(event, self._label_of(event))
                attempts[attempt] = attempts.get(attempt, 0) + number_of(event)
                if event.trace_id:
                    self._exemplars.note_attempt(attempt, event.trace_id)
                if kind is _ISSUED:
                    lifetime = event.detail.get("expires_at", event.at) - event.at
                    self._lifetimes[attempt.role_class, attempt.account].add(lifetime / 1000)
            elif kind in _ACCESS:
                self._count_access(event)
            elif kind is EventType.ANOMALY:
                self["daypass_anomalies"].labels(event.detail["severity"], self._label_of(event)).inc()
        self._publish_soon()

    def _label_of(self, event: Event) -> str:
        return self._accounts.get(event.account, OTHER)

    def observe_unrecorded(self, operation: str) -> None:
        """A refusal that could not be recorded, so there is no event for it."""
        if operation in ATTEMPTS:
            attempt = AssumeAttempt(operation, "", UNAVAILABLE, UNAVAILABLE, "standard", OTHER)
            self._attempts[attempt] = self._attempts.get(attempt, 0) + 1
            self._publish_soon()

    def _count_access(self, event: Event) -> None:
        """An event of an access request, and how long a decided request waited."""
        self["daypass_access_requests"].labels(_ACCESS[event.type], self._label_of(event)).inc()
        outcome = str(event.detail.get("state", ""))
        if _VOTES.get(outcome) is event.type:
            self["daypass_approval_seconds"].labels(outcome).observe(event.detail["waited_ms"] / 1000)

    def _publish_soon(self) -> None:
        if not self._due:
            self._due = True
            asyncio.get_running_loop().call_later(_PUBLISH_SECONDS, self._publish)

    def _tally(self, operation: str, code: str) -> RequestTally:
        counters = [self["daypass_requests"].labels(operation or "unknown", code or "OK")]
        histograms = [self["daypass_request_seconds"].labels(operation or "unknown")]
        if code == "InternalFailure":
            counters.append(self["daypass_errors"])
        elif operation in ISSUING and not code:
            histograms.append(self["daypass_issuance_seconds"].labels(operation))
        return RequestTally(counters, histograms, SECONDS)

    def _publish(self) -> None:
        self._due = False
        for tally in self._tallies.values():
            tally.publish()
        for lifetimes in self._lifetimes.values():
            lifetimes.publish()
        for kind, count in self._events.items():
            self["daypass_events"].labels(kind.value).inc(count)
        for attempt, count in self._attempts.items():
            if attempt.outcome:
                self["daypass_assume"].labels(*attempt).inc(count)
            if attempt.cause not in ("", NO_CAUSE):
                self["daypass_refused"].labels(attempt.cause, attempt.account).inc(count)
        self._events.clear()
        self._attempts.clear()

    def observe_skew(self, provider: str, seconds: float) -> None:
        """One verified token's age. The labels of providers are as many as `_MAX_PROVIDERS`, and one for all others."""
        found = self._skews.get(provider)
        if found is None:
            label = provider if len(self._skews) < _MAX_PROVIDERS else OTHER
            found = self["daypass_token_skew_seconds"].labels(label).observe
            if label == provider:
                self._skews[provider] = found
        found(seconds)

    async def totals(self) -> Totals:
        """The sums of all worker processes. Their files are read on a thread."""
        self._publish()
        return await asyncio.to_thread(lambda: totals_of(self._all_processes().collect()))

    def render(self, *, openmetrics: bool = False) -> bytes:
        """The metrics of all worker processes in Prometheus's text format, or in OpenMetrics, which has exemplars."""
        self._publish()
        registry = self._all_processes()
        return self._exemplars.render(registry) if openmetrics else generate_latest(registry)

    def _all_processes(self) -> CollectorRegistry:
        if VARIABLE not in os.environ:
            return self.registry
        registry = CollectorRegistry()
        MultiProcessCollector(registry)  # type: ignore[no-untyped-call]  # the library has no annotation here
        return registry


# --- The files in which worker processes share their metrics


VARIABLE: Final = "PROMETHEUS_MULTIPROC_DIR"
"""The environment variable that names the directory. Without it a process keeps its metrics to itself."""

_BYTES: Final = 1 << 20  # several times what all series of a process take
_TOTALS: Final = ("counter", "histogram")  # of all processes, ended ones too
_LIVE: Final = ("gauge_livesum", "gauge_livemax")  # of running processes
_USED: Final = struct.Struct("i")  # the first bytes of a file: how many of it are used


def reserve() -> None:
    """Writes the files of this process, if it shares its metrics. Raises OSError, for example when the disk is full."""
    directory = os.environ.get(VARIABLE)
    if not directory:
        return
    for kind in (*_TOTALS, *_LIVE):
        file = _file(directory, kind, os.getpid())
        before = file.read_bytes() if file.exists() else b""  # of an earlier process with the same id
        draft = file.with_suffix(".new")  # others read files with the other suffix, which must not be empty
        draft.write_bytes(before.ljust(_BYTES, b"\0"))
        draft.replace(file)


def release(pid: int) -> None:
    """After the end of a process: removes its gauges, and what is not used of its totals."""
    directory = os.environ.get(VARIABLE)
    if not directory:
        return
    for kind in _LIVE:
        _file(directory, kind, pid).unlink(missing_ok=True)
    for kind in _TOTALS:
        file = _file(directory, kind, pid)
        if file.exists():
            with file.open("rb") as opened:
                used = _USED.unpack(opened.read(_USED.size))[0]
            if used:
                os.truncate(file, used)
            else:
                file.unlink()


def _file(directory: str, kind: str, pid: int) -> Path:
    return Path(directory, f"{kind}_{pid}.db")

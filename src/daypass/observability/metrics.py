"""The metrics of one process, in one place, with one loop that documents them.

Labels are closed sets: operations of the service models, ErrorKind-like codes, outcomes. A label never carries an
account, a role or anything else that a caller chooses; providers, which accounts choose, are limited in number.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

from daypass.observability.tally import Tally

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.5, 1.0, 2.5, 5.0)
_SKEW = (
    -3600.0,
    -600.0,
    -300.0,
    -60.0,
    -30.0,
    -10.0,
    -5.0,
    -1.0,
    0.0,
    1.0,
    5.0,
    10.0,
    30.0,
    60.0,
    300.0,
    600.0,
    3600.0,
)
_MAX_PROVIDERS = 100
_HAND_ON_SECONDS = 0.1
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
    Metric("daypass_request_seconds", Histogram, "From request line to answer.", ("operation",), _SECONDS),
    Metric(
        "daypass_assume", Counter, "Attempts to get a session, by outcome (M1: issued / all).", ("operation", "outcome")
    ),
    Metric(
        "daypass_issuance_seconds", Histogram, "Latency of sessions that were issued (M2).", ("operation",), _SECONDS
    ),
    Metric("daypass_errors", Counter, "Requests that ended in a constant 500: each is a bug."),
    Metric("daypass_journal_batch_events", Histogram, "Events made durable by one group commit.", (), _BATCH),
    Metric("daypass_journal_commit_seconds", Histogram, "Duration of one group commit.", (), _SECONDS),
    Metric("daypass_journal_failures", Counter, "Group commits that failed and were tried again or refused."),
    Metric("daypass_journal_waiting", Gauge, "Events waiting for the writer."),
    Metric("daypass_directory_staleness_seconds", Gauge, "Since the last good poll of the change feed."),
    Metric("daypass_directory_entries", Gauge, "Views in the directory cache."),
    Metric("daypass_revocations", Gauge, "Revocations in force that sessions are held against."),
    Metric(
        "daypass_issuer_fetches",
        Counter,
        "Fetches of issuers' keys, by outcome: `ok`, or what failed (url, address, resolve, connect, tls, timeout, "
        "redirect, status, content, size, protocol, busy, secret, file, keys).",
        ("outcome",),
    ),
    Metric("daypass_issuer_keys_age_seconds", Gauge, "Since the last good fetch of the oldest keys in use."),
    Metric("daypass_issuers_failing", Gauge, "Issuers in use whose keys could not be fetched when last tried."),
    Metric(
        "daypass_token_skew_seconds",
        Histogram,
        "This server's time less the time at which a verified token was issued (iat): below zero, the issuer's clock is "
        "ahead. The first hundred providers of a process have a label each; the others are `other`.",
        ("provider",),
        _SKEW,
    ),
)

ISSUING = frozenset(
    f"sts:{name}"
    for name in (
        "AssumeRole",
        "AssumeRoleWithSAML",
        "AssumeRoleWithWebIdentity",
        "GetSessionToken",
        "GetFederationToken",
        "GetScopedCredentials",
    )
)
_WORST = frozenset(
    {"daypass_directory_staleness_seconds", "daypass_issuer_keys_age_seconds", "daypass_issuers_failing"}
)
_OUTCOMES = {"AccessDenied": "denied", "ServiceUnavailable": "unavailable", "InternalFailure": "unavailable"}


class Metrics:
    """The instruments. `observe` is the hot one: what it is told is summed up first. It belongs to one event loop."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._by_name: dict[str, Any] = {m.name: self._make(m) for m in METRICS}
        self._tallies: dict[tuple[str, str], Tally] = {}
        self._due = False  # they will be handed on soon
        self._skews: dict[str, Callable[[float], None]] = {}

    def _make(self, metric: Metric) -> Counter | Gauge | Histogram:
        extra: dict[str, Any] = {"buckets": metric.buckets} if metric.buckets else {}
        if metric.kind is Gauge:
            extra["multiprocess_mode"] = "livemax" if metric.name in _WORST else "livesum"
        return metric.kind(metric.name, metric.help, metric.labels, registry=self.registry, **extra)

    def __getitem__(self, name: str) -> Any:
        return self._by_name[name]

    def observe(self, operation: str, code: str, seconds: float) -> None:
        """One answered request. `code` is the wire's error code, "" when it was served. It shows within a tenth of a second."""
        found = self._tallies.get((operation, code))
        if found is None:
            found = self._tallies[(operation, code)] = self._tally(operation, code)
        found.add(seconds)
        if not self._due:
            self._due = True
            asyncio.get_running_loop().call_later(_HAND_ON_SECONDS, self._hand_on)

    def _tally(self, operation: str, code: str) -> Tally:
        counters = [self["daypass_requests"].labels(operation or "unknown", code or "OK")]
        histograms = [self["daypass_request_seconds"].labels(operation or "unknown")]
        if code == "InternalFailure":
            counters.append(self["daypass_errors"])
        elif operation in ISSUING:
            outcome = _OUTCOMES.get(code, "failed") if code else "issued"
            counters.append(self["daypass_assume"].labels(operation, outcome))
            if not code:
                histograms.append(self["daypass_issuance_seconds"].labels(operation))
        return Tally(counters, histograms, _SECONDS)

    def _hand_on(self) -> None:
        self._due = False
        for tally in self._tallies.values():
            tally.hand_on()

    def observe_skew(self, provider: str, seconds: float) -> None:
        """One verified token's age. The labels of providers are as many as `_MAX_PROVIDERS`, and one for all others."""
        found = self._skews.get(provider)
        if found is None:
            label = provider if len(self._skews) < _MAX_PROVIDERS else "other"
            found = self["daypass_token_skew_seconds"].labels(label).observe
            if label == provider:
                self._skews[provider] = found
        found(seconds)

    def render(self) -> bytes:
        """The exposition, of all worker processes where there are several."""
        self._hand_on()
        if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
            return generate_latest(self.registry)
        together = CollectorRegistry()
        MultiProcessCollector(together)  # type: ignore[no-untyped-call]  # the library has no annotation here
        return generate_latest(together)

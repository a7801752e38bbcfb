"""Builds, from the settings, the adapters that fetch the keys of identity providers and review tokens with clusters."""

from __future__ import annotations

from daypass.audit.journal import Journal
from daypass.config import FederationSettings
from daypass.crypto.seal import Sealer
from daypass.federation.fetch import Bounds, Fetcher
from daypass.federation.keys import IssuerKeys, KeyRules
from daypass.federation.sources import Getter
from daypass.observability.metrics import Metrics
from daypass.ports.clock import Clock
from daypass.stores.directory import Directory

_MINUTE_MS = 60_000


def key_getter(settings: FederationSettings, sealer: Sealer) -> Getter:
    """The outbound access to issuers: one fetcher, whose limits all callers share."""
    fetcher = Fetcher(Bounds(seconds=settings.fetch_seconds))
    return Getter(fetcher, sealer, settings.files, settings.allow_private_networks)


def issuer_keys(
    settings: FederationSettings,
    getter: Getter,
    directory: Directory,
    journal: Journal,
    clock: Clock,
    metrics: Metrics,
) -> IssuerKeys:
    """The keys of issuers. Call its `start`."""
    rules = KeyRules(refresh=settings.refresh_minutes * _MINUTE_MS, stale=settings.stale_hours * 60 * _MINUTE_MS)
    count = metrics["daypass_issuer_fetches"]
    return IssuerKeys(getter, directory, journal, clock, rules, observe=lambda outcome: count.labels(outcome).inc())


def observe_issuers(keys: IssuerKeys, metrics: Metrics) -> None:
    """Takes the gauges."""
    age_ms, failing = keys.ages()
    metrics["daypass_issuer_keys_age_seconds"].set(age_ms / 1000)
    metrics["daypass_issuers_failing"].set(failing)

"""Parts of the environment of operations that the settings alone determine: limits, rates, processes for heavy work."""

from __future__ import annotations

import asyncio
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from daypass.audit.journal import Journal
from daypass.config import ConfigError, FederationSettings, Settings
from daypass.config.identity import SignInSettings
from daypass.config.network import RatesSettings
from daypass.crypto.ids import Ids
from daypass.crypto.keys import ALWAYS, KeyRings, Ring
from daypass.crypto.seal import Sealer
from daypass.crypto.signing import RINGS, RingSigner
from daypass.data import BuiltinPolicies, policies_in
from daypass.domain.errors import DaypassError
from daypass.domain.policy.document import PolicyKind, parse
from daypass.domain.policy.source import PolicyError
from daypass.federation.client_proofs import ClientDocuments, SignedProofs
from daypass.federation.fetch import Bounds, Fetcher
from daypass.federation.keys import IssuerKeys, KeyRules
from daypass.federation.saml_metadata import SamlMetadata
from daypass.federation.sources import Getter
from daypass.federation.x509 import X509Verifier
from daypass.observability import logs
from daypass.observability.metrics import Metrics
from daypass.operations.access_requests.follow import Sweeper
from daypass.ports import NO_OAUTH, AuthorizationServer, Env, Limits, OAuthKeys, PasskeyPolicy, Scene
from daypass.ports.clock import Clock
from daypass.scheduling.buckets import RequestRates
from daypass.server.heavy import HeavyOnThreads, HeavyProcesses
from daypass.server.worker import Setup
from daypass.stores.directory import Directory
from daypass.stores.engine import Database, open_database


def public_url(settings: Settings) -> str:
    """The URL under which clients reach the installation: from the settings, or else its listening address. Without a
    trailing slash.
    """
    server = settings.server
    return server.public_url or f"{server.scheme}://{server.host}:{server.port}"


def limits_of(settings: Settings) -> Limits:
    """The limits of operations."""
    return Limits(
        chain_depth=settings.sessions.chain_depth,
        token_bytes=settings.sessions.token_bytes,
        regions=frozenset(settings.aws.regions),
        skew_ms=settings.sessions.skew_seconds * 1000,
        public_url=public_url(settings),
        record_decisions=settings.authzen.record,
        browser_idle_ms=settings.sign_in.idle_minutes * 60_000,
        browser_session_ms=settings.sign_in.session_hours * 3_600_000,
        passkeys=_passkey_policy(settings.sign_in),
        consent_ms=settings.sign_in.consent_days * 86_400_000,
    )


def _passkey_policy(settings: SignInSettings) -> PasskeyPolicy:
    """Which authenticators may be registered. Raises ValueError or OSError for a file without certificates, and for models
    without roots: a model that no attestation proves can be claimed by any program.
    """
    if settings.passkey_roots is None:
        if settings.passkey_models:
            raise ValueError("sign_in.passkey_models takes sign_in.passkey_roots")
        return PasskeyPolicy()
    roots = x509.load_pem_x509_certificates(settings.passkey_roots.read_bytes())
    return PasskeyPolicy(tuple(root.public_bytes(Encoding.DER) for root in roots), frozenset(settings.passkey_models))


def rates_of(rates: RatesSettings, metrics: Metrics) -> RequestRates:
    """The rates of requests; refusals are counted in `metrics`."""
    throttled = metrics["daypass_throttled"]
    return RequestRates(
        (rates.principal_per_second, rates.principal_burst),
        (rates.account_per_second, rates.account_burst),
        (rates.failures_per_second, rates.failures_burst),
        lambda rate: throttled.labels(rate).inc(),
    )


def open_standby(settings: Settings) -> Database | None:
    """The standby near this server; None without one. It is not connected to yet. Raises ConfigError."""
    database = settings.database
    url = database.read_url.get_secret_value()
    if not url:
        return None
    try:
        return open_database(
            url, readers=database.readers, answer_seconds=database.answer_seconds, epoch=database.epoch
        )
    except ValueError as error:
        raise ConfigError(f"database.read_url: {error}") from None


def heavy_work(settings: Settings, directory: Directory, builtin: BuiltinPolicies) -> HeavyProcesses | HeavyOnThreads:
    """The processes for heavy work, or the threads for reads if none are configured."""
    heavy, public_url = settings.heavy, settings.server.public_url
    if not heavy.processes:
        return HeavyOnThreads(
            directory, lambda tx: Scene(tx, Ids(), builtin, SamlMetadata(), X509Verifier(), public_url)
        )
    url = settings.database_url()
    return HeavyProcesses(
        heavy.processes,
        Setup(url, builtin, public_url, settings.database.read_url.get_secret_value(), settings.database.epoch),
        seen=directory.seen,
        seconds=heavy.seconds,
        most_of_account=heavy.queue,
    )


# --- Files and directories that are first read long after the start


def check_files(settings: Settings) -> None:
    """Raises ConfigError for a directory or file that does not exist: the first request that needs it would fail."""
    directories = {"access.calendars": settings.access.calendars, "federation.files": settings.federation.files}
    files = {
        "checks.ca_bundle": settings.checks.ca_bundle,
        "peers.ca_bundle": settings.peers.ca_bundle,
        "sign_in.passkey_roots": settings.sign_in.passkey_roots,
    }
    for name, path in directories.items():
        if path is not None and not path.is_dir():
            raise ConfigError(f"{name}: {path} is not a directory.")
    for name, path in files.items():
        if path is not None and not path.is_file():
            raise ConfigError(f"{name}: {path} is not a file.")


# --- Managed policies of the operator, from the files in the directory `aws.policies`


def further_policies(directory: Path | None) -> dict[str, str]:
    """An operator's own AWS-named managed policies by ARN. Raises ConfigError for a file without a valid policy."""
    if directory is None:
        return {}
    try:
        if not directory.is_dir():
            raise ConfigError(f"aws.policies: {directory} is not a directory.")
        texts = policies_in(directory)
    except (OSError, ValueError) as error:
        raise ConfigError(f"aws.policies: {error}") from None
    for arn, text in texts.items():
        try:
            parse(text, PolicyKind.MANAGED)
        except PolicyError as error:
            raise ConfigError(f"aws.policies: {arn}: {error.message}") from None
    return dict(texts)


# --- Follows access requests and grants in the background: ends what time or a change has ended


async def follow(env: Env, metrics: Metrics, seconds: float) -> None:
    """Sweeps every `seconds` until it is cancelled. A sweep that fails is tried again."""
    sweeper = Sweeper(env)
    while True:
        await asyncio.sleep(seconds)
        try:
            swept = await sweeper.sweep()
        except DaypassError as error:
            logs.get().warning("access.sweep_failed", **error.private)
        except Exception:  # noqa: BLE001  # the loop must continue; a grant is checked at its use anyway
            logs.get().error("access.sweep_broken", exc_info=True)
        else:
            metrics["daypass_grants_open"].set(swept.open)


# --- The adapters that fetch the keys of identity providers and review tokens with clusters


_MINUTE_MS = 60_000


def key_getter(settings: FederationSettings, sealer: Sealer) -> Getter:
    """The outbound access to issuers: one fetcher, whose limits all callers share."""
    fetcher = Fetcher(Bounds(seconds=settings.fetch_seconds))
    return Getter(fetcher, sealer, settings.files, settings.allow_private_networks)


def issuer_keys(
    settings: FederationSettings, getter: Getter, directory: Directory, journal: Journal, clock: Clock, metrics: Metrics
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


# --- The authorization server: its issuer, its keys and the verifier of proofs of clients


def rings_of(settings: Settings) -> tuple[Ring, ...]:
    """The rings that need keys: those of every installation, and those of the algorithms for access tokens."""
    wanted = (*_algorithms(settings), *settings.oauth.web_identity_algorithms)
    return tuple(dict.fromkeys((*ALWAYS, *(RINGS[name] for name in wanted))))


def authorization_server(
    settings: Settings, rings: KeyRings, clock: Clock, issuers: IssuerKeys, getter: Getter
) -> AuthorizationServer:
    """The authorization server. It exists only with `server.public_url`, which is its issuer. `getter`: outbound access."""
    url, oauth = settings.server.public_url.rstrip("/"), settings.oauth
    if not url:
        return NO_OAUTH
    signer = RingSigner(rings, clock, _algorithms(settings))
    documents = ClientDocuments(getter.fetcher, allow_private=getter.allow_private)
    return AuthorizationServer(
        url,
        OAuthKeys(signer, SignedProofs(issuers), documents),
        oauth.algorithm,
        oauth.algorithm_of(),
        tuple(dict.fromkeys(oauth.web_identity_algorithms)),
        oauth.registration,
    )


def _algorithms(settings: Settings) -> set[str]:
    """OpenID Connect Discovery 1.0, 3 requires RS256 for ID tokens."""
    always = {"RS256"} if settings.server.public_url else set()
    return always | {settings.oauth.algorithm, *settings.oauth.algorithm_of().values()}

"""All settings, by section."""

from __future__ import annotations

from pathlib import Path

from daypass.config.identity import (
    AccessSettings,
    AuthzenSettings,
    AwsSettings,
    ChecksSettings,
    FederationSettings,
    OAuthSettings,
    SamlSettings,
    SessionsSettings,
    SignInSettings,
)
from daypass.config.network import EventsSettings, PeersSettings, RatesSettings, ServerSettings
from daypass.config.section import Section
from daypass.config.storage import (
    DatabaseSettings,
    DirectorySettings,
    HeavySettings,
    JournalSettings,
    KeysSettings,
    LogSettings,
    SnapshotSettings,
    SpoolSettings,
    TracingSettings,
)


class Settings(Section):
    """All sections. `load` is the way to make one."""

    # mypy takes fields with `Field(...)` as required; every field of every section has a default.
    server: ServerSettings = ServerSettings()  # type: ignore[call-arg]
    database: DatabaseSettings = DatabaseSettings()  # type: ignore[call-arg]
    keys: KeysSettings = KeysSettings()  # type: ignore[call-arg]
    sessions: SessionsSettings = SessionsSettings()  # type: ignore[call-arg]
    aws: AwsSettings = AwsSettings()  # type: ignore[call-arg]
    saml: SamlSettings = SamlSettings()  # type: ignore[call-arg]
    sign_in: SignInSettings = SignInSettings()  # type: ignore[call-arg]
    oauth: OAuthSettings = OAuthSettings()  # type: ignore[call-arg]
    events: EventsSettings = EventsSettings()  # type: ignore[call-arg]
    peers: PeersSettings = PeersSettings()  # type: ignore[call-arg]
    federation: FederationSettings = FederationSettings()  # type: ignore[call-arg]
    directory: DirectorySettings = DirectorySettings()  # type: ignore[call-arg]
    journal: JournalSettings = JournalSettings()  # type: ignore[call-arg]
    spool: SpoolSettings = SpoolSettings()  # type: ignore[call-arg]
    snapshot: SnapshotSettings = SnapshotSettings()  # type: ignore[call-arg]
    rates: RatesSettings = RatesSettings()  # type: ignore[call-arg]
    heavy: HeavySettings = HeavySettings()  # type: ignore[call-arg]
    access: AccessSettings = AccessSettings()  # type: ignore[call-arg]
    authzen: AuthzenSettings = AuthzenSettings()  # type: ignore[call-arg]
    checks: ChecksSettings = ChecksSettings()  # type: ignore[call-arg]
    log: LogSettings = LogSettings()  # type: ignore[call-arg]
    tracing: TracingSettings = TracingSettings()  # type: ignore[call-arg]

    def database_url(self) -> str:
        """The configured database, or SQLite in the data directory."""
        return self.database.url.get_secret_value() or f"sqlite:///{self.server.data.absolute() / 'daypass.db'}"

    def spool_directory(self) -> Path:
        """The configured directory of spools, or the one in the data directory."""
        return self.spool.directory or self.server.data / "spool"

    def acknowledged_files(self) -> Path:
        """Beside which name this node notes what PostgreSQL has committed. SQLite has such files beside its own."""
        return self.server.data / "acknowledged"

    def snapshot_directory(self) -> Path:
        """The configured directory of the snapshot, or the one in the data directory."""
        return self.snapshot.directory or self.server.data / "snapshot"

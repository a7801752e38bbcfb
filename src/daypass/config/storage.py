"""Settings of what a process stores and computes: the database, the record and its spool, keys, the cache, heavy work."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr

from daypass.config.section import Section


class DatabaseSettings(Section):
    url: SecretStr = Field(
        SecretStr(""), description="sqlite:///PATH or postgresql://…. Empty: SQLite in the data directory."
    )
    read_url: SecretStr = Field(
        SecretStr(""),
        description="postgresql://… of a streaming standby near this server, for loading data, and for reading while "
        "the primary is unavailable.",
    )
    readers: int = Field(
        4,
        ge=1,
        le=64,
        description="Threads and connections of a process for reads of the directory; the record has three more.",
    )
    epoch: str = Field(
        "",
        max_length=64,
        description="Names the state of the database, if `pg_control_system` is unavailable: change it on all "
        "servers after each lossy failover and each restore.",
    )
    answer_seconds: float = Field(5.0, ge=0.1, le=60, description="A statement without an answer by then has failed.")
    wait_seconds: float = Field(30.0, ge=0, le=3600, description="Time that a start waits for PostgreSQL.")


class KeysSettings(Section):
    encryption_key: SecretStr = Field(
        SecretStr(""),
        description="Key-encryption key (base64, 32 bytes) that wraps the rings; best in the environment.",
    )
    encryption_key_file: Path | None = Field(
        None,
        description="File with it instead. Neither: `master.key` in the data directory, made at first start with "
        "mode 0600.",
    )
    encryption_key_source: str = Field(
        "", description="URI of a key in an HSM or key service instead: `pkcs11:`, `aws-kms://` or `hcvault://`."
    )
    former_encryption_key_files: tuple[Path, ...] = Field(
        (), description="Files of other key-encryption keys to accept, while one replaces another."
    )
    former_encryption_key_sources: tuple[str, ...] = Field((), description="URIs of such keys.")
    source_seconds: float = Field(
        5.0, ge=0.1, le=60, description="A call of a key source without an answer by then has failed."
    )
    wait_seconds: float = Field(30.0, ge=0, le=3600, description="Time that a start waits for a key source.")
    rotate_days: int = Field(30, ge=1, le=365, description="A ring key signs for this long.")


class DirectorySettings(Section):
    poll_ms: int = Field(250, ge=10, le=60_000, description="Time between polls of the change feed.")
    max_staleness_seconds: int = Field(
        960,
        ge=1,
        le=86_400,
        description="Without the database, cached entries are used this long after the last successful poll.",
    )
    revocation_staleness_seconds: int = Field(
        60,
        ge=1,
        le=86_400,
        description="Time that a process serves without the database and may lack revocations of other processes. "
        "Heartbeats of all processes extend it to `max_staleness_seconds`.",
    )
    beyond_revocation_staleness: Literal["refuse", "own"] = Field(
        "refuse",
        description="Answer after that: `refuse` everything that depends on credentials, or serve the process's "
        "`own` sessions only.",
    )
    preload: int = Field(
        5_000, ge=0, le=1_000_000, description="Recently used views that a process loads after its start."
    )
    entries: int = Field(100_000, ge=100, le=10_000_000, description="Views in memory of a process.")


class JournalSettings(Section):
    deadline_seconds: float = Field(5.0, gt=0, le=60, description="A commit that is not durable by then gets 503.")
    queue: int = Field(20_000, ge=16, le=1_000_000, description="Events that may wait for the writer.")
    batch: int = Field(1_000, ge=1, le=10_000, description="Events in one group commit.")
    fsync_delay_ms: float = Field(0.0, ge=0, le=1000, description="For measurements: a pause before each commit.")


class SpoolSettings(Section):
    enabled: bool = Field(
        True,
        description="Without the database, record events in a local file and issue sessions from memory. Off: every "
        "request that needs a record gets 503.",
    )
    directory: Path | None = Field(
        None, description="Directory of the spools, on a local file system. Empty: `spool` in the data directory."
    )
    max_bytes: int = Field(
        1_073_741_824,
        ge=65_536,
        le=1_099_511_627_776,
        description="Largest spool of a process. A full spool stops issuing until the database is available.",
    )
    after_seconds: float = Field(
        1.0, ge=0.1, le=60, description="A commit without PostgreSQL's answer by then goes to the spool."
    )


class SnapshotSettings(Section):
    enabled: bool = Field(
        False,
        description="Write a sealed snapshot of the directory in memory, and start from it if PostgreSQL is "
        "unavailable. Needs the spool.",
    )
    directory: Path | None = Field(None, description="Its directory. Empty: `snapshot` in the data directory.")
    seconds: float = Field(15.0, ge=1, le=300, description="Time between writes, which is how old a snapshot can be.")
    entries: int = Field(10_000, ge=1, le=1_000_000, description="Most views in it, the most recently used ones.")
    after_seconds: float = Field(
        3.0, ge=0, le=3600, description="Time that a start with a snapshot waits for PostgreSQL."
    )


class HeavySettings(Section):
    processes: int = Field(
        1,
        ge=0,
        le=64,
        description="Processes for each worker for long work: simulations, lint, who-can, password hashes, reports, "
        "SAML metadata. One more is for short work: large documents, SAML responses. 0: the threads for "
        "reads do it.",
    )
    seconds: float = Field(20.0, gt=0, le=600, description="Such work gets 503 after this time in a process.")
    queue: int = Field(100, ge=1, le=10_000, description="Such work of one account that may wait; more is throttled.")


class TracingSettings(Section):
    endpoint: str = Field(
        "",
        pattern="^(https?://.+)?$",
        description="URL of a collector for OTLP over HTTP, such as `http://127.0.0.1:4318/v1/traces`. Empty: no "
        "traces. Needs the extra `tracing`.",
    )
    share: float = Field(1.0, ge=0, le=1, description="Share of exported traces.")


class LogSettings(Section):
    level: Literal["debug", "info", "warning", "error"] = Field("info", description="Least severe entry to write.")
    format: Literal["json", "ecs", "text"] = Field(
        "json", description="json; ecs, with the names of the Elastic Common Schema; text, for people."
    )

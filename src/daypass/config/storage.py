"""Settings of what a process stores and computes: the database, the record and its spool, keys, the cache, heavy work."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr

from daypass.config.section import Section


class DatabaseSettings(Section):
    url: SecretStr = Field(
        SecretStr(""), description="sqlite:///PATH or postgresql://…; empty: SQLite in the data directory."
    )
    read_url: SecretStr = Field(
        SecretStr(""),
        description="postgresql://… of a streaming standby near this server, for loading data, and for reading while the "
        "primary cannot be reached.",
    )
    readers: int = Field(
        4,
        ge=1,
        le=64,
        description="Threads and connections for reads of the directory, for each process; the record has three more.",
    )
    epoch: str = Field(
        "",
        max_length=64,
        description="Names the state of the database, if PostgreSQL's `pg_control_system` is unavailable: change it on "
        "all servers after each lossy failover and each restore.",
    )
    answer_seconds: float = Field(
        5.0, ge=0.1, le=60, description="A statement that PostgreSQL has not answered by then has failed."
    )
    wait_seconds: float = Field(
        30.0, ge=0, le=3600, description="How long a start waits for a PostgreSQL server that does not answer yet."
    )


class KeysSettings(Section):
    encryption_key: SecretStr = Field(
        SecretStr(""),
        description="Key-encryption key (base64, 32 bytes) that wraps the rings at "
        "rest; best given by the environment.",
    )
    encryption_key_file: Path | None = Field(
        None,
        description="File that holds it instead. Neither: `master.key` in the data "
        "directory, made at first start with mode 0600.",
    )
    encryption_key_source: str = Field(
        "",
        description="URI of a key in an HSM or key service, instead of the two: `pkcs11:`, `aws-kms://` or `hcvault://`.",
    )
    former_encryption_key_files: tuple[Path, ...] = Field(
        (), description="Files of other key-encryption keys that are accepted too, while one replaces another."
    )
    former_encryption_key_sources: tuple[str, ...] = Field(
        (), description="URIs of other key sources that are accepted too, while one replaces another."
    )
    source_seconds: float = Field(
        5.0, ge=0.1, le=60, description="A call of a key source that has not ended by then has failed."
    )
    wait_seconds: float = Field(
        30.0, ge=0, le=3600, description="How long a start waits for a key source that does not answer yet."
    )
    rotate_days: int = Field(30, ge=1, le=365, description="A ring key signs for this long before the next takes over.")


class DirectorySettings(Section):
    poll_ms: int = Field(250, ge=10, le=60_000, description="How often the change feed is polled.")
    max_staleness_seconds: int = Field(
        960,
        ge=1,
        le=86_400,
        description="While the database is unavailable, cached entries are used for this long after the last successful poll.",
    )
    revocation_staleness_seconds: int = Field(
        60,
        ge=1,
        le=86_400,
        description="How long a process serves without the database, which may lack revocations of other processes. "
        "Heartbeats of all processes extend it to `max_staleness_seconds`.",
    )
    beyond_revocation_staleness: Literal["refuse", "own"] = Field(
        "refuse",
        description="Answer after that: nothing that depends on credentials, or only sessions that the same process "
        "issued.",
    )
    preload: int = Field(
        5_000,
        ge=0,
        le=1_000_000,
        description="Recently used views that a process loads in the background after its start.",
    )
    entries: int = Field(100_000, ge=100, le=10_000_000, description="Views kept in memory, for each process.")


class JournalSettings(Section):
    deadline_seconds: float = Field(
        5.0, gt=0, le=60, description="A commit that is not durable by then is refused with 503."
    )
    queue: int = Field(
        20_000, ge=16, le=1_000_000, description="Events waiting for the writer before new ones are refused."
    )
    batch: int = Field(1_000, ge=1, le=10_000, description="Events in one group commit, at most.")
    fsync_delay_ms: float = Field(
        0.0, ge=0, le=1000, description="For measurements: sleep this long before each commit."
    )


class SpoolSettings(Section):
    enabled: bool = Field(
        True,
        description="While the database is unavailable, record events in a local file and continue to issue sessions from "
        "memory. Off: every request that needs a record gets 503.",
    )
    directory: Path | None = Field(
        None, description="Directory of the spools. Empty: `spool` in the data directory. Use a local file system."
    )
    max_bytes: int = Field(
        1_073_741_824,
        ge=65_536,
        le=1_099_511_627_776,
        description="Largest spool of one process. When it is full, nothing is issued until the database is available.",
    )
    after_seconds: float = Field(
        1.0,
        ge=0.1,
        le=60,
        description="A commit that PostgreSQL has not answered by then goes to the spool.",
    )


class SnapshotSettings(Section):
    enabled: bool = Field(
        False,
        description="Write a sealed snapshot of the directory in memory, and serve from it when a start finds PostgreSQL "
        "unavailable. It needs the spool.",
    )
    directory: Path | None = Field(
        None, description="Directory of the snapshot. Empty: `snapshot` in the data directory."
    )
    seconds: float = Field(
        15.0, ge=1, le=300, description="Seconds between two writes. A start may find a snapshot that is so much older."
    )
    entries: int = Field(
        10_000, ge=1, le=1_000_000, description="Most views in the snapshot; the most recently used ones are written."
    )
    after_seconds: float = Field(
        3.0, ge=0, le=3600, description="How long a start that has a snapshot waits for PostgreSQL before it uses it."
    )


class HeavySettings(Section):
    processes: int = Field(
        1,
        ge=0,
        le=64,
        description="Processes, for each worker, for work that takes long: simulations, lint, who-can, password hashes, "
        "reports, SAML metadata. One more is for what takes milliseconds: large documents, SAML responses. They start "
        "with the server. 0: this work runs on the threads for reads.",
    )
    seconds: float = Field(
        20.0,
        gt=0,
        le=600,
        description="Such work that has not ended by then, counted from when a process has it, is refused with 503.",
    )
    queue: int = Field(
        100, ge=1, le=10_000, description="Pieces of such work of one account that may wait; more are throttled."
    )


class TracingSettings(Section):
    endpoint: str = Field(
        "",
        pattern="^(https?://.+)?$",
        description="The URL of a collector for OTLP over HTTP, such as `http://127.0.0.1:4318/v1/traces`. Empty: no traces. It "
        "needs the extra `tracing`.",
    )
    share: float = Field(1.0, ge=0, le=1, description="Share of traces that is exported.")


class LogSettings(Section):
    level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="Least severe record that is written."
    )
    format: Literal["json", "ecs", "text"] = Field(
        "json", description="json for machines, ecs with the names of the Elastic Common Schema, text for people."
    )

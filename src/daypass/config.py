"""Settings: defaults, then a TOML file, then the environment, then the command line; each beats the one before.

Every setting stands in a section. An environment variable is `DAYPASS_SECTION__KEY`; names without `__` are left alone,
because Kubernetes injects `DAYPASS_PORT=tcp://…` where a Service has our name. An unknown section or key is refused, in
the file and in the environment alike: a misspelt security setting must not be silently ignored.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError

ENV_PREFIX = "DAYPASS_"
Port = Annotated[int, Field(ge=0, le=65535)]


class ConfigError(Exception):
    """The settings are not usable; the message says which one and why, without showing its value."""


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class ServerSettings(_Section):
    host: str = Field("127.0.0.1", description="Address to listen on.")
    port: Port = Field(8700, description="Port to listen on; 0 lets the system choose and print one.")
    workers: int = Field(1, ge=1, le=64, description="Worker processes that share the port.")
    data: Path = Field(
        Path(".daypass"), description="Directory for the SQLite database, the key-encryption key and sockets."
    )
    tls_cert: Path | None = Field(
        None, description="PEM certificate chain; with `tls_key` the server speaks HTTPS only."
    )
    tls_key: Path | None = Field(None, description="PEM private key of `tls_cert`.")
    client_ca: Path | None = Field(
        None, description="PEM bundle; when set, clients must present a certificate it vouches for."
    )
    trusted_proxies: tuple[str, ...] = Field(
        (), description="Networks (CIDR) whose X-Forwarded-For and X-Forwarded-Proto are believed. Empty: none."
    )
    client_certificate_header: str = Field(
        "",
        pattern=r"^[A-Za-z0-9-]{0,64}$",
        description="Header by which trusted proxies pass on the client's certificate: X-Forwarded-Client-Cert (Envoy), "
        "Client-Cert (RFC 9440), or any other with the certificate as URL-encoded PEM (nginx). Empty: none is believed.",
    )
    max_body_bytes: int = Field(1_048_576, ge=1024, le=16_777_216, description="Largest request body accepted.")
    body_timeout_seconds: float = Field(10.0, gt=0, le=300, description="A request body must have arrived by then.")
    drain_seconds: int = Field(20, ge=0, le=600, description="After SIGTERM, how long running requests may take.")
    backlog: int = Field(2048, ge=1, le=65535, description="Connections the system holds before they are accepted.")
    metrics_token: SecretStr = Field(
        SecretStr(""),
        description="Bearer token that /metrics asks for; it names accounts and their providers. Empty: it is open.",
    )
    public_url: str = Field(
        "",
        pattern=r"^(https?://[A-Za-z0-9.\-\[\]:]{1,255})?$",
        description="Address of this installation for browsers and identity providers, for example https://daypass.example.com. "
        "Empty: there is none, and no SAML login by browser.",
    )


class DatabaseSettings(_Section):
    url: SecretStr = Field(
        SecretStr(""), description="sqlite:///PATH or postgresql://…; empty: SQLite in the data directory."
    )
    readers: int = Field(4, ge=1, le=64, description="Threads and connections for reads, for each process.")


class KeysSettings(_Section):
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
    rotate_days: int = Field(30, ge=1, le=365, description="A ring key signs for this long before the next takes over.")


class SessionsSettings(_Section):
    chain_depth: int = Field(4, ge=1, le=16, description="Sessions in one chain of assumed roles, at most.")
    token_bytes: int = Field(4096, ge=1024, le=8192, description="Largest session token that is issued.")
    skew_seconds: int = Field(300, ge=1, le=900, description="How far a signature's time may be from the server's.")


class AwsSettings(_Section):
    regions: tuple[str, ...] = Field((), description="Region names accepted in credential scopes. Empty: any.")
    policies: Path | None = Field(
        None, description="Directory of further AWS-named managed policies: NAME.json each, or PATH/NAME.json."
    )


class SamlSettings(_Section):
    aws_addresses: bool = Field(
        True,
        description="Take SAML assertions made for AWS (https://signin.aws.amazon.com/saml, urn:amazon:webservices). "
        "Off: only those made for `server.public_url`.",
    )


class FederationSettings(_Section):
    fetch_seconds: float = Field(
        1.8,
        gt=0,
        le=30,
        description="Keys of an issuer must have come by then: whoever waits has an answer within 2 s.",
    )
    refresh_minutes: int = Field(
        60, ge=5, le=1440, description="Keys are fetched anew after this time, where the issuer says nothing else."
    )
    stale_hours: int = Field(
        24, ge=1, le=720, description="While an issuer is away, its keys serve this long after they were last fetched."
    )
    allow_private_networks: bool = Field(
        False,
        description="Let keys of every issuer come from private addresses and loopback. Otherwise the operator allows it "
        "for single providers.",
    )
    files: Path | None = Field(
        None,
        description="Directory of files (key sets, bearer tokens) that provider settings may name; in a Kubernetes pod "
        "/var/run/secrets/kubernetes.io/serviceaccount. Without it no such file is read.",
    )


class DirectorySettings(_Section):
    poll_ms: int = Field(250, ge=10, le=60_000, description="How often the change feed is polled.")
    max_staleness_seconds: int = Field(
        900,
        ge=1,
        le=86_400,
        description="While the database is away, cached entries serve this long after the last good poll.",
    )
    entries: int = Field(100_000, ge=100, le=10_000_000, description="Views kept in memory, for each process.")


class JournalSettings(_Section):
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


class LogSettings(_Section):
    level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="Least severe record that is written."
    )
    format: Literal["json", "text"] = Field("json", description="json for machines, text for people.")


class Settings(_Section):
    """All sections. `load` is the way to make one."""

    server: ServerSettings = ServerSettings()  # type: ignore[call-arg]  # every field has a default
    database: DatabaseSettings = DatabaseSettings()  # type: ignore[call-arg]
    keys: KeysSettings = KeysSettings()  # type: ignore[call-arg]
    sessions: SessionsSettings = SessionsSettings()  # type: ignore[call-arg]
    aws: AwsSettings = AwsSettings()  # type: ignore[call-arg]
    saml: SamlSettings = SamlSettings()  # type: ignore[call-arg]
    federation: FederationSettings = FederationSettings()  # type: ignore[call-arg]
    directory: DirectorySettings = DirectorySettings()  # type: ignore[call-arg]
    journal: JournalSettings = JournalSettings()  # type: ignore[call-arg]
    log: LogSettings = LogSettings()  # type: ignore[call-arg]

    def database_url(self) -> str:
        """The configured database, or SQLite in the data directory."""
        return self.database.url.get_secret_value() or f"sqlite:///{self.server.data.absolute() / 'daypass.db'}"


def load(
    file: Path | None = None,
    environ: Mapping[str, str] | None = None,
    overrides: Mapping[str, Mapping[str, Any]] | None = None,
) -> Settings:
    """Settings from a TOML file, the environment and the command line's overrides (section → key → value).

    Raises ConfigError naming the file or variable at fault.
    """
    merged: dict[str, dict[str, Any]] = {}
    if file is not None:
        _merge(merged, _from_file(file))
    _merge(merged, _from_environment(environ or {}))
    _merge(merged, overrides or {})
    try:
        settings = Settings.model_validate(merged)
    except ValidationError as error:
        raise ConfigError(_explain(error)) from None
    _check_together(settings)
    return settings


def _check_together(settings: Settings) -> None:
    server = settings.server
    if (server.tls_cert is None) != (server.tls_key is None):
        raise ConfigError("server.tls_cert and server.tls_key go together: give both or neither.")
    if server.client_certificate_header and not server.trusted_proxies:
        raise ConfigError("server.client_certificate_header needs server.trusted_proxies: nobody else is believed.")
    if server.client_ca is not None and server.tls_cert is None:
        raise ConfigError(
            "server.client_ca needs server.tls_cert and server.tls_key: there are no client certificates without TLS."
        )


def _from_file(file: Path) -> Mapping[str, Mapping[str, Any]]:
    try:
        content = tomllib.loads(file.read_text("utf-8"))
    except OSError as error:
        raise ConfigError(f"{file}: cannot be read: {error.strerror}.") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file}: is not TOML: {error}.") from None
    for section, keys in content.items():
        if not isinstance(keys, dict):
            raise ConfigError(f"{file}: '{section}' stands outside of a section; every setting has one.")
        _check_known(section, keys, f"{file}: [{section}]")
    return content


def _from_environment(environ: Mapping[str, str]) -> Mapping[str, Mapping[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for name, value in environ.items():
        if not name.startswith(ENV_PREFIX) or "__" not in name:
            continue
        section, _, key = name[len(ENV_PREFIX) :].lower().partition("__")
        _check_known(section, {key: value}, name)
        found.setdefault(section, {})[key] = _from_text(section, key, value)
    return found


def _from_text(section: str, key: str, value: str) -> Any:
    """A list is written with commas in the environment; everything else as it stands."""
    default = Settings.model_fields[section].default
    if isinstance(getattr(default, key), tuple):
        return tuple(part.strip() for part in value.split(",") if part.strip())
    return value


def _check_known(section: str, keys: Mapping[str, Any], where: str) -> None:
    known = Settings.model_fields.get(section)
    if known is None:
        raise ConfigError(f"{where}: there is no section '{section}'. Sections: {', '.join(Settings.model_fields)}.")
    names = type(known.default).model_fields
    for key in keys:
        if key not in names:
            raise ConfigError(
                f"{where}: there is no setting '{key}' in section '{section}'. Settings: {', '.join(names)}."
            )


def _merge(into: dict[str, dict[str, Any]], more: Mapping[str, Mapping[str, Any]]) -> None:
    for section, keys in more.items():
        into.setdefault(section, {}).update(keys)


def _explain(error: ValidationError) -> str:
    first = error.errors(include_input=False, include_url=False)[0]
    return f"{'.'.join(str(part) for part in first['loc'])}: {first['msg']}."

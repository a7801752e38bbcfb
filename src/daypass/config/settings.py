"""All settings, by section, and how they are read: defaults, then a TOML file, then the environment, then the command line;
each overrides the former.

An environment variable is `DAYPASS_SECTION__KEY`; lists are separated by commas, tables are JSON. Names without `__` are
ignored, because Kubernetes injects `DAYPASS_PORT=tcp://…` where a Service has our name; the server warns of others
(`ignored_variables`). An unknown section or key is refused, in the file and in the environment alike: a misspelt security
setting must not be ignored.
"""

from __future__ import annotations

import difflib
import json
import re
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

from pydantic import ValidationError

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


# --- Reading


ENV_PREFIX = "DAYPASS_"


class ConfigError(Exception):
    """The settings are not usable; the message says which one and why, without showing its value."""


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
    keys = settings.keys
    if keys.encryption_key_source and (keys.encryption_key.get_secret_value() or keys.encryption_key_file):
        raise ConfigError(
            "keys.encryption_key_source takes the place of keys.encryption_key and keys.encryption_key_file: give one."
        )
    _check_standby(settings)
    if server.client_certificate_header and not server.trusted_proxies:
        raise ConfigError("server.client_certificate_header needs server.trusted_proxies: nobody else is believed.")
    if server.client_ca is not None and server.tls_cert is None:
        raise ConfigError("server.client_ca needs server.tls_cert and server.tls_key: client certificates need TLS.")
    if server.client_certificates == "optional" and server.tls_cert is None:
        raise ConfigError("server.client_certificates needs server.tls_cert: client certificates need TLS.")


def _check_standby(settings: Settings) -> None:
    read_url = settings.database.read_url.get_secret_value()
    if read_url and not all(url.startswith("postgres") for url in (read_url, settings.database_url())):
        raise ConfigError("database.read_url names a PostgreSQL standby of the server in database.url: give both.")


def _from_file(file: Path) -> Mapping[str, Mapping[str, Any]]:
    try:
        content = tomllib.loads(file.read_text("utf-8"))
    except OSError as error:
        raise ConfigError(f"{file}: cannot be read: {error.strerror}.") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file}: is not TOML: {error}.") from None
    for section, keys in content.items():
        if not isinstance(keys, dict):
            raise ConfigError(f"{file}: '{section}' is not in a section; every setting belongs to one.")
        _check_known(section, keys, f"{file}: [{section}]")
    return content


def _from_environment(environ: Mapping[str, str]) -> Mapping[str, Mapping[str, Any]]:
    sections: dict[str, dict[str, Any]] = {}
    for name, value in environ.items():
        if not name.startswith(ENV_PREFIX) or "__" not in name:
            continue
        section, _, key = name[len(ENV_PREFIX) :].lower().partition("__")
        _check_known(section, {key: value}, name)
        try:
            sections.setdefault(section, {})[key] = _from_text(section, key, value)
        except ValueError as error:
            raise ConfigError(f"{name}: {error}.") from None
    return sections


def _from_text(section: str, key: str, value: str) -> Any:
    """Lists are comma-separated in the environment, tables are JSON; other values are used unchanged. Raises ValueError."""
    default = getattr(Settings.model_fields[section].default, key)
    if isinstance(default, dict):
        try:
            return json.loads(value or "{}")
        except ValueError:
            raise ValueError("is not JSON") from None
    if isinstance(default, tuple):
        if value.lstrip().startswith("["):
            raise ValueError("is a list of values with commas between them, not JSON")
        return tuple(part.strip() for part in value.split(",") if part.strip())
    return value


def _check_known(section: str, keys: Mapping[str, Any], where: str) -> None:
    known = Settings.model_fields.get(section)
    if known is None:
        raise ConfigError(f"{where}: '{section}' is not a section.{_names('Sections', section, Settings.model_fields)}")
    names = type(known.default).model_fields
    for key in keys:
        if key not in names:
            raise ConfigError(
                f"{where}: '{key}' is not a setting of section '{section}'.{_names('Settings', key, names)}"
            )


def _names(what: str, wrong: str, names: Iterable[str]) -> str:
    """The name that was probably meant, or all names."""
    close = difflib.get_close_matches(wrong, names := [*names], 1)
    return f" Did you mean '{close[0]}'?" if close else f" {what}: {', '.join(names)}."


def _merge(into: dict[str, dict[str, Any]], more: Mapping[str, Mapping[str, Any]]) -> None:
    for section, keys in more.items():
        into.setdefault(section, {}).update(keys)


def _explain(error: ValidationError) -> str:
    """The first fault: the setting, what is wrong, and what the setting is. Never the value, which may be a secret."""
    first = error.errors(include_input=False, include_url=False)[0]
    section, *rest = first["loc"]
    place = f"{section}{''.join(f', entry {part + 1}' if isinstance(part, int) else f'.{part}' for part in rest if part != '[key]')}"
    words = _FAULTS.get(first["type"], first["msg"]).format(**first.get("ctx", {}))
    return f"{place}: {words}.{_description_of(str(section), str(rest[0]) if rest else '')}"


_WHOLE, _NUMBER, _SWITCH = "it is not a whole number", "it is not a number", "it is neither true nor false"
_FAULTS: Final[Mapping[str, str]] = {
    **dict.fromkeys(("int_parsing", "int_type", "int_from_float"), _WHOLE),
    **dict.fromkeys(("float_parsing", "float_type", "finite_number"), _NUMBER),
    **dict.fromkeys(("bool_parsing", "bool_type"), _SWITCH),
    **dict.fromkeys(("tuple_type", "list_type"), "it is not a list"),
    **dict.fromkeys(("dict_type", "model_type"), "it is not a table"),
    "string_type": "it is not text",
    "path_type": "it is not a path",
    "literal_error": "it must be {expected}",
    "greater_than": "it must be above {gt:g}",
    "greater_than_equal": "it must be at least {ge:g}",
    "less_than": "it must be below {lt:g}",
    "less_than_equal": "it must be at most {le:g}",
    "string_pattern_mismatch": "it has the wrong form",
    "value_error": "{error}",
}
"""What is wrong, by pydantic's type of the error; its own words name types of Python and regular expressions."""


def _description_of(section: str, key: str) -> str:
    """The description of a setting, as in the reference; "" for none."""
    fields = getattr(Settings.model_fields.get(section), "annotation", None)
    field = getattr(fields, "model_fields", {}).get(key)
    return f" ({field.description})" if field is not None and field.description else ""


# --- Variables that look like settings and are none


_READ: Final = frozenset(
    {
        *("DAYPASS_BOOTSTRAP", "DAYPASS_DEBUG", "DAYPASS_HOME", "DAYPASS_PROFILE"),
        *("DAYPASS_PROMPT", "DAYPASS_ROLE", "DAYPASS_ZDOTDIR", "DAYPASS_OWN_ZDOTDIR"),
    }
)
"""Variables of the server and of the client that are not settings."""
_SERVICE: Final = re.compile(
    r"(?:\w+_)?(?:SERVICE_(?:HOST|PORT(?:_\w+)?)|PORT_\d+_(?:TCP|UDP|SCTP)(?:_(?:PROTO|PORT|ADDR))?)"
)
"""Names of variables that Kubernetes injects for a Service whose name begins with ours, without the prefix, except for `…PORT`."""
_MAX_NAMES: Final = 20  # names in the result


class IgnoredVariable(NamedTuple):
    """A variable that nothing reads, and the nearest name that is read; "" when none is near."""

    name: str
    nearest: str


def ignored_variables(environ: Mapping[str, str]) -> tuple[IgnoredVariable, ...]:
    """The variables with our prefix that neither name a setting nor are read otherwise, in the order of their names.

    Names with `__` are left out, because `load` refuses those that are not settings.
    """
    names = [name for name, value in environ.items() if name.startswith(ENV_PREFIX) and _is_ignored(name, value)]
    return tuple(IgnoredVariable(name, _nearest(name)) for name in sorted(names)[:_MAX_NAMES])


def _is_ignored(name: str, value: str) -> bool:
    if "__" in name or name in _READ:
        return False
    rest = name.removeprefix(ENV_PREFIX)
    if _SERVICE.fullmatch(rest):
        return False
    return not (rest == "PORT" or rest.endswith("_PORT")) or "://" not in value  # DAYPASS_PORT=tcp://10.0.0.1:8700


def _nearest(name: str) -> str:
    settings = (
        f"{section}__{key}".upper()
        for section, field in Settings.model_fields.items()
        for key in type(field.default).model_fields
    )
    known = {text.replace("__", "_"): text for text in (*settings, *(name.removeprefix(ENV_PREFIX) for name in _READ))}
    close = difflib.get_close_matches(name.removeprefix(ENV_PREFIX)[:128], list(known), 1, cutoff=0.65)
    return f"{ENV_PREFIX}{known[close[0]]}" if close else ""

"""Settings: what beats what, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from daypass.config import ConfigError, ignored_variables, load
from daypass.operations.ssf import poll


def _file(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "daypass.toml"
    path.write_text(text)
    return path


def test_load_nothing_gives_the_documented_defaults() -> None:
    settings = load()
    assert (settings.server.host, settings.server.port, settings.server.workers) == ("127.0.0.1", 8700, 1)
    assert settings.database_url().startswith("sqlite:///")


def test_load_each_source_beats_the_one_before(tmp_path: Path) -> None:
    file = _file(tmp_path, "[server]\nport = 1\nhost = '::1'\nworkers = 2\n")
    settings = load(file, {"DAYPASS_SERVER__PORT": "2", "DAYPASS_SERVER__WORKERS": "3"}, {"server": {"port": 4}})
    assert (settings.server.host, settings.server.workers, settings.server.port) == ("::1", 3, 4)


def test_load_kubernetes_service_variable_is_left_alone() -> None:
    assert load(environ={"DAYPASS_PORT": "tcp://10.0.0.1:8700", "DAYPASS_PORT_8700_TCP": "x"}).server.port == 8700


@pytest.mark.parametrize(
    "name",
    [
        "ACCESS__CALENDARS",
        "FEDERATION__FILES",
        "KEYS__ENCRYPTION_KEY_FILE",
        "SERVER__HEALTH_PORT",
        "SERVER__TLS_CERT",
        "SIGN_IN__PASSKEY_ROOTS",
        "SPOOL__DIRECTORY",
    ],
)
def test_a261_load_empty_text_for_an_optional_setting_is_no_value(tmp_path: Path, name: str) -> None:
    """An empty path is the current directory."""
    section, _, key = name.lower().partition("__")
    from_environment = load(environ={f"DAYPASS_{name}": ""})
    from_file = load(_file(tmp_path, f"[{section}]\n{key} = ''\n"))
    assert [getattr(getattr(found, section), key) for found in (from_environment, from_file)] == [None, None]


def test_a239_load_empty_text_for_the_data_directory_is_the_default() -> None:
    """An empty path is the current directory, where the database and the keys would be made."""
    assert load(environ={"DAYPASS_SERVER__DATA": ""}).server.data == load(environ={}).server.data == Path(".daypass")


def test_load_table_in_the_environment_is_json() -> None:
    tokens = '{"111122223333": {"api.example": "Token canary"}}'
    found = load(environ={"DAYPASS_ACCESS__SCHEDULE_TOKENS": tokens}).access.schedule_tokens
    assert found["111122223333"]["api.example"].get_secret_value() == "Token canary"
    assert load(environ={"DAYPASS_ACCESS__SCHEDULE_TOKENS": ""}).access.schedule_tokens == {}


def test_load_list_in_the_environment_has_commas_and_one_in_json_is_refused() -> None:
    """It would be one value that equals nothing."""
    hosts = load(environ={"DAYPASS_ACCESS__PRIVATE_HOSTS": "hooks.internal, ::1"}).access.private_hosts
    assert hosts == ("hooks.internal", "::1")
    with pytest.raises(
        ConfigError, match="DAYPASS_ACCESS__PRIVATE_HOSTS: is a list of values with commas between them"
    ):
        load(environ={"DAYPASS_ACCESS__PRIVATE_HOSTS": '["hooks.internal"]'})


@pytest.mark.parametrize("host", ["https://hooks.internal", "hooks.internal:8443", "10.0.0.1:80", "[::1]", "*"])
def test_load_private_host_with_more_than_a_name_is_refused(host: str) -> None:
    with pytest.raises(ConfigError, match=r"access\.private_hosts.* is not a name or address alone"):
        load(environ={}, overrides={"access": {"private_hosts": (host,)}})


@pytest.mark.parametrize(
    "text", ['{"111122223333": {"api.example": "canary"', '["canary"]', '{"x": "canary"}', "canary"]
)
def test_load_table_that_is_not_valid_is_refused_without_showing_it(text: str) -> None:
    with pytest.raises(ConfigError, match=r"(?i)schedule_tokens") as refused:
        load(environ={"DAYPASS_ACCESS__SCHEDULE_TOKENS": text})
    assert "canary" not in str(refused.value)


@pytest.mark.parametrize("value", ["inf", "nan", "-inf"])
def test_load_number_that_is_not_finite_is_refused(value: str) -> None:
    with pytest.raises(ConfigError, match=r"rates\.principal_per_second"):
        load(environ={"DAYPASS_RATES__PRINCIPAL_PER_SECOND": value})


@pytest.mark.parametrize(
    ("name", "value", "nearest"),
    [
        ("DAYPASS_NOPE", "x", ""),
        ("DAYPASS_LOG_LEVEL", "debug", "DAYPASS_LOG__LEVEL"),
        ("DAYPASS_SERVER_PORT", "8700", "DAYPASS_SERVER__PORT"),
        ("DAYPASS_TRUSTED_PROXIES", "10.0.0.0/8", "DAYPASS_SERVER__TRUSTED_PROXIES"),
        ("DAYPASS_TLS_CERT", "/a.pem", "DAYPASS_SERVER__TLS_CERT"),
        ("DAYPASS_BOOTSTRAPP", "key", "DAYPASS_BOOTSTRAP"),
    ],
)
def test_ignored_variables_misspelt_name_is_found_with_the_nearest_one(name: str, value: str, nearest: str) -> None:
    load(environ={name: value})
    assert ignored_variables({"HOME": "/", name: value}) == ((name, nearest),)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DAYPASS_PORT", "tcp://10.0.0.1:8700"),
        ("DAYPASS_PORT_8700_TCP_ADDR", "10.0.0.1"),
        ("DAYPASS_SERVICE_HOST", "10.0.0.1"),
        ("DAYPASS_SERVICE_PORT_HTTP", "8700"),
        ("DAYPASS_PEERS_PORT", "tcp://10.0.0.2:8700"),
        ("DAYPASS_PEERS_PORT_8700_TCP", "tcp://10.0.0.2:8700"),
        ("DAYPASS_PEERS_SERVICE_PORT", "8700"),
        ("DAYPASS_BOOTSTRAP", "a:b:c"),
        ("DAYPASS_PROFILE", "x"),
        ("DAYPASS_ROLE", "x"),
        ("DAYPASS_LOG__LEVEL", "debug"),
        ("OTHER", "x"),
    ],
)
def test_ignored_variables_name_that_is_read_or_injected_is_left_out(name: str, value: str) -> None:
    assert ignored_variables({name: value}) == ()


def test_ignored_variables_many_names_are_bounded() -> None:
    assert len(ignored_variables({f"DAYPASS_X{number}": "" for number in range(1000)})) == 20


def test_load_list_in_environment_is_split_at_commas() -> None:
    settings = load(environ={"DAYPASS_AWS__REGIONS": "eu-central-1, us-east-1"})
    assert settings.aws.regions == ("eu-central-1", "us-east-1")


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("DAYPASS_SERVER__PROT", "1", "'prot' is not a setting"),
        ("DAYPASS_SERVR__PORT", "1", "'servr' is not a section"),
        ("DAYPASS_SERVER__PORT", "many", "server.port"),
        ("DAYPASS_SERVER__PORT__X", "1", "'port__x' is not a setting"),
        ("DAYPASS_SERVER__TLS_CERT", "/a.pem", "go together"),
        ("DAYPASS_DATABASE__READ_URL", "postgresql://standby/daypass", "give both"),
        ("DAYPASS_SERVER__CLIENT_CA", "/a.pem", "client certificates need TLS"),
        ("DAYPASS_SERVER__CLIENT_CERTIFICATES", "optional", "client certificates need TLS"),
        ("DAYPASS_SERVER__TRUSTED_PROXIES", "10.0.0.0/33", "server.trusted_proxies"),
    ],
)
def test_load_bad_environment_is_refused_by_name(name: str, value: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        load(environ={name: value})


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("port = 1", "is not in a section"),
        ("[server]\nprot = 1", r"'prot' is not a setting of section 'server'\. Did you mean 'port'\?"),
        ("[nothing]\nx = 1", "'nothing' is not a section"),
        ("[server", "is not TOML"),
        ("[server]\nport = 99999", "server.port"),
    ],
)
def test_load_bad_file_is_refused_by_name(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        load(_file(tmp_path, text))


def test_load_missing_file_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        load(tmp_path / "absent.toml")


def test_load_bad_secret_value_is_not_in_the_message() -> None:
    with pytest.raises(ConfigError) as refused:
        load(environ={"DAYPASS_KEYS__ROTATE_DAYS": "CANARY-SECRET"})
    assert "CANARY" not in str(refused.value)


def test_settings_shown_hide_secrets() -> None:
    settings = load(
        environ={"DAYPASS_KEYS__ENCRYPTION_KEY": "CANARY", "DAYPASS_DATABASE__URL": "postgresql://u:CANARY@h/d"}
    )
    assert "CANARY" not in repr(settings)
    assert "CANARY" in settings.database_url()


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("DAYPASS_SERVER__PORT", "x", r"server\.port: it is not a whole number\. \(Port to listen on"),
        ("DAYPASS_SERVER__PORT", "70000", r"server\.port: it must be at most 65535\."),
        ("DAYPASS_ACCESS__SWEEP_SECONDS", "0", r"access\.sweep_seconds: it must be above 0\."),
        ("DAYPASS_LOG__FORMAT", "xml", r"log\.format: it must be 'json', 'ecs' or 'text'\."),
        ("DAYPASS_SERVER__PUBLIC_URL", "here", r"server\.public_url: it has the wrong form\. \(Address for browsers"),
        ("DAYPASS_PEERS__URLS", "here", r"peers\.urls, entry 1: it has the wrong form\."),
        ("DAYPASS_ACCESS__SCHEDULE_TOKENS", '{"1": {"a": "b"}}', r"access\.schedule_tokens\.1: it has the wrong form\."),
    ],
)  # fmt: skip
def test_load_setting_with_a_fault_is_refused_in_plain_words(name: str, value: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        load(environ={name: value})


def test_trusted_proxy_that_is_no_network_is_named() -> None:
    with pytest.raises(
        ConfigError, match=r"server\.trusted_proxies, entry 2: .*'proxy\.internal' .* give networks like 10\.0\.0\.0/8"
    ):
        load(None, {}, {"server": {"trusted_proxies": ["10.0.0.0/8", "proxy.internal"]}})


def test_request_seconds_are_more_than_the_server_itself_waits_and_less_than_an_aws_sdk() -> None:
    """Or a single caller of a busy machine is refused although it would wait."""
    settings = load()
    start_of_a_process = 20.0  # that hashes the first password, on two cores at load 25
    assert settings.heavy.seconds + start_of_a_process <= settings.server.request_seconds < 60
    assert settings.server.request_seconds > poll.WAIT_SECONDS

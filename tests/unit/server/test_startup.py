"""The start of a server: every failure names its cause, and no secret of an installation is replaced."""

from __future__ import annotations

import os
import resource
import sqlite3
import stat
from pathlib import Path
from typing import Any

import pytest
import structlog
from sqlalchemy.exc import OperationalError
from tests.prepared import prepare_sqlite

from daypass.cli.main import run
from daypass.config import ConfigError, Settings, load
from daypass.crypto.key_encryption import RingError
from daypass.domain.directory import Account, Role
from daypass.domain.errors import DaypassError, ErrorKind
from daypass.operations.accounts import FirstKey, parse
from daypass.server import startup
from daypass.server.startup import StartupError
from daypass.stores.causes import DatabaseUnreachable, cause_of
from daypass.stores.engine import Database, open_database
from daypass.stores.tx import StoreReader

OTHERS = "AKIAFIRSTKEY00000001:a-secret-of-the-first-key:111122223333:admin"


@pytest.fixture
def data(tmp_path: Path) -> Path:
    directory = tmp_path / "data"
    directory.mkdir(mode=0o700)
    return directory


@pytest.fixture(autouse=True)
def fresh_logging() -> None:
    """A test before may have configured logging with a standard error that is closed now."""
    structlog.reset_defaults()


def settings_of(data: Path, **database: Any) -> Settings:
    return load(None, {}, {"server": {"data": data}, "database": database})


def accounts(data: Path) -> list[Account]:
    database = open_database(f"sqlite:///{data / 'daypass.db'}")
    try:
        return database.read(lambda conn: StoreReader(conn).find(Account, order="id"))
    finally:
        database.close()


# --- The data directory


def test_data_directory_that_others_can_read_is_made_private(data: Path) -> None:
    prepare_sqlite(data / "daypass.db")
    data.chmod(0o755)
    (data / "daypass.db").chmod(0o644)
    startup.prepare_data_directory(data)
    assert stat.S_IMODE(data.stat().st_mode) == 0o700
    assert stat.S_IMODE((data / "daypass.db").stat().st_mode) == 0o600


@pytest.mark.parametrize("mode", [0o770, 0o707, 0o1777])
def test_data_directory_that_others_can_write_is_refused_and_left_alone(data: Path, mode: int) -> None:
    data.chmod(mode)
    with pytest.raises(StartupError, match="chmod 700"):
        startup.prepare_data_directory(data)
    assert stat.S_IMODE(data.stat().st_mode) == mode


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_data_directory_of_another_user_that_others_can_read_is_refused(data: Path) -> None:
    data.chmod(0o755)
    os.chown(data, 65534, 65534)
    with pytest.raises(StartupError, match="as its owner"):
        startup.prepare_data_directory(data)


def test_data_directory_that_is_a_file_is_refused_with_the_cause(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("")
    with pytest.raises(StartupError, match="cannot be used: File exists"):
        startup.prepare_data_directory(tmp_path / "data")


# --- The database


def test_database_that_is_unreachable_is_retried_for_the_configured_time_and_named(tmp_path: Path) -> None:
    slept: list[float] = []
    settings = settings_of(tmp_path, url="postgresql://daypass:hunter2@127.0.0.1:1/shop", wait_seconds=3)
    with pytest.raises(DatabaseUnreachable) as refused:
        startup.prepare_database(settings, slept.append, lambda: sum(slept))
    assert slept == [1, 1, 1]
    said = str(refused.value)
    assert "127.0.0.1:1 (database shop, user daypass)" in said
    assert "refused" in said
    assert "Check that the server runs" in said
    assert "hunter2" not in said


def test_database_that_comes_up_while_a_start_waits_is_used(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    prepare_sqlite(data / "daypass.db")
    real = Database.read
    left = [2]

    def read(self: Database, work: Any, **how: Any) -> Any:
        if left[0]:
            left[0] -= 1
            unreachable = open_database("postgresql://u@127.0.0.1:1/x")
            return real(unreachable, work, **how)
        return real(self, work, **how)

    monkeypatch.setattr(Database, "read", read)
    monkeypatch.setattr(Settings, "database_url", lambda _: f"sqlite:///{data / 'daypass.db'}")
    monkeypatch.setattr("daypass.stores.causes.is_final", lambda _: False)
    slept: list[float] = []
    assert startup.prepare_database(settings_of(data), slept.append, lambda: sum(slept)) is False
    assert len(slept) == 2


def test_cause_of_a_start_that_waits_for_the_feed_says_so() -> None:
    refused = DaypassError(
        ErrorKind.UNAVAILABLE, "Please try again shortly.", private={"directory": "polling the change feed timed out"}
    )
    said = cause_of(refused, "postgresql://daypass@db.internal/shop")
    assert "polling the change feed timed out" in said
    assert "try again shortly" not in said


def test_serve_without_its_database_says_which_in_one_line_and_exits_5(
    data: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DAYPASS_DATABASE__URL", "postgresql://daypass@127.0.0.1:1/shop")
    monkeypatch.setenv("DAYPASS_DATABASE__WAIT_SECONDS", "0")
    assert run(["serve", "--data", str(data)]) == 5
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("daypass: PostgreSQL at 127.0.0.1:1 (database shop, user daypass) cannot be used: ")
    assert "Error:" not in lines[0]
    assert "?" not in lines[0]
    assert lines[0].endswith(
        "Check that the server runs, listens on that address and port, and that no firewall refuses it."
    )


@pytest.mark.parametrize(
    "words", ["permission denied for function pg_control_system", "function pg_control_system() does not exist"]
)
def test_h6_cause_of_a_refused_look_at_the_cluster_names_the_setting(words: str) -> None:
    said = cause_of(OperationalError(None, None, Exception(words)), "postgresql://daypass@db.internal/shop")
    assert "set database.epoch" in said
    assert "Grant the user of database.url CREATE" not in said


@pytest.mark.parametrize(
    ("pragma", "advice"), [("query_only=ON", "cannot be written"), ("max_page_count=1", "The disk is full")]
)
def test_cause_of_a_sqlite_failure_says_what_to_check(tmp_path: Path, pragma: str, advice: str) -> None:
    conn = sqlite3.connect(tmp_path / "x.db")
    conn.execute("CREATE TABLE t (x)")
    conn.execute(f"PRAGMA {pragma}")
    with pytest.raises(sqlite3.OperationalError) as failed:
        conn.execute("INSERT INTO t VALUES (zeroblob(100000))")
    conn.close()
    said = cause_of(OperationalError(None, None, failed.value), f"sqlite:///{tmp_path}/x.db")
    assert advice in said
    assert str(tmp_path / "x.db") in said


# --- The key-encryption key


def test_master_key_that_is_lost_is_not_replaced_by_a_new_one(data: Path) -> None:
    settings = settings_of(data)
    startup.initialise(settings, parse(OTHERS), None)
    (data / "master.key").unlink()
    with pytest.raises(RingError, match=r"master\.key is missing.*restore it"):
        startup.initialise(settings, parse(OTHERS), None)
    assert not (data / "master.key").exists()


def test_master_key_beside_the_database_causes_a_warning(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    logged: list[str] = []

    class Log:
        def warning(self, event: str, **_: str) -> None:
            logged.append(event)

    monkeypatch.setattr("daypass.observability.logs.get", Log)
    elsewhere = load(None, {}, {"server": {"data": data}, "keys": {"encryption_key_file": data.parent / "kek"}})
    startup.warn_of_key_beside_database(elsewhere)
    assert logged == []
    startup.warn_of_key_beside_database(settings_of(data))
    assert logged == ["keys.beside_database"]
    (data.parent / "link").symlink_to(data)
    for inside in (data / "keys" / "kek", data.parent / "x" / ".." / data.name / "kek", data.parent / "link" / "kek"):
        logged.clear()
        startup.warn_of_key_beside_database(
            load(None, {}, {"server": {"data": data}, "keys": {"encryption_key_file": inside}})
        )
        assert logged == ["keys.beside_database"], inside


def test_misspelt_variable_causes_a_warning_that_does_not_show_its_value(
    data: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DAYPASS_BOOTSTRAP", raising=False)
    monkeypatch.setenv("DAYPASS_LOG_LEVEL", "canary-of-a-value")
    assert run(["serve", "--data", str(data), "--port", "0"]) == 6
    said = capsys.readouterr().err
    assert "settings.variable_ignored" in said
    assert "did you mean DAYPASS_LOG__LEVEL?" in said
    assert "canary" not in said


# --- The first keys


def test_serve_on_a_new_database_without_a_key_is_refused_with_what_to_do(
    data: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DAYPASS_BOOTSTRAP", raising=False)
    assert run(["serve", "--data", str(data), "--port", "0"]) == 6
    said = capsys.readouterr().err
    assert "nobody could log in" in said
    assert "DAYPASS_BOOTSTRAP=KEYID:SECRET:ACCOUNT:USER" in said  # no secret where the output may be a log


def test_serve_on_a_new_database_shows_a_new_key_on_a_terminal_alone(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    with pytest.raises(StartupError) as refused:
        startup.initialise(settings_of(data), (), None)
    line = next(line for line in str(refused.value).splitlines() if "export" in line)
    entry = parse(line.partition("'")[2].rstrip("'"))[0]
    assert (entry.account, entry.user) == ("111122223333", "admin")
    startup.initialise(settings_of(data), (entry,), None)
    assert [account.operator for account in accounts(data)] == [True]
    startup.initialise(settings_of(data), (), None)  # and then it starts without one


def test_dev_account_is_not_the_operator_when_the_bootstrap_names_another(data: Path) -> None:
    key = startup.dev_key(data)
    startup.initialise(settings_of(data), (*parse(OTHERS), key), key)
    assert {a.id: a.operator for a in accounts(data)} == {"111122223333": True, startup.DEV_ACCOUNT: False}
    database = open_database(f"sqlite:///{data / 'daypass.db'}")
    roles = database.read(lambda conn: StoreReader(conn).find(Role))
    database.close()
    assert {(role.account, role.name) for role in roles} == {
        (startup.DEV_ACCOUNT, "reader"),
        (startup.DEV_ACCOUNT, "deployer"),
    }


def test_serve_dev_passes_the_bootstrap_accounts_first(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[tuple[FirstKey, ...]] = []

    def stop(_settings: Settings, entries: tuple[FirstKey, ...], _key: FirstKey) -> None:
        given.append(entries)
        raise StartupError("enough")

    monkeypatch.setattr(startup, "initialise", stop)
    monkeypatch.setenv("DAYPASS_BOOTSTRAP", OTHERS)
    assert run(["serve", "--dev", "--data", str(data)]) == 6
    assert [entry.account for entry in given[0]] == ["111122223333", startup.DEV_ACCOUNT]


@pytest.mark.parametrize("content", ["", "{}", "[]", '{"key_id": 1}', '{"key_id": "x", "secret": "", "account": ""}'])
def test_dev_key_file_that_is_damaged_is_refused_with_what_to_do(data: Path, content: str) -> None:
    (data / "dev-key.json").write_text(content)
    with pytest.raises(StartupError, match=r"dev-key\.json is damaged"):
        startup.dev_key(data)


def test_dev_key_that_the_database_does_not_know_is_refused(data: Path) -> None:
    key = startup.dev_key(data)
    startup.initialise(settings_of(data), (key,), key)
    (data / "dev-key.json").unlink()
    other = startup.dev_key(data)
    with pytest.raises(StartupError, match="does not know the key"):
        startup.initialise(settings_of(data), (other,), other)


def test_dev_key_that_cannot_be_written_leaves_no_empty_file(data: Path) -> None:
    """A limit of the size of files stands for a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, before[1]))
    try:
        with pytest.raises(StartupError, match="File too large"):
            startup.dev_key(data)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert not list(data.iterdir())


# --- What is said of plain HTTP


@pytest.mark.parametrize(
    ("server", "warned"),
    [
        ({"host": "0.0.0.0"}, True),
        ({"host": "::"}, True),
        ({"host": "127.0.0.1"}, False),
        ({"host": "0.0.0.0", "tls_cert": "cert.pem", "tls_key": "key.pem"}, False),
        ({"host": "0.0.0.0", "trusted_proxies": ("10.0.0.0/8",)}, False),
    ],
)
def test_plain_http_beyond_loopback_is_warned_of(
    server: dict[str, Any], warned: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    startup.warn_of_plain_http(load(None, {}, {"server": server}))
    shown = capsys.readouterr().err
    assert ("WARNING: plain HTTP" in shown) is warned


def test_dev_beyond_loopback_is_refused(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["serve", "--dev", "--host", "0.0.0.0", "--data", str(data)]) != 0
    assert "loopback only" in capsys.readouterr().err
    assert list(data.iterdir()) == []


@pytest.mark.parametrize(
    ("server", "expected"),
    [
        ({"port": 8700}, "http://localhost:8700"),
        ({"port": 8700, "public_url": "https://daypass.example.com"}, "https://daypass.example.com"),
        ({"port": 0}, ""),
    ],
)
def test_with_public_url_is_localhost_unless_one_is_set_or_the_port_is_unknown(
    server: dict[str, object], expected: str
) -> None:
    assert startup.with_public_url(Settings.model_validate({"server": server})).server.public_url == expected


def test_setup_code_is_kept_until_there_is_an_account(data: Path) -> None:
    settings = startup.with_public_url(settings_of(data))
    code = startup.prepare_setup(settings)
    file = data / startup.SETUP_CODE
    assert len(code) >= 32
    assert startup.prepare_setup(settings) == code == startup.setup_code(data)
    assert file.stat().st_mode & 0o777 == 0o600
    startup.initialise(settings, parse(OTHERS), None)
    assert startup.prepare_setup(settings) == ""
    assert not file.exists()


def test_setup_lines_name_the_setting_that_a_start_without_setup_needs(data: Path) -> None:
    said = startup.setup_lines("http://localhost:8700", data, "code")
    assert "DAYPASS_SERVER__PUBLIC_URL=http://localhost:8700" in said


def test_setup_without_an_address_for_browsers_is_refused(data: Path) -> None:
    with pytest.raises(ConfigError, match=r"server\.public_url"):
        startup.prepare_setup(settings_of(data))


def test_cause_with_several_hosts_names_each_with_its_port() -> None:
    said = cause_of(OSError("refused"), "postgresql://u:p@/shop?host=a:5432&host=b:5433")
    assert said.startswith("PostgreSQL at a:5432, b:5433 (database shop, user u)")

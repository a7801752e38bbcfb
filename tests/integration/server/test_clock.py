from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import pytest
import structlog
from click.testing import CliRunner
from sqlalchemy import select
from tests.prepared import prepare_sqlite
from tests.processes import free_port
from tests.terminal import Terminal

from daypass.audit.log import load_mark
from daypass.audit.sql import raise_mark
from daypass.audit.stored import event_bytes
from daypass.cli.installation import clock
from daypass.cli.main import run
from daypass.config import Settings
from daypass.domain.directory import Account, Revocation
from daypass.domain.events import decode
from daypass.server.runtime import Runtime
from daypass.stores.engine import Database, open_database
from daypass.stores.entities import ENTITY_TABLES
from daypass.stores.records import audit_records
from daypass.stores.tx import StoreTx

DAY = 86_400_000


def spoiled(data: Path) -> Database:
    """A database whose mark is a day ahead, with one account."""
    database = open_database(prepare_sqlite(data / "daypass.db"))
    with database.write_transaction() as conn:
        tx = StoreTx(conn, 1)
        tx.insert(Account("111122223333", "one", operator=True, created_at=1))
        tx.flush()
        raise_mark(conn, time.time_ns() // 1_000_000 + DAY, "")
    return database


def test_clock_show_with_the_mark_ahead_says_so(tmp_path: Path) -> None:
    spoiled(tmp_path).close()
    shown = CliRunner().invoke(clock, ["show", "--data", str(tmp_path)], standalone_mode=False)
    assert shown.return_value == 1
    assert "highest on record" in shown.output


async def test_start_with_the_mark_ahead_is_logged(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spoiled(tmp_path).close()
    structlog.reset_defaults()
    runtime = Runtime(Settings.model_validate({"server": {"data": str(tmp_path)}}))
    await runtime.start()
    await runtime.stop()
    said = "".join(capsys.readouterr())
    assert "clock.behind" in said
    assert "behind the time that was recorded before" in said


def test_clock_reset_lowers_the_mark_ends_all_sessions_and_is_recorded(tmp_path: Path) -> None:
    database = spoiled(tmp_path)
    done = CliRunner().invoke(clock, ["reset", "--yes", "--data", str(tmp_path)], standalone_mode=False)
    assert done.exception is None
    now = time.time_ns() // 1_000_000
    assert abs(database.read(load_mark) - now) < 60_000
    revocations = ENTITY_TABLES[Revocation].table
    rows = database.read(lambda conn: conn.execute(select(revocations.c.value, revocations.c.issued_before)).all())
    assert [(value, abs(before - now) < 60_000) for value, before in rows] == [("111122223333", True)]
    events = database.read(lambda conn: event_bytes(conn, conn.execute(select(audit_records)).all()))
    assert "clock.reset" in [decode(data)["type"] for data in events.values()]
    database.close()


def test_clock_without_a_database_names_the_place_and_makes_no_file(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    for command in ("show", "reset"):
        assert run(["clock", command, "--data", str(tmp_path), *(["--yes"] if command == "reset" else [])]) == 2
        err = capfd.readouterr().err
        assert (
            err
            == f"daypass: no database exists at {tmp_path}/daypass.db. Name the server's --data directory or --config file\n"
        )
    assert list(tmp_path.iterdir()) == []


def test_clock_of_an_unreachable_database_names_the_host_and_what_to_check(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    port = free_port()
    monkeypatch.setenv("DAYPASS_DATABASE__URL", f"postgresql://daypass:hidden@127.0.0.1:{port}/daypass")
    assert run(["clock", "show", "--data", str(tmp_path)]) == 5
    err = capfd.readouterr().err
    assert err.startswith(f"daypass: PostgreSQL at 127.0.0.1:{port} (database daypass, user daypass) cannot be used:")
    assert "Check that the server runs" in err
    assert "hidden" not in err


def test_clock_reset_where_nobody_can_be_asked_needs_yes(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    database = spoiled(tmp_path)
    assert run(["clock", "reset", "--data", str(tmp_path)]) == 2
    assert "Give --yes" in capfd.readouterr().err
    assert database.read(load_mark) > time.time_ns() // 1_000_000 + DAY // 2
    database.close()


def test_clock_reset_without_consent_changes_nothing(tmp_path: Path) -> None:
    database = spoiled(tmp_path)
    command = [sys.executable, "-m", "daypass.cli.main", "clock", "reset", "--data", str(tmp_path)]
    with Terminal(command, {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "TERM": "xterm"}) as terminal:
        terminal.wait_for("end every session? [y/N]")
        terminal.type("n\n")
        assert terminal.status() == 130
    assert database.read(load_mark) > time.time_ns() // 1_000_000 + DAY // 2
    database.close()

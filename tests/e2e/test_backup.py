"""The runbook of backups: made while the server runs, drilled, and restored; what was revoked stays revoked (A105)."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from tests.e2e.conftest import running, session_key
from tests.e2e.test_peers import code
from tests.e2e.test_running import cli, make_role
from tests.prepared import PreparedPostgres, prepared_postgres

pytestmark = pytest.mark.slow

__all__ = ["prepared_postgres"]


def run(*arguments: str, **environment: str) -> str:
    ran = cli("backup", *arguments, **environment)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


def test_a105_backup_is_drilled_and_restored_and_revoked_sessions_stay_revoked(tmp_path: Path) -> None:
    data, restored, file, key = tmp_path / "data", tmp_path / "restored", tmp_path / "daypass.age", tmp_path / "key.txt"
    recipient = run("keygen", str(key)).strip()
    with running(data) as server:
        role = make_role(server)
        sts = server.client("sts")
        before = session_key(sts.assume_role(RoleArn=role, RoleSessionName="before"))
        assert "Wrote" in run("create", str(file), "--recipient", recipient, "--data", str(data))
        after = session_key(sts.assume_role(RoleArn=role, RoleSessionName="after"))
        server.api("POST", "/revocations", body={"subject": "role", "value": role})  # not in the backup
        assert code(server.client("sts", after).get_caller_identity) == "ExpiredToken"
    assert b"daypass" not in file.read_bytes()[200:]
    drilled = run("drill", str(file), "--identity", str(key), "--data", str(data))
    assert "records in" in drilled
    assert "ring keys open" in drilled
    assert "Restored" in run("restore", str(file), "--identity", str(key), "--data", str(restored))
    shutil.copy(data / "master.key", restored / "master.key")
    with running(restored) as server:
        for session in (before, after):
            assert code(server.client("sts", session).get_caller_identity) == "InvalidClientTokenId"
        again = session_key(server.client("sts").assume_role(RoleArn=role, RoleSessionName="again"))
        assert code(server.client("sts", again).get_caller_identity) == ""
    with running(data) as server:  # the original goes on: it takes nothing that the copy has issued (A441)
        assert code(server.client("sts", again).get_caller_identity) == "InvalidClientTokenId"
    assert cli("audit", "verify", "--data", str(restored)).returncode == 0
    found = cli("audit", "verify", "--data", str(data))
    assert found.returncode == 0


def test_restore_of_a_damaged_backup_or_into_a_used_database_changes_nothing(tmp_path: Path) -> None:
    data, file, key = tmp_path / "data", tmp_path / "daypass.age", tmp_path / "key.txt"
    recipient = run("keygen", str(key)).strip()
    with running(data):
        run("create", str(file), "--recipient", recipient, "--data", str(data))
    used = cli("backup", "restore", str(file), "--identity", str(key), "--data", str(data))
    assert (used.returncode, "not empty" in used.stderr) == (6, True)
    damaged = tmp_path / "damaged.age"
    damaged.write_bytes(file.read_bytes()[:-100])
    refused = cli("backup", "restore", str(damaged), "--identity", str(key), "--data", str(tmp_path / "new"))
    assert (refused.returncode, "decrypted" in refused.stderr) == (6, True)
    run("restore", str(file), "--identity", str(key), "--data", str(tmp_path / "new"))
    other = tmp_path / "other.txt"
    run("keygen", str(other))
    stranger = cli("backup", "drill", str(file), "--identity", str(other), "--data", str(data))
    assert (stranger.returncode, "No matching keys" in stranger.stderr) == (6, True)
    assert cli("backup", "create", str(file), "--recipient", recipient, "--data", str(data)).returncode == 6


def test_backup_of_postgresql_restores_into_sqlite_and_back(
    prepared_postgres: PreparedPostgres, tmp_path: Path
) -> None:
    file, key, local = tmp_path / "daypass.age", tmp_path / "key.txt", tmp_path / "local"
    recipient = run("keygen", str(key)).strip()
    with prepared_postgres.lent() as url:
        with running(tmp_path / "data", environment={"DAYPASS_DATABASE__URL": url}) as server:
            role = make_role(server)
        run("create", str(file), "--recipient", recipient, DAYPASS_DATABASE__URL=url)
    run("restore", str(file), "--identity", str(key), "--data", str(local))
    shutil.copy(tmp_path / "data" / "master.key", local / "master.key")
    second = tmp_path / "second.age"
    run("create", str(second), "--recipient", recipient, "--data", str(local))
    with prepared_postgres.lent() as url:
        environment = {"DAYPASS_DATABASE__URL": url}
        run("restore", str(second), "--identity", str(key), "--data", str(tmp_path / "data"), **environment)
        with running(tmp_path / "data", environment=environment) as server:
            assert server.client("sts").assume_role(RoleArn=role, RoleSessionName="again")["Credentials"]
        assert cli("audit", "verify", "--url", url).returncode == 0

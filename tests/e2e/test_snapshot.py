"""A server that starts while PostgreSQL is unavailable serves from the snapshot of the directory that it wrote before."""

from __future__ import annotations

import json
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from botocore.exceptions import ClientError
from sqlalchemy import select
from tests.e2e.conftest import BOOTSTRAP, OPERATOR, Server, running, session_key
from tests.e2e.test_hanging_database import QUICK, issued, readiness
from tests.e2e.test_running import make_role, within
from tests.integration.audit.making import bodies_of, verified
from tests.prepared import PreparedPostgres, prepared_postgres
from tests.stalling import stalling

from daypass.stores.engine import open_database
from daypass.stores.records import audit_logs

__all__ = ["prepared_postgres"]

pytestmark = pytest.mark.slow

SNAPSHOT = {
    **QUICK,
    "DAYPASS_SNAPSHOT__ENABLED": "true",
    "DAYPASS_SNAPSHOT__SECONDS": "1",
    "DAYPASS_SNAPSHOT__AFTER_SECONDS": "0",
}


def snapshot_files(server: Server) -> list[Path]:
    return [server.data / "snapshot" / name for name in ("state.sealed", "views.sealed")]


def written_again(server: Server) -> None:
    """Waits until the snapshot has been written twice from now: the second one began after this call."""
    state = server.data / "snapshot" / "state.sealed"
    for _ in range(2):
        before = state.stat().st_mtime_ns if state.exists() else 0
        within(60, lambda before=before: state.exists() and state.stat().st_mtime_ns != before)  # type: ignore[misc]


def revoke(server: Server, subject: str, value: str) -> None:
    server.api("POST", "/revocations", body={"subject": subject, "value": value, "force": True})


def test_start_without_postgresql_serves_from_the_snapshot_and_records_everything_once(
    prepared_postgres: PreparedPostgres, tmp_path: Path
) -> None:
    with prepared_postgres.lent() as url, stalling(url) as database:
        environment = {**SNAPSHOT, "DAYPASS_DATABASE__URL": database.url}
        with running(tmp_path / "data", environment=environment) as server:
            role = make_role(server)
            sts = server.client("sts", read_timeout=20)
            ended, alive = (
                session_key(sts.assume_role(RoleArn=role, RoleSessionName=name)) for name in ("ended", "alive")
            )
            keys = [ended[0], alive[0]]
            revoke(server, "access_key", ended[0])
            written_again(server)
            assert [oct(file.stat().st_mode & 0o777) for file in snapshot_files(server)] == ["0o600"] * 2
            assert not any(b"deploy" in file.read_bytes() for file in snapshot_files(server))
            database.hang()
            during = session_key(sts.assume_role(RoleArn=role, RoleSessionName="during"))
            keys.append(during[0])
            revoke(server, "access_key", during[0])  # only its spool knows this
            server.process.kill()
            server.process.wait(120)
        with running(tmp_path / "data", environment=environment) as server:
            status, said = readiness(server.url)
            degraded = json.loads(said)
            assert (status, degraded["status"], degraded["degraded"]["snapshot"]) == (200, "degraded", True)
            assert degraded["degraded"]["directory_age_seconds"] > 0
            sts = server.client("sts", read_timeout=20)
            for number in range(5):
                made = sts.assume_role(RoleArn=role, RoleSessionName=f"offline-{number}")
                keys.append(made["Credentials"]["AccessKeyId"])
            assert server.client("sts", alive).get_caller_identity()["Account"] == OPERATOR
            for revoked in (ended, during):
                with pytest.raises(ClientError) as refused:
                    server.client("sts", revoked).get_caller_identity()
                assert refused.value.response["Error"]["Code"] in ("ExpiredToken", "InvalidClientTokenId")
            with pytest.raises(ClientError) as unknown:
                sts.assume_role(RoleArn=role.replace("ops", "other"), RoleSessionName="job")
            assert unknown.value.response["Error"]["Code"] in ("AccessDenied", "ServiceUnavailable")
            database.go_on()
            within(60, lambda: json.loads(readiness(server.url)[1]).get("status") != "degraded")
            within(60, lambda: set(keys) <= set(issued(url)))
            server.client("iam").create_user(UserName="after")
        assert {key: count for key, count in issued(url).items() if count > 1} == {}
        with closing(open_database(url)) as opened:
            logs = opened.read(lambda conn: conn.execute(select(audit_logs.c.log)).scalars().all())
            openings = [verified(opened, log) and bodies_of(opened, log)[0]["detail"] for log in logs]
        assert len([detail for detail in openings if "snapshot" in detail]) == 1, "its age can be examined later"


def test_start_without_postgresql_and_with_an_altered_snapshot_is_refused(
    prepared_postgres: PreparedPostgres, tmp_path: Path
) -> None:
    with prepared_postgres.lent() as url, stalling(url) as database:
        environment = {**SNAPSHOT, "DAYPASS_DATABASE__URL": database.url, "DAYPASS_DATABASE__WAIT_SECONDS": "0"}
        with running(tmp_path / "data", environment=environment) as server:
            written_again(server)
            views = snapshot_files(server)[1]
        content = bytearray(views.read_bytes())
        content[-20] ^= 1
        views.write_bytes(content)
        database.hang()
        started = subprocess.run(
            [sys.executable, "-m", "daypass.cli.main", "serve", "--port", "0", "--data", str(tmp_path / "data")],
            env={"PATH": "", **environment, "DAYPASS_BOOTSTRAP": BOOTSTRAP},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        database.go_on()
        assert started.returncode != 0
        assert "was altered" in started.stderr

"""A server whose PostgreSQL hangs (A103): it answers, says that it is not ready, recovers, and can be stopped."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections import Counter
from contextlib import closing
from pathlib import Path

import pytest
from botocore.exceptions import ClientError
from sqlalchemy import select
from tests.e2e.conftest import running
from tests.e2e.test_running import cli, make_role, within
from tests.prepared import PreparedPostgres, prepared_postgres
from tests.stalling import stalling

from daypass.audit.stored import event_bytes
from daypass.domain.events import decode
from daypass.stores.engine import open_database
from daypass.stores.records import audit_records

pytestmark = pytest.mark.slow

__all__ = ["prepared_postgres"]

QUICK = {"DAYPASS_DATABASE__ANSWER_SECONDS": "0.5", "DAYPASS_JOURNAL__DEADLINE_SECONDS": "1.5"}


def readiness(url: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"{url}/readyz", timeout=20) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def issued(url: str) -> Counter[str]:
    """The access key ids of the sessions on the record, and how often each is there."""
    query = select(audit_records).where(audit_records.c.type == "session.issued")
    with closing(open_database(url)) as database:
        found = database.read(lambda conn: event_bytes(conn, conn.execute(query).all()))
    return Counter(decode(data)["detail"]["access_key_id"] for data in found.values())


def test_a103_hung_postgresql_without_spool_is_unavailable_and_a_stop_ends(
    prepared_postgres: PreparedPostgres, tmp_path: Path
) -> None:
    with prepared_postgres.lent() as url, stalling(url) as database:
        environment = {**QUICK, "DAYPASS_DATABASE__URL": database.url, "DAYPASS_SPOOL__ENABLED": "false"}
        with running(tmp_path / "data", environment=environment) as server:
            sts = server.client("sts", read_timeout=20)
            assert sts.get_caller_identity()["Account"]
            database.hang()
            for _ in range(2):  # the first waits for the deadline, the second is refused at once
                with pytest.raises(ClientError) as refused:
                    sts.get_caller_identity()
                assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == 503
            status, said = readiness(server.url)
            assert status == 503
            assert "database" in said
            database.go_on()
            within(20, lambda: readiness(server.url)[0] == 200)
            assert sts.get_caller_identity()["Account"]
            database.hang()
            server.process.terminate()
            assert server.process.wait(120) == 0
            database.go_on()


def test_a103_stop_while_postgresql_hangs_ends_and_leaves_the_spool(
    prepared_postgres: PreparedPostgres, tmp_path: Path
) -> None:
    with prepared_postgres.lent() as url, stalling(url) as database:
        environment = {**QUICK, "DAYPASS_DATABASE__URL": database.url}
        with running(tmp_path / "data", environment=environment) as server:
            sts = server.client("sts", read_timeout=20)
            assert sts.get_caller_identity()["Account"]  # its key is in memory from now on
            database.hang()
            assert sts.get_caller_identity()["Account"]
            server.process.terminate()
            assert server.process.wait(120) == 0
            left = [*(tmp_path / "data" / "spool").glob("*.db")]
            database.go_on()
        assert len(left) == 1


def test_a103_hung_postgresql_with_spool_serves_and_records_everything_once(
    prepared_postgres: PreparedPostgres, tmp_path: Path
) -> None:
    with prepared_postgres.lent() as url, stalling(url) as database:
        environment = {**QUICK, "DAYPASS_DATABASE__URL": database.url}
        with running(tmp_path / "data", environment=environment) as server:
            role = make_role(server)
            sts, iam = server.client("sts", read_timeout=20), server.client("iam", read_timeout=20)
            sts.assume_role(RoleArn=role, RoleSessionName="before")
            database.hang()
            keys = [
                sts.assume_role(RoleArn=role, RoleSessionName=f"during-{number}")["Credentials"]["AccessKeyId"]
                for number in range(5)
            ]
            assert sts.get_session_token()["Credentials"]
            with pytest.raises(ClientError) as denied:
                sts.assume_role(RoleArn=role.replace("ops", "other"), RoleSessionName="job")
            assert denied.value.response["Error"]["Code"] in ("AccessDenied", "ServiceUnavailable")
            with pytest.raises(ClientError) as refused:
                iam.create_user(UserName="ann")
            assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == 503
            assert "retry-after" in refused.value.response["ResponseMetadata"]["HTTPHeaders"]
            assert "database is unavailable" in refused.value.response["Error"]["Message"]
            status, said = readiness(server.url)
            assert (status, json.loads(said)["status"]) == (200, "degraded")
            assert json.loads(said)["degraded"]["spool_events"] >= 7
            server.process.kill()
            server.process.wait(120)
        database.go_on()
        with running(tmp_path / "data", environment=environment) as server:
            within(20, lambda: set(keys) <= set(issued(url)))
        assert all(count == 1 for count in issued(url).values())
        assert cli("audit", "verify", "--url", url).returncode == 0

"""Failover of PostgreSQL under load: two servers with streaming replication behind one connection string.

With the spool no request is refused. Without it, refusals end three seconds after the new primary accepts writes. What a
client received is on the record exactly once, and revocations stay in force.
"""

from __future__ import annotations

import base64
import json
import secrets
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select
from tests.e2e.conftest import Server, running, session_key
from tests.e2e.load import Load, loading
from tests.e2e.test_hanging_database import issued
from tests.e2e.test_running import cli, code_of, make_role, within
from tests.replication import Cluster, replicated

from daypass.audit.stored import event_bytes
from daypass.domain.events import decode
from daypass.stores.engine import open_database
from daypass.stores.records import audit_records

pytestmark = pytest.mark.slow


@contextmanager
def serving(cluster: Cluster, folder: Path, **more: str) -> Iterator[Server]:
    environment = {
        "DAYPASS_DATABASE__URL": cluster.url,
        "DAYPASS_KEYS__ENCRYPTION_KEY": base64.b64encode(secrets.token_bytes(32)).decode(),
        **more,
    }
    with running(folder, environment=environment) as server:
        yield server


def ready(server: Server) -> bool:
    """Whether the database is available: not degraded."""
    with urllib.request.urlopen(f"{server.url}/readyz", timeout=20) as answer:
        return "degraded" not in json.load(answer)


def check_record(cluster: Cluster, load: Load) -> None:
    """Everything that a client received is on the record once, and every log verifies."""
    recorded = issued(cluster.url)
    assert Counter(load.issued) - recorded == Counter()
    assert max(recorded.values()) == 1
    verified = cli("audit", "verify", "--url", cluster.url)
    assert verified.returncode == 0, verified.stdout + verified.stderr


def events(cluster: Cluster, kind: str) -> list[dict[str, Any]]:
    """The events of a type on the record."""
    query = select(audit_records).where(audit_records.c.type == kind)
    with closing(open_database(cluster.url)) as database:
        found = database.read(lambda conn: event_bytes(conn, conn.execute(query).all()))
    return [decode(data) for data in found.values()]


@pytest.mark.parametrize("planned", [True, False], ids=["switchover", "kill"])
def test_failover_with_spool_refuses_nothing_and_loses_nothing(tmp_path: Path, planned: bool) -> None:
    with replicated(synchronous=True) as cluster, serving(cluster, tmp_path / "data") as server:
        role = make_role(server)
        key = session_key(server.client("sts").assume_role(RoleArn=role, RoleSessionName="before"))
        with loading(role, [server], 2) as load:
            load.wait_for(30)
            if planned:
                cluster.switch_over()
            else:
                cluster.fail_over()
            load.wait_for(60)
            within(60, lambda: ready(server))
            load.wait_for(30)
        assert load.failed == []
        assert server.client("sts", key).get_caller_identity()["Account"]
        server.api("POST", "/revocations", body={"subject": "access_key", "value": key[0]})
        assert code_of(server.client("sts", key).get_caller_identity) == "ExpiredToken"
        check_record(cluster, load)


def test_failover_without_spool_refuses_for_three_seconds_at_most(tmp_path: Path) -> None:
    off = {"DAYPASS_SPOOL__ENABLED": "false"}
    with replicated(synchronous=True) as cluster, serving(cluster, tmp_path / "data", **off) as server:
        role = make_role(server)
        with loading(role, [server], 2) as load:
            load.wait_for(30)
            cluster.fail_over()
            promoted = time.monotonic()
            load.wait_for(100)
        late = [at - promoted for at, _ in load.failed if at > promoted]
        assert max(late, default=0.0) < 3.0, load.failed
        assert all("ServiceUnavailable" in said or "503" in said for _, said in load.failed), load.failed[:3]
        check_record(cluster, load)


def test_asynchronous_failover_sends_lost_records_again_and_names_lost_changes(tmp_path: Path) -> None:
    with replicated(synchronous=False) as cluster, serving(cluster, tmp_path / "data") as server:
        role = make_role(server)
        key = session_key(server.client("sts").assume_role(RoleArn=role, RoleSessionName="before"))
        with loading(role, [server], 2) as load:
            load.wait_for(20)
            cluster.cut()
            load.wait_for(20)
            server.api("POST", "/revocations", body={"subject": "access_key", "value": key[0]})
            server.client("iam").create_user(UserName="lost")
            cluster.fail_over()
            load.wait_for(40)
            within(60, lambda: ready(server))
            load.wait_for(20)
        assert code_of(server.client("sts", key).get_caller_identity) == "ExpiredToken"
        assert load.failed == []
        check_record(cluster, load)
        [restored] = events(cluster, "records.restored")
        assert restored["detail"]["records"] >= 20
        named = {each["operation"] for each in restored["detail"]["named"]}
        assert named >= {"iam:CreateUser", "daypass:RevokeSession"}
        assert code_of(lambda: server.client("iam").get_user(UserName="lost")) == "NoSuchEntity"


def test_h1_server_that_dies_with_an_asynchronous_primary_restores_revocations_and_reports_what_is_missing(
    tmp_path: Path,
) -> None:
    data, kept = tmp_path / "data", {"DAYPASS_KEYS__ENCRYPTION_KEY": base64.b64encode(secrets.token_bytes(32)).decode()}
    with replicated(synchronous=False) as cluster:
        with serving(cluster, data, **kept) as server:
            role = make_role(server)
            early, revoked = (
                session_key(server.client("sts").assume_role(RoleArn=role, RoleSessionName=name))
                for name in ("early", "revoked")
            )
            iam = server.client("iam")
            iam.create_user(UserName="leaver")
            iam.put_user_policy(UserName="leaver", PolicyName="all", PolicyDocument=ALLOW_ALL)
            blocked = iam.create_access_key(UserName="leaver")["AccessKey"]
            leaver = (blocked["AccessKeyId"], blocked["SecretAccessKey"])
            within(30, lambda: "asynchronous" in json.dumps(warnings(server)))
            cluster.wait(lambda: bool(cluster.primary.sql(CAUGHT_UP)))
            cluster.cut()
            server.api("POST", "/revocations", body={"subject": "access_key", "value": revoked[0]})
            server.api("POST", "/revocations", body={"subject": "access_key", "value": leaver[0], "block": True})
            lost = session_key(server.client("sts").assume_role(RoleArn=role, RoleSessionName="lost"))
            server.process.kill()
            server.process.wait()
            cluster.fail_over()
            verified = cli("audit", "verify", "--data", str(data), DAYPASS_DATABASE__URL=cluster.url)
            assert (verified.returncode, "BAD" in verified.stdout) == (1, True), verified.stdout
        with serving(cluster, data, **kept) as server:
            for key in (early, revoked, lost):
                assert code_of(server.client("sts", key).get_caller_identity) == "ExpiredToken"
            assume = {"RoleArn": role, "RoleSessionName": "again"}
            assert code_of(lambda: server.client("sts", leaver).assume_role(**assume)) == "AccessDenied"
            again = session_key(server.client("sts").assume_role(**assume))
            assert code_of(server.client("sts", again).get_caller_identity) == ""
            assert "recorded events are missing" in json.dumps(warnings(server))
            said = server.log.read_text()
            assert "database.events_missing" in said
            assert '"since"' in said or "since=" in said
        verified = cli("audit", "verify", "--url", cluster.url)
        assert (verified.returncode, verified.stdout.count("GAP")) == (8, 1), verified.stdout
        opened = [each["detail"] for each in events(cluster, "log.opened") if "lost" in each["detail"]]
        assert [detail["lost"] for detail in opened] == [1]
        assert opened[0]["missing"] >= 3
        assert opened[0]["since"] <= opened[0]["until"]


CAUGHT_UP = "SELECT 1 FROM pg_stat_replication WHERE replay_lsn >= pg_current_wal_lsn()"
ALLOW_ALL = '{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"*","Resource":"*"}}'


def warnings(server: Server) -> Any:
    with urllib.request.urlopen(f"{server.url}/readyz", timeout=20) as answer:
        return json.load(answer).get("warnings")

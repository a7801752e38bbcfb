"""The previous release beside this one, on one PostgreSQL database under load: upgrade, rollback, upgrade again.

No request may fail, sessions and revocations of each release hold at the other, and the record verifies.
"""

from __future__ import annotations

import base64
import secrets
from collections import Counter
from contextlib import ExitStack, closing
from pathlib import Path

import pytest
from tests.e2e.conftest import OPERATOR, Server, running, session_key
from tests.e2e.load import loading
from tests.e2e.test_hanging_database import issued
from tests.e2e.test_running import cli, code_of, make_role, within
from tests.releases import PREVIOUS_REVISION, previous_release

from daypass.stores.engine import open_database
from daypass.stores.meta import get_meta
from daypass.stores.migrations import COMPATIBLE

pytestmark = pytest.mark.slow


def revoke_and_check(one: Server, other: Server, role: str) -> None:
    """A session of `one` that `other` revokes ends at both within a second."""
    key = session_key(one.client("sts").assume_role(RoleArn=role, RoleSessionName="to-be-revoked"))
    clients = [server.client("sts", key) for server in (one, other)]
    assert [client.get_caller_identity()["Account"] for client in clients] == [OPERATOR, OPERATOR]
    other.api("POST", "/revocations", body={"subject": "access_key", "value": key[0], "force": True})
    for client in clients:
        within(2.0, lambda client=client: code_of(client.get_caller_identity) == "ExpiredToken")  # type: ignore[misc]


def test_upgrade_and_rollback_under_load_lose_no_request(postgres_url: str, tmp_path: Path) -> None:
    old = {"PYTHONPATH": str(previous_release(tmp_path / "previous"))}
    shared = {
        "DAYPASS_DATABASE__URL": postgres_url,
        "DAYPASS_KEYS__ENCRYPTION_KEY": base64.b64encode(secrets.token_bytes(32)).decode(),
    }
    with ExitStack() as everything:

        def start(name: str, **more: str) -> tuple[Server, ExitStack]:
            own = ExitStack()
            server = own.enter_context(running(tmp_path / name, environment={**shared, **more}))
            everything.push(own)
            return server, own

        first, stop_first = start("old-1", **old)
        second, stop_second = start("old-2", **old)
        role = make_role(first)
        with loading(role, [first, second]) as load:
            load.wait_for(40)
            third, stop_third = start("new-1")  # migrates
            with closing(open_database(postgres_url)) as database:
                compatible = database.read(lambda conn: get_meta(conn, COMPATIBLE)) or ""
            assert PREVIOUS_REVISION in compatible.split()
            load.use(first, second, third)
            load.wait_for(60)
            revoke_and_check(second, third, role)
            revoke_and_check(third, second, role)
            load.use(second, third)
            load.wait_for(20)
            stop_first.close()
            fourth, stop_fourth = start("new-2")
            load.use(third, fourth)
            load.wait_for(20)
            stop_second.close()
            make_role(fourth, "made-by-the-new-release")
            load.wait_for(40)
            again, _ = start("old-3", **old)  # rollback: it starts on the new schema
            load.use(again, fourth)
            load.wait_for(20)
            load.use(again)
            stop_third.close()
            stop_fourth.close()
            load.wait_for(40)
            make_role(again, "made-by-the-old-release")
            last, _ = start("new-3")
            load.use(again, last)
            load.wait_for(60)
        assert load.failed == []
        recorded = issued(postgres_url)
        assert Counter(load.issued) - recorded == Counter()
        assert max(recorded.values()) == 1
    verified = cli("audit", "verify", "--url", postgres_url, **shared)
    assert verified.returncode == 0, verified.stdout + verified.stderr

"""Two servers without their database: a key that is blocked on one is refused by the other, and stays refused (A103)."""

from __future__ import annotations

import base64
import json
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError
from tests.e2e.conftest import OPERATOR, Server, running, session_key
from tests.e2e.test_hanging_database import QUICK
from tests.e2e.test_running import within
from tests.prepared import PreparedPostgres, prepared_postgres
from tests.stalling import stalling

from daypass.client.errors import ClientError as ApiError

pytestmark = pytest.mark.slow

__all__ = ["prepared_postgres"]

KEK = base64.b64encode(b"k" * 32).decode()


def role_and_key(server: Server) -> tuple[str, tuple[str, str]]:
    """A role that a user may assume, and the user's key."""
    iam = server.client("iam")
    user = iam.create_user(UserName="leaver")["User"]["Arn"]
    statement = {"Effect": "Allow", "Principal": {"AWS": user}, "Action": "sts:AssumeRole"}
    trust = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    role = iam.create_role(RoleName="shared", AssumeRolePolicyDocument=trust)["Role"]["Arn"]
    key = iam.create_access_key(UserName="leaver")["AccessKey"]
    return role, (key["AccessKeyId"], key["SecretAccessKey"])


def code(call: Any, **parameters: str) -> str:
    """The error code of a call; "" when it is served."""
    try:
        call(**parameters)
    except ClientError as error:
        return str(error.response["Error"]["Code"])
    return ""


def spools(server: Server) -> bool:
    """Whether the server has events in its spool."""
    code(server.client("sts", read_timeout=20).get_caller_identity)
    with urllib.request.urlopen(f"{server.url}/readyz", timeout=20) as answer:
        found = json.loads(answer.read()).get("degraded")
    return bool(found and found["spool_events"])


def test_a103_key_blocked_without_the_database_is_refused_by_the_peer_and_stays_refused(
    prepared_postgres: PreparedPostgres, tmp_path: Path
) -> None:
    with prepared_postgres.lent() as url, stalling(url) as database:
        environment = {**QUICK, "DAYPASS_DATABASE__URL": database.url, "DAYPASS_KEYS__ENCRYPTION_KEY": KEK}
        with running(tmp_path / "a", environment=environment) as first:
            following = {**environment, "DAYPASS_PEERS__URLS": first.url}
            with running(tmp_path / "b", environment=following) as second:
                role, key = role_and_key(first)
                on_second = second.client("sts", key, read_timeout=20)
                within(20, lambda: code(on_second.assume_role, RoleArn=role, RoleSessionName="before") == "")
                session = session_key(on_second.assume_role(RoleArn=role, RoleSessionName="before"))
                identity = second.client("sts", session, read_timeout=20).get_caller_identity
                assert code(identity) == ""
                database.hang()
                for server in (first, second):  # both notice the outage when they record something
                    within(20, lambda server=server: spools(server))  # type: ignore[misc]
                body = {"subject": "access_key", "value": key[0], "block": True, "reason": "leaked"}
                made = first.api("POST", "/revocations", body=body)
                assert made["sessions_ended"] is None
                within(20, lambda: code(identity) == "ExpiredToken")
                again = code(on_second.assume_role, RoleArn=role, RoleSessionName="again")
                assert again in ("AccessDenied", "ServiceUnavailable")  # a refusal may need the database
                with pytest.raises(ApiError):
                    first.api("POST", "/revocations", body={"subject": "principal", "value": "leaver"})
                database.go_on()
                within(40, lambda: not spools(first) and not spools(second))
                for server in (first, second):
                    within(20, lambda server=server: made["id"] in listed(server))  # type: ignore[misc]
                    assert (
                        code(server.client("sts", key).assume_role, RoleArn=role, RoleSessionName="after")
                        == "AccessDenied"
                    )
                    assert code(server.client("sts", session).get_caller_identity) == "ExpiredToken"


def listed(server: Server) -> list[str]:
    """The ids of the revocations that have a place in the feed."""
    found = server.api("GET", "/revocations")["revocations"]
    return [made["id"] for made in found if made["account"] == OPERATOR]


def test_stream_of_a_node_is_refused_without_a_proof(tmp_path: Path) -> None:
    with running(tmp_path) as server:
        for proof in ("", "x", "a.b.c"):
            request = urllib.request.Request(
                f"{server.url}/events/revocations", headers={"Authorization": f"Daypass-Node {proof}"}
            )
            with pytest.raises(urllib.error.HTTPError) as refused:
                urllib.request.urlopen(request, timeout=20)
            refused.value.close()
            assert refused.value.code in (400, 401, 403)

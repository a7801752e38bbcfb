"""Access requests and approvals in parallel, over two server processes: none is lost, and none happens twice."""

from __future__ import annotations

import json
import os
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from tests.e2e.conftest import ADMIN_KEY, OPERATOR, Server, running

from daypass.client.errors import ClientError
from daypass.client.http import Connection
from daypass.client.profiles import Profile

pytestmark = pytest.mark.slow
REQUESTS, THREADS, TRIES = 1_000, 16, 200
SHED = (429, 503)
UNLIMITED = {
    f"DAYPASS_RATES__{whose}_{what}": "1000000"
    for whose in ("PRINCIPAL", "ACCOUNT")
    for what in ("PER_SECOND", "BURST")
}


@pytest.fixture(params=["sqlite", "postgresql"])
def two(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Server, Server]]:
    """Two processes of one installation, which share its directory and its database."""
    environment = {**UNLIMITED, "DAYPASS_ACCESS__SWEEP_SECONDS": "300"}
    if request.param == "postgresql":
        environment["DAYPASS_DATABASE__URL"] = request.getfixturevalue("postgres_url")
    with running(tmp_path, environment=environment) as first, running(tmp_path, environment=environment) as second:
        yield first, second


def person(server: Server, name: str, group: str) -> tuple[str, str]:
    """A user in a group, who may do everything with requests: the key."""
    iam = server.client("iam")
    iam.create_user(UserName=name)
    iam.add_user_to_group(GroupName=group, UserName=name)
    statement = {"Effect": "Allow", "Action": "daypass:*", "Resource": "*"}
    document = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    iam.put_user_policy(UserName=name, PolicyName="p", PolicyDocument=document)
    key = iam.create_access_key(UserName=name)["AccessKey"]
    return key["AccessKeyId"], key["SecretAccessKey"]


def set_up(server: Server) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
    """A role that takes an approval, with a rule: the keys of those who ask, and of two who approve."""
    iam = server.client("iam")
    for group in ("engineers", "leads"):
        iam.create_group(GroupName=group)
    statement = {
        "Effect": "Allow",
        "Principal": {"AWS": f"arn:aws:iam::{OPERATOR}:root"},
        "Action": "sts:AssumeRole",
        "Condition": {"Bool": {"daypass:Approved": "true"}},
    }
    trust = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    iam.create_role(RoleName="prod", AssumeRolePolicyDocument=trust)
    rule = {
        "roles": ["role/prod"],
        "requesters": {"principals": ["group/engineers"]},
        "stages": [{"approvers": {"principals": ["group/leads"]}}],
    }
    server.api("PUT", "/approval-rules/prod", body={"document": json.dumps(rule)})
    askers = [person(server, f"asker{n}", "engineers") for n in range(REQUESTS // 40)]
    return askers, [person(server, name, "leads") for name in ("lee", "lou")]


def asked(server: Server, path: str, key: tuple[str, str], body: Any) -> tuple[int, Any]:
    """Status and answer, or the error, with status 0 when there is no answer. A request that the server sheds is sent again, as a
    client does.
    """
    for _ in range(TRIES):
        assert server.process.poll() is None, server.log.read_text()
        try:
            return 200, server.api("POST", path, key=key, body=body)
        except ClientError as error:
            if error.status not in SHED:
                return error.status, f"{server.url}: {error}"
            time.sleep(0.2)
    raise AssertionError(f"{path} was never served")


def test_1000_parallel_requests_and_approvals_over_two_processes_are_neither_lost_nor_doubled(
    two: tuple[Server, Server],
) -> None:
    """Each request is sent to both processes with one client token, then approved by one person in each."""
    askers, approvers = set_up(two[0])
    role = f"arn:aws:iam::{OPERATOR}:role/prod"
    began, cpu = time.perf_counter(), servers_cpu(two)

    def create(number: int, server: Server) -> tuple[int, Any]:
        body = {"roles": [role], "reason": f"incident {number}: orders are not written"}
        body["client_token"] = f"token-{number}"
        return asked(server, "/access-requests", askers[number % len(askers)], body)

    def approve(request: dict[str, Any], server: Server, key: tuple[str, str]) -> tuple[int, Any]:
        return asked(server, f"/access-requests/{request['id']}/approve", key, {"binding": request["binding"]})

    with ThreadPoolExecutor(THREADS) as pool:
        made = list(pool.map(lambda each: create(*each), [(n, s) for n in range(REQUESTS) for s in two]))
        assert [answer for status, answer in made if status != 200] == []
        requests = {answer["id"]: answer for _, answer in made}
        assert len(requests) == REQUESTS
        votes = list(
            pool.map(
                lambda each: approve(*each),
                [(r, s, key) for r in requests.values() for s, key in zip(two, approvers, strict=True)],
            )
        )
    took = time.perf_counter() - began
    # One vote of two decides. The other is refused: the request needs nobody any more.
    assert {status for status, _ in votes} == {200, 409}
    assert set(Counter(answer["id"] for status, answer in votes if status == 200).values()) == {1}
    grants = everything(two[1], "/grants", "grants")
    assert Counter(grant["request_id"] for grant in grants) == dict.fromkeys(requests, 1)
    listed = everything(two[0], "/access-requests", "access_requests")
    assert Counter(each["state"] for each in listed) == {"approved": REQUESTS}
    print(
        f"{4 * REQUESTS} calls in {took:.0f} s, {(servers_cpu(two) - cpu) * 1000 / (4 * REQUESTS):.1f} ms CPU of servers each"
    )


def everything(server: Server, path: str, member: str) -> list[dict[str, Any]]:
    """All pages of a list."""
    found: list[dict[str, Any]] = []
    after = ""
    while True:
        profile = Profile(server.url, *ADMIN_KEY, "", "eu-central-1")
        page = Connection(profile, deadline=60.0).api("GET", path, {"limit": "500", "after": after})
        found += page[member]
        after = page["next"]
        if not after:
            return found


def servers_cpu(servers: Sequence[Server]) -> float:
    """Seconds of CPU that the processes have used."""
    ticks = os.sysconf("SC_CLK_TCK")
    fields = [Path(f"/proc/{server.process.pid}/stat").read_text().rpartition(")")[2].split() for server in servers]
    return sum(int(each[11]) + int(each[12]) for each in fields) / ticks

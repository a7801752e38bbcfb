"""The conformance checks of scim2-tester, against a running server."""

from __future__ import annotations

import json
from pathlib import Path

import httpx2
import pytest
from scim2_client.engines.httpx2 import SyncSCIMClient
from scim2_tester import Status, check_server
from tests.e2e.conftest import running

pytestmark = pytest.mark.slow


def test_server_passes_the_checks_of_scim2_tester(tmp_path: Path) -> None:
    with running(tmp_path, environment={"DAYPASS_SERVER__PUBLIC_URL": "{url}"}) as server:
        iam = server.client("iam")
        iam.create_user(UserName="directory")
        statement = {"Effect": "Allow", "Action": "daypass:Provision", "Resource": "*"}
        policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
        iam.put_user_policy(UserName="directory", PolicyName="provision", PolicyDocument=policy)
        made = server.api("POST", "/scim-tokens", body={"name": "tester", "user": "directory"})
        headers = {"Authorization": f"Bearer {made['token']}"}
        with httpx2.Client(base_url=made["url"], headers=headers) as http:
            results = check_server(SyncSCIMClient(http))
    failed = {(r.title, str(r.reason).splitlines()[0]) for r in results if r.status in (Status.ERROR, Status.CRITICAL)}
    assert not failed
    assert sum(1 for r in results if r.status is Status.SUCCESS) >= 60

"""Access requests and grants that the previous release made, after an upgrade."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tests.e2e.conftest import OPERATOR, running
from tests.e2e.test_request_races import person, set_up
from tests.releases import previous_release

from daypass.client.errors import ClientError

pytestmark = pytest.mark.slow
ROLE = f"arn:aws:iam::{OPERATOR}:role/prod"


def test_requests_and_grants_of_the_previous_release_can_be_approved_and_used(tmp_path: Path) -> None:
    old = {"PYTHONPATH": str(previous_release(tmp_path / "previous"))}
    data = tmp_path / "data"

    def wanted(server: Any, key: tuple[str, str]) -> Any:
        return server.api(
            "POST", "/access-requests", key=key, body={"roles": [ROLE], "reason": "orders are not written"}
        )

    def approve(server: Any, request: Any) -> Any:
        path = f"/access-requests/{request['id']}"
        binding = server.api("GET", path, key=lead)["binding"]
        return server.api("POST", f"{path}/approve", key=lead, body={"binding": binding})

    with running(data, environment=old) as server:
        (ann, bob, *_), (lead, _) = set_up(server)
        eve = person(server, "eve", "engineers")
        statement = {"Effect": "Allow", "Action": "sts:AssumeRole", "Resource": ROLE}
        document = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
        server.client("iam").put_group_policy(GroupName="engineers", PolicyName="p", PolicyDocument=document)
        used = wanted(server, ann)
        assert approve(server, used)["state"] == "approved"
        server.client("sts", ann).assume_role(RoleArn=ROLE, RoleSessionName="before")
        assert approve(server, wanted(server, eve))["state"] == "approved"
        pending = wanted(server, bob)
    with running(data) as server:
        assert approve(server, pending)["state"] == "approved"
        for key in (ann, bob, eve):
            server.client("sts", key).assume_role(RoleArn=ROLE, RoleSessionName="after")
        body = {"seconds": 600, "reason": "the fix takes longer"}
        longer = server.api("POST", f"/access-requests/{used['id']}/extend", key=ann, body=body)
        assert approve(server, longer)["state"] == "ended"
        server.api("POST", f"/access-requests/{used['id']}/done", key=ann)
        with pytest.raises(ClientError):
            server.api("POST", f"/access-requests/{used['id']}/done", key=ann)

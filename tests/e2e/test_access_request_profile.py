"""AuthZEN's Access Request and Approval Profile against a running server: denied, requested, approved, evaluated again."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest
from tests.e2e.conftest import ADMIN_KEY, OPERATOR, Server, running

from daypass.client.errors import ClientError
from daypass.client.http import Connection, signed_request
from daypass.client.profiles import Profile
from daypass.client.transport import exchange

ROLE = f"arn:aws:iam::{OPERATOR}:role/prod"
GATED = {
    "Effect": "Allow",
    "Principal": {"AWS": f"arn:aws:iam::{OPERATOR}:root"},
    "Action": "sts:AssumeRole",
    "Condition": {"Bool": {"daypass:Approved": "true"}},
}
RULE = {
    "roles": ["role/prod"],
    "requesters": {"principals": ["user/ann", "user/pep"]},
    "stages": [{"name": "lead", "approvers": {"principals": ["user/lead"]}}],
    "max_seconds": 14_400,
    "default_seconds": 3600,
    "on_behalf": True,
}
CONTEXT = {"business_justification": "Incident 42: orders are not written", "place": "console"}


def document(*actions: str) -> str:
    statement = {"Effect": "Allow", "Action": list(actions), "Resource": "*"}
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


class World:
    def __init__(self, server: Server) -> None:
        self.server, iam = server, server.client("iam", ADMIN_KEY)
        self.keys: dict[str, tuple[str, str]] = {}
        ann = document("sts:AssumeRole", "daypass:EvaluateAccess", "daypass:CreateAccessRequest")
        pep = document("daypass:EvaluateAccess", "daypass:CreateAccessRequest", "daypass:GetAccessRequest")
        for name, policy in (
            ("ann", ann),
            ("pep", pep),
            ("lead", document("daypass:ApproveAccessRequest")),
            ("eve", ann),
        ):
            iam.create_user(UserName=name)
            iam.put_user_policy(UserName=name, PolicyName="p", PolicyDocument=policy)
            made = iam.create_access_key(UserName=name)["AccessKey"]
            self.keys[name] = made["AccessKeyId"], made["SecretAccessKey"]
        trust = json.dumps({"Version": "2012-10-17", "Statement": [GATED]})
        iam.create_role(RoleName="prod", AssumeRolePolicyDocument=trust)
        server.api("PUT", "/approval-rules/prod", body={"document": json.dumps(RULE)})

    def ask(self, who: str, method: str, path: str, body: Any = None) -> Any:
        profile = Profile(self.server.url, *self.keys[who], "", "eu-central-1")
        return Connection(profile).api(method, path, body=body, root="")

    def evaluate(self, who: str = "ann", subject: str = "ann", **context: Any) -> Any:
        return self.ask(who, "POST", "/access/v1/evaluation", question(subject, **context))

    def submit(self, who: str, decision: Any, subject: str = "ann", **changes: Any) -> Any:
        hint = decision["context"]["access_request"]
        denial = {"binding_token": hint["binding_token"], "expires_at": hint["expires_at"]}
        return self.ask(who, "POST", "/access/v1/requests", {**question(subject), "denial": denial, **changes})

    def approve(self, request: str) -> None:
        key = self.keys["lead"]
        seen = self.server.api("GET", f"/access-requests/{request}", key=key)
        self.server.api("POST", f"/access-requests/{request}/approve", key=key, body={"binding": seen["binding"]})


def question(subject: str = "ann", **context: Any) -> dict[str, Any]:
    return {
        "subject": {"type": "user", "id": subject},
        "action": {"name": "sts:AssumeRole"},
        "resource": {"type": "role", "id": ROLE},
        "context": {**CONTEXT, **context},
    }


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with running(tmp_path_factory.mktemp("arap"), environment={"DAYPASS_SERVER__PUBLIC_URL": "{url}"}) as server:
        yield World(server)


def test_metadata_names_the_endpoint(world: World) -> None:
    with urllib.request.urlopen(f"{world.server.url}/.well-known/authzen-configuration", timeout=20) as answer:
        found = json.load(answer)
    assert found["access_request_endpoint"] == f"{world.server.url}/access/v1/requests"
    assert found["capabilities"] == ["urn:openid:authzen:capability:access-request"]


def test_denial_is_requested_approved_and_evaluated_again(world: World) -> None:
    denied = world.evaluate()
    assert denied["decision"] is False
    assert denied["context"]["reason"] == "approval_required"
    task = world.submit("ann", denied)["task"]
    assert task["status"] == "pending"
    path = task["status_endpoint"].removeprefix(world.server.url)
    assert "result" not in world.ask("ann", "GET", path)
    assert world.evaluate(approval={"id": task["id"]})["decision"] is False
    world.approve(task["id"])
    done = world.ask("ann", "GET", path)
    assert (done["task"]["status"], done["result"]["mode"]) == ("approved", "reevaluate")
    approval = done["result"]["approval"]
    assert world.evaluate(approval=approval)["decision"] is True
    assert world.evaluate()["decision"] is False  # only with the reference
    assert world.evaluate(subject="eve", approval=approval)["decision"] is False
    assert world.evaluate(approval={"id": approval["id"][::-1]})["decision"] is False
    world.server.api(
        "POST", "/revocations", body={"subject": "principal", "value": f"arn:aws:iam::{OPERATOR}:user/ann"}
    )
    assert world.evaluate(approval=approval)["decision"] is False


def test_service_requests_for_a_person_who_accepts(world: World) -> None:
    task = world.submit("pep", world.evaluate("pep"))["task"]
    assert task["status"] == "pending"
    seen = world.server.api("GET", f"/access-requests/{task['id']}", key=world.keys["ann"])
    assert seen["state"] == "draft"  # it waits for ann


def test_what_no_rule_covers_is_not_requestable(world: World) -> None:
    assert "access_request" not in world.evaluate(subject="eve").get("context", {})
    other = {**question(), "resource": {"type": "orders", "id": "7"}, "action": {"name": "Read"}}
    assert "access_request" not in world.ask("ann", "POST", "/access/v1/evaluation", other).get("context", {})


@pytest.mark.parametrize(
    ("who", "subject", "changes", "problem"),
    [
        ("pep", "ann", {}, "invalid_denial_binding"),  # the token of another caller
        ("ann", "pep", {}, "invalid_denial_binding"),
        ("ann", "ann", {"resource": {"type": "role", "id": ROLE + "x"}}, "invalid_denial_binding"),
        ("ann", "ann", {"action": {"name": "sts:TagSession"}}, "invalid_denial_binding"),
        ("ann", "ann", {"context": {**CONTEXT, "place": "elsewhere"}}, "invalid_denial_binding"),
        ("ann", "ann", {"denial": {"binding_token": "x.y.z"}}, "invalid_denial_binding"),
        ("ann", "ann", {"denial": {}}, "invalid_denial_binding"),
    ],
)
def test_a536_request_is_bound_to_its_denial(
    world: World, who: str, subject: str, changes: dict[str, Any], problem: str
) -> None:
    denied = world.evaluate()
    profile = Profile(world.server.url, *world.keys[who], "", "eu-central-1")
    hint = denied["context"]["access_request"]
    body = {**question(subject), "denial": {"binding_token": hint["binding_token"]}, **changes}
    request = signed_request(
        profile, "POST", "/access/v1/requests", "", json.dumps(body).encode(), content_type="application/json",
        service="daypass", now=time.time(),
    )  # fmt: skip
    answer = exchange(request, 20.0)
    found = json.loads(answer.body)
    assert (answer.status, found["type"].rpartition(":")[2]) == (400, problem), found
    assert answer.headers["content-type"] == "application/problem+json"


def test_request_of_another_person_is_not_seen(world: World) -> None:
    with pytest.raises(ClientError):
        world.ask("eve", "GET", "/access/v1/requests/01a2322dcb4c76e28cffd6b60befdb72")
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(f"{world.server.url}/access/v1/requests/x", timeout=20)
    with refused.value:
        assert refused.value.code == 401

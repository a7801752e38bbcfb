"""An installation whose policies are those of the AuthZEN certification scenario, and of its to-do application."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from tests.attack.installation import ALPHA, ROOT, Answer, Installation, Key, document
from tests.oauth import ISSUER, authorization_server

RECORDS = f"arn:aws:record::{ALPHA}:"


def when(**conditions: dict[str, Any]) -> dict[str, Any]:
    return {"Condition": conditions}


ALICE = document(
    {"Action": "record:read", "Resource": [RECORDS + "record-1", RECORDS + "record-2"]},
    {
        "Action": "record:write",
        "Resource": [RECORDS + "record-1", RECORDS + "record-2"],
        **when(StringNotEqualsIfExists={"aws:ResourceTag/status": "archived"}),
    },
    {"Action": "record:delete", "Resource": RECORDS + "*", **when(Bool={"daypass:ActionProperty/soft": "true"})},
)
BOB = document(
    {"Action": "record:read", "Resource": RECORDS + "record-1"},
    {
        "Action": "record:write",
        "Resource": RECORDS + "record-2",
        **when(StringEquals={"daypass:SubjectProperty/role": "admin"}),
    },
)
"""Rule 6 of the scenario names bob's role; a search of subjects does not send it, so carol has it from the directory."""
CAROL = document({"Action": "record:write", "Resource": RECORDS + "record-2"})
PEP = document({"Action": ["daypass:EvaluateAccess", "daypass:SearchAccess"], "Resource": "*"})


@dataclass(frozen=True)
class World:
    site: Installation
    pep: Key  # of a service that may ask, and may not see reasons

    def ask(self, path: str, body: Any, key: Key | None = None, **extra: str) -> Answer:
        text = body if isinstance(body, bytes) else json.dumps(body).encode()
        headers = {"content-type": "application/json", **extra}
        signed = self.site.signed(key or self.pep, text, "daypass", path=path, extra=headers)
        return self.site.send("POST", signed, text, path=path.encode())

    def decision(self, question: Any, key: Key | None = None) -> dict[str, Any]:
        answer = self.ask("/access/v1/evaluation", question, key)
        assert answer.status == 200, answer.body
        assert answer.headers["content-type"] == "application/json"
        return dict(json.loads(answer.body))

    def decisions(self, body: Any, key: Key | None = None) -> list[bool]:
        answer = self.ask("/access/v1/evaluations", body, key)
        assert answer.status == 200, answer.body
        return [one["decision"] for one in json.loads(answer.body)["evaluations"]]

    def found(self, what: str, body: Any) -> dict[str, Any]:
        answer = self.ask(f"/access/v1/search/{what}", body)
        assert answer.status == 200, answer.body
        return dict(json.loads(answer.body))


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with authorization_server(tmp_path_factory.mktemp("site")) as site:
        assert ISSUER.startswith("https://")
        for name, policy in (("alice", ALICE), ("bob", BOB), ("carol", CAROL)):
            site.iam("CreateUser", ROOT, UserName=name)
            site.iam("PutUserPolicy", ROOT, UserName=name, PolicyName="p", PolicyDocument=policy)
        _, pep = site.user("pep", policy=PEP)
        yield World(site, pep)


def ask(subject: str, action: str, resource: str, **more: Any) -> dict[str, Any]:
    """An evaluation by names. `subject_properties` and so on add properties; the rest are members of the request."""
    properties = {
        name: more.pop(f"{name}_properties")
        for name in ("subject", "action", "resource")
        if f"{name}_properties" in more
    }
    made: dict[str, Any] = {
        "subject": {"type": "user", "id": subject},
        "action": {"name": action},
        "resource": {"type": "record", "id": resource},
        **more,
    }
    for name, values in properties.items():
        made[name]["properties"] = values
    return made

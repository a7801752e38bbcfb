"""People and roles for tests of the console: an engineer, a lead and an administrator, with one role that needs approval."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.attack.installation import ALPHA, Answer, Installation
from tests.browser import Browser
from tests.oauth_client import api as signed
from tests.sign_in import PASSWORD, signed_in, site_with_pages

RULE: dict[str, Any] = {
    "roles": ["role/prod*"],
    "requesters": {"principals": ["group/engineers"]},
    "stages": [{"name": "lead", "approvers": {"principals": ["group/leads"]}}],
    "max_seconds": 14_400,
    "default_seconds": 3600,
    "break_glass": {"people": {"principals": ["group/engineers"]}, "mfa_seconds": None},
}
REQUEST = ("daypass:CreateAccessRequest", "daypass:BreakGlass", "sts:AssumeRole", "orders:GetItem")
APPROVE = ("daypass:ApproveAccessRequest", "daypass:DenyAccessRequest")
REASON = "Incident 42: orders are not written"


def policy(*actions: str) -> str:
    return json.dumps(
        {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": list(actions), "Resource": "*"}]}
    )


def trust(account: str, *, approved: bool) -> str:
    statement: dict[str, Any] = {
        "Sid": "People",
        "Effect": "Allow",
        "Principal": {"AWS": f"arn:aws:iam::{account}:root"},
        "Action": ["sts:AssumeRole", "sts:SetSourceIdentity"],
    }
    if approved:
        statement["Condition"] = {"Bool": {"daypass:Approved": "true"}}
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


def fill(account: str, iam: Callable[..., Any], api: Callable[[str, str, Any], Any]) -> None:
    """The cast. `iam(Operation, **parameters)` and `api(method, path, body)` call an installation as an administrator."""
    for group in ("engineers", "leads"):
        iam("CreateGroup", GroupName=group)
    people = {"ann": (policy(*REQUEST), "engineers"), "lee": (policy(*APPROVE), "leads"), "ada": (policy("*"), "")}
    for name, (document, group) in people.items():
        iam("CreateUser", UserName=name)
        iam("PutUserPolicy", UserName=name, PolicyName="work", PolicyDocument=document)
        iam("CreateLoginProfile", UserName=name, Password=PASSWORD)
        if group:
            iam("AddUserToGroup", GroupName=group, UserName=name)
    for name, actions, approved in (
        ("prod-orders", ("orders:*",), True),
        ("prod-admin", ("*",), True),
        ("reader", ("orders:Get*", "sts:AssumeRole"), False),
    ):
        iam(
            "CreateRole",
            RoleName=name,
            AssumeRolePolicyDocument=trust(account, approved=approved),
            Description=f"For {name.replace('-', ' ')}",
        )
        iam("PutRolePolicy", RoleName=name, PolicyName="work", PolicyDocument=policy(*actions))
    api("PUT", "/approval-rules/prod", {"document": json.dumps(RULE)})


def served(answer: Answer) -> Answer:
    """The answer of a call that must succeed."""
    assert answer.status < 300, answer.body
    return answer


@contextmanager
def filled_site(data: Path) -> Iterator[Installation]:
    """An installation with pages and the cast."""
    with site_with_pages(data) as made:
        fill(ALPHA, made.iam, lambda method, path, body: served(signed(made, method, path, body)))
        yield made


# --- Fixtures. A module that imports `site` has an installation of its own.


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    with filled_site(tmp_path_factory.mktemp("console")) as made:
        yield made


@pytest.fixture
def ada(site: Installation) -> Browser:
    return signed_in(site, "ada")


@pytest.fixture
def ann(site: Installation) -> Browser:
    return signed_in(site, "ann")


@pytest.fixture
def lee(site: Installation) -> Browser:
    return signed_in(site, "lee")

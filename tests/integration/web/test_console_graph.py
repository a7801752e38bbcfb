"""The picture of who can assume what: groups of roles, what lets people in, and the same data as a table."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

import pytest
from tests.attack.installation import ALPHA, Installation
from tests.browser import Browser, text
from tests.console import fill, policy, trust
from tests.oauth_client import api
from tests.sign_in import signed_in, site_with_pages

ANN = f"arn:aws:iam::{ALPHA}:user/ann"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    with site_with_pages(tmp_path_factory.mktemp("graph")) as made:
        fill(ALPHA, made.iam, lambda method, path, body: api(made, method, path, body))
        made.iam("PutGroupPolicy", GroupName="leads", PolicyName="roles", PolicyDocument=policy("sts:AssumeRole"))
        made.iam("CreateOpenIDConnectProvider", Url="https://ci.example.com", **{"ClientIDList.member.1": "sts"})
        statement = {
            "Effect": "Allow",
            "Principal": {"Federated": f"arn:aws:iam::{ALPHA}:oidc-provider/ci.example.com"},
            "Action": "sts:AssumeRoleWithWebIdentity",
            "Condition": {"StringEquals": {"ci.example.com:aud": "sts", "ci.example.com:sub": "repo:<b>acme</b>"}},
        }
        document = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
        made.iam("CreateRole", RoleName="deploy", AssumeRolePolicyDocument=document)
        for number in range(40):  # each with a condition of its own: more groups than a picture has
            one = json.loads(trust(ALPHA, approved=False))
            one["Statement"][0]["Condition"] = {"StringEquals": {"sts:ExternalId": f"team-{number}"}}
            made.iam("CreateRole", RoleName=f"team-{number}", AssumeRolePolicyDocument=json.dumps(one))
        yield made


@pytest.fixture
def ada(site: Installation) -> Browser:
    return signed_in(site, "ada")


def rows(person: Browser, query: str = "") -> list[str]:
    """The rows of the table; every edge of the picture leads to one of them."""
    page = person.get(f"/console/graph{query}").body.decode()
    found = re.findall(r'<tr id="edge-(\d+)">(.*?)</tr>', page, re.DOTALL)
    assert set(re.findall(r'href="#edge-(\d+)"', page)) == {number for number, _ in found}
    assert "<b>acme" not in page
    return [" ".join(re.sub("<[^>]+>", " ", row).split()) for _, row in found]


def test_overview_groups_roles_by_whom_they_trust_and_people_by_their_groups(ada: Browser) -> None:
    found = rows(ada)
    assert any(row.startswith("leads 1 people This account") for row in found)
    assert any(
        "and 39 more" in row and "allowed if" in row and "if the conditions on sts:ExternalId hold" in row
        for row in found
    )
    assert any(row.startswith("ci.example.com identity provider deploy") for row in found)
    few = rows(ada, "?part=PROD-")
    assert [row for row in few if "prod-admin and 1 more" in row and "an approved access request exists" in row]
    assert not [row for row in few if "deploy" in row]


def test_overview_of_roles_with_many_conditions_groups_them_by_path(site: Installation, ada: Browser) -> None:
    for number in range(42):
        one = json.loads(trust(ALPHA, approved=number % 2 == 0))
        one["Statement"][0]["Sid"] = f"S{number}"
        document = json.dumps(one)
        site.iam(
            "CreateRole", RoleName=f"part-{number}", Path=f"/team-{number % 3}/", AssumeRolePolicyDocument=document
        )
    found = rows(ada, "?part=part-")
    assert len(found) == 7  # in each path, those that need approval and the others; and the group of people
    approved = [row for row in found if "if the conditions on daypass:Approved hold" in row]
    assert [row for row in approved if row.startswith("This account whose own policies allow it /team-1/ 7 roles")]
    assert any(row.startswith("ada user") for row in rows(ada, "?role=part-1"))
    for number in range(42):
        site.iam("DeleteRole", RoleName=f"part-{number}")


def test_picture_of_a_role_or_a_person_is_what_the_evaluator_decides(ada: Browser) -> None:
    found = rows(ada, "?role=prod-orders")
    assert any("user/ann/work inline policy prod-orders" in row and "allowed if" in row for row in found)
    assert any("group/leads/roles inline policy prod-orders" in row for row in found)  # lee is in the group
    own = rows(ada, f"?principal={ANN}")
    assert any("reader role allowed" in row for row in own)
    assert not [row for row in own if "deploy" in row]


@pytest.mark.parametrize(
    "query", ["?role=absent", "?role=%00", "?principal=x", "?principal=arn:aws:iam::999999999999:user/a"]
)
def test_what_does_not_exist_is_said(ada: Browser, query: str) -> None:
    answer = ada.get(f"/console/graph{query}")
    assert answer.status in (400, 403, 404)
    assert 'role="alert"' in answer.body.decode()


def test_picture_needs_the_permission(site: Installation) -> None:
    answer = signed_in(site, "ann").get("/console/graph")
    assert answer.status == 403
    assert "deploy" not in text(answer)

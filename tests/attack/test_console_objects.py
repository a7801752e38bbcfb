"""Forms of the console that do not say what they are about, and what directories and chats write into its pages."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from tests.attack.installation import ALPHA, Answer, Installation
from tests.attack.test_console import paths
from tests.browser import Browser, forms, query_of, refused
from tests.console import REASON, fill, policy
from tests.oauth_client import api
from tests.sign_in import signed_in, site_with_pages

from daypass.wire.console.navigation import GROUPS

ORDERS = f"arn:aws:iam::{ALPHA}:role/prod-orders"
OBJECTS = ("name", "id", "arn", "request", "review", "user", "role", "new_name")
"""Fields that name an object of the console."""
ABOUT_NOTHING = {"/console/keys/report", "/console/start/groups", "/console/start/create", "/console/setup/create"}
"""Forms that have no object."""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    with site_with_pages(tmp_path_factory.mktemp("objects")) as made:
        fill(ALPHA, made.iam, lambda method, path, body: served(api(made, method, path, body)))
        yield made


def served(answer: Answer) -> Answer:
    assert answer.status < 300, answer.body
    return answer


def own(site: Installation) -> list[str]:
    """What IAM has about the administrator."""
    operations = ("GetUser", "ListAccessKeys", "GetLoginProfile", "ListGroupsForUser", "ListUserPolicies")
    answers = [site.iam(operation, UserName="ada").body.decode() for operation in operations]
    return [answer.partition("<ResponseMetadata>")[0].partition("<PasswordLastUsed>")[0] for answer in answers]


@pytest.mark.parametrize("empty", [{}, dict.fromkeys(OBJECTS, ""), dict.fromkeys(OBJECTS, " ")])
def test_a249_form_that_does_not_name_its_object_does_not_act_on_the_person(
    site: Installation, empty: dict[str, str]
) -> None:
    """For IAM, a user that is not named is the caller (CreateAccessKey, UpdateLoginProfile, DeactivateMFADevice, ...)."""
    key = site.iam("CreateAccessKey", UserName="ada").text("AccessKeyId")
    ada, before = signed_in(site, "ada"), own(site)
    fields = {"csrf": forms(ada.get("/console/"))["/logout"].fields["csrf"], "document": policy("*"), "settings": "{}"}
    fields |= {"key": key, "status": "Inactive", "policy": "work", "group": "leads", "passkey": "x", "serial": "x"}
    fields |= {"kind": "webhook", "target": "https://hooks.example/", "minutes": "20", "reason": "Incident 42"}
    fields |= {"confirmed": "yes", "permissions": "read", "requesters": "engineers", "approvers": "leads", **empty}
    found = [path for path in paths(site, "POST") if path not in ABOUT_NOTHING]
    assert len(found) > 40
    for path in found:
        answer = ada.post(path, fields)
        assert 400 <= answer.status < 500, (path, answer.status, answer.headers)
        records = site.records(answer.request_id)
        assert [each for each in records if each.get("error")], path
        assert {each["type"].partition(".")[0] for each in records} == {"request"}, (path, records)
    assert own(site) == before
    site.iam("DeleteAccessKey", UserName="ada", AccessKeyId=key)


def test_a249_page_of_no_user_is_not_that_of_the_person(site: Installation) -> None:
    ada = signed_in(site, "ada")
    for path in ("/console/user", "/console/user?name=", "/console/user?name=+", "/console/group", "/console/role"):
        assert ada.get(path).status == 400, path


def denials_of(site: Installation, person: Browser) -> list[str]:
    """What the risk of a new request says about refusals."""
    sent = person.submit(person.get("/console/request"), "/console/request/send", role=ORDERS, reason=REASON)
    view = json.loads(served(api(site, "GET", f"/access-requests/{query_of(sent)['id']}")).body)
    return [each["text"] for each in view["risk_reasons"] if each["feature"] == "recent_denials"]


def test_look_at_every_page_of_the_menu_is_no_risk_but_refused_changes_are(site: Installation) -> None:
    ann = signed_in(site, "ann")
    statuses = {ann.get(item.path).status for _, items in GROUPS for item in items}
    assert 403 in statuses
    assert denials_of(site, ann) == []
    page = ann.get(f"/console/credentials?role={ORDERS}")
    for _ in range(3):
        assert ann.submit(page, "/console/credentials/show").status == 403
    assert ann.post("/console/groups/create", {**forms(page)["/logout"].fields, "new_name": "x"}).status == 403
    assert denials_of(site, ann) == ["Requests of the person that were refused within a day: 4."]


@pytest.mark.parametrize("path", ["/console/keys", "/console/user?name=keyless", "/console/start"])
def test_page_about_what_does_not_exist_yet_is_no_failure(site: Installation, path: str) -> None:
    if "keyless" in path:
        site.iam("CreateUser", UserName="keyless")
    answer = signed_in(site, "ada").get(path)
    assert answer.status == 200
    records = site.records(answer.request_id)
    assert records
    assert [each for each in records if each.get("error")] == []


def test_unknown_page_is_recorded_without_an_operation(site: Installation) -> None:
    answer = signed_in(site, "ada").get("/console/nothing")
    assert not refused(site, answer, 404).get("operation")

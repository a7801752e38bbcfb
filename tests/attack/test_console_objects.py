"""Forms of the console that do not say what they are about, and what directories and chats write into its pages."""

from __future__ import annotations

import json
import re
from urllib.parse import quote, urlencode

import pytest
from tests.attack.installation import ALPHA, Installation
from tests.attack.test_console import SCRIPT, inert, paths
from tests.browser import Browser, forms, query_of, refused, text
from tests.console import REASON, policy, served, site
from tests.directory_service import USER, directory_of
from tests.integration.web.test_chat_users import DEVICES, KEY, sent
from tests.oauth_client import api
from tests.passkeys import registered, sign_in_with
from tests.sign_in import signed_in, user

from daypass.wire.console.navigation import GROUPS

__all__ = ["site"]

ORDERS = f"arn:aws:iam::{ALPHA}:role/prod-orders"
OBJECTS = ("name", "id", "arn", "request", "review", "user", "role", "new_name")
"""Fields that name an object of the console."""
ABOUT_NOTHING = {
    "/console/keys/report",
    "/console/lint",
    "/console/start/groups",
    "/console/start/create",
    "/console/setup/create",
}
"""Forms that have no object."""


def own(site: Installation) -> list[str]:
    """IAM's view of the administrator."""
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
    told = 0
    for path in found:
        answer = ada.post(path, fields)
        told += "it names the object" in text(answer)
        assert 400 <= answer.status < 500, (path, answer.status, answer.headers)
        records = site.records(answer.request_id)
        assert [each for each in records if each.get("error")], path
        assert {each["type"].partition(".")[0] for each in records} == {"request"}, (path, records)
    assert told >= 50  # the others are refused for another reason first
    assert own(site) == before
    site.iam("DeleteAccessKey", UserName="ada", AccessKeyId=key)


def test_a249_page_of_no_user_is_not_that_of_the_person(site: Installation) -> None:
    ada = signed_in(site, "ada")
    for path in ("/console/user", "/console/user?name=", "/console/user?name=+", "/console/group", "/console/role"):
        assert ada.get(path).status == 400, path


def denials_of(site: Installation, person: Browser, reason: str = REASON) -> list[str]:
    """The part of a new request's risk about refusals."""
    sent = person.submit(person.get("/console/request"), "/console/request/send", role=ORDERS, reason=reason)
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
    again = denials_of(site, ann, f"{REASON}, again")  # the same request would be the first one
    assert again == ["Requests of the person that were refused within a day: 4."]


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


TAG = "x onfocus=alert@1 autofocus"
"""Allowed values of IAM that look most like markup."""


def test_a250_what_a_directory_writes_is_inert_on_every_page(site: Installation) -> None:
    ada, entra = signed_in(site, "ada"), directory_of(site)
    entra.ok("POST", "Users", {"schemas": [USER], "userName": SCRIPT})  # a name in any script; IAM's is derived
    bidi = {"schemas": [USER], "userName": "x", "displayName": "a\u202eb"}
    assert entra.refused(400, "POST", "Users", bidi) == "invalidValue"
    more = {"displayName": SCRIPT, "externalId": SCRIPT, "emails": [{"value": SCRIPT}]}
    person = {"schemas": [USER], "userName": "pat", "name": {"givenName": SCRIPT, "familyName": SCRIPT}, **more}
    made = entra.ok("POST", "Users", person)
    entra.group("Ops =+,.@", made, externalId=SCRIPT)
    assert entra.refused(400, "POST", "Groups", {"displayName": SCRIPT}) == "invalidValue"
    tags = {"Tags.member.1.Key": TAG, "Tags.member.1.Value": TAG}
    site.iam("TagUser", UserName="pat", **tags)
    site.iam("TagRole", RoleName="prod-orders", **tags)
    created = site.iam("CreateOpenIDConnectProvider", Url="https://a250.example/x=y", **tags)
    provider = created.text("OpenIDConnectProviderArn")
    shown = ("/console/user?name=pat", "/console/role?name=prod-orders", f"/console/provider?arn={quote(provider)}")
    for path in shown:
        page = ada.get(path)
        assert page.status == 200, path
        assert f"Tag {TAG} {TAG}" in text(page), path
        inert(page)
    for path in ("/console/users", "/console/groups", "/console/group?name=Ops-%3D%2B%2C.%40", "/console/providers"):
        page = ada.get(path)
        assert page.status == 200, path
        inert(page)
    inert(ada.get("/console/records?person=scim-entra"))


def test_a250_name_of_a_chat_user_is_inert(site: Installation) -> None:
    authenticator = registered(site, signed_in(site, name := user(site)))
    channel = {
        "kind": "slack",
        "target": "https://hooks.slack.example/1",
        "events": ["access.requested"],
        "secret": KEY,
    }
    served(api(site, "PUT", "/notification-channels/ops", channel))
    browser, ada = Browser(site), signed_in(site, "ada")
    sign_in_with(browser, authenticator)
    code = re.search(r"/daypass (link \S+)", text(browser.submit(browser.get(DEVICES), f"{DEVICES}/chat-code")))
    assert code is not None
    given = {"team_id": "T1<b>", "user_id": "U1<b>", "user_name": SCRIPT, "text": code[1]}
    linked = sent(site, urlencode({**given, "team_id": "T1", "user_id": "U1"}).encode())
    assert f":user/{name}" in linked
    page = browser.get(DEVICES)
    assert ":T1:U1, linked" in text(page)
    assert "<script>alert" not in page.body.decode()
    assert "onerror=alert(2)>" not in page.body.decode()
    for path in (f"/console/user?name={name}", f"/console/records?person={name}"):
        inert(ada.get(path))


@pytest.mark.parametrize("header", [b"x-http-method-override", b"x-http-method", b"x-method-override"])
def test_a250_method_of_a_request_is_that_of_its_first_line(site: Installation, header: bytes) -> None:
    ada = signed_in(site, "ada")
    token = forms(ada.get("/console/"))["/logout"].fields["csrf"]
    path = "/console/groups/create"
    for method in (b"POST", b"PUT"):
        answer = ada.get(f"{path}?csrf={token}&new_name=a250&_method=POST", (header, method))
        assert answer.status == 303
        assert not site.records(answer.request_id)
    answer = ada.post("/console/users", {"csrf": token, "_method": "GET"}, (header, b"GET"))
    assert refused(site, answer, 405)["error"]
    for method in ("PUT", "DELETE", "PATCH", "TRACE"):
        headers, body = ada.posted({"csrf": token, "new_name": "a250"})
        answer = site.send(method, headers, body, path=path.encode())
        assert refused(site, answer, 405)["error"], method
    assert "a250" not in site.iam("ListGroups").body.decode()


@pytest.mark.parametrize(
    "tail", ["&name=leads", "&csrf=x", "&name=", "&na%6de=ann", "".join(f"&f{number}=" for number in range(80))]
)
def test_a250_field_that_is_given_twice_or_too_many_are_refused(site: Installation, tail: str) -> None:
    ada = signed_in(site, "ada")
    headers, body = ada.posted({"csrf": forms(ada.get("/console/"))["/logout"].fields["csrf"], "name": "lee"})
    for path in ("/console/user/create-key", "/console/group/delete", "/console/access-request/cancel"):
        answer = site.send("POST", headers, body + tail.encode(), path=path.encode())
        record = refused(site, answer, 400)
        assert record["type"] in ("request.malformed", "request.failed"), record


@pytest.mark.parametrize("size", [1_100_000, 2_097_152])
def test_a250_large_form_is_refused_before_it_is_parsed(site: Installation, size: int) -> None:
    ada = signed_in(site, "ada")
    fields = {"csrf": forms(ada.get("/console/"))["/logout"].fields["csrf"], "name": "lee", "document": "x" * size}
    for path in paths(site, "POST"):
        answer = ada.post(path, fields)
        assert answer.status == 413, path
        assert len(answer.body) < 20_000
        assert [each for each in site.records(answer.request_id) if each.get("error")], path


def test_a250_large_field_of_an_allowed_form_is_refused_and_not_shown_again(site: Installation) -> None:
    ada = signed_in(site, "ada")
    token = forms(ada.get("/console/"))["/logout"].fields["csrf"]
    for path in paths(site, "POST"):
        named = dict.fromkeys(OBJECTS, "x") | {"reason": "y" * 30_000, "document": "y" * 30_000}
        named |= {"settings": "y" * 300_000, "confirmed": "yes", "csrf": token}
        answer = ada.post(path, named)
        assert answer.status < 500, path
        assert len(answer.body) < 100_000, path

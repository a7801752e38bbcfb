"""Forms of the console before and after they are sent, those that do not say what they are about, and what directories
and chats write into its pages.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote, urlencode

import pytest
from tests.attack.installation import ALPHA, Answer, Installation
from tests.attack.test_console import SCRIPT, inert, paths
from tests.authenticator import Authenticator
from tests.browser import Browser, forms, query_of, refused, text
from tests.console import REASON, RULE, filled_site, policy, served
from tests.directory_service import USER, directory_of
from tests.integration.web.test_passkeys import DEVICES, KEY, sent
from tests.oauth_client import api
from tests.passkeys import registered, sign_in_with
from tests.sign_in import signed_in, user

from daypass.wire.console.navigation import GROUPS

INTERNAL = (
    "http://hooks.example/",
    "ftp://hooks.example/",
    "https://127.0.0.1/",
    "https://10.1.2.3:8443/x",
    "https://169.254.169.254/latest/",
    "https://[::1]/",
    "https://[::ffff:10.0.0.1]/",
    "https://[fd00:ec2::254]/",
    "https://2130706433/",
    "https://0x7f.1/",
    "https://127.1/",
    "https://127.0.0.1./",
    "https://localhost/",
    "https://a.LOCALHOST./",
    "https://ann:secret@hooks.example/",
    "https://hooks.example/#x",
    "https://hooks.example:0/",
    "https://[x",
    "https:///x",
    "//hooks.example/",
)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    with filled_site(tmp_path_factory.mktemp("forms")) as made:
        made.iam("CreateOpenIDConnectProvider", Url="https://a217.example", **{"ClientIDList.member.1": "sts"})
        yield made


def administrator(site: Installation) -> tuple[Browser, Authenticator]:
    """An administrator with a passkey, signed in with it; and the passkey."""
    name = user(site)
    site.iam("PutUserPolicy", UserName=name, PolicyName="all", PolicyDocument=policy("*", "daypass:*"))
    authenticator, browser = registered(site, signed_in(site, name)), Browser(site)
    assert sign_in_with(browser, authenticator).status == 303
    return browser, authenticator


def rule(**changes: Any) -> dict[str, str]:
    return {"document": json.dumps({**RULE, "roles": ["role/a215"], **changes})}


@pytest.mark.parametrize("url", INTERNAL)
def test_a215_address_that_can_never_be_requested_is_refused_when_it_is_written(site: Installation, url: str) -> None:
    written = {
        "/approval-rules/a215": rule(ticket={"webhook": url}),
        "/approval-rules/a215b": rule(on_call={"calendar": url}),
        "/approval-rules/a215c": rule(on_call={"calendar": url, "kind": "pagerduty"}),
        "/notification-channels/a215": {"kind": "webhook", "target": url, "events": ["access.requested"]},
    }
    for path, body in written.items():
        answer = api(site, "PUT", path, body)
        record = refused_by_api(site, answer)
        assert "cannot be requested" in record["detail"]["message"], record
        assert api(site, "GET", path).status in (404, 405)


def refused_by_api(site: Installation, answer: Answer) -> dict[str, Any]:
    assert answer.status == 400, answer.body
    (record,) = [each for each in site.records(answer.request_id) if each.get("error")]
    record["detail"]["message"] = answer.body.decode()
    return record


@pytest.mark.parametrize("name", ["../secret.ics", "/etc/passwd", ".hidden", "a/b.ics", "C:\\x.ics"])
def test_a215_calendar_outside_the_directory_is_refused_when_it_is_written(site: Installation, name: str) -> None:
    assert api(site, "PUT", "/approval-rules/a215", rule(on_call={"calendar": name})).status == 400


def test_addresses_of_public_names_and_calendar_files_are_stored(site: Installation) -> None:
    for changes in (
        {"ticket": {"webhook": "https://tickets.example/open?of=1"}},
        {"on_call": {"calendar": "team.ics"}},
        {"on_call": {"calendar": "https://cal.example/team.ics"}},
        {"on_call": {"calendar": "https://192.0.2.1.example/", "kind": "opsgenie"}},
    ):
        served(api(site, "PUT", "/approval-rules/a215d", rule(**changes)))


def test_a216_link_from_elsewhere_does_not_claim_that_something_was_done(site: Installation) -> None:
    ann = signed_in(site, "ann")
    page = ann.get("/console/request")
    sent = ann.submit(page, "/console/request/send", reason=REASON, role=f"arn:aws:iam::{ALPHA}:role/prod-orders")
    target = sent.headers["location"]
    assert "The request is sent." in text(ann.get(target, (b"sec-fetch-site", b"same-origin")))
    for elsewhere in (b"none", b"cross-site", b"same-site"):
        assert "The request is sent." not in text(ann.get(target, (b"sec-fetch-site", elsewhere)))
    claimed = f"/console/access-request?id={query_of(sent)['id']}&done=approved"
    assert "approval is recorded" not in text(ann.get(claimed, (b"sec-fetch-site", b"cross-site")))


def test_a217_secret_of_a_channel_is_confirmed_unseen_and_exactly(site: Installation) -> None:
    """Who has the signing secret of a chat's channel can send votes of the users who are linked to it."""
    eve, authenticator = administrator(site)
    path, secret = "/console/notifications/create", "0123456789abcdef" * 2
    fields = {"name": "a217", "kind": "slack", "target": "https://hooks.slack.example/x", "secret": secret}
    asked = eve.submit(eve.get("/console/notifications?new=1"), path, **fields)
    assert "You confirm exactly this" in text(asked)
    assert secret not in text(asked)
    assert "Secret ***" in text(asked)
    assert "a217" not in api(site, "GET", "/notification-channels").body.decode()
    proof = authenticator.assertion(forms(asked)[path].options)
    refused(site, eve.submit(asked, path, response=proof, secret="f" * 32), 400)
    assert "a217" not in api(site, "GET", "/notification-channels").body.decode()
    asked = eve.submit(eve.get("/console/notifications?new=1"), path, **fields)
    proof = authenticator.assertion(forms(asked)[path].options)
    answer = eve.submit(asked, path, response=proof)
    assert answer.status == 303, text(answer)
    assert "a217" in text(eve.get("/console/notifications"))
    assert secret not in json.dumps(site.records(answer.request_id))


def test_a217_secret_in_the_settings_of_a_provider_is_confirmed_unseen_and_exactly(site: Installation) -> None:
    eve, authenticator = administrator(site)
    path = "/console/provider/settings"
    page = eve.get(f"/console/provider?arn=arn:aws:iam::{ALPHA}:oidc-provider/a217.example")
    written = {"jwks_bearer": "canary-1", "sign_in": {"client_id": "x", "client_secret": "canary-2", "roles": []}}
    asked = eve.submit(page, path, settings=json.dumps(written))
    assert "You confirm exactly this" in text(asked)
    assert "canary" not in text(asked)
    assert '"client_id": "x"' in text(asked)
    assert "\\u000a" not in text(asked)  # lines are lines
    proof = authenticator.assertion(forms(asked)[path].options)
    other = json.dumps({**written, "jwks_bearer": "canary-3"})
    refused(site, eve.submit(asked, path, response=proof, settings=other), 400)


@pytest.mark.parametrize("settings", ['{"jwks_bearer": "canary",}', '["canary"]', "canary"])
def test_a217_settings_that_are_not_valid_show_no_secret_in_their_confirmation(
    site: Installation, settings: str
) -> None:
    eve, _ = administrator(site)
    page = eve.get(f"/console/provider?arn=arn:aws:iam::{ALPHA}:oidc-provider/a217.example")
    asked = eve.submit(page, "/console/provider/settings", settings=settings)
    assert "You confirm exactly this" in text(asked)
    assert "canary" not in text(asked)


def test_settings_with_a_fraction_are_confirmed_and_refused(site: Installation) -> None:
    eve, authenticator = administrator(site)
    path = "/console/provider/settings"
    page = eve.get(f"/console/provider?arn=arn:aws:iam::{ALPHA}:oidc-provider/a217.example")
    asked = eve.submit(page, path, settings='{"clock_skew_seconds": 1.5}')
    assert "You confirm exactly this" in text(asked)
    assert "1.5" in text(asked)
    answer = eve.submit(asked, path, response=authenticator.assertion(forms(asked)[path].options))
    assert answer.status == 400, text(answer)


def test_a218_theme_of_a_forged_cookie_is_no_markup(site: Installation) -> None:
    ann = signed_in(site, "ann")
    for value, theme in (
        ('"><script>', ""),
        ("dark", "dark"),
        ("light", "light"),
        ("darker", ""),
        ("dark; x=y", "dark"),
    ):
        for path in ("/console/", "/console/nothing"):
            shown = ann.get(path, (b"cookie", f"daypass-theme={value}".encode())).body.decode()
            assert f'data-theme="{theme}"' in shown
            assert "<script>" not in shown


@pytest.mark.parametrize(
    "path", ["/console/dashboard/events", "/console/dashboard/export?format=json", "/console/dashboard/export"]
)
def test_a219_figures_of_a_dashboard_need_permission(site: Installation, path: str) -> None:
    nobody = Browser(site).get(path)
    assert (nobody.status, nobody.headers["location"].startswith("/login?")) == (303, True)
    refused(site, signed_in(site, "ann").get(path), 403)


@pytest.mark.parametrize("text_of_a_cell", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1"])
def test_a219_no_text_that_people_write_is_in_an_exported_table(site: Installation, text_of_a_cell: str) -> None:
    ada = signed_in(site, "ada")
    ada.get("/console/records", (b"user-agent", text_of_a_cell.encode()))
    table = ada.get("/console/dashboard/export?view=on-call&hours=1").body.decode()
    cells = {cell for row in csv.reader(io.StringIO(table)) for cell in row if cell}
    assert "time" in cells
    assert not [cell for cell in cells if cell[0] in "=+-@\t"]


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

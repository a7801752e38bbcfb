"""Home, requests and approvals in the console: what people see, what they send, and what it does."""

from __future__ import annotations

import json
import re

import pytest
from tests.attack.installation import ALPHA, ROOT, Installation
from tests.browser import Browser, forms, query_of, refused, text
from tests.console import APPROVE, REASON, REQUEST, RULE, ann, lee, policy, served, site, trust
from tests.oauth_client import api
from tests.sign_in import PASSWORD, signed_in, with_device

from daypass.operations.access_requests import read
from daypass.operations.grants import targets
from daypass.wire.console.navigation import GROUPS

__all__ = ["ann", "lee", "site"]

ORDERS = f"arn:aws:iam::{ALPHA}:role/prod-orders"


def sent(ann: Browser, **fields: str) -> str:
    """A request that Ann sends with the form: its id."""
    page = ann.get("/console/request")
    answer = ann.submit(page, "/console/request/send", **{"reason": REASON, **fields})
    assert answer.status == 303, text(answer)
    assert query_of(answer)["done"] == ("granted" if "break_glass" in fields else "requested")
    return query_of(answer)["id"]


def engineer(site: Installation) -> str:
    """A further person who may request the roles."""
    site.iam("CreateUser", UserName="bea")
    site.iam("PutUserPolicy", UserName="bea", PolicyName="work", PolicyDocument=policy(*REQUEST))
    site.iam("CreateLoginProfile", UserName="bea", Password=PASSWORD)
    site.iam("AddUserToGroup", GroupName="engineers", UserName="bea")
    return "bea"


def state_of(site: Installation, request: str) -> str:
    return str(json.loads(served(api(site, "GET", f"/access-requests/{request}")).body)["state"])


def test_home_nobody_signed_in_leads_to_the_sign_in_and_back(site: Installation) -> None:
    answer = Browser(site).get("/console/request?role=x")
    assert query_of(answer) == {"next": "/console/request?role=x"}


def test_home_shows_what_is_ready_and_what_can_be_requested(ann: Browser) -> None:
    answer = ann.get("/console/")
    shown = text(answer)
    assert answer.status == 200
    assert "You have no temporary access now." in shown
    ready, requestable = shown.index("Available now"), shown.index("Roles that you can request")
    assert ready < shown.index("reader") < requestable < shown.index("prod-orders")


def test_home_without_the_permission_to_request_offers_no_role(site: Installation, ann: Browser) -> None:
    deny = {"Effect": "Deny", "Action": "daypass:CreateAccessRequest", "Resource": "*"}
    document = json.dumps({"Version": "2012-10-17", "Statement": [deny]})
    site.iam("PutUserPolicy", UserName="ann", PolicyName="no-requests", PolicyDocument=document)
    try:
        for path in ("/console/", "/console/request"):
            shown = text(ann.get(path))
            assert "prod-orders" not in shown, path
            assert "You can request no role" in shown, path
        assert b'class="btn btn-primary" href="/console/request"' not in ann.get("/console/").body
        assert "No role that you can request" in text(ann.get("/console/request?action=orders:PutItem"))
    finally:
        site.iam("DeleteUserPolicy", UserName="ann", PolicyName="no-requests")


def test_lists_that_have_further_pages_do_not_say_that_there_is_nothing(
    site: Installation, ann: Browser, lee: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(targets, "_BATCH", 1)
    monkeypatch.setattr(targets, "_LOOKED_AT", 1)
    monkeypatch.setattr(read, "_SCANNED", 1)
    monkeypatch.setattr(read, "can_vote", lambda *_: False)
    request = sent(ann, role=ORDERS)
    for path in ("/console/?requestable_after=prod-orders", "/console/request?after=prod-orders"):
        shown = text(ann.get(path))  # the page looks through `reader` alone
        assert "None of the roles on this page." in shown, path
        assert "You can request no role" not in shown, path
    inbox = text(lee.get("/console/approvals"))
    assert "No requests wait for your vote." not in inbox
    assert "Next page" in inbox
    assert ann.submit(ann.get(f"/console/access-request?id={request}"), "/console/access-request/cancel").status == 303


def test_inbox_handled_requests_are_newest_first_and_waiting_ones_oldest_first(
    site: Installation, ann: Browser, lee: Browser
) -> None:
    first, second = sent(ann, role=ORDERS), sent(ann, role=f"arn:aws:iam::{ALPHA}:role/prod-admin")

    def order(path: str) -> list[str]:
        shown = lee.get(path).body.decode()
        return sorted((first, second), key=shown.index)

    assert order("/console/approvals") == order("/console/approvals?state=pending") == [first, second]
    assert order("/console/approvals?state=all") == [second, first]
    for request in (first, second):
        ann.submit(ann.get(f"/console/access-request?id={request}"), "/console/access-request/cancel")
    assert order("/console/approvals?state=cancelled") == [second, first]


def test_inbox_person_is_found_behind_more_requests_than_a_page_looks_through(
    site: Installation, ann: Browser, lee: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    bea = signed_in(site, engineer(site))
    before, request = sent(bea, role=ORDERS), sent(ann, role=ORDERS)
    assert request in lee.get(f"/console/approvals?person=arn:aws:iam::{ALPHA}:user/ann").body.decode()
    assert request not in lee.get("/console/approvals?person=nobody").body.decode()
    monkeypatch.setattr(read, "_SCANNED", 1)
    assert request in lee.get("/console/approvals?person=ann").body.decode()
    for person, made in ((bea, before), (ann, request)):
        page = person.get(f"/console/access-request?id={made}")
        assert person.submit(page, "/console/access-request/cancel").status == 303


def test_request_sent_by_the_form_is_approved_used_extended_and_done(
    site: Installation, ann: Browser, lee: Browser
) -> None:
    request = sent(ann, role=ORDERS, minutes="30", ticket="OPS-1")
    assert state_of(site, request) == "pending"
    assert "prod-orders" in text(lee.get("/console/approvals"))
    page = lee.get(f"/console/access-request?id={request}")
    shown = text(page)
    assert REASON in shown
    assert "orders:*" in shown  # the difference
    assert "orders:GetItem" not in shown  # ann's own
    assert "Decide within" in shown
    assert query_of(lee.submit(page, "/console/access-request/approve", minutes="20"))["done"] == "approved"
    assert state_of(site, request) == "approved"
    assert "Use within" in text(ann.get(f"/console/access-request?id={request}"))
    home = ann.get("/console/")
    assert "Ready for 20 min" in text(home)
    answer = ann.submit(ann.get(f"/console/extend?request={request}"), "/console/extend/send", reason=REASON)
    assert query_of(answer)["done"] == "requested"
    assert ann.submit(home, "/console/access-request/done").status == 303
    assert state_of(site, request) == "ended"


def test_extension_that_nobody_has_to_approve_is_said_to_be_granted(site: Installation, ann: Browser) -> None:
    automatic = [{"name": "always", "condition": {"StringEquals": {"aws:username": "ann"}}}]
    try:
        served(api(site, "PUT", "/approval-rules/prod", {"document": json.dumps({**RULE, "automatic": automatic})}))
        request = sent(ann, role=ORDERS, break_glass="yes", confirmation="prod-orders")
        form = ann.get(f"/console/extend?request={request}")
        made = query_of(ann.submit(form, "/console/extend/send", reason=REASON))
        assert (made["done"], state_of(site, made["id"])) == ("granted", "approved")
        assert (
            ann.submit(ann.get(f"/console/access-request?id={made['id']}"), "/console/access-request/cancel").status
            == 303
        )
    finally:
        served(api(site, "PUT", "/approval-rules/prod", {"document": json.dumps(RULE)}))


def test_rules_are_listed_with_their_roles(site: Installation) -> None:
    assert "prod role/prod*" in text(signed_in(site, "ada").get("/console/rules"))


def test_request_with_an_unknown_role_shows_the_form_again_with_what_was_typed(
    site: Installation, ann: Browser
) -> None:
    page = ann.get("/console/request")
    answer = ann.submit(page, "/console/request/send", role=f"{ORDERS}x", reason="Typed <b>before</b>")
    assert answer.status in (403, 404)
    assert "Typed &lt;b&gt;before" in answer.body.decode()
    refused(site, answer, answer.status)


def test_request_without_a_role_is_refused_on_the_form(site: Installation, ann: Browser) -> None:
    page = ann.get("/console/request")
    answer = ann.submit(page, "/console/request/send", reason=REASON)
    assert "Choose 1 to 10 roles" in text(answer)
    assert refused(site, answer, 400)["operation"] == "daypass:CreateAccessRequest"


def test_request_sent_twice_makes_one_request(ann: Browser) -> None:
    page = ann.get("/console/request")
    fields = {**forms(page)["/console/request/send"].fields, "role": ORDERS, "reason": REASON}
    first, second = (query_of(ann.post("/console/request/send", fields)) for _ in range(2))
    assert first["id"] == second["id"]


def test_suggestion_offers_the_least_privileged_role_first(ann: Browser) -> None:
    shown = text(ann.get("/console/request?action=orders:PutItem"))
    suggestions = shown[shown.index("Find roles") :]
    assert suggestions.index("prod-orders") < suggestions.index("prod-admin")


def test_denial_without_a_reason_is_refused_and_with_one_is_final(
    site: Installation, ann: Browser, lee: Browser
) -> None:
    request = sent(ann, role=ORDERS)
    page = lee.get(f"/console/access-request?id={request}")
    answer = lee.submit(page, "/console/access-request/deny", reason=" ")
    reloaded = lee.get(f"/console/access-request/deny?id={request}")  # the address that the browser shows now
    assert reloaded.headers["location"] == f"/console/access-request?id={request}"
    assert "A denial has a reason." in text(answer)
    refused(site, answer, 400)
    assert query_of(lee.submit(page, "/console/access-request/deny", reason="Not now"))["done"] == "denied"
    assert "Not now" in text(ann.get(f"/console/access-request?id={request}"))
    assert state_of(site, request) == "denied"


def test_own_request_shows_no_vote_and_can_be_cancelled(site: Installation, ann: Browser) -> None:
    request = sent(ann, role=ORDERS)
    page = ann.get(f"/console/access-request?id={request}")
    assert "/console/access-request/approve" not in forms(page)
    assert query_of(ann.submit(page, "/console/access-request/cancel"))["done"] == "cancelled"
    assert state_of(site, request) == "cancelled"


def test_each_operation_of_a_page_is_on_the_record_by_its_name(site: Installation, ann: Browser) -> None:
    answer = ann.get("/console/")
    names = {record["operation"] for record in site.records(answer.request_id)}
    assert {"daypass:GetOwnAccess", "daypass:ListAssumableRoles", "daypass:ListRequestableRoles"} <= names


def test_part_that_a_policy_denies_is_left_out_and_recorded(site: Installation) -> None:
    site.iam("CreateUser", ROOT, UserName="dan")
    site.iam("CreateLoginProfile", ROOT, UserName="dan", Password="Correct-horse-1")
    deny = {"Effect": "Deny", "Action": "daypass:ListAssumableRoles", "Resource": "*"}
    document = json.dumps({"Version": "2012-10-17", "Statement": [deny]})
    site.iam("PutUserPolicy", ROOT, UserName="dan", PolicyName="p", PolicyDocument=document)
    answer = signed_in(site, "dan").get("/console/")
    assert answer.status == 200
    assert "Not shown." in text(answer)
    denied = [record for record in site.records(answer.request_id) if record.get("error")]
    assert [record["operation"] for record in denied] == ["daypass:ListAssumableRoles"]


def test_unknown_page_of_the_console_is_a_page_with_the_navigation(site: Installation, ann: Browser) -> None:
    answer = ann.get("/console/nothing")
    assert "The console has no such page." in text(answer)
    assert "Approvals" in text(answer)
    refused(site, answer, 404)


def test_error_page_of_the_console_has_the_menu_of_the_person(site: Installation, ann: Browser) -> None:
    for path in ("/console/nothing", "/console/record?position=1", "/console/session?id=x"):
        answer = ann.get(path)
        assert answer.status in (400, 403, 404), path
        assert "user/ann" in text(answer), path
        assert ann.submit(answer, "/logout").status == 303
        ann = signed_in(site, "ann")


def test_review_whose_finding_says_nothing_is_shown_again_with_the_finding(site: Installation, ann: Browser) -> None:
    request = sent(ann, role=ORDERS, break_glass="yes", confirmation="prod-orders")
    address = f"/console/access-request?id={request}&done=granted"
    page = text(ann.get(address, (b"sec-fetch-site", b"same-origin")))
    assert "The access is granted. Nobody has to approve it." in page
    assert "Get credentials" in page
    ada, close = signed_in(site, "ada"), "/console/reviews/close"
    again = ada.submit(ada.get("/console/reviews"), close, finding="ok")
    refused(site, again, 400)
    assert forms(again)[close].fields["finding"] == "ok"
    assert ada.submit(again, close, finding="Orders were written again").status == 303
    page = ann.get(f"/console/access-request?id={request}")
    assert ann.submit(page, "/console/access-request/cancel").status == 303


def test_own_access_over_the_api_is_that_of_the_page(site: Installation) -> None:
    found = json.loads(served(api(site, "GET", "/own-access")).body)
    assert found == {"access_requests": [], "grants": [], "mfa_devices": [], "waiting": []}
    assert json.loads(served(api(site, "GET", "/roles/requestable")).body) == {"roles": [], "next": ""}


def test_vote_of_a_person_with_mfa_is_confirmed_by_a_code_for_exactly_that_vote(site: Installation) -> None:
    site.iam("CreateUser", ROOT, UserName="mia")
    site.iam("CreateLoginProfile", ROOT, UserName="mia", Password=PASSWORD)
    site.iam("PutUserPolicy", ROOT, UserName="mia", PolicyName="work", PolicyDocument=policy(*APPROVE))
    site.iam("AddUserToGroup", ROOT, GroupName="leads", UserName="mia")
    totp = with_device(site, "mia")
    request = sent(signed_in(site, "ann"), role=ORDERS)
    mia = Browser(site)
    step = mia.sign_in(ALPHA, "mia", PASSWORD)
    site.wall.time += 30_000
    assert mia.submit(step, "/login/code", code=totp.at(site.now() // 1000)).status == 303
    page = mia.get(f"/console/access-request?id={request}")
    asked = mia.submit(page, "/console/access-request/approve", minutes="10")
    assert "You confirm exactly this" in text(asked)
    assert state_of(site, request) == "pending"
    site.wall.time += 30_000
    code = totp.at(site.now() // 1000)
    changed = mia.submit(asked, "/console/access-request/approve", code=code, minutes="60")
    assert "You confirm exactly this" in text(changed)  # the proof is for ten minutes, not for sixty
    assert state_of(site, request) == "pending"
    site.wall.time += 30_000
    again = mia.submit(page, "/console/access-request/approve", minutes="10")
    done = mia.submit(again, "/console/access-request/approve", code=totp.at(site.now() // 1000))
    assert query_of(done)["done"] == "approved", text(done)
    assert state_of(site, request) == "approved"


def test_dashboard_and_reviews_show_persons_by_name_not_by_id(site: Installation, ann: Browser, lee: Browser) -> None:
    request = sent(ann, role=ORDERS)
    lee.submit(lee.get(f"/console/access-request?id={request}"), "/console/access-request/approve")
    sent(ann, role=ORDERS, break_glass="yes", confirmation="prod-orders")
    ada = signed_in(site, "ada")
    elevated = text(ada.get("/console/dashboard?part=panels&view=executive"))
    elevated = elevated[elevated.index("Elevated access now") :]
    assert "prod-orders ann, 1 h" in elevated
    assert "AIDA" not in elevated
    assert "Emergency access of ann to prod-orders since" in text(ada.get("/console/reviews"))


@pytest.mark.parametrize("name", ["ann", "lee", "ada"])
def test_menu_sets_apart_exactly_the_pages_that_a_person_may_not_open(site: Installation, name: str) -> None:
    browser = signed_in(site, name)
    home = browser.get("/console/").body.decode()
    opened, _, others = home[home.index("<nav") : home.index("</nav>")].partition("<details")
    always = {"/console/simulator", "/console/explain", "/console/start"}  # these show the refusal
    for item in (item for _, items in GROUPS for item in items):
        link = f'href="{item.path}"'
        assert (link in opened) is not (link in others), item.path
        status = browser.get(item.path).status
        if item.path not in always:
            assert status == (200 if link in opened else 403), item.path
    assert ("Without permission" in others) is (name != "ada")


def test_menu_shows_the_page_that_a_person_may_not_open_where_it_is_current(site: Installation, ann: Browser) -> None:
    page = ann.get("/console/users").body.decode()
    assert '<a href="/console/users" aria-current="page"' in page[page.index("<details open") :]


def test_request_that_nobody_can_approve_shows_why_and_can_be_denied(
    site: Installation, ann: Browser, lee: Browser
) -> None:
    site.iam("CreateRole", RoleName="prod-gone", AssumeRolePolicyDocument=trust(ALPHA, approved=True))
    request = sent(ann, **{"role.0": ORDERS}, role=f"arn:aws:iam::{ALPHA}:role/prod-gone")
    site.iam("DeleteRole", RoleName="prod-gone")
    page = lee.get(f"/console/access-request?id={request}")
    assert "prod-gone cannot be found" in text(page)
    assert [path for path in forms(page) if "access-request" in path] == ["/console/access-request/deny"]
    answer = lee.submit(page, "/console/access-request/deny", reason="The role is gone")
    assert query_of(answer)["done"] == "denied"
    assert state_of(site, request) == "denied"


def test_dashboard_does_not_count_grants_that_are_refused(site: Installation, ann: Browser, lee: Browser) -> None:
    arn = f"arn:aws:iam::{ALPHA}:role/prod-admin"
    request = sent(ann, role=arn)
    lee.submit(lee.get(f"/console/access-request?id={request}"), "/console/access-request/approve")
    ada = signed_in(site, "ada")

    def number() -> int:
        return int(
            re.findall(r"Open elevated access (\d+)", text(ada.get("/console/dashboard?part=panels&view=executive")))[0]
        )

    before = number()
    site.iam("UpdateRole", RoleName="prod-admin", MaxSessionDuration="7200")
    after = text(ada.get("/console/dashboard?part=panels&view=executive"))
    assert number() < before
    assert "prod-admin" not in after[after.index("Elevated access now") :]

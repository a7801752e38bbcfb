"""The first administrator of a new installation, made in a browser, and the first steps after it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from tests.attack.installation import Answer, Installation
from tests.browser import Browser, forms, query_of, refused, text
from tests.sign_in import PASSWORD, site_with_pages

from daypass.domain.errors import DaypassError, ErrorKind
from daypass.wire.console import setup as first_run

CODE = "set-up-code-of-this-test"
ACCOUNT = "444455556666"
FORM = {"code": CODE, "account": ACCOUNT, "user": "root-of-all", "password": PASSWORD, "repeated": PASSWORD}
PATH = "/console/setup/create"


@pytest.fixture
def new_site(tmp_path: Path) -> Iterator[Installation]:
    """An installation without an account, whose server was started with --setup."""
    (tmp_path / "setup-code").write_text(f"{CODE}\n")
    with site_with_pages(tmp_path, first_keys="") as made:
        yield made


def set_up(site: Installation, **changes: str) -> tuple[Browser, Answer]:
    browser = Browser(site)
    page = browser.get("/console/setup")
    return browser, browser.submit(page, PATH, **{**FORM, **changes})


def test_first_administrator_is_made_with_the_code_and_signed_in(new_site: Installation) -> None:
    assert Browser(new_site).get("/console/").headers["location"] == "/console/setup"
    browser, answer = set_up(new_site)
    assert (answer.status, answer.headers["location"]) == (303, "/console/start"), text(answer)
    assert "You are signed in as root-of-all" in text(browser.get("/console/start"))
    assert browser.get("/console/settings").status == 200  # its account operates the installation
    (record,) = [each for each in new_site.records(answer.request_id) if each["type"] == "installation.bootstrapped"]
    assert record["operation"] == "daypass:CreateFirstAdministrator"
    shown = json.dumps(new_site.records(answer.request_id))
    assert CODE not in shown
    assert PASSWORD not in shown


def test_first_steps_lead_to_an_approved_request_in_browsers_alone(new_site: Installation) -> None:
    admin, _ = set_up(new_site)
    asked = admin.submit(admin.get("/console/start"), "/console/start/groups")
    assert "Member of engineers root-of-all" in text(asked)
    assert (
        f'"Resource": "arn:aws:iam::{ACCOUNT}:role/*", "Condition": {{ "Bool": {{ "daypass:Approved": "true"'
        in text(asked)
    )
    assert query_of(admin.submit(asked, "/console/start/groups"))["done"] == "saved"
    made = admin.confirm(admin.get("/console/start"), "/console/start/colleague", new_name="lee")
    assert forms(made)["/console/start/colleague"].fields["new_name"] == ""  # the next one has another name
    _, _, password = re.findall(r'<code id="once-\d">([^<]+)</code>', made.body.decode())
    shown = admin.submit(admin.get("/console/start"), "/console/start/role", name="prod", permissions="read")
    assert "Attached policy arn:aws:iam::aws:policy/ReadOnlyAccess Trust policy {" in text(shown)
    sent = admin.submit(shown, "/console/start/role")
    role = query_of(sent)["role"]
    asked = admin.submit(
        admin.get(f"/console/request?{urlencode({'role': role})}"), "/console/request/send", reason="The first request"
    )
    request, step = query_of(asked)["id"], '<li class="done">The first request'
    lee = Browser(new_site)
    changed = lee.sign_in(ACCOUNT, "lee", password)
    assert lee.submit(changed, "/login/new-password", password=PASSWORD, repeated=PASSWORD).status == 303
    page = lee.get(f"/console/access-request?id={request}")
    assert "1 approval of stage leads" in text(page)
    assert step not in admin.get("/console/start").body.decode()
    assert query_of(lee.submit(page, "/console/access-request/approve"))["done"] == "approved"
    assert step in admin.get("/console/start").body.decode()
    page = admin.get(f"/console/credentials?{urlencode({'role': role})}")
    assert "AWS_SECRET_ACCESS_KEY" in text(admin.submit(page, "/console/credentials/show"))


def test_a192_set_up_code_is_removed_when_it_was_used_and_works_once(new_site: Installation, tmp_path: Path) -> None:
    file = tmp_path / "setup-code"
    refused_first, answer = set_up(new_site, code="guessed")
    refused(new_site, answer, 403)
    assert file.exists()
    assert set_up(new_site)[1].status == 303
    assert not file.exists()
    again = refused_first.post(PATH, {**FORM, "csrf": forms(answer)[PATH].fields["csrf"], "user": "second"})
    record = refused(new_site, again, 404)
    assert record["operation"] == "daypass:CreateFirstAdministrator"
    assert CODE not in json.dumps(record)
    assert Browser(new_site).get("/console/setup").headers["location"] == "/console/"


@pytest.mark.parametrize(
    ("changes", "status", "said"),
    [
        ({"code": "wrong"}, 403, "not the set-up code"),
        ({"code": "ä\udcff"[:1]}, 403, "not the set-up code"),
        ({"account": "12"}, 400, "12 digits"),
        ({"user": "a b"}, 400, "user name"),
        ({"password": "short", "repeated": "short"}, 400, "Password"),
        ({"repeated": "Other-password-1"}, 400, "different"),
    ],
)
def test_set_up_with_a_wrong_field_is_refused_recorded_and_changes_nothing(
    new_site: Installation, changes: dict[str, str], status: int, said: str
) -> None:
    _, answer = set_up(new_site, **changes)
    assert said in text(answer)
    record = refused(new_site, answer, status)
    assert record["operation"] == "daypass:CreateFirstAdministrator"
    assert CODE not in json.dumps(record)
    assert PASSWORD not in answer.body.decode()
    assert forms(answer)[PATH].fields["user"] == {**FORM, **changes}["user"]  # the form again, for the correction
    assert set_up(new_site)[1].status == 303  # it still waits for its administrator


def test_set_up_works_once(new_site: Installation) -> None:
    late = Browser(new_site)
    page = late.get("/console/setup")
    set_up(new_site)
    second = late.submit(page, PATH, **{**FORM, "account": "777788889999", "user": "mallory"})
    refused(new_site, second, 404)
    assert late.sign_in("777788889999", "mallory", PASSWORD).status == 403
    assert late.get("/console/setup").headers["location"] == "/console/"


def test_set_up_that_ran_out_of_time_says_where_to_look(
    new_site: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = first_run.create_first_administrator

    async def late(*given: Any) -> None:
        await whole(*given)
        raise DaypassError(ErrorKind.OVERLOADED, "The request was not answered in time.")

    monkeypatch.setattr(first_run, "create_first_administrator", late)
    browser, answer = set_up(new_site)
    assert answer.status == 503
    assert "Open /console/ again: if the administrator was made, it leads to the sign-in." in text(answer)
    assert browser.get("/console/").headers["location"].startswith("/login")
    assert browser.sign_in(ACCOUNT, "root-of-all", PASSWORD).status == 303


def test_set_up_from_a_foreign_page_is_refused(new_site: Installation) -> None:
    browser = Browser(new_site)
    token = forms(browser.get("/console/setup"))[PATH].fields["csrf"]
    answer = browser.post(PATH, {**FORM, "csrf": token}, origin="https://evil.example")
    assert refused(new_site, answer, 403)["detail"]["private"]["reason"] == "csrf"


def test_set_up_without_a_code_is_off(tmp_path: Path) -> None:
    with site_with_pages(tmp_path, first_keys="") as made:
        browser = Browser(made)
        assert browser.get("/console/setup").headers["location"] == "/console/"
        assert browser.get("/console/").headers["location"].startswith("/login")
        token = forms(browser.get("/login"))["/login/password"].fields["csrf"]
        refused(made, browser.post(PATH, {**FORM, "code": "", "csrf": token}), 404)


def test_readyz_without_an_administrator_says_not_initialised_until_there_is_one(new_site: Installation) -> None:
    before = Browser(new_site).get("/readyz")
    assert (before.status, json.loads(before.body)["status"]) == (200, "not initialised")
    assert any("/console/setup" in warning for warning in json.loads(before.body)["warnings"])
    set_up(new_site)
    assert json.loads(Browser(new_site).get("/readyz").body)["status"] == "ready"

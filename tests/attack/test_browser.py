"""Attacks on people's browsers: forged forms, planted cookies, redirects elsewhere, frames, guessing."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.attack.installation import ALPHA, Answer, Installation
from tests.browser import Browser, forms, refused
from tests.sign_in import site_with_pages

from daypass.wire.web.cookies import DEFAULT, checked

PASSWORD = "canary-Correct-horse-1"
ABROAD = "https://evil.example"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    with site_with_pages(tmp_path_factory.mktemp("browser")) as made:
        for name in ("ann", "mallory"):
            made.iam("CreateUser", UserName=name)
            made.iam("CreateLoginProfile", UserName=name, Password=PASSWORD)
        yield made


def ann(site: Installation) -> Browser:
    browser = Browser(site)
    assert browser.sign_in(ALPHA, "ann", PASSWORD).status == 303
    return browser


def denied_as_forged(site: Installation, answer: Answer) -> None:
    assert refused(site, answer, 403)["detail"]["private"]["reason"] == "csrf"


@pytest.mark.parametrize("path", ["/logout", "/account/end"])
def test_a86_forged_form_of_a_signed_in_browser_changes_nothing(site: Installation, path: str) -> None:
    browser = ann(site)
    form = forms(browser.get("/account"))[path]
    own_token = form.fields.pop("csrf")
    denied_as_forged(site, browser.post(path, form.fields))
    denied_as_forged(site, browser.post(path, {**form.fields, "csrf": "0" * 64}))
    for origin in (ABROAD, "null", "https://daypass.test.evil.example", "http://daypass.test"):
        denied_as_forged(site, browser.post(path, {**form.fields, "csrf": own_token}, origin=origin))
    assert browser.get("/account").status == 200


def test_a86_token_of_another_browser_is_refused(site: Installation) -> None:
    victim, attacker = ann(site), Browser(site)
    attacker.sign_in(ALPHA, "mallory", PASSWORD)
    token = forms(attacker.get("/account"))["/logout"].fields["csrf"]
    denied_as_forged(site, victim.post("/logout", {"csrf": token}))
    assert victim.get("/account").status == 200


def test_a86_form_from_a_page_of_the_same_site_but_another_host_is_refused(site: Installation) -> None:
    browser = ann(site)
    token = forms(browser.get("/account"))["/logout"].fields["csrf"]
    headers = [
        (b"content-type", b"application/x-www-form-urlencoded"),
        (b"sec-fetch-site", b"same-site"),
        (b"cookie", b"; ".join(f"{n}={v}".encode() for n, v in browser.cookies.items())),
    ]
    denied_as_forged(site, site.send("POST", headers, f"csrf={token}".encode(), path=b"/logout"))


def test_a86_link_or_prefetch_changes_nothing(site: Installation) -> None:
    browser = ann(site)
    for path in ("/logout", "/account/end", "/login/password"):
        answer = browser.get(path, (b"sec-purpose", b"prefetch"))
        assert (answer.status, answer.headers["location"]) == (303, "/login" if "login" in path else "/account")
    assert browser.get("/account").status == 200


def test_a86_login_with_the_attackers_account_is_refused(site: Installation) -> None:
    victim = Browser(site)
    victim.get("/login")
    page = Browser(site).get("/login")
    stolen = forms(page)["/login/password"].fields
    given = {**stolen, "account": ALPHA, "user": "mallory", "password": PASSWORD}
    denied_as_forged(site, victim.post("/login/password", given))
    denied_as_forged(site, Browser(site).post("/login/password", given))
    assert victim.get("/account").status == 303


def test_a86_pages_cannot_be_framed(site: Installation) -> None:
    browser = ann(site)
    for answer in (browser.get("/login?again=age"), browser.get("/account"), browser.get("/nothing/here")):
        if answer.headers["content-type"].startswith("text/html"):
            assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]
            assert answer.headers["x-frame-options"] == "DENY"


def test_a88_planted_cookie_is_worth_nothing_after_the_sign_in(site: Installation) -> None:
    attacker = Browser(site)
    attacker.get("/login")
    victim = Browser(site, cookies=dict(attacker.cookies))
    assert victim.sign_in(ALPHA, "ann", PASSWORD).status == 303
    assert victim.cookies != attacker.cookies
    assert attacker.get("/account").status == 303


def test_a88_second_sign_in_ends_the_session_of_the_first_cookie(site: Installation) -> None:
    browser = ann(site)
    stolen = Browser(site, cookies=dict(browser.cookies))
    page = browser.get("/login?again=mfa")
    fields = {"account": ALPHA, "user": "ann", "password": PASSWORD}
    assert browser.submit(page, "/login/password", **fields).status == 303
    assert browser.get("/account").status == 200
    assert stolen.get("/account").status == 303


@pytest.mark.parametrize(
    "following",
    [
        "//evil.example",
        "///evil.example",
        "/\\evil.example",
        "\\\\evil.example",
        "https://evil.example/",
        "https:evil.example",
        "javascript:alert(1)",
        "/\t/evil.example",
        "/\r\nlocation: https://evil.example",
        " //evil.example",
        "/account\n",
        "@evil.example",
        "/ä",
        "",
        "/" + "a" * 7000,
    ],
)
def test_a88_next_leads_to_no_other_host(site: Installation, following: str) -> None:
    assert checked(following) == DEFAULT
    answer = Browser(site).sign_in(ALPHA, "ann", PASSWORD, following)
    assert (answer.status, answer.headers["location"]) == (303, DEFAULT)


@pytest.mark.parametrize("following", ["/", "/account", "/oauth2/authorize?client_id=a&state=%2F%2Fx", "/console/?q=1"])
def test_next_leads_to_paths_of_ours(following: str) -> None:
    assert checked(following) == following


def test_a88_forged_host_header_appears_in_no_answer(site: Installation) -> None:
    headers = ((b"host", b"evil.example"), (b"x-forwarded-host", b"evil.example"))
    browser = ann(site)
    for answer in (Browser(site).get("/login", *headers), browser.get("/account", *headers)):
        assert b"evil.example" not in answer.body
        assert not any("evil.example" in value for value in answer.headers.values())


@pytest.mark.parametrize("value", ["", "short", "x" * 41, "a" * 39 + ";", "ä" * 40, "A" * 40])
def test_cookie_that_is_not_of_a_session_signs_nobody_in(site: Installation, value: str) -> None:
    answer = Browser(site, cookies={"__Host-daypass": value}).get("/account")
    assert (answer.status, answer.headers["location"]) == (303, "/login?next=%2Faccount")


def test_cookie_that_is_there_twice_signs_nobody_in(site: Installation) -> None:
    browser = ann(site)
    pair = "; ".join(f"{name}={value}" for name, value in browser.cookies.items())
    answer = site.send("GET", [(b"cookie", f"{pair}; {pair}".encode())], path=b"/account")
    assert answer.status == 303


@pytest.mark.parametrize("white", [b"\xa0", b"\x85", b"\x1c", b"\x0b", b"\xc2\xa0"])
def test_a345_cookie_whose_name_begins_with_white_space_is_not_ours(site: Installation, white: bytes) -> None:
    """Chromium lets any host of the domain set the first: its name does not begin with __Host-."""
    attacker, victim = ann(site), ann(site)
    planted, own = (f"__Host-daypass={each.cookies['__Host-daypass']}".encode() for each in (attacker, victim))
    alone = site.send("GET", [(b"cookie", white + planted)], path=b"/account")
    assert (alone.status, alone.headers["location"]) == (303, "/login?next=%2Faccount")
    beside = site.send("GET", [(b"cookie", white + planted + b"; " + own)], path=b"/account")
    assert beside.status == 200  # nobody is signed out by it


def test_a71_guesses_at_users_get_one_answer_and_are_throttled(tmp_path_factory: pytest.TempPathFactory) -> None:
    rates = {"failures_per_second": 0.01, "failures_burst": 6}
    data = tmp_path_factory.mktemp("guessing")
    with site_with_pages(data, rates=rates) as site:
        answers = [Browser(site).sign_in(ALPHA, f"user-{n}", "guess") for n in range(4)]
        shown = {answer.body.partition(b'<form method="post"')[0] for answer in answers}
        assert len(shown) == 1
        browser = Browser(site)
        page = browser.get("/login")
        statuses = [
            browser.submit(page, "/login/password", account=ALPHA, user="x", password="y").status for _ in range(4)
        ]
        assert statuses[-1] == 429


def test_a62_password_cookie_and_ticket_are_in_no_record_and_no_log(site: Installation) -> None:
    browser = ann(site)
    cookie = next(iter(browser.cookies.values()))
    Browser(site).sign_in(ALPHA, "ann", "canary-wrong-password")
    kept = b"\n".join(site.record_bytes()) + site.log.getvalue().encode()
    for secret in (PASSWORD, "canary-wrong-password", cookie):
        assert secret.encode() not in kept


def test_a87_names_and_user_agents_are_inert_on_pages(site: Installation) -> None:
    browser = Browser(site)
    page = browser.get("/login")
    hostile = "<img src=x onerror=alert(1)>\u202e\"'"
    answer = browser.submit(page, "/login/password", account=hostile, user=hostile, password="x")
    assert b"<img src=x" not in answer.body
    assert "\u202e" not in answer.body.decode()
    agent = (b"user-agent", b"<script>alert(1)</script>")
    form = {**forms(browser.get("/login"))["/login/password"].fields, "account": ALPHA, "user": "ann"}
    assert browser.post("/login/password", {**form, "password": PASSWORD}, agent).status == 303
    shown = browser.get("/account").body
    assert b"<script>" not in shown
    assert b"&lt;script&gt;" in shown

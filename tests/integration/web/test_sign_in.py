"""Signing in and out with a browser: password, MFA, expiry and reset, timeouts, revocation."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest
from tests.attack.installation import ALPHA, Installation, installed
from tests.browser import Browser, forms, refused, text
from tests.sign_in import PASSWORD, signed_in, user, with_device

from daypass.operations.iam.login_profiles import LOCK_MS, MAX_FAILURES

WRONG = "The account, the user name or the password is wrong"


def test_sign_in_with_a_password_shows_the_user_and_records_the_session(site: Installation) -> None:
    name = user(site)
    browser = Browser(site)
    answer = browser.sign_in(ALPHA, name, PASSWORD)
    (record,) = site.records(answer.request_id)
    assert (record["type"], record["operation"]) == ("session.issued", "daypass:SignIn")
    assert record["detail"]["form"] == "browser"
    page = browser.get("/account")
    assert page.status == 200
    assert f"arn:aws:iam::{ALPHA}:user/{name}" in text(page)
    assert "this browser" in text(page)


def test_sign_in_by_account_alias_works_as_by_its_id(site: Installation) -> None:
    name = user(site)
    site.iam("CreateAccountAlias", AccountAlias="alpha-team")
    assert Browser(site).sign_in("alpha-team", name, PASSWORD).status == 303


def test_cookie_is_bound_to_this_host_and_hidden_from_scripts(site: Installation) -> None:
    header = Browser(site).get("/login").headers["set-cookie"]
    name, *attributes = header.split("; ")
    assert name.startswith("__Host-daypass=")
    assert set(attributes) == {"Path=/", "HttpOnly", "SameSite=Lax", "Secure"}


def test_pages_allow_no_script_no_inline_style_and_no_frame(site: Installation) -> None:
    page = Browser(site).get("/login/signed-out")
    policy = page.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; style-src 'self'; ")
    assert "script-src" not in policy
    assert "unsafe" not in policy
    assert page.headers["x-frame-options"] == "DENY"
    assert b"<script" not in page.body
    assert b" style=" not in page.body


def test_static_files_are_addressed_by_digest_and_cached_for_ever(site: Installation) -> None:
    page = Browser(site).get("/login").body.decode()
    href = page.partition('rel="stylesheet" href="')[2].partition('"')[0]
    answer = site.send("GET", path=href.encode())
    assert (answer.status, answer.headers["content-type"]) == (200, "text/css; charset=utf-8")
    assert "immutable" in answer.headers["cache-control"]
    assert site.send("GET", path=b"/static/../web.css").status == 404


@pytest.mark.parametrize(
    ("account", "name", "password"),
    [
        (ALPHA, "nobody", PASSWORD),
        ("999988887777", "ann", PASSWORD),
        ("no-such-alias", "ann", PASSWORD),
        (ALPHA, "", ""),
    ],
)
def test_sign_in_of_an_unknown_user_gets_the_answer_of_a_wrong_password(
    site: Installation, account: str, name: str, password: str
) -> None:
    wrong = Browser(site).sign_in(ALPHA, user(site), "Wrong-horse-1")
    unknown = Browser(site).sign_in(account, name, password)
    assert (wrong.status, unknown.status) == (403, 403)
    assert WRONG in text(wrong)
    assert WRONG in text(unknown)
    assert refused(site, unknown, 403)["error"] == "access_denied"


def test_sign_in_after_five_wrong_passwords_is_locked_and_says_nothing_else(site: Installation) -> None:
    name = user(site)
    browser = Browser(site)
    for _ in range(MAX_FAILURES):
        assert browser.sign_in(ALPHA, name, "Wrong-horse-1").status == 403
    answer = browser.sign_in(ALPHA, name, PASSWORD)
    assert answer.status == 403
    assert WRONG in text(answer)
    assert refused(site, answer, 403)["detail"]["private"]["reason"] == "locked after wrong passwords"
    site.wall.time += LOCK_MS
    assert browser.sign_in(ALPHA, name, PASSWORD).status == 303


def test_sign_in_of_a_user_without_a_login_profile_is_refused(site: Installation) -> None:
    site.iam("CreateUser", UserName="keys-only")
    assert Browser(site).sign_in(ALPHA, "keys-only", PASSWORD).status == 403


def test_sign_in_with_a_device_asks_for_a_code_and_marks_the_session(site: Installation) -> None:
    name = user(site)
    totp = with_device(site, name)
    browser = Browser(site)
    page = browser.sign_in(ALPHA, name, PASSWORD)
    assert page.status == 200
    assert "/login/code" in forms(page)
    assert browser.get("/account").status == 303
    answer = browser.submit(page, "/login/code", code=totp.at(site.now() // 1000))
    assert answer.status == 303, answer.body
    assert "password and MFA" in text(browser.get("/account"))
    again = Browser(site)
    page = again.sign_in(ALPHA, name, PASSWORD)
    replayed = again.submit(page, "/login/code", code=totp.at(site.now() // 1000))
    assert replayed.status == 403
    assert "used before" in text(replayed)


def test_ticket_of_a_code_page_is_worth_nothing_in_another_browser(site: Installation) -> None:
    name = user(site)
    totp = with_device(site, name)
    page = Browser(site).sign_in(ALPHA, name, PASSWORD)
    ticket = forms(page)["/login/code"].fields["ticket"]
    other = Browser(site)
    own = other.sign_in(ALPHA, name, PASSWORD)
    answer = other.submit(own, "/login/code", ticket=ticket, code=totp.at(site.now() // 1000))
    assert refused(site, answer, 400)["error"] == "invalid_identity_token"


def test_ticket_expires_after_five_minutes(site: Installation) -> None:
    name = user(site, PasswordResetRequired="true")
    browser = Browser(site)
    page = browser.sign_in(ALPHA, name, PASSWORD)
    site.wall.time += 300_000
    answer = browser.submit(page, "/login/new-password", password="Another-horse-2", repeated="Another-horse-2")
    assert refused(site, answer, 400)["error"] == "expired_identity_token"


def test_sign_in_with_a_password_to_reset_needs_a_new_one(site: Installation) -> None:
    name = user(site, PasswordResetRequired="true")
    browser = Browser(site)
    page = browser.sign_in(ALPHA, name, PASSWORD)
    assert page.status == 200
    assert browser.get("/account").status == 303
    different = browser.submit(page, "/login/new-password", password="Another-horse-2", repeated="Another-horse-3")
    assert "different" in text(different)
    weak = browser.submit(page, "/login/new-password", password="weak", repeated="weak")
    assert weak.status == 400
    same = browser.submit(weak, "/login/new-password", password=PASSWORD, repeated=PASSWORD)
    assert same.status == 400
    done = browser.submit(same, "/login/new-password", password="Another-horse-2", repeated="Another-horse-2")
    assert done.status == 303, done.body
    assert browser.get("/account").status == 200
    assert Browser(site).sign_in(ALPHA, name, PASSWORD).status == 403
    assert Browser(site).sign_in(ALPHA, name, "Another-horse-2").status == 303
    used = browser.submit(same, "/login/new-password", password="Third-horse-3", repeated="Third-horse-3")
    assert used.status in (400, 403)


def test_sign_in_with_an_expired_password_needs_a_new_one_unless_the_account_forbids_it(site: Installation) -> None:
    name = user(site)
    site.iam("UpdateAccountPasswordPolicy", MaxPasswordAge="1")
    site.wall.time += 86_400_000
    try:
        assert "/login/new-password" in forms(Browser(site).sign_in(ALPHA, name, PASSWORD))
        site.iam("UpdateAccountPasswordPolicy", MaxPasswordAge="1", HardExpiry="true")
        answer = Browser(site).sign_in(ALPHA, name, PASSWORD)
        assert answer.status == 403
        assert "Only an administrator" in text(answer)
    finally:
        site.iam("DeleteAccountPasswordPolicy")


def test_browser_is_signed_out_when_it_is_idle(site: Installation) -> None:
    browser = signed_in(site, user(site))
    site.wall.time += 29 * 60_000
    assert browser.get("/account").status == 200
    site.wall.time += 29 * 60_000
    assert browser.get("/account").status == 200
    site.wall.time += 30 * 60_000
    assert browser.get("/account").headers["location"] == "/login?next=%2Faccount"


def test_browser_is_signed_out_at_the_absolute_timeout_however_busy_it_is(site: Installation) -> None:
    browser = signed_in(site, user(site))
    for _ in range(35):
        site.wall.time += 20 * 60_000
        assert browser.get("/account").status == 200
    site.wall.time += 20 * 60_000
    assert browser.get("/account").status == 303


def test_login_profile_shortens_the_session(site: Installation) -> None:
    browser = signed_in(site, user(site, MaxSigninSessionDuration="3600"))
    for _ in range(3):
        site.wall.time += 19 * 60_000
        assert browser.get("/account").status == 200
    site.wall.time += 170_000
    assert browser.get("/account").status == 200
    site.wall.time += 10_000
    assert browser.get("/account").status == 303


@pytest.mark.parametrize(
    "action",
    [("UpdateLoginProfile", {"Password": "Another-horse-2"}), ("DeleteLoginProfile", {})],
    ids=lambda action: str(action[0]),
)
def test_change_of_the_password_signs_every_browser_out(site: Installation, action: tuple[str, dict[str, str]]) -> None:
    name = user(site)
    browser = signed_in(site, name)
    site.iam(action[0], UserName=name, **action[1])
    assert browser.get("/account").status == 303


def test_revocation_of_the_session_or_the_user_signs_the_browser_out(site: Installation) -> None:
    import json

    from tests.attack.installation import ROOT

    def revoke(subject: str, value: str) -> None:
        body = json.dumps({"subject": subject, "value": value}).encode()
        path, extra = "/api/v1/revocations", {"content-type": "application/json"}
        headers = site.signed(ROOT, body, "daypass", path=path, extra=extra)
        answer = site.send("POST", headers, body, path=path.encode())
        assert answer.status == 201, answer.body

    name = user(site)
    first, second = signed_in(site, name), signed_in(site, name)
    session = forms(first.get("/account"))["/account/end"].fields["session"]
    listed = site.send(
        "GET", site.signed(ROOT, b"", "daypass", method="GET", path="/api/v1/sessions"), path=b"/api/v1/sessions"
    )
    assert session in listed.body.decode()
    revoke("session", session)
    outcomes = sorted(browser.get("/account").status for browser in (first, second))
    assert outcomes == [200, 303]
    revoke("principal", name)
    assert [browser.get("/account").status for browser in (first, second)] == [303, 303]


def test_sign_out_ends_the_session_and_removes_the_cookie(site: Installation) -> None:
    browser = signed_in(site, user(site))
    kept = dict(browser.cookies)
    answer = browser.submit(browser.get("/account"), "/logout")
    assert answer.headers["location"] == "/login/signed-out"
    assert browser.cookies.keys() == {"daypass-account"}  # with which the next sign-in begins
    assert "signed out" in text(browser.get("/login/signed-out"))
    stolen = Browser(site, cookies=kept)
    assert stolen.get("/account").status == 303


def test_person_signs_another_browser_out(site: Installation) -> None:
    name = user(site)
    first = signed_in(site, name)
    session = forms(first.get("/account"))["/account/end"].fields["session"]
    site.wall.time += 60_000
    second = signed_in(site, name)
    assert second.submit(second.get("/account"), "/account/end", session=session).status == 303
    assert first.get("/account").status == 303
    assert second.get("/account").status == 200


def test_person_cannot_sign_out_the_browser_of_another(site: Installation) -> None:
    victim, attacker = signed_in(site, user(site)), signed_in(site, user(site))
    session = forms(victim.get("/account"))["/account/end"].fields["session"]
    answer = attacker.submit(attacker.get("/account"), "/account/end", session=session)
    assert refused(site, answer, 404)["error"] == "not_found"
    assert victim.get("/account").status == 200


def test_pages_need_a_public_url_with_https(tmp_path_factory: pytest.TempPathFactory) -> None:
    from tests.attack.installation import installed

    for url, status in (("", 404), ("http://daypass.example.com", 404), ("http://127.0.0.1:8700", 200)):
        data = tmp_path_factory.mktemp("plain")
        with installed(data, server={"public_url": url}) as site:
            answer = site.send("GET", path=b"/login")
            assert answer.status == status
            if status == 200:
                assert "__Host-" not in answer.headers["set-cookie"]
                assert "Secure" not in answer.headers["set-cookie"]


@pytest.mark.parametrize(
    ("public_url", "host", "leads"),
    [
        ("http://localhost:8700", b"127.0.0.1:8700", True),
        ("http://localhost:8700", b"[::1]:8700", True),
        ("http://localhost:8700", b"localhost:8700", False),
        ("http://localhost:8700", b"other.example:8700", False),
        ("https://localhost:8700", b"127.0.0.1:8700", False),
        ("https://daypass.example", b"127.0.0.1:8700", False),
    ],
)
def test_page_at_another_name_of_the_loopback_leads_to_the_public_one(
    tmp_path: Path, public_url: str, host: bytes, leads: bool
) -> None:
    with installed(tmp_path, server={"public_url": public_url}) as site:
        answer = site.send("GET", [(b"host", host)], path=b"/login", query=b"next=%2Fconsole%2Fusers")
        assert (answer.status, answer.headers.get("location")) == (
            (303, f"{public_url}/login?next=%2Fconsole%2Fusers") if leads else (200, None)
        )
        assert site.send("GET", [(b"host", host)], path=b"/healthz").status == 200, "only pages"


def test_wrong_attempts_get_the_same_answer_and_cost_one_hash_each(
    site: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.iam("CreateUser", UserName="without-a-password")
    locked, hashes = user(site), list[int]()
    for _ in range(MAX_FAILURES):
        Browser(site).sign_in(ALPHA, locked, "Wrong-horse-1")
    real = hashlib.scrypt

    def counted(*given: Any, **more: Any) -> bytes:
        hashes.append(more.get("n", 0))
        return real(*given, **more)

    monkeypatch.setattr(hashlib, "scrypt", counted)
    shown = set()
    attempts = [
        (ALPHA, user(site), "Wrong-horse-1"),
        (ALPHA, "nobody", PASSWORD),
        (ALPHA, "without-a-password", PASSWORD),
        ("999988887777", "ann", PASSWORD),
        ("no-such-alias", "ann", PASSWORD),
        (ALPHA, locked, PASSWORD),
        (ALPHA, user(site), "x" * 10_000),
        (ALPHA, user(site), ""),
    ]
    hashes.clear()
    for number, (account, name, password) in enumerate(attempts, 1):
        answer = Browser(site).sign_in(account, name, password)
        assert (answer.status, len(hashes)) == (403, number), (account, name)
        shown.add(WRONG in text(answer))
    assert shown == {True}


def test_what_the_account_requires_is_shown_only_after_the_right_password(site: Installation) -> None:
    protected, due = user(site), user(site, PasswordResetRequired="true")
    with_device(site, protected)
    plain = text(Browser(site).sign_in(ALPHA, user(site), "Wrong-horse-1"))
    for name, shown in ((protected, "code"), (due, "new password")):
        wrong, right = (text(Browser(site).sign_in(ALPHA, name, each)) for each in ("Wrong-horse-1", PASSWORD))
        assert wrong == plain
        assert shown in right.lower()
        assert right != wrong

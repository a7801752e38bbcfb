"""Sessions, roles and credentials in the console."""

from __future__ import annotations

import json
import re

from tests.attack.installation import ALPHA, Answer, Installation
from tests.browser import Browser, query_of, refused, text
from tests.console import ada, served, site
from tests.oauth_client import api
from tests.sign_in import signed_in

__all__ = ["ada", "site"]

READER = f"arn:aws:iam::{ALPHA}:role/reader"


def credentials(browser: Browser, **fields: str) -> Answer:
    page = browser.get(f"/console/credentials?role={READER}")
    return browser.submit(page, "/console/credentials/show", **fields)


def key_of(answer: Answer) -> tuple[str, str, str]:
    shown = answer.body.decode()
    names = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
    found = [re.search(rf"export {name}=(\S+)", shown) for name in names]
    key, secret, token = (match[1].strip("'").replace("&#39;", "") for match in found if match)
    return key, secret, token


def session_of(site: Installation, key: str) -> str:
    found = json.loads(served(api(site, "GET", "/sessions")).body)["sessions"]
    return next(str(each["session_id"]) for each in found if each["access_key_id"] == key)


def test_credentials_work_in_each_format_and_are_shown_once(site: Installation, ada: Browser) -> None:
    answer = credentials(ada, session_name="release-42", minutes="15")
    assert answer.status == 200
    assert answer.headers["cache-control"] == "no-store"
    key = key_of(answer)
    assert "assumed-role/reader/release-42" in site.call(key, "GetCallerIdentity").text("Arn")
    shown = answer.body.decode()
    assert f"$env:AWS_ACCESS_KEY_ID = &#39;{key[0]}&#39;" in shown
    assert f"aws_access_key_id = {key[0]}" in shown
    assert not any(key[1].encode() in record for record in site.record_bytes())
    reloaded = ada.get("/console/credentials/show")
    assert (reloaded.status, reloaded.headers["location"]) == (303, "/console/")


def test_credentials_of_a_role_that_needs_approval_are_refused_on_the_form(site: Installation, ada: Browser) -> None:
    answer = credentials(ada, role=f"arn:aws:iam::{ALPHA}:role/prod-orders")
    assert "is not authorized to perform: sts:AssumeRole" in text(answer)
    assert refused(site, answer, 403)["operation"] == "sts:AssumeRole"


def test_sessions_are_listed_filtered_and_shown_as_a_tree(site: Installation, ada: Browser) -> None:
    key = key_of(credentials(ada, session_name="tree-1"))
    session = session_of(site, key[0])
    assert site.assume(key, READER, "below-1").status == 200
    page = ada.get("/console/sessions")
    assert "tree-1" in text(page)
    assert "tree-1" not in text(ada.get("/console/sessions?state=revoked"))
    shown = text(ada.get(f"/console/session?id={session}"))
    assert "this session" in shown
    chain = shown[shown.index("Chain") :]
    assert chain.index("ada") < chain.index("tree-1 this session") < chain.index("below-1")


def test_sessions_are_paged_on_the_server(site: Installation, ada: Browser) -> None:
    key = ("AKIAADMINOFALPHA0000", "alpha-admin-secret-canary-alpha-admin-se")
    for number in range(55):
        assert site.assume(key, READER, f"page-{number:02}").status == 200
    page = ada.get("/console/sessions?state=all")
    body = page.body.decode()
    assert body.count("<tr data-key=") == 50
    following = re.search(r'rel="next" href="([^"]+)"', body)
    assert following is not None
    second = ada.get(following[1].replace("&amp;", "&"))
    assert "page-00" in text(second)
    assert "First page" in text(second)


def test_revoking_shows_a_preview_first_and_then_ends_the_session(site: Installation, ada: Browser) -> None:
    key = key_of(credentials(ada, session_name="ends-1"))
    session = session_of(site, key[0])
    preview = ada.get(f"/console/revoke?subject=session&value={session}&reason=leaked")
    assert "1 active session ends" in text(preview)
    assert site.call(key, "GetCallerIdentity").status == 200  # the preview has ended nothing
    answer = ada.submit(preview, "/console/revoke/send")
    assert query_of(answer)["done"] == "revoked"
    assert site.call(key, "GetCallerIdentity").status == 403
    assert "ends-1" in text(ada.get("/console/sessions?state=revoked"))


def test_revoking_an_unknown_value_says_so_on_the_form(site: Installation, ada: Browser) -> None:
    answer = ada.get("/console/revoke?subject=role&value=nobody")
    assert "is not known" in text(answer) or "cannot be found" in text(answer)
    refused(site, answer, 404)


def test_role_shows_trust_in_words_lint_and_who_can(ada: Browser) -> None:
    assert "prod-orders" in text(ada.get("/console/roles"))
    shown = text(ada.get("/console/role?name=prod-orders"))
    assert f"principals of account {ALPHA} whose own policies allow it" in shown
    assert "an approved access request exists" in shown
    assert "may assume the role, set a source identity" in shown
    assert "orders:*" in shown
    assert "part=who&amp;name=prod-orders" in ada.get("/console/role?name=prod-orders").body.decode()
    who = text(ada.get("/console/role?part=who&name=prod-orders"))
    assert "ann user allowed if" in who
    limited = text(ada.get("/console/role?part=can&name=reader"))
    assert "partly if the trust policy of the role that is assumed allows it" in limited


def test_report_on_use_is_made_by_a_form_and_shown(ada: Browser) -> None:
    page = ada.get("/console/role?name=reader")
    answer = ada.submit(page, "/console/role/report")
    shown = text(ada.get(answer.headers["location"]))
    assert "orders never" in shown


def test_person_without_permission_gets_a_page_that_says_which(site: Installation) -> None:
    answer = signed_in(site, "lee").get("/console/sessions")
    assert "daypass:ListSessions" in text(answer)
    refused(site, answer, 403)


def test_sessions_are_found_by_the_names_of_role_and_person(ada: Browser) -> None:
    credentials(ada, session_name="found-by-name")
    for query in ("principal=reader", f"principal={READER}", "root=ada", "principal=reader&root=ada"):
        assert "found-by-name" in text(ada.get(f"/console/sessions?{query}")), query
    assert "No sessions here." in text(ada.get("/console/sessions?root=lee&principal=reader"))


def test_roles_list_begins_at_a_name(ada: Browser) -> None:
    shown = text(ada.get("/console/roles?start=READ"))
    assert "reader" in shown
    assert "prod-orders" not in shown
    assert "First page" in shown
    assert "prod-admin" in text(ada.get("/console/roles?start=prod-a"))
    assert ada.get("/console/roles?start=%0a%F0").status == 400


def _first_cells(answer: Answer) -> list[str]:
    rows = re.findall(r"<tr[^>]*>\s*<td>(.*?)</td>", answer.body.decode(), re.DOTALL)
    return [re.sub(r"<[^>]+>", "", row).split(" ")[0] for row in rows]


def test_chosen_sessions_are_revoked_after_a_confirmation(site: Installation, ada: Browser) -> None:
    made = [key_of(credentials(ada, session_name=f"chosen-{number}")) for number in range(3)]
    page = ada.get("/console/sessions")
    ids = dict(re.findall(r'data-key="([^"]+)">\s*<td><a [^>]*>(chosen-\d)<', page.body.decode()))
    chosen = " ".join(each for each, name in ids.items() if name != "chosen-2")
    path = "/console/sessions/revoke"
    asked = ada.submit(page, path, chosen=chosen)
    assert asked.status == 200, text(asked)
    shown = re.findall(r"<dt>(.*?)</dt><dd>\s*(.*?)</dd>", asked.body.decode())
    role, since, until = zip(*(value.split(", ") for _, value in shown), strict=True)
    assert [name for name, _ in shown] == ["ada", "ada"]
    assert sorted(role) == ["reader as chosen-0", "reader as chosen-1"]
    assert all(re.fullmatch(r"since 20.* UTC", each) for each in since)
    assert all(re.fullmatch(r"until 20.* UTC", each) for each in until)
    assert all(site.call(each, "GetCallerIdentity", {}).status == 200 for each in made)
    assert ada.submit(asked, path).status == 303
    assert [site.call(each, "GetCallerIdentity", {}).status for each in made] == [403, 403, 200]
    (last,) = (each for each, name in ids.items() if name == "chosen-2")
    partly = ada.submit(ada.submit(page, path, chosen=f"{'0' * 32} {last}"), path)
    assert (partly.status, "1 of 2 were done." in text(partly)) == (404, True)
    assert site.call(made[2], "GetCallerIdentity", {}).status == 403


def test_sessions_are_sorted_by_end_role_and_person(site: Installation, ada: Browser) -> None:
    admin = ("AKIAADMINOFALPHA0000", "alpha-admin-secret-canary-alpha-admin-se")
    for name, seconds in (("sorted-long", 3600), ("sorted-short", 900), ("sorted-middle", 1800)):
        assert site.assume(admin, READER, name, DurationSeconds=str(seconds)).status == 200
    credentials(ada, session_name="sorted-ada")

    def order(sort: str) -> list[str]:
        """The sessions of this test, in the order of all pages."""
        found, path = [], f"/console/sessions?sort={sort}"
        for _ in range(10):
            answer = ada.get(path)
            found += _first_cells(answer)
            following = re.search(r'rel="next" href="([^"]+)"', answer.body.decode())
            if following is None:
                return [name for name in found if name.startswith("sorted-")]
            path = following[1].replace("&amp;", "&")
        raise AssertionError("the list has no end")

    assert order("ends")[:2] == ["sorted-short", "sorted-middle"]
    assert order("newest") == ["sorted-ada", "sorted-middle", "sorted-short", "sorted-long"]
    assert order("person").index("sorted-ada") == 0  # ada comes before admin
    assert sorted(order("role")) == sorted(order("newest"))
    page = ada.get("/console/sessions?sort=ends&state=all")
    assert 'aria-sort="ascending"><a href="/console/sessions?state=all&amp;sort=ends"' in page.body.decode()
    assert "newest, ends, role, person" in text(ada.get("/console/sessions?sort=name"))

"""Forms of the console before and after they are sent, and the addresses that they store."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from typing import Any

import pytest
from tests.attack.installation import ALPHA, Answer, Installation
from tests.authenticator import Authenticator
from tests.browser import Browser, forms, query_of, refused, text
from tests.console import REASON, RULE, filled_site, policy, served
from tests.oauth_client import api
from tests.passkeys import registered, sign_in_with
from tests.sign_in import signed_in, user

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

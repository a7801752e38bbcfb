"""Help about errors and runbooks: each link that an alert, an error page or a form shows leads to a page, for everybody."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

import pytest
from tests.attack.installation import ALPHA, Answer, Installation
from tests.browser import Browser, text

from daypass.domain.errors import ErrorKind
from daypass.monitoring.alerts import ALERTS
from daypass.monitoring.help import copy_of_runbooks
from daypass.monitoring.rules import Places, rules
from daypass.wire.json_errors import INTERNAL_CODE, wire_error
from daypass.wire.oauth.errors import oauth_error
from daypass.wire.service_models import aws_code


def links(answer: Answer) -> set[str]:
    return set(re.findall(r'href="(/help/[^"]*)"', answer.body.decode()))


def test_everybody_reaches_each_page_from_the_first_one(site: Installation) -> None:
    stranger, waiting, seen = Browser(site), ["/help/"], set[str]()
    while waiting:
        path = waiting.pop()
        page = stranger.get(path)
        assert page.status == 200, path
        seen.add(path)
        waiting.extend(links(page) - seen - {*waiting})
    codes = {of(kind)[0] for kind in ErrorKind for of in (aws_code, wire_error, oauth_error)}
    wanted = {*codes, *(kind.value for kind in ErrorKind), INTERNAL_CODE}
    assert {f"/help/errors/{code}" for code in wanted} <= seen
    alerting = rules(Places())["groups"][1]["rules"]
    assert {urlsplit(each["annotations"]["runbook_url"]).path for each in alerting} <= seen
    assert all(f'id="{alert.name}"' in copy_of_runbooks() for alert in ALERTS)
    assert set(re.findall(r'href="#(\w+)"', copy_of_runbooks())) <= {alert.name for alert in ALERTS}


@pytest.mark.parametrize(
    "name",
    ["errors/%3Cscript%3E", "errors/../runbooks", "errors/AccessDenied/x", "nothing", "errors/__class__", "runbooks/" + "x" * 500],
)  # fmt: skip
def test_unknown_name_is_not_found_and_not_repeated(site: Installation, name: str) -> None:
    answer = Browser(site).get(f"/help/{name}")
    assert answer.status == 404
    assert "script>" not in answer.body.decode()
    assert links(answer) == {"/help/errors/NoSuchEntity"}


def test_error_pages_and_refused_forms_lead_to_help(site: Installation, browser: Browser) -> None:
    denied = browser.get("/console/settings")
    assert "/help/errors/AccessDenied" in links(denied)
    form = browser.get(f"/console/credentials?role=arn:aws:iam::{ALPHA}:role/absent")
    refused = browser.submit(form, "/console/credentials/show")
    [link] = [each for each in links(refused) if each.startswith("/help/errors/")]
    assert refused.body.index(b'role="alert"') < refused.body.index(link.encode())  # the problem, then its page
    assert "What to do" in text(Browser(site).get(link))

"""Timelines, the latest refusals, and the step of the first run that the AWS CLI does."""

from __future__ import annotations

import re
from html import unescape

import pytest
from tests.attack.installation import ALPHA, ROOT, Installation
from tests.browser import Browser, text
from tests.console import ada, site
from tests.sign_in import signed_in

from daypass.operations.record import explore
from daypass.wire.console import record
from daypass.wire.console.record import heat_of

__all__ = ["ada", "site"]

READER = f"arn:aws:iam::{ALPHA}:role/reader"
HOUR = 3_600_000
MONDAY = 4 * 24 * HOUR  # 5 January 1970


def credentials(person: Browser, role: str) -> int:
    form = person.get(f"/console/credentials?role={role}")
    return person.submit(form, "/console/credentials/show", session_name="shift").status


def test_why_denied_links_only_to_refusals_that_have_an_explanation(site: Installation, ada: Browser) -> None:
    assert credentials(ada, READER.replace("reader", "absent")) == 403
    assert Browser(site).sign_in(ALPHA, "ada", "wrong").status == 403  # no policy decides about a password
    page = ada.get("/console/explain").body.decode()
    assert "daypass:SignIn" in page
    found = re.findall(r'"(/console/explain\?of=[^"]+)"', page)
    assert found
    assert {ada.get(each).status for each in found} == {200}


def test_timeline_shows_use_refusals_and_nothing_of_others(site: Installation, ada: Browser) -> None:
    assert credentials(ada, READER) == 200
    assert credentials(ada, READER.replace("reader", "absent")) == 403
    for query in ("person=ada", "role=reader"):
        page = text(ada.get(f"/console/timeline?{query}"))
        assert "sts:AssumeRole" in page
        use = text(ada.get(f"/console/timeline?part=heat&{query}"))
        assert "1 session; most begin on" in use or "sessions; most begin on" in use
    assert "sts:AssumeRole" not in text(ada.get("/console/timeline?person=lee"))
    latest = text(ada.get("/console/explain"))
    assert "The latest refusals" in latest
    ann = signed_in(site, "ann")
    refused = text(ann.get("/console/timeline?person=ada"))
    assert "Not shown." in refused
    assert "allows the daypass:ReadAudit action Request access" in refused
    assert "The latest refusals" not in text(ann.get("/console/explain"))
    form = ann.get(f"/console/credentials?role={READER.replace('reader', 'absent')}")
    assert "Request access to this role" in text(ann.submit(form, "/console/credentials/show", session_name="shift"))


@pytest.mark.parametrize("path", ["/console/timeline?role=", "/console/records?role="])
def test_list_of_records_continues_by_itself_until_enough_was_looked_at(
    site: Installation, ada: Browser, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    for module, name in ((explore, "STEP"), (record, "_LOOKED_AT")):
        monkeypatch.setattr(module, name, 4)
    for number in range(12):
        site.assume(ROOT, READER, f"wanted-{number}")
        site.iam("CreateUser", ROOT, UserName=f"other-{path[9:10]}-{number}")
    shown, steps, here = list[str](), 0, f"{path}reader"
    while here:
        page = ada.get(here).body.decode()
        shown += re.findall(r'"/console/record\?log=([^"]+)"', page)
        here = unescape(next(iter(re.findall(r'class="older"[^>]+hx-get="([^"]+)"', page)), ""))
        steps += 1
    assert steps == record._STEPS + 1
    assert len(set(shown)) == len(shown) > 2 * 4
    assert 'rel="next"' in page
    assert "No record matches here." in text(ada.get("/console/records?role=absent&step=9"))


@pytest.mark.parametrize("query", ["", "person=", "person=a&role=b", "session=%00", "after=x&person=a"])
def test_timeline_of_nothing_or_of_two_is_refused(ada: Browser, query: str) -> None:
    answer = ada.get(f"/console/timeline?{query}")
    assert answer.status in (200, 400)
    assert (answer.status == 200) is (query == "session=%00")


@pytest.mark.parametrize(
    ("times", "levels", "busiest"),
    [
        ([], {}, ""),
        ([MONDAY], {(0, 0): (1, 4)}, "Monday, 00:00 UTC"),
        ([MONDAY + 7 * HOUR] * 4 + [MONDAY + 30 * HOUR], {(0, 7): (4, 4), (1, 6): (1, 1)}, "Monday, 07:00 UTC"),
    ],
)
def test_heat_is_relative_to_the_busiest_hour(
    times: list[int], levels: dict[tuple[int, int], tuple[int, int]], busiest: str
) -> None:
    heat = heat_of((at // HOUR, 1) for at in times)
    found = {
        (day, hour): cell for day, (_, hours) in enumerate(heat.days) for hour, cell in enumerate(hours) if cell[0]
    }
    assert (found, heat.busiest, heat.total) == (levels, busiest, len(times))

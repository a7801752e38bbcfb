"""The record explorer, the simulator and the explanation of denials in the console."""

from __future__ import annotations

import json
import re
import sqlite3
from contextlib import closing
from html import unescape
from pathlib import Path
from urllib.parse import quote, urlencode

import pytest
from tests.attack.installation import ALPHA, BETA, ROOT_OF_BETA, Answer, Installation, document
from tests.browser import Browser, refused, text
from tests.console import ada, filled_site, policy, served, site
from tests.oauth_client import api
from tests.sign_in import signed_in, user

from daypass.monitoring.dashboards import dashboards
from daypass.monitoring.panels import PANELS
from daypass.observability.totals import CheckResult
from daypass.operations.record.summarize import FRESH_MS
from daypass.ports import RecordFilter, Viewer
from daypass.wire.console.dashboards import VIEWS

__all__ = ["ada", "site"]

ADMIN = ("AKIAADMINOFALPHA0000", "alpha-admin-secret-canary-alpha-admin-se")
ORDERS, READER = (f"arn:aws:iam::{ALPHA}:role/{name}" for name in ("prod-orders", "reader"))


def rows(answer: Answer) -> int:
    return max(0, answer.body.decode().count("<tr>") - 1)


def test_record_is_found_by_role_source_decision_and_time(site: Installation, ada: Browser) -> None:
    assert site.assume(ADMIN, READER, "found-1").status == 200
    assert site.assume(ADMIN, ORDERS, "found-2").status == 403
    base = "/console/records?operation=sts%3AAssumeRole&person=admin"
    assert rows(ada.get(base)) == 2
    assert rows(ada.get(f"{base}&decision=refused")) == 1
    assert rows(ada.get(f"{base}&role=role/READER")) == 1
    assert rows(ada.get(f"{base}&source=127.")) == 2
    denied = ada.get(f"{base}&error=access+denied")  # in words, as the page shows it
    assert rows(denied) == 1
    assert "role/prod-orders denied access denied" in text(denied)
    assert rows(ada.get(f"{base}&source=10.")) == 0
    assert rows(ada.get(f"{base}&since=2020-01-01T00:00&until=2020-01-02T00:00")) == 0
    refused(site, ada.get(f"{base}&since=yesterday"), 400)


def test_record_of_a_role_or_user_shows_its_revocation_and_no_reads(site: Installation, ada: Browser) -> None:
    about = {"subject": "role", "value": "reader", "reason": "looked at by nobody"}
    served(api(site, "POST", "/revocations", about))
    for path in ("/console/records?role=role/reader", "/console/records?role=reader"):
        assert "session.revoked" in text(ada.get(path))
    about = {"subject": "principal", "value": "ann"}
    served(api(site, "POST", "/revocations", about))
    assert "session.revoked" in text(ada.get("/console/records?person=user/ann"))
    for _ in range(3):
        ada.get("/console/users")
    shown = text(ada.get("/console/records"))
    assert "iam:ListUsers" not in shown
    assert "session.revoked" in shown
    assert "iam:ListUsers" in text(ada.get("/console/records?reads=yes"))
    assert "iam:ListUsers" in text(ada.get("/console/records?operation=iam:ListUsers"))


def test_record_search_over_the_api_is_that_of_the_page(site: Installation) -> None:
    assert site.assume(ADMIN, READER, "found-3").status == 200
    headers = site.signed(
        ("AKIAROOTOFALPHA00000", "alpha-root-secret-canary-alpha-root-secr"),
        b"",
        "daypass",
        method="GET",
        path="/api/v1/audit/events",
        query="operation=sts%3AAssumeRole&role=role%2Freader",
    )
    answer = site.send(
        "GET", headers, path=b"/api/v1/audit/events", query=b"operation=sts%3AAssumeRole&role=role%2Freader"
    )
    found = json.loads(served(answer).body)["records"]
    assert found
    assert all("role/reader" in json.dumps(each["event"]) for each in found)


def test_one_record_shows_its_chain_of_custody_and_its_proof(site: Installation, ada: Browser) -> None:
    key = site.assume(ADMIN, READER, "custody-1").key
    site.call(key, "GetCallerIdentity")
    page = ada.get("/console/records?person=custody-1&operation=sts%3AGetCallerIdentity")
    link = re.search(r'href="(/console/record\?[^"]+)"', page.body.decode())
    assert link is not None
    shown = ada.get(link[1].replace("&amp;", "&"))
    words = text(shown)
    assert words.index("Chain of custody") < words.index("admin") < words.index("custody-1", words.index("admin"))
    record = dict(part.split("=") for part in link[1].partition("?")[2].replace("&amp;", "&").split("&"))
    api_record = json.loads(served(api(site, "GET", f"/audit/records/{record['log']}/{record['seq']}")).body)
    assert api_record["leaf"] in words
    assert api_record["chain"] in words
    assert "The server computed the hashes of" in words
    assert "all agree" in words
    assert "does not verify" not in words


@pytest.mark.parametrize(
    ("change", "shift"),
    [
        ("UPDATE audit_records SET chain = zeroblob(32) WHERE log = :log AND seq = :seq", 0),
        ("UPDATE audit_records SET chain = zeroblob(32) WHERE log = :log AND seq = :seq", 1),
        ("UPDATE audit_records SET chain = zeroblob(32) WHERE log = :log AND seq = :seq", -1),
    ],
)
def test_record_that_was_altered_or_whose_neighbour_was_does_not_verify(
    tmp_path: Path, change: str, shift: int
) -> None:
    with filled_site(tmp_path) as made:
        ada = signed_in(made, "ada")
        first = json.loads(served(api(made, "GET", "/audit/records?limit=50")).body)["records"][-1]
        path = f"/console/record?log={first['log']}&seq={first['seq']}"
        assert "all agree" in text(ada.get(path))
        with closing(sqlite3.connect(tmp_path / "daypass.db", isolation_level=None)) as database:
            done = database.execute(change, {"log": first["log"], "seq": first["seq"] + shift})
            assert done.rowcount == 1
        shown = text(ada.get(path))
        assert "does not verify" in shown
        assert "all agree" not in shown


def test_record_of_a_session_names_each_member_of_its_hops(site: Installation, ada: Browser) -> None:
    query = "limit=1&type=session.issued"
    found = json.loads(served(api(site, "GET", f"/audit/records?{query}")).body)["records"][0]
    answer = ada.get(f"/console/record?log={found['log']}&seq={found['seq']}")
    facts = text(answer).partition("The event")[2].partition(" JSON ")[0]
    assert "Session hops 1 principal id AIDA" in facts, facts
    assert "['" not in facts


def test_record_page_without_the_permission_to_verify_says_so(site: Installation) -> None:
    name = user(site)
    site.iam("PutUserPolicy", UserName=name, PolicyName="read", PolicyDocument=policy("daypass:ReadAudit"))
    found = json.loads(served(api(site, "GET", "/audit/records?limit=1")).body)["records"][0]
    answer = signed_in(site, name).get(f"/console/record?log={found['log']}&seq={found['seq']}")
    assert answer.status == 200
    assert "all agree" not in text(answer)
    denied = [record for record in site.records(answer.request_id) if record.get("error")]
    assert "daypass:VerifyAudit" in [record["operation"] for record in denied]


def test_record_that_does_not_exist_is_a_page(site: Installation, ada: Browser) -> None:
    refused(site, ada.get("/console/record?log=none&seq=1"), 404)


def test_simulator_highlights_the_statement_that_allows(ada: Browser) -> None:
    user = f"arn:aws:iam::{ALPHA}:user/ann"
    answer = ada.get(f"/console/simulator?principal={user}&action=orders:GetItem")
    assert "This statement allows it." in text(answer)
    marked = re.search(r'class="statement marked">(.*?)</div>', answer.body.decode(), re.DOTALL)
    assert marked is not None
    assert "orders:GetItem" in marked[1]
    assert "on every resource" in marked[1]


def test_simulator_says_what_would_have_to_be_true(ada: Browser) -> None:
    user = f"arn:aws:iam::{ALPHA}:user/ann"
    shown = text(ada.get(f"/console/simulator?principal={user}&action=sts:AssumeRole&resource={ORDERS}"))
    assert "For it to be allowed, this would have to be true" in shown
    assert "daypass:approved" in shown.lower()


def test_simulator_takes_a_policy_and_context_that_are_typed(site: Installation, ada: Browser) -> None:
    condition = {"IpAddress": {"aws:SourceIp": "192.0.2.0/24"}}
    statement = {"Effect": "Allow", "Action": "s3:Get*", "Resource": "*", "Condition": condition}
    policy = json.dumps({"Version": "2012-10-17", "Statement": statement})
    query = "/console/simulator?action=s3:GetObject&policy=" + policy.replace('"', "%22").replace(" ", "%20")
    assert "may not perform" in text(ada.get(query))
    assert "This statement allows it." in text(ada.get(f"{query}&context=aws:SourceIp%20=%20192.0.2.7"))
    refused(site, ada.get(f"{query}&context=nonsense"), 400)


def test_denied_request_is_explained_by_its_id(site: Installation, ada: Browser) -> None:
    denied = site.assume(ADMIN, ORDERS, "denied-1")
    page = ada.get(f"/console/explain?of={denied.request_id}")
    shown = text(page)
    assert "may not perform sts:AssumeRole" in shown, page.body.decode()[-1500:]
    assert shown.count("This statement comes nearest.") == 1  # of the trust policy: the policies of the user allow it
    assert "nothing allows it (the trust or resource policy)" in shown
    assert f'href="/console/request?role={quote(ORDERS, safe="/")}"' in page.body.decode()
    assert "Request access to this role" not in text(explained_reader(site, ada))
    refused(site, ada.get("/console/explain?of=unknown"), 404)


def explained_reader(site: Installation, ada: Browser) -> Answer:
    """The explanation of a denial that no access request changes."""
    denied = site.assume(site.assume(ADMIN, READER, "denied-2").key, f"arn:aws:iam::{ALPHA}:role/nobody", "x")
    return ada.get(f"/console/explain?of={denied.request_id}")


@pytest.mark.parametrize("view", ["executive", "on-call", "debug"])
def test_dashboard_counts_what_is_on_the_record(site: Installation, ada: Browser, view: str) -> None:
    assert site.assume(ADMIN, ORDERS, "refused-1").status == 403
    site.wall.time += FRESH_MS
    answer = ada.get(f"/console/dashboard?part=panels&view={view}&hours=1")
    assert answer.status == 200, text(answer)
    shown = text(answer)
    every = [panel.title for panel in PANELS[VIEWS[view]]]
    assert [title for title in every if title.removesuffix(" (30 days)").partition(", a ")[0] not in shown] == []
    board = dashboards()[f"daypass-{view}.json"]
    assert [panel["title"] for panel in board["panels"]] == every, "the same ones as in Grafana"
    if view == "debug":
        assert "sts:AssumeRole: access denied" in shown


def test_dashboard_event_and_exports_agree(site: Installation, ada: Browser) -> None:
    site.wall.time += FRESH_MS
    assert site.assume(ADMIN, READER, "counted-1").status == 200
    event = ada.get("/console/dashboard/events?hours=1")
    assert event.headers["content-type"] == "text/event-stream"
    lines = event.body.decode().split("\n")
    assert lines[:2] == ["retry: 10000", "event: summary"]
    live = json.loads(lines[2].removeprefix("data: "))
    file = ada.get("/console/dashboard/export?format=json&hours=1")
    assert file.headers["content-disposition"] == 'attachment; filename="daypass-dashboard.json"'
    issued = json.loads(file.body)["figures"]["issued"]
    assert f'id="figure-issued">{issued}<' in live["panels"]
    assert issued >= 1
    rows_of_csv = ada.get("/console/dashboard/export?format=csv&hours=1").body.decode().splitlines()
    assert rows_of_csv[0].startswith("time,issued,refused,requested,approved,high_risk,key,session,")
    assert sum(int(row.split(",")[1]) for row in rows_of_csv[1 : rows_of_csv.index("")]) == issued


def test_on_call_dashboard_shows_latency_and_checks_to_the_operator(site: Installation, ada: Browser) -> None:
    measurements = site.runtime.env.measurements
    site.run(measurements.sample())
    assert site.assume(ADMIN, READER, "measured-1").status == 200
    measurements.note_check(CheckResult("ready", site.runtime.clock.now(), 0.01, '<script>alert("x")</script>'))
    site.run(measurements.sample())
    page = ada.get("/console/dashboard?part=panels&view=on-call&hours=1")
    shown = text(page)
    assert "Operations by time used" in shown
    assert re.search(r"≤ [0-9.]+ ms|over 5 s", shown)
    assert "ready passed 0, failed 1" in shown
    assert b"<script>alert" not in page.body
    live = json.loads(
        ada.get("/console/dashboard/events?view=on-call&hours=1").body.decode().split("\n")[2].removeprefix("data: ")
    )
    figures = json.loads(ada.get("/console/dashboard/export?view=on-call&format=json&hours=1").body)["figures"]
    assert figures["requests"] >= 1
    assert "ready <strong>passed 0, failed 1</strong>" in live["panels"]
    assert len(live["charts"]["measured"]["p99"]) == len(live["charts"]["measured"]["times"])
    rows_of_csv = ada.get("/console/dashboard/export?view=on-call&format=csv&hours=1").body.decode().splitlines()
    heading = rows_of_csv.index(
        "time,requests,refused,faults,p50,p99,degraded,spool,staleness,waiting,commit,token_age"
    )
    assert sum(int(row.split(",")[1]) for row in rows_of_csv[heading + 1 :]) == figures["requests"]


def test_a190_measurements_of_all_tenants_are_refused_to_a_tenant_and_on_the_record(site: Installation) -> None:
    name = user(site, ROOT_OF_BETA)
    everything = document({"Action": "*", "Resource": "*"})
    site.iam("PutUserPolicy", ROOT_OF_BETA, UserName=name, PolicyName="all", PolicyDocument=everything)
    bea = signed_in(site, name, account=BETA)
    page = bea.get("/console/dashboard?part=panels&view=on-call&hours=1")
    assert page.status == 200, text(page)
    shown = text(page)
    assert "Not shown." in shown
    assert "for the operator account alone" in shown
    assert "Operations by time used" not in shown
    live = bea.get("/console/dashboard/events?view=on-call&hours=1").body.decode()
    assert "measured" not in live
    answer = api(site, "GET", "/measurements?since=0&until=1", key=ROOT_OF_BETA)
    assert answer.status == 403
    [record] = site.records(answer.request_id)
    assert (record["operation"], record["error"]) == ("daypass:ReadMeasurements", "access_denied")


def test_dashboard_account_and_region_narrow_figures_and_links(site: Installation, ada: Browser) -> None:
    site.iam("CreateUser", ROOT_OF_BETA, UserName="narrowed")
    allowed = document({"Action": "daypass:ReadAudit", "Resource": f"arn:aws:daypass::{BETA}:audit/*"})
    site.iam("PutUserPolicy", ADMIN, UserName="ada", PolicyName="of-beta", PolicyDocument=allowed)
    assert site.assume(ADMIN, ORDERS, "narrowed-1").status == 403

    def panels(view: str, **chosen: str) -> str:
        site.wall.time += FRESH_MS
        return ada.get(f"/console/dashboard?part=panels&view={view}&hours=1&{urlencode(chosen)}").body.decode()

    own, other = panels("debug"), panels("debug", account=BETA)
    assert "sts:AssumeRole: access denied" in own
    assert "sts:AssumeRole: access denied" not in other
    (link,) = re.findall(r'href="([^"]+)">iam:CreateUser<', other)
    assert "iam:CreateUser" in text(ada.get(unescape(link)))
    assert "sts:AssumeRole: access denied" not in panels("debug", region="nowhere-1")
    assert "sts:AssumeRole: access denied" in panels("debug", region="eu-central-1")
    (bar,) = re.findall(r'href="([^"]+)">trust policy<', panels("on-call", region="eu-central-1"))
    assert {"cause=trust_policy", "region=eu-central-1"} <= set(unescape(bar).partition("?")[2].split("&"))
    assert "access denied" in text(ada.get(unescape(bar)))
    assert "No record matches" in text(ada.get("/console/records?decision=refused&cause=throttled"))


def test_a219_dashboard_of_another_account_is_refused_to_a_tenant(site: Installation) -> None:
    name = user(site, ROOT_OF_BETA)
    everything = document({"Action": "*", "Resource": "*"})
    site.iam("PutUserPolicy", ROOT_OF_BETA, UserName=name, PolicyName="all", PolicyDocument=everything)
    bea = signed_in(site, name, account=BETA)
    for account in (ALPHA, "*", "<script>"):
        for path in (
            "/console/dashboard",
            "/console/dashboard/events",
            "/console/dashboard/export",
            "/console/records",
        ):
            answer = bea.get(f"{path}?account={account}")
            assert answer.status == 403, (path, account)
            assert b"<script>" not in answer.body


def test_dashboard_of_a_browser_that_was_signed_out_is_notserved(site: Installation, ada: Browser) -> None:
    stranger = Browser(site)
    assert stranger.get("/console/dashboard/events?hours=1").status == 303
    refused(site, ada.get("/console/dashboard?hours=2"), 400)
    refused(site, signed_in(site, "lee").get("/console/dashboard"), 403)


def test_dashboard_refused_measurements_are_not_asked_for_again(site: Installation) -> None:
    person = signed_in(site, _reader_of_beta(site), BETA)
    page = person.get("/console/dashboard?part=panels&view=on-call&hours=1")
    assert "ReadMeasurements" in text(page)
    (live,) = re.findall(r'data-source="([^"]+)"', page.body.decode())
    exports = re.findall(r'href="(/console/dashboard/export[^"]+)"', page.body.decode())
    before = len(_refusals_of_measurements(site))
    for address in (live, live, *exports):
        assert person.get(address.replace("&amp;", "&")).status == 200
    assert len(exports) == 2
    assert len(_refusals_of_measurements(site)) == before


def test_dashboard_empty_list_has_no_number(site: Installation) -> None:
    site.wall.time += 2 * 3_600_000  # what the other tests did is out of the period
    page = signed_in(site, _reader_of_beta(site), BETA).get("/console/dashboard?part=panels&view=on-call&hours=1")
    items = re.findall(r"<li[^>]*>None</li>", page.body.decode())
    assert items == ['<li class="none">None</li>'] * 2, text(page)  # failures and callers


def _reader_of_beta(site: Installation) -> str:
    name = user(site, ROOT_OF_BETA)
    document = policy("daypass:ReadAudit")
    site.iam("PutUserPolicy", ROOT_OF_BETA, UserName=name, PolicyName="read", PolicyDocument=document)
    return name


def _refusals_of_measurements(site: Installation) -> list[object]:
    wanted = RecordFilter(account=BETA, operation="daypass:ReadMeasurements", limit=100)
    return list(site.run(site.runtime.records.search(Viewer(BETA), wanted)))

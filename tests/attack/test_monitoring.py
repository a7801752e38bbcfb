"""Attacks on the monitoring: texts of a caller as labels, more events than the detection takes, another account's findings."""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Iterator

import pytest
from tests.attack.installation import ALPHA, ROOT_OF_BETA, Installation, form, installed, trust
from tests.console import policy
from tests.oauth_client import api

from daypass.domain.events import Event, EventType
from daypass.observability.metrics import Metrics
from daypass.server.anomalies import AnomalyWatch


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    with installed(tmp_path_factory.mktemp("monitoring")) as made:
        yield made


def test_a580_texts_of_a_caller_never_become_labels_or_series(site: Installation) -> None:
    _, key = site.user("mallory", policy=policy("sts:AssumeRole"))
    role = site.role("own", trust(f"arn:aws:iam::{ALPHA}:user/mallory"))
    assert site.assume(key, role).status == 200
    site.assume(key, role + "x")
    site.send(body=b"Action=Nothing")

    def series() -> set[str]:
        return set(re.findall(r"^[^#\s]+(?= )", site.runtime.render_metrics().decode(), re.MULTILINE))

    before = series()
    for number in range(40):
        if number == 10:
            first = series()
        mark = f"mark{secrets.token_hex(4)}"
        body = form("AssumeRole", {"RoleArn": f"arn:aws:iam::{ALPHA}:role/{mark}", "RoleSessionName": mark})
        site.send(headers=[*site.signed(key, body, region=mark), (b"user-agent", mark.encode())], body=body)
        site.call(key, "AssumeRole", {"RoleArn": role, "RoleSessionName": mark, "ExternalId": mark})
        site.send(body=f"Action={mark}&Version=2011-06-15".encode())
        site.send("GET", path=f"/{mark}".encode())
    text = site.runtime.render_metrics().decode()
    assert "mark" not in text
    assert len(first - before) < 30, "only what the first requests had not asked for yet"
    assert len(series() - first) < 10, "thirty rounds of further texts add none; what is counted later may add some"


def test_a581_flood_of_events_takes_bounded_memory_and_never_a_request() -> None:
    watch = AnomalyWatch(Metrics())
    event = Event(EventType.REQUEST_DENIED, 1, actor={"principal_id": "p"})
    for _ in range(50):
        watch.take([event] * 1_000)
    assert len(watch._waiting) == 20_000


def test_a582_account_sees_only_its_own_anomalies_and_keys(site: Installation) -> None:
    found = Event(
        EventType.ANOMALY,
        site.now(),
        ALPHA,
        {"account": ALPHA},
        detail={"severity": "high", "score": 90, "reasons": [], "principal": "canary-of-alpha", "role": ""},
    )
    site.run(site.runtime.journal.commit(found))
    assert "canary-of-alpha" in api(site, "GET", "/anomalies").body.decode()
    assert json.loads(api(site, "GET", "/anomalies", key=ROOT_OF_BETA).body)["anomalies"] == []
    assert api(site, "GET", f"/anomalies?account={ALPHA}", key=ROOT_OF_BETA).status == 403
    assert ALPHA not in api(site, "GET", "/long-lived-keys", key=ROOT_OF_BETA).body.decode()
    _, nobody = site.user("nobody")
    for path in ("/anomalies", "/long-lived-keys"):
        answer = api(site, "GET", path, key=nobody)
        assert answer.status == 403
        assert site.records(answer.request_id)[-1]["error"] == "access_denied"

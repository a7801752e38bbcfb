"""Attacks on notifications and sweeps (A252 and A253), and on the monitoring: texts of a caller as labels, more events
than the detection takes, another account's findings.
"""

from __future__ import annotations

import asyncio
import json
import re
import secrets
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from tests.attack.installation import ALPHA, ROOT_OF_BETA, Installation, form, installed, trust
from tests.console import policy
from tests.integration.api.access import Place, place
from tests.integration.api.conftest import OPERATOR, TENANT, server
from tests.oauth_client import api

from daypass.domain.directory import AccessRequest, Notification
from daypass.domain.events import Event, EventType
from daypass.observability.metrics import Metrics
from daypass.operations import notifications
from daypass.operations.access_requests import follow as sweeping
from daypass.operations.access_requests.follow import Sweeper
from daypass.ports import Tx
from daypass.server import background
from daypass.server.anomalies import AnomalyWatch

__all__ = ["place", "server"]


async def test_a252_slow_receivers_of_one_account_delay_no_other(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    env, delivered = place.server.runtime.env, asyncio.Event()

    async def send(_: Any, __: Any, notification: Notification) -> None:
        if notification.account == TENANT:
            await asyncio.Event().wait()
        delivered.set()

    monkeypatch.setattr(notifications, "send", send)
    for account in (TENANT, OPERATOR):
        channel = notifications.NotificationChannel(account, "ops", "webhook", "https://x.example/", b"", (), 1, 1)
        await place.server.write(channel)
    slow = notifications.NotificationChannel(TENANT, "ops", "webhook", "https://x.example/", b"", (), 1, 1)

    def many(tx: Tx) -> None:
        for _ in range(200):
            tx.insert(notifications.notification_for_test(env, slow, 1, "someone"))
        tx.insert(notifications.notification_for_test(env, replace(slow, account=OPERATOR), place.now, "someone"))

    await place.change(many)
    following = asyncio.create_task(background.follow_notifications(env, 0.01))
    await asyncio.wait_for(delivered.wait(), 60)
    following.cancel()


async def test_a253_many_requests_of_others_do_not_delay_an_escalation(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those of others were made before, and their deadlines are earlier."""
    monkeypatch.setattr(sweeping, "_BATCH", 3)
    for _ in range(4):
        await place.request("eve")
    await place.role("other")
    escalation = {"after_seconds": 60, "approvers": {"principals": ["user/lou"]}}
    await place.rule("other", roles=["role/other"], escalation=escalation, pending_seconds=172_800)
    request = await place.request("ann", "other")

    def earlier(tx: Tx) -> None:
        for each in tx.find(AccessRequest):
            tx.replace(replace(each, created_at=each.created_at - 3_600_000))

    await place.change(earlier)
    sweeper = Sweeper(place.server.runtime.env)
    for _ in range(2):  # a whole turn
        await sweeper.sweep()
    [escalated] = [event for event in await place.server.events() if event["type"] == "access.escalated"]
    assert escalated["detail"]["request"] == request["id"]


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

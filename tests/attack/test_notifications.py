"""Notifications and sweeps under attack: rows A252, one account's slow receivers, and A253, one account's many requests."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest
from tests.integration.api.access import Place
from tests.integration.api.conftest import OPERATOR, TENANT, Server, server

from daypass.domain.directory import AccessRequest, Notification
from daypass.operations import notifications
from daypass.operations.access_requests import follow as sweeping
from daypass.operations.access_requests.follow import Sweeper
from daypass.ports import Tx
from daypass.server import background

__all__ = ["server"]


@pytest.fixture
async def place(server: Server) -> Place:  # the fixture that is imported
    made = Place(server)
    await made.fill()
    return made


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

"""Attacks between the reading, the decision and the use of an access request: row A289."""

from __future__ import annotations

from typing import Any

import pytest
from tests.attack.test_approvals import events, place
from tests.integration.api.access import Place
from tests.integration.api.conftest import server

__all__ = ["place", "server"]
READER = [{"approvers": {"principals": ["group/leads"]}}]


def later(place: Place, monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    """Lets time pass, without a sweep."""
    clock: Any = place.server.runtime.clock
    wall, monotonic = clock._wall, clock._monotonic
    monkeypatch.setattr(clock, "_wall", lambda: wall() + int(seconds * 1_000_000_000))
    monkeypatch.setattr(clock, "_monotonic", lambda: monotonic() + seconds)


async def test_a289_draft_is_not_accepted_after_its_deadline(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    always = [{"name": "always", "condition": {"StringEquals": {"aws:username": "eve"}}}]
    await place.rule("prod", on_behalf=True, pending_seconds=300, automatic=always)
    request = await place.request(beneficiary=place.users["eve"].arn)
    later(place, monkeypatch, 300)
    status, _, message = await place.refused("eve", f"/access-requests/{request['id']}/accept")
    assert (status, message) == (409, "The access request has expired.")
    await place.denied("eve")
    assert await events(place, "access.accepted") == []


@pytest.mark.parametrize("action", ["approve", "deny"])
async def test_a289_vote_after_the_deadline_is_refused(
    place: Place, monkeypatch: pytest.MonkeyPatch, action: str
) -> None:
    await place.rule("prod", pending_seconds=300)
    request = await place.request()
    later(place, monkeypatch, 300)
    body = {"binding": request["binding"], "reason": "too late"}
    status, _, message = await place.refused("lee", f"/access-requests/{request['id']}/{action}", body)
    assert (status, message) == (409, "The access request has expired.")
    await place.denied("ann")


async def test_a289_grant_is_not_claimed_after_its_time(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    await place.rule("prod", claim_seconds=300)
    await place.granted()
    later(place, monkeypatch, 300)
    await place.denied("ann")


async def test_a289_grant_whose_time_is_over_is_not_used(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    await place.granted(seconds=900)
    await place.assume("ann")
    later(place, monkeypatch, 900)
    await place.denied("ann")
    [found] = (await place.ask("ann", "/grants", method="GET"))["grants"]
    assert found["state"] == "ended"

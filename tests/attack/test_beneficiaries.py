"""Requests made for somebody else (row A273), and approvers who are blocked after their vote (A274)."""

from __future__ import annotations

from tests.attack.test_approvals import events, place
from tests.integration.api.access import Place
from tests.integration.api.conftest import OPERATOR, ROOT, TENANT, server

__all__ = ["place", "server"]


async def test_a273_request_for_somebody_else_is_judged_by_the_risk_and_schedule_of_that_person(place: Place) -> None:
    """Ann is known and on call; eve is neither. A condition with IfExists holds when its key is missing."""

    async def on_call(kind: str, source: str, now: int, *, owner: str) -> frozenset[str]:
        del kind, source, now, owner
        return frozenset({"ann"})

    place.server.runtime.env.schedules.on_call = on_call  # type: ignore[method-assign]
    condition = {"BoolIfExists": {"daypass:OnCall": "true"}, "NumericLessThanIfExists": {"daypass:RiskScore": "101"}}
    automatic = [{"name": "on call", "condition": condition}]
    await place.rule("prod", on_behalf=True, on_call={"calendar": "ops.ics"}, automatic=automatic)
    for requester, beneficiary, state in (("ann", "eve", "pending"), ("eve", "ann", "approved")):
        request = await place.request(requester, beneficiary=place.users[beneficiary].arn)
        accepted = await place.ask(beneficiary, f"/access-requests/{request['id']}/accept")
        assert accepted["state"] == state
    await place.denied("eve")
    await place.assume("ann")


async def test_a274_approval_of_an_approver_who_was_blocked_before_the_first_use_does_not_count(place: Place) -> None:
    request = await place.granted()
    body = {
        "subject": "principal",
        "value": place.users["lee"].arn,
        "account": TENANT,
        "block": True,
        "reason": "the key was stolen",
    }
    assert (await place.server.api(ROOT, "POST", "/revocations", body=body)).status == 201
    await place.denied("ann")
    [ended] = await events(place, "access.ended")
    assert (ended["detail"]["request"], ended["detail"]["reason"]) == (request["id"], "ineligible")


async def test_a274_block_by_another_account_ends_nothing(place: Place) -> None:
    await place.granted()
    body = {"subject": "principal", "value": place.users["lee"].id, "account": OPERATOR, "block": True, "force": True}
    answer = await place.server.api(ROOT, "POST", "/revocations", body=body)
    assert answer.status in (201, 403, 404), answer.body
    await place.assume("ann")

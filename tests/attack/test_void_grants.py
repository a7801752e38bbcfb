"""The rule that says when a grant is void, as one table: what changes after the approval, and whether it ends the access
before its first use and afterwards (rows A85, A120 and A364).

The approval is compared at each use. The persons are asked about once, at the first use; who is blocked later loses
sessions by the block itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace

import pytest
import pytest_asyncio
from tests.attack.test_access_afterwards import take
from tests.integration.api.access import REQUEST, Place, own_place
from tests.integration.api.conftest import UNTOUCHED, Server, policy, shared

from daypass.domain.directory import (
    AccessRequest,
    Attachment,
    Grant,
    InlinePolicy,
    LoginProfile,
    Membership,
    MfaDevice,
    Role,
)
from daypass.operations.access_requests.follow import sweep
from daypass.ports import Tx

__all__ = ["shared"]
Change = Callable[[Place], Awaitable[object]]
CHANGED, INELIGIBLE = "policy_changed", "ineligible"


pytestmark = UNTOUCHED


@pytest_asyncio.fixture(loop_scope="module")
async def place(shared: Server) -> Place:
    return await own_place(shared)


def role(**changes: object) -> Change:
    return lambda place: place.change(lambda tx: tx.replace(replace(place.roles["prod"], **changes)))  # type: ignore[arg-type]


def written(make: Callable[[Place], object]) -> Change:
    return lambda place: place.server.write(make(place))


def permissions(name: str, document: str) -> Change:
    def change(place: Place) -> Awaitable[object]:
        def run(tx: Tx) -> None:
            [held] = tx.find(InlinePolicy, owner_id=place.users[name].id)
            tx.replace(replace(held, document=document))

        return place.change(run)

    return change


def leave(name: str, group: str) -> Change:
    def change(place: Place) -> Awaitable[object]:
        of = {"group_id": place.groups[group].id, "user_id": place.users[name].id}
        return place.change(lambda tx: tx.delete(tx.get(Membership, **of)))

    return change


def revoked(name: str, *, block: bool) -> Change:
    return lambda place: place.revoke("principal", place.users[name].arn, block=block)


def deleted(name: str) -> Change:
    return lambda place: place.change(lambda tx: tx.delete(place.users[name]))


async def other_terms(place: Place) -> None:
    """Somebody changes the stored request."""

    def run(tx: Tx) -> None:
        [request] = tx.find(AccessRequest, account=place.account)
        tx.replace(replace(request, document=request.document.replace("Incident 42", "Incident 43")))

    await place.change(run)


async def deleted_rule(place: Place) -> None:
    answer = await place.operator("DELETE", "/approval-rules/prod")
    assert answer.status == 204


async def revoked_grant(place: Place) -> None:
    [grant] = await place.server.runtime.directory.read(lambda tx: tx.find(Grant, account=place.account), account="")
    await place.revoke("grant", grant.id)


async def denied(place: Place) -> None:
    [request] = (await place.ask("ann", "/own-access", method="GET"))["access_requests"]
    await place.ask("lou", f"/access-requests/{request['id']}/deny", {"reason": "a freeze", "binding": ""})


async def another_key(place: Place) -> None:
    """The approver's key is replaced by another."""
    old, place.keys["lee"] = place.keys["lee"], await place.second_key("lee")
    await take(place, old, deleted=True)


async def other_devices(place: Place) -> None:
    """The approver's password changes, and an MFA device goes."""
    lee, now = place.users["lee"], place.now
    await place.server.write(LoginProfile(place.account, lee.id, b"", now, now))
    await place.with_mfa("lee")
    await place.change(lambda tx: [tx.delete(device) for device in tx.find(MfaDevice, owner_id=lee.id)])


def rule(**changes: object) -> Change:
    return lambda place: place.rule("prod", **changes)


def more_specific(place: Place) -> Awaitable[None]:
    return place.rule("strict", roles=["role/prod"], stages=[{"approvers": {"principals": ["user/nobody"]}}])


EITHER: dict[str, tuple[Change, str]] = {
    "revoked": (revoked_grant, ""),
    "denied": (denied, ""),
    "trust policy": (role(trust_document='{"Version":"2012-10-17","Statement":[]}'), ""),
    "role setting": (role(max_session_seconds=7200), CHANGED),
    "role tag": (role(tags=(("tier", "1"),)), CHANGED),
    "boundary": (role(boundary_arn="arn:aws:iam::aws:policy/ReadOnlyAccess"), CHANGED),
    "inline policy": (
        written(lambda place: InlinePolicy(place.account, place.roles["prod"].id, "q", policy("s3:*"), place.now)),
        CHANGED,
    ),
    "attached policy": (
        written(
            lambda place: Attachment(
                place.account, place.roles["prod"].id, "arn:aws:iam::aws:policy/ReadOnlyAccess", place.now
            )
        ),
        CHANGED,
    ),
    "rule": (rule(description="another text"), CHANGED),
    "deleted rule": (deleted_rule, CHANGED),
    "stored request": (other_terms, CHANGED),
}
"""These end the access, used or not; the reason that the refusal stores."""

FIRST_USE: dict[str, tuple[Change, str]] = {
    "requester was revoked": (revoked("ann", block=False), INELIGIBLE),
    "requester left the group": (leave("ann", "engineers"), ""),
    "requester may not request": (permissions("ann", policy("sts:AssumeRole")), ""),
    "stricter rule": (more_specific, ""),
    "approver was revoked": (revoked("lee", block=False), INELIGIBLE),
    "approver is blocked": (revoked("lee", block=True), INELIGIBLE),
    "approver was deleted": (deleted("lee"), INELIGIBLE),
    "approver left the group": (leave("lee", "leads"), INELIGIBLE),
    "approver may not approve": (permissions("lee", policy("s3:*")), INELIGIBLE),
}
"""These refuse the first use, and change nothing for access in use. The reason that is stored; "": the grant stays."""

NEVER: dict[str, Change] = {
    "another key": another_key,
    "other devices": other_devices,
    "other approver left": leave("lou", "leads"),
    "another rule": lambda place: place.rule("web", roles=["role/web"]),
    "more permissions": permissions("ann", REQUEST.replace("daypass:BreakGlass", "daypass:*")),
}
"""These end nothing."""


async def granted(place: Place, *, used: bool) -> None:
    await place.rule("prod", roles=["role/pro*"])
    await place.granted()
    if used:
        await place.assume("ann")
    await asyncio.sleep(0.01)


async def ends(place: Place) -> list[str]:
    return [str(event["detail"]["reason"]) for event in await place.events("access.ended")]


@pytest.mark.parametrize("used", [False, True])
@pytest.mark.parametrize("what", EITHER)
async def test_a120_use_of_a_grant_that_is_not_what_was_approved_is_refused(
    place: Place, what: str, used: bool
) -> None:
    change, reason = EITHER[what]
    await granted(place, used=used)
    await change(place)
    await place.denied("ann")
    if reason == CHANGED:
        assert await ends(place) == [reason]


@pytest.mark.parametrize("what", [what for what, (_, reason) in EITHER.items() if reason == CHANGED])
async def test_a120_sweep_ends_sessions_of_a_grant_that_is_not_what_was_approved(place: Place, what: str) -> None:
    await granted(place, used=False)
    session = await place.assume("ann")
    await EITHER[what][0](place)
    await sweep(place.server.runtime.env)
    assert not await place.server.works(session)
    assert await ends(place) == [CHANGED]


@pytest.mark.parametrize("what", FIRST_USE)
async def test_a364_first_use_of_a_grant_whose_persons_are_not_permitted_any_more_is_refused(
    place: Place, what: str
) -> None:
    change, reason = FIRST_USE[what]
    await granted(place, used=False)
    await change(place)
    await place.denied("ann")
    assert await ends(place) == ([reason] if reason else [])


@pytest.mark.parametrize("what", FIRST_USE)
async def test_later_use_of_a_grant_asks_about_nobody_again(place: Place, what: str) -> None:
    await granted(place, used=True)
    await FIRST_USE[what][0](place)
    await sweep(place.server.runtime.env)
    await place.assume("ann")
    assert await ends(place) == []


@pytest.mark.parametrize("used", [False, True])
@pytest.mark.parametrize("what", NEVER)
async def test_use_of_a_grant_after_a_change_of_something_else_works(place: Place, what: str, used: bool) -> None:
    await granted(place, used=used)
    await NEVER[what](place)
    await sweep(place.server.runtime.env)
    await place.assume("ann")


async def test_use_of_a_grant_of_a_deleted_role_is_refused(place: Place) -> None:
    await granted(place, used=True)
    await place.change(lambda tx: tx.delete(tx.get(Role, id=place.roles["prod"].id)))
    await place.denied("ann")

"""The path to a session: a form is prepared before the event and its credential leaves after it; grants and clients reach the session."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from msgspec.structs import replace
from tests.unit.operations.fakes import ALPHA, World, allow, policy, trust

from daypass.domain.errors import DaypassError, ErrorKind
from daypass.domain.session import SessionClaims
from daypass.operations.assume.applicant import Applicant, signing_applicant
from daypass.operations.assume.assume import assume
from daypass.operations.assume.forms import AWS_FORM, AwsCredentials
from daypass.operations.assume.issue import Issued
from daypass.operations.assume.request import AssumeRequest, SessionRequest
from daypass.ports import Call, Env


class Text:
    """A form other than AWS's. `seen`: how many events were durable when it rendered."""

    def __init__(self, world: World, refuse: bool = False) -> None:
        self._world, self._refuse = world, refuse
        self.seen: list[int] = []
        self.record = {"form": "text"}
        self.listed = False

    async def prepare(self, _: Env, session: SessionClaims) -> Callable[[], str]:
        self.seen.append(len(self._world.journal.events))
        if self._refuse:
            raise DaypassError(ErrorKind.PACKED_POLICY_TOO_LARGE, "It does not fit.")
        return lambda: f"token of {session.session_id}"


async def applicant(world: World) -> Applicant:
    user = world.user("ann", policies=[policy(allow("*"))])
    caller = await world.caller(world.key(user))
    return signing_applicant(world.env, Call(caller, world.facts("sts:AssumeRole"), world.clock.now()))


def request(world: World, **condition: str) -> AssumeRequest:
    more = {"Condition": {"StringEquals": condition}} if condition else {}
    role = world.role("ops", trusts=[trust(f"arn:aws:iam::{ALPHA}:root", **more)])
    return AssumeRequest(role.arn, SessionRequest("shift"))


async def test_assume_in_another_form_is_prepared_before_its_event_and_returned_after_it(world: World) -> None:
    form = Text(world)
    issued: Issued[str] = await assume(world.env, await applicant(world), request(world), form)
    assert form.seen == [0]
    assert [event.session_id for event in world.journal.events] == [issued.session.session_id]
    assert issued.credential == f"token of {issued.session.session_id}"
    assert world.journal.events[0].detail["form"] == "text"


async def test_assume_what_does_not_fit_its_form_is_not_on_the_record_as_issued(world: World) -> None:
    with pytest.raises(DaypassError) as refusal:
        await assume(world.env, await applicant(world), request(world), Text(world, refuse=True))
    assert refusal.value.kind is ErrorKind.PACKED_POLICY_TOO_LARGE
    assert not world.journal.events
    assert not world.journal.sessions


async def test_assume_without_a_record_gives_nothing_out(world: World) -> None:
    asked, wanted, form = await applicant(world), request(world), Text(world)
    world.journal.broken = True
    with pytest.raises(DaypassError) as refusal:
        await assume(world.env, asked, wanted, form)
    assert refusal.value.kind is ErrorKind.UNAVAILABLE
    assert form.seen == [0]


@pytest.mark.parametrize("keeps_changing", [False, True])
async def test_assume_decides_again_when_the_directory_changes_between_decision_and_record(
    world: World, keeps_changing: bool
) -> None:
    """What form.prepare waits for (keys, the permission on a resource server) took any time, and the session was recorded."""
    wanted, asked = request(world), await applicant(world)
    prepared: list[str] = []

    class Slow(Text):
        async def prepare(self, env: Env, session: SessionClaims) -> Callable[[], str]:
            prepared.append(session.session_id)
            world.directory.position += 1
            if not keeps_changing:
                world.directory.roles.clear()
                world.role("ops", trusts=[trust("arn:aws:iam::999999999999:root")])
            return await super().prepare(env, session)

    if keeps_changing:  # by other accounts: nobody can keep this one from its role
        issued = await assume(world.env, asked, wanted, Slow(world))
        assert prepared[1:] == [issued.session.session_id]
        return
    with pytest.raises(DaypassError) as refusal:
        await assume(world.env, asked, wanted, Slow(world))
    assert refusal.value.kind is ErrorKind.ACCESS_DENIED
    assert len(prepared) == 1
    assert not world.journal.sessions


async def test_assume_by_a_client_reaches_session_hop_event_and_policies(world: World) -> None:
    wanted = request(world, **{"daypass:ClientId": "web"})
    asked = await applicant(world)
    with pytest.raises(DaypassError) as refusal:
        await assume(world.env, asked, wanted, AWS_FORM)
    assert refusal.value.kind is ErrorKind.ACCESS_DENIED
    by_client = replace(asked, parent=replace(asked.parent, client_id="web"))
    issued = await assume(world.env, by_client, wanted, AWS_FORM)
    session, hop, event = issued.session, issued.session.hops[-1], world.journal.events[-1]
    for found in (session, hop, event):
        assert (found.grant_id, found.client_id) == ("", "web")


def test_aws_credentials_do_not_show_their_secret() -> None:
    assert repr(AwsCredentials("ASIAX", "secret-canary", "token-canary", 1)) == "AwsCredentials(ASIAX)"

"""Attacks on chains of roles: renewal without end, tags that change on the way, MFA that is not one's own."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace
from tests.unit.operations.fakes import ALPHA, BETA, NOW, Credentials, World, allow, assume_role, deny, policy, trust

from daypass.domain.directory import Role
from daypass.domain.errors import DaypassError, ErrorKind
from daypass.domain.events import EventType
from daypass.ports import Limits
from daypass.wire.aws.sts import get_caller_identity, get_scoped_credentials, get_session_token

ALL = policy(allow("*"))
EVERY = ["sts:AssumeRole", "sts:TagSession", "sts:SetSourceIdentity"]
RED = [{"Key": "Team", "Value": "red"}]


@pytest.fixture
def world() -> World:
    return World()


def open_role(world: World, name: str, account: str = ALPHA, **more: Any) -> Role:
    """A role that every session and user of both accounts may take, if their own policies let them."""
    roots = [f"arn:aws:iam::{ALPHA}:root", f"arn:aws:iam::{BETA}:root"]
    return world.role(name, account, trusts=[trust(roots, EVERY)], policies=[ALL], **more)


async def take(world: World, credentials: Credentials, role: Role, **params: Any) -> Credentials:
    asked = {"RoleArn": role.arn, "RoleSessionName": "shift", **params}
    return Credentials.of(await world.call(assume_role, credentials, asked))


async def refused(world: World, credentials: Credentials, role: Role, **params: Any) -> DaypassError:
    with pytest.raises(DaypassError) as caught:
        await take(world, credentials, role, **params)
    assert not world.journal.events[-1].session_id
    assert world.journal.events[-1].error == caught.value.kind.value
    return caught.value


def ann(world: World) -> Credentials:
    return world.key(world.user("ann", policies=[ALL]))


# --- Lifetime and depth ----------------------------------------------------------------------------------------------


async def test_a51_chained_duration_over_an_hour_is_a_validation_error(world: World) -> None:
    first, second = open_role(world, "first"), open_role(world, "second", max_session_seconds=43_200)
    session = await take(world, ann(world), first)
    error = await refused(world, session, second, DurationSeconds=3601)
    assert (error.kind, error.public) == (
        ErrorKind.VALIDATION,
        "The requested DurationSeconds exceeds the 1 hour session limit for roles assumed by role chaining.",
    )
    await take(world, session, second, DurationSeconds=3600)
    assert world.journal.sessions[-1].expires_at == NOW + 3_600_000


async def test_a51_session_token_credentials_do_not_evade_the_hour(world: World) -> None:
    role = open_role(world, "ops", max_session_seconds=43_200)
    session = Credentials.of(await world.call(get_session_token, ann(world)))
    assert (await refused(world, session, role, DurationSeconds=7200)).kind is ErrorKind.VALIDATION
    await take(world, session, role)


async def test_a51_role_may_raise_or_lower_its_own_cap_of_chained_sessions(world: World) -> None:
    first = open_role(world, "first")
    long = open_role(world, "long", max_session_seconds=7200, chained_max_seconds=14_400)
    short = open_role(world, "short", chained_max_seconds=1800)
    session = await take(world, ann(world), first)
    await take(world, session, long, DurationSeconds=7200)
    assert "MaxSessionDuration" in (await refused(world, session, long, DurationSeconds=7201)).public
    await take(world, session, short)
    assert world.journal.sessions[-1].expires_at == NOW + 1_800_000
    assert "1800 second" in (await refused(world, session, short, DurationSeconds=1801)).public


async def test_a51_renewal_by_going_back_and_forth_ends_at_the_depth_cap(world: World) -> None:
    a, b = open_role(world, "a"), open_role(world, "b")
    session = ann(world)
    for role in (a, b, a, b):
        session = await take(world, session, role)
        world.clock.time += 3_500_000
    error = await refused(world, session, a)
    assert error.kind is ErrorKind.ACCESS_DENIED
    assert "4" in error.public
    assert world.journal.events[-1].type is EventType.REQUEST_DENIED


async def test_a51_role_that_takes_itself_again_gets_no_further(world: World) -> None:
    role = open_role(world, "self")
    session = ann(world)
    for _ in range(4):
        session = await take(world, session, role)
    assert (await refused(world, session, role)).kind is ErrorKind.ACCESS_DENIED


async def test_a51_depth_cap_is_a_setting() -> None:
    world = World(limits=Limits(chain_depth=1))
    first, second = open_role(world, "first"), open_role(world, "second")
    session = await take(world, ann(world), first)
    assert (await refused(world, session, second)).kind is ErrorKind.ACCESS_DENIED


async def test_a51_narrowed_session_is_no_way_round_the_caps(world: World) -> None:
    role = open_role(world, "ops", max_session_seconds=43_200)
    session = await take(world, ann(world), role)
    narrowed = Credentials.of(await world.call(get_scoped_credentials, session, {"Policy": ALL}))
    assert (await refused(world, narrowed, role, DurationSeconds=3601)).kind is ErrorKind.VALIDATION


async def test_a51_narrowed_session_stays_as_old_as_the_one_that_it_narrows(world: World) -> None:
    """Narrowing takes no permission, so it must not evade AWS's way to end sessions: a Deny on aws:TokenIssueTime."""
    revoke_old = {
        "DateLessThan": {"aws:TokenIssueTime": "2025-11-24T16:30:00Z"}
    }  # half an hour after the session began
    roots = [f"arn:aws:iam::{ALPHA}:root"]
    first = world.role(
        "first", trusts=[trust(roots, EVERY)], policies=[ALL, policy(deny("sts:AssumeRole", Condition=revoke_old))]
    )
    second = open_role(world, "second")
    old = await take(world, ann(world), first)
    world.clock.time += 3_000_000
    narrowed = Credentials.of(await world.call(get_scoped_credentials, old, {"DurationSeconds": 60}))
    again = Credentials.of(await world.call(get_scoped_credentials, narrowed, {"Policy": ALL}))
    for session in (old, narrowed, again):
        assert (await refused(world, session, second)).kind is ErrorKind.ACCESS_DENIED
    await take(world, await take(world, ann(world), first), second)  # a session that began later may


# --- Tags ------------------------------------------------------------------------------------------------------------


async def test_a53_transitive_tags_go_down_the_chain_and_others_do_not(world: World) -> None:
    roles = [open_role(world, name, account) for name, account in (("a", ALPHA), ("b", BETA), ("c", ALPHA))]
    own = [{"Key": "Shift", "Value": "night"}]
    session = await take(world, ann(world), roles[0], Tags=RED + own, TransitiveTagKeys=["team"])
    session = await take(world, session, roles[1], Tags=[{"Key": "City", "Value": "Bonn"}])
    session = await take(world, session, roles[2])
    assert [claims.tags for claims in world.journal.sessions] == [
        (("Team", "red"), ("Shift", "night")),
        (("Team", "red"), ("City", "Bonn")),
        (("Team", "red"),),
    ]
    assert world.journal.sessions[-1].transitive_keys == ("Team",)


@pytest.mark.parametrize("key", ["Team", "team", "TEAM"])
@pytest.mark.parametrize("value", ["blue", "red"])
async def test_a53_transitive_tag_cannot_be_overridden_in_any_letters(world: World, key: str, value: str) -> None:
    first, second = open_role(world, "first"), open_role(world, "second")
    session = await take(world, ann(world), first, Tags=RED, TransitiveTagKeys=["Team"])
    error = await refused(world, session, second, Tags=[{"Key": key, "Value": value}])
    assert error.kind is ErrorKind.INVALID_PARAMETER
    assert "conflicts with a transitive tag key from the calling session" in error.public


@pytest.mark.parametrize(
    "tags",
    [
        [{"Key": "team", "Value": "a"}, {"Key": "Team", "Value": "b"}],
        [{"Key": f"k{number}", "Value": "v"} for number in range(51)],
        [{"Key": "aws:team", "Value": "a"}],
        [{"Key": "AWS:team", "Value": "a"}],
    ],
)
async def test_a53_case_twins_too_many_tags_and_reserved_keys_are_refused(world: World, tags: Any) -> None:
    error = await refused(world, ann(world), open_role(world, "ops"), Tags=tags)
    assert error.kind is ErrorKind.INVALID_PARAMETER


async def test_a53_inherited_tags_count_towards_the_fifty(world: World) -> None:
    first, second = open_role(world, "first"), open_role(world, "second")
    many = [{"Key": f"k{number}", "Value": "v"} for number in range(30)]
    keys = [tag["Key"] for tag in many]
    session = await take(world, ann(world), first, Tags=many, TransitiveTagKeys=keys)
    more = [{"Key": f"n{number}", "Value": "v"} for number in range(21)]
    assert (await refused(world, session, second, Tags=more)).kind is ErrorKind.INVALID_PARAMETER
    await take(world, session, second, Tags=more[:20])


async def test_a53_inherited_tags_take_the_permission_to_tag(world: World) -> None:
    first = open_role(world, "first")
    second = world.role("second", trusts=[trust(first.arn)])
    tagged = await take(world, ann(world), first, Tags=RED, TransitiveTagKeys=["Team"])
    error = await refused(world, tagged, second)
    assert "sts:TagSession" in error.public
    plain = await take(world, world.key(world.user("bob", policies=[ALL])), first)
    await take(world, plain, second)


async def test_a53_owner_of_a_role_bounds_inherited_tags_like_requested_ones(world: World) -> None:
    first = open_role(world, "first")
    only_blue = {"StringEquals": {"aws:RequestTag/Team": "blue"}}
    second = world.role("second", BETA, trusts=[trust(first.arn, EVERY, Condition=only_blue)])
    red = await take(world, ann(world), first, Tags=RED, TransitiveTagKeys=["Team"])
    assert (await refused(world, red, second)).kind is ErrorKind.ACCESS_DENIED


# --- Source identity -------------------------------------------------------------------------------------------------


async def test_source_identity_stays_in_the_chain_and_cannot_change(world: World) -> None:
    first, second, third = (open_role(world, name) for name in ("first", "second", "third"))
    session = await take(world, ann(world), first, SourceIdentity="ann.smith")
    error = await refused(world, session, second, SourceIdentity="bob")
    assert (error.kind, error.public) == (
        ErrorKind.VALIDATION,
        "The source identity is already set for this assume role session",
    )
    session = await take(world, session, second)
    await take(world, session, third, SourceIdentity="ann.smith")
    assert [claims.source_identity for claims in world.journal.sessions] == ["ann.smith"] * 3


async def test_source_identity_inherited_takes_its_permission_in_every_role(world: World) -> None:
    first = open_role(world, "first")
    second = world.role("second", trusts=[trust(first.arn)])
    session = await take(world, ann(world), first, SourceIdentity="ann")
    assert "sts:SetSourceIdentity" in (await refused(world, session, second)).public


# --- Custody ---------------------------------------------------------------------------------------------------------


async def test_chain_across_accounts_keeps_every_hop_and_dies_with_any_of_them(world: World) -> None:
    first, second, third = (open_role(world, n, a) for n, a in (("a", ALPHA), ("b", BETA), ("c", ALPHA)))
    key = ann(world)
    one = await take(world, key, first)
    two = await take(world, one, second)
    three = await take(world, two, third)
    caller = await world.caller(three)
    assert [hop.access_key_id for hop in caller.hops] == [
        key.access_key_id,
        one.access_key_id,
        two.access_key_id,
        three.access_key_id,
    ]
    event = world.journal.events[-1]
    assert event.actor["origin"] == {"principal_id": caller.hops[0].principal_id, "access_key_id": key.access_key_id}
    world.revoke("access_key", two.access_key_id, BETA)
    await world.call(get_caller_identity, one)
    for dead in (two, three):
        with pytest.raises(DaypassError) as caught:
            await world.call(get_caller_identity, dead)
        assert caught.value.kind is ErrorKind.EXPIRED_CREDENTIALS


async def test_chain_of_a_blocked_ancestor_gets_no_new_sessions(world: World) -> None:
    first, second = open_role(world, "first"), open_role(world, "second", BETA)
    key = ann(world)
    session = await take(world, key, first)
    caller = await world.caller(session)
    world.revoke("principal", caller.hops[0].principal_id, block=True, issued_before=0, position=0)
    with pytest.raises(DaypassError):
        await take(world, session, second)
    assert len(world.journal.sessions) == 1


async def test_a81_mfa_of_a_session_does_not_survive_a_chain(world: World) -> None:
    needs_mfa = {"Bool": {"aws:MultiFactorAuthPresent": "true"}}
    first = open_role(world, "first")
    second = world.role("second", trusts=[trust(first.arn)], policies=[ALL])
    third = world.role("third", trusts=[trust(f"arn:aws:iam::{ALPHA}:root", Condition=needs_mfa)])
    session = await take(world, ann(world), first)
    claims = (await world.caller(session)).session
    assert claims is not None
    with_mfa = Credentials(
        session.access_key_id, session.secret, world.sealer.seal(replace(claims, mfa_at=world.clock.now()))
    )
    assert (await world.caller(with_mfa)).mfa_at == NOW
    await take(world, with_mfa, third)
    chained = await take(world, with_mfa, second)
    assert (await world.caller(chained)).mfa_at == 0
    assert (await refused(world, chained, third)).kind is ErrorKind.ACCESS_DENIED

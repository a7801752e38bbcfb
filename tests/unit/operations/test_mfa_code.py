"""MFA codes in requests: what a right one changes, for whom, and that nothing is right while the database is away."""

from __future__ import annotations

from typing import Any

import pytest
from tests.unit.operations.fakes import ALPHA, NOW, Credentials, World, allow, assume_role, policy, trust

from daypass.domain.directory import MfaDevice, User
from daypass.domain.errors import DaypassError, ErrorKind
from daypass.domain.totp import code_at, step_at
from daypass.operations.iam.mfa import seal_seed
from daypass.wire.aws.sts import get_session_token

SEED = b"a seed of forty bytes that nobody knows."
SERIAL = f"arn:aws:iam::{ALPHA}:mfa/ann"
ALL = policy(allow("*"))
PRESENT = {"Bool": {"aws:MultiFactorAuthPresent": "true"}}


@pytest.fixture
def ann(world: World) -> User:
    """A user with a device whose clock is three steps behind."""
    user = world.user("ann", policies=[ALL])
    sealed = seal_seed(world.sealer, SEED, ALPHA, user.id, SERIAL)  # type: ignore[arg-type]
    world.directory.devices[SERIAL] = MfaDevice(ALPHA, SERIAL, "ann", "/", NOW, sealed, user.id, NOW, drift=-3)
    return user


def coded(code: str) -> dict[str, str]:
    return {"SerialNumber": SERIAL, "TokenCode": code}


def right(world: World, off: int = 0) -> dict[str, str]:
    return coded(code_at(SEED, step_at(world.clock.time) - 3 + off))


async def denied(world: World, key: Credentials, params: dict[str, Any]) -> str:
    with pytest.raises(DaypassError) as caught:
        await world.call(get_session_token, key, params)
    assert caught.value.kind is ErrorKind.ACCESS_DENIED
    reason: str = caught.value.private["mfa"]
    return reason


@pytest.mark.parametrize("off", [-1, 0, 1])
async def test_code_of_a_drifting_device_is_taken_within_a_step_of_its_own_time(
    world: World, ann: User, off: int
) -> None:
    await world.call(get_session_token, world.key(ann), right(world, off))
    assert await denied(world, world.key(ann), right(world, off)) == "replay"


@pytest.mark.parametrize("off", [-2, 2, 3])
async def test_code_of_our_time_is_wrong_for_a_device_that_drifts(world: World, ann: User, off: int) -> None:
    assert await denied(world, world.key(ann), right(world, off)) == "wrong code"
    assert world.directory.devices[SERIAL].failures == 1


async def test_codes_of_one_window_are_taken_in_any_order(world: World, ann: User) -> None:
    for off in (1, -1, 0):
        await world.call(get_session_token, world.key(ann), right(world, off))


async def test_no_code_is_right_while_the_database_is_away(world: World, ann: User) -> None:
    key = world.key(ann)
    world.journal.broken = True
    with pytest.raises(DaypassError) as caught:
        await world.call(get_session_token, key, right(world))
    assert caught.value.kind is ErrorKind.UNAVAILABLE
    assert not world.journal.sessions
    world.journal.broken = False
    await world.call(get_session_token, key, right(world))  # and it was not used up


async def test_device_whose_seed_does_not_open_takes_no_code(world: World, ann: User) -> None:
    stolen = seal_seed(world.sealer, SEED, ALPHA, "AIDASOMEBODYELSE", SERIAL)  # type: ignore[arg-type]
    world.directory.devices[SERIAL] = MfaDevice(ALPHA, SERIAL, "ann", "/", NOW, stolen, ann.id, NOW, drift=-3)
    with pytest.raises(DaypassError) as caught:
        await world.call(get_session_token, world.key(ann), right(world))
    assert caught.value.kind is ErrorKind.UNAVAILABLE


async def test_role_sessions_and_other_users_have_no_use_for_a_device(world: World, ann: User) -> None:
    bob = world.user("bob", policies=[ALL])
    assert await denied(world, world.key(bob), right(world)) == "no such device of the caller"
    role = world.role("ops", trusts=[trust(ann.arn)], policies=[ALL])
    session = await world.call(assume_role, world.key(ann), {"RoleArn": role.arn, "RoleSessionName": "job"})
    with pytest.raises(DaypassError) as caught:
        params = {"RoleArn": role.arn, "RoleSessionName": "job", **right(world)}
        await world.call(assume_role, Credentials.of(session), params)
    assert caught.value.private["mfa"] == "caller has no devices"

"""Attacks on trust policies: external ids, recreated principals, same names in two accounts."""

from __future__ import annotations

from typing import Any

import pytest
from tests.unit.operations.fakes import ALPHA, BETA, Credentials, World, allow, assume_role, policy, trust

from daypass.domain.errors import DaypassError, ErrorKind

ALL = policy(allow("*"))


@pytest.fixture
def world() -> World:
    return World()


async def denied(world: World, credentials: Credentials, arn: str, **params: Any) -> None:
    with pytest.raises(DaypassError) as caught:
        await world.call(assume_role, credentials, {"RoleArn": arn, "RoleSessionName": "shift", **params})
    assert caught.value.kind is ErrorKind.ACCESS_DENIED
    assert not world.journal.sessions


async def taken(world: World, credentials: Credentials, arn: str, **params: Any) -> Credentials:
    asked = {"RoleArn": arn, "RoleSessionName": "shift", **params}
    return Credentials.of(await world.call(assume_role, credentials, asked))


async def test_a50_external_id_that_is_not_sent_is_absent_not_empty(world: World) -> None:
    condition = {"StringEquals": {"sts:ExternalId": ""}}
    role = world.role("ops", trusts=[trust(f"arn:aws:iam::{ALPHA}:root", Condition=condition)])
    await denied(world, world.key(world.user("ann", policies=[ALL])), role.arn)


@pytest.mark.parametrize("account", [ALPHA, BETA])
async def test_a55_user_deleted_and_made_again_under_the_same_name_inherits_no_trust(
    world: World, account: str
) -> None:
    old = world.user("ann", policies=[ALL])
    role = world.role("ops", account, trusts=[trust(old.arn)])
    del world.directory.users[old.id]
    new = world.user("ann", policies=[ALL])
    assert (new.arn, new.id != old.id) == (old.arn, True)
    await denied(world, world.key(new), role.arn)


@pytest.mark.parametrize("named", ["role", "session"])
async def test_a55_role_deleted_and_made_again_under_the_same_name_inherits_no_trust(world: World, named: str) -> None:
    first = world.role("first", trusts=[trust(f"arn:aws:iam::{ALPHA}:root")], policies=[ALL])
    session_arn = f"arn:aws:sts::{ALPHA}:assumed-role/first/shift"
    trusted = {"role": first.arn, "session": session_arn}[named]
    bindings = {first.arn: first.id, session_arn: first.id}
    second = world.role("second", BETA, trusts=[trust(trusted)], bindings=bindings)
    key = world.key(world.user("ann", policies=[ALL]))
    session = await taken(world, key, first.arn)
    await taken(world, session, second.arn)
    world.journal.sessions.clear()

    del world.directory.roles[first.id]
    again = world.role("first", trusts=[trust(f"arn:aws:iam::{ALPHA}:root")], policies=[ALL])
    session = await taken(world, key, again.arn)
    world.journal.sessions.clear()
    await denied(world, session, second.arn)


async def test_a55_arn_that_was_bound_to_nobody_is_nobody(world: World) -> None:
    role = world.role("ops", trusts=[trust(f"arn:aws:iam::{ALPHA}:user/ann")])
    late = world.user("ann", policies=[ALL])
    await denied(world, world.key(late), role.arn)


async def test_a56_same_role_name_in_two_accounts_is_two_roles(world: World) -> None:
    key = world.key(world.user("ann", policies=[ALL]))
    here = world.role("ops", trusts=[trust(f"arn:aws:iam::{ALPHA}:root")], policies=[ALL])
    there = world.role("ops", BETA, trusts=[trust(f"arn:aws:iam::{ALPHA}:root")], policies=[ALL])
    target = world.role("vault", BETA, trusts=[trust(there.arn)])
    ours, theirs = await taken(world, key, here.arn), await taken(world, key, there.arn)
    assert (await world.caller(ours)).arn == f"arn:aws:sts::{ALPHA}:assumed-role/ops/shift"
    assert (await world.caller(theirs)).arn == f"arn:aws:sts::{BETA}:assumed-role/ops/shift"
    await taken(world, theirs, target.arn)
    world.journal.sessions.clear()
    await denied(world, ours, target.arn)


async def test_a56_credentials_cached_for_one_account_do_not_serve_for_the_other(world: World) -> None:
    """A client that keeps credentials by role name alone sends one account's token with the other's key id."""
    key = world.key(world.user("ann", policies=[ALL]))
    here = world.role("ops", trusts=[trust(f"arn:aws:iam::{ALPHA}:root")])
    there = world.role("ops", BETA, trusts=[trust(f"arn:aws:iam::{ALPHA}:root")])
    ours, theirs = await taken(world, key, here.arn), await taken(world, key, there.arn)
    for mixed in (
        Credentials(ours.access_key_id, ours.secret, theirs.token),
        Credentials(theirs.access_key_id, theirs.secret, ours.token),
    ):
        with pytest.raises(DaypassError) as caught:
            await world.caller(mixed)
        assert caught.value.kind is ErrorKind.UNKNOWN_CREDENTIALS


async def test_confused_deputy_account_trust_is_not_trust_in_another_account(world: World) -> None:
    role = world.role("ops", BETA, trusts=[trust(f"arn:aws:iam::{BETA}:root")])
    await denied(world, world.key(world.user("ann", policies=[ALL])), role.arn)


async def test_root_of_a_trusted_account_is_still_no_way_in(world: World) -> None:
    role = world.role("ops", BETA, trusts=[trust(f"arn:aws:iam::{ALPHA}:root")])
    await denied(world, world.key(ALPHA), role.arn)

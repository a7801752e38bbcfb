"""Who signed a request: keys, sessions, and everything that makes them no longer count."""

from __future__ import annotations

from dataclasses import replace

import pytest
from msgspec import structs
from tests.unit.operations.fakes import ALPHA, Credentials, World, allow, assume_role, policy, trust

from daypass.domain.claims import PrincipalKind
from daypass.domain.directory import KeyStatus
from daypass.domain.errors import DaypassError, ErrorKind
from daypass.domain.events import EventType
from daypass.wire.aws.sts import get_caller_identity, get_federation_token, get_session_token

ALL = policy(allow("*"))


async def refusal(world: World, credentials: Credentials) -> DaypassError:
    with pytest.raises(DaypassError) as caught:
        await world.caller(credentials)
    return caught.value


async def role_session(world: World, **more: object) -> Credentials:
    user = world.user("ann", policies=[ALL])
    role = world.role("ops", trusts=[trust(user.arn, ["sts:AssumeRole", "sts:TagSession"])], tags=(("Team", "own"),))
    params = {"RoleArn": role.arn, "RoleSessionName": "shift", **more}
    return Credentials.of(await world.call(assume_role, world.key(user), params))


async def test_authenticate_user_key_gives_the_user(world: World) -> None:
    user = world.user("ann", tags=(("team", "red"),))
    key = world.key(user)
    caller = await world.caller(key)
    assert (caller.kind, caller.arn, caller.user_id) == (PrincipalKind.USER, user.arn, user.id)
    assert caller.tags == (("team", "red"),)
    assert [(hop.session_id, hop.principal_id, hop.access_key_id) for hop in caller.hops] == [
        ("", user.id, key.access_key_id)
    ]
    assert caller.hops[0].issued_at == world.clock.now()
    assert caller.session is None


async def test_authenticate_root_key_gives_the_account(world: World) -> None:
    caller = await world.caller(world.key(ALPHA))
    assert (caller.kind, caller.arn, caller.user_id) == (PrincipalKind.ROOT, f"arn:aws:iam::{ALPHA}:root", ALPHA)


async def test_authenticate_unknown_key_is_refused_after_one_poll(world: World) -> None:
    error = await refusal(world, Credentials("AKIAAAAAAAAAAAAAAAAA", "x" * 40))
    assert error.kind is ErrorKind.UNKNOWN_CREDENTIALS
    assert error.public == "The security token included in the request is invalid."
    assert world.directory.refreshes == 1


async def test_authenticate_key_that_the_cache_has_not_seen_yet_is_accepted(world: World) -> None:
    key = world.key(world.user("ann"))
    view = world.directory.keys.pop(key.access_key_id)
    world.directory.later.append(lambda: world.directory.keys.update({key.access_key_id: view}))
    assert (await world.caller(key)).name == "ann"


async def test_authenticate_wrong_secret_is_a_signature_mismatch_on_the_record_of_the_account(world: World) -> None:
    key = replace(world.key(world.user("ann")), secret="w" * 40)
    with pytest.raises(DaypassError) as caught:
        await world.call(get_caller_identity, key)
    assert caught.value.kind is ErrorKind.SIGNATURE_MISMATCH
    event = world.journal.events[-1]
    assert (event.type, event.account, event.actor) == (EventType.REQUEST_UNAUTHENTICATED, ALPHA, {})
    assert event.detail["private"]["unverified_access_key_id"] == key.access_key_id


async def test_authenticate_inactive_key_is_unknown_but_only_to_the_holder_of_the_secret(world: World) -> None:
    key = world.key(world.user("ann"), KeyStatus.INACTIVE)
    assert (await refusal(world, key)).kind is ErrorKind.UNKNOWN_CREDENTIALS
    polls = world.directory.refreshes
    assert (await refusal(world, replace(key, secret="w" * 40))).kind is ErrorKind.SIGNATURE_MISMATCH
    assert world.directory.refreshes == polls  # not even by the time that a poll takes


async def test_authenticate_key_deleted_while_inactive_is_unknown(world: World) -> None:
    key = world.key(world.user("ann"), KeyStatus.INACTIVE)
    world.directory.later.append(world.directory.keys.clear)
    assert (await refusal(world, key)).kind is ErrorKind.UNKNOWN_CREDENTIALS


async def test_authenticate_key_made_active_again_needs_no_waiting(world: World) -> None:
    key = world.key(world.user("ann"), KeyStatus.INACTIVE)
    world.directory.later.append(lambda: world.set_status(key.access_key_id, KeyStatus.ACTIVE))
    assert (await world.caller(key)).name == "ann"


async def test_authenticate_key_whose_user_is_gone_is_unknown(world: World) -> None:
    key = world.key(world.user("ann"))
    world.directory.keys[key.access_key_id] = structs.replace(world.directory.keys[key.access_key_id], user=None)
    assert (await refusal(world, key)).kind is ErrorKind.UNKNOWN_CREDENTIALS


async def test_authenticate_key_and_token_that_do_not_belong_together_are_unknown(world: World) -> None:
    session = await role_session(world)
    key = world.key(world.user("bob"))
    for mixed in (replace(key, token=session.token), replace(session, token="")):
        assert (await refusal(world, mixed)).kind is ErrorKind.UNKNOWN_CREDENTIALS


async def test_authenticate_role_session_is_the_role_with_its_tags_overridden(world: World) -> None:
    session = await role_session(world, Tags=[{"Key": "team", "Value": "lent"}])
    caller = await world.caller(session)
    assert caller.arn == f"arn:aws:sts::{ALPHA}:assumed-role/ops/shift"
    assert caller.principal_arn == f"arn:aws:iam::{ALPHA}:role/ops"
    assert caller.user_id == f"{caller.principal_id}:shift"
    assert caller.tags == (("team", "lent"),)
    assert caller.hops[-1].access_key_id == session.access_key_id


async def test_authenticate_expired_session_is_expired(world: World) -> None:
    session = await role_session(world)
    world.clock.time += 3600 * 1000 - 1
    await world.caller(session)
    world.clock.time += 1
    error = await refusal(world, session)
    assert (error.kind, error.public) == (
        ErrorKind.EXPIRED_CREDENTIALS,
        "The security token included in the request is expired",
    )


async def test_authenticate_expired_session_with_a_wrong_signature_tells_nothing_of_its_state(world: World) -> None:
    session = replace(await role_session(world), secret="w" * 40)
    world.clock.time += 4000 * 1000
    assert (await refusal(world, session)).kind is ErrorKind.SIGNATURE_MISMATCH


@pytest.mark.parametrize("subject", ["session", "role", "principal", "access_key", "account"])
async def test_authenticate_revoked_session_is_expired(world: World, subject: str) -> None:
    session = await role_session(world)
    caller = await world.caller(session)
    assert caller.session is not None
    values = {
        "session": caller.session.session_id,
        "role": caller.principal_id,
        "principal": caller.hops[0].principal_id,
        "access_key": caller.hops[0].access_key_id,
        "account": ALPHA,
    }
    revocation = world.revoke(subject, values[subject])
    error = await refusal(world, session)
    assert error.kind is ErrorKind.EXPIRED_CREDENTIALS
    assert error.private["revocation"] == revocation.id


async def test_authenticate_session_issued_after_a_revocation_lives(world: World) -> None:
    user = world.user("ann", policies=[ALL])
    role = world.role("ops", trusts=[trust(user.arn)])
    key, params = world.key(user), {"RoleArn": role.arn, "RoleSessionName": "shift"}
    old = Credentials.of(await world.call(assume_role, key, params))
    world.revoke("role", role.id)
    new = Credentials.of(await world.call(assume_role, key, params))
    assert (await refusal(world, old)).kind is ErrorKind.EXPIRED_CREDENTIALS
    assert (await world.caller(new)).principal_id == role.id


async def test_authenticate_session_of_a_deleted_role_is_unknown(world: World) -> None:
    session = await role_session(world)
    world.directory.roles.clear()
    assert (await refusal(world, session)).kind is ErrorKind.UNKNOWN_CREDENTIALS
    world.role("ops", trusts=[trust("*")])  # the same name again is another role
    assert (await refusal(world, session)).kind is ErrorKind.UNKNOWN_CREDENTIALS


async def test_authenticate_session_while_its_role_cannot_be_read_is_unavailable(world: World) -> None:
    session = await role_session(world)
    world.directory.away = True
    assert (await refusal(world, session)).kind is ErrorKind.UNAVAILABLE


async def test_authenticate_session_that_is_bound_is_not_proven_by_a_signature(world: World) -> None:
    session = await role_session(world)
    caller = await world.caller(session)
    assert caller.session is not None
    bound = structs.replace(caller.session, binding="jkt:abc")
    credentials = Credentials(session.access_key_id, session.secret, world.sealer.seal(bound))
    assert (await refusal(world, credentials)).kind is ErrorKind.UNKNOWN_CREDENTIALS


async def test_authenticate_user_session_is_the_user_as_it_is_now(world: World) -> None:
    user = world.user("ann")
    session = Credentials.of(await world.call(get_session_token, world.key(user)))
    renamed = replace(user, name="anna")
    world.directory.users[user.id] = structs.replace(world.directory.users[user.id], entity=renamed)
    caller = await world.caller(session)
    assert (caller.kind, caller.arn, caller.user_id) == (PrincipalKind.USER, renamed.arn, user.id)
    del world.directory.users[user.id]
    assert (await refusal(world, session)).kind is ErrorKind.UNKNOWN_CREDENTIALS


async def test_authenticate_root_session_is_the_root(world: World) -> None:
    session = Credentials.of(await world.call(get_session_token, world.key(ALPHA)))
    caller = await world.caller(session)
    assert (caller.kind, caller.arn) == (PrincipalKind.ROOT, f"arn:aws:iam::{ALPHA}:root")
    del world.directory.accounts[ALPHA]
    assert (await refusal(world, session)).kind is ErrorKind.UNKNOWN_CREDENTIALS


async def test_authenticate_federated_session_dies_with_the_user_who_vouched(world: World) -> None:
    user = world.user("broker", policies=[ALL], tags=(("team", "red"), ("city", "Bonn")))
    params = {"Name": "eve", "Tags": [{"Key": "Team", "Value": "blue"}]}
    session = Credentials.of(await world.call(get_federation_token, world.key(user), params))
    caller = await world.caller(session)
    assert (caller.kind, caller.user_id) == (PrincipalKind.FEDERATED_USER, f"{ALPHA}:eve")
    assert caller.arn == caller.principal_arn == f"arn:aws:sts::{ALPHA}:federated-user/eve"
    assert caller.tags == (("city", "Bonn"), ("Team", "blue"))
    del world.directory.users[user.id]
    assert (await refusal(world, session)).kind is ErrorKind.UNKNOWN_CREDENTIALS

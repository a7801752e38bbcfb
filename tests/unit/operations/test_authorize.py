"""One action, all the layers of the caller, and the last look at the feed before a refusal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from msgspec.structs import replace
from tests.unit.operations.fakes import ALPHA, BETA, Credentials, World, allow, assume_role, deny, named, policy, trust

from daypass.domain.errors import DaypassError, ErrorKind
from daypass.domain.oauth.client import COMMAND_LINE_ID
from daypass.domain.policy.document import PolicyKind
from daypass.operations.authorize import Own, authorize, authorize_own
from daypass.ports import Call, PrincipalView
from daypass.wire.aws.sts import get_federation_token, get_session_token

ALL = policy(allow("*"))
ORDER = f"arn:aws:orders::{ALPHA}:order/7"


async def may(world: World, credentials: Credentials, action: str, resource: str = ORDER, **more: Any) -> bool:
    caller = await world.caller(credentials)
    call = Call(caller, world.facts(action), world.clock.now())
    try:
        return (await authorize(world.env, call, action, resource, **more)).allowed
    except DaypassError as error:
        if error.kind is not ErrorKind.ACCESS_DENIED or error.explanation is None:
            raise
        return False


async def session_of(world: World, params: Mapping[str, Any], **role: Any) -> Credentials:
    number = len(world.directory.roles)
    user = world.user(f"ann{number}", policies=[ALL])
    made = world.role(f"ops{number}", trusts=[trust(user.arn)], **role)
    asked = {"RoleArn": made.arn, "RoleSessionName": "shift", **params}
    return Credentials.of(await world.call(assume_role, world.key(user), asked))


async def test_authorize_user_identity_and_boundary_must_both_allow(world: World) -> None:
    free = world.key(world.user("free", policies=[ALL]))
    bound = world.key(world.user("bound", policies=[ALL], boundary=policy(allow("orders:Read"))))
    none = world.key(world.user("none"))
    assert await may(world, free, "orders:Write")
    assert await may(world, bound, "orders:Read")
    assert not await may(world, bound, "orders:Write")
    assert not await may(world, none, "orders:Read")


async def test_authorize_missing_boundary_allows_nothing(world: World) -> None:
    user = world.user("ann", policies=[ALL])
    view = world.directory.users[user.id]
    world.directory.users[user.id] = PrincipalView(view.entity, view.identity, ())
    assert not await may(world, world.key(user), "orders:Read")


async def test_authorize_root_may_do_everything_but_what_guardrails_forbid(world: World) -> None:
    root = world.key(ALPHA)
    assert await may(world, root, "orders:Write")
    world.account(ALPHA, policy(allow("*"), deny("orders:Write")))
    assert not await may(world, root, "orders:Write")
    assert await may(world, root, "orders:Read")


async def test_authorize_account_that_is_gone_allows_nothing(world: World) -> None:
    key = world.key(world.user("ann", policies=[ALL]))
    del world.directory.accounts[ALPHA]
    assert not await may(world, key, "orders:Read")


async def test_authorize_role_session_is_narrowed_by_its_session_policy(world: World) -> None:
    wide = await session_of(world, {}, policies=[ALL])
    narrow = await session_of(world, {"Policy": policy(allow("orders:Read"))}, policies=[ALL])
    poor = await session_of(world, {"Policy": ALL}, policies=[policy(allow("orders:Read"))])
    assert await may(world, wide, "orders:Write")
    assert await may(world, narrow, "orders:Read")
    assert not await may(world, narrow, "orders:Write")
    assert not await may(world, poor, "orders:Write")


async def test_authorize_role_policy_is_read_live(world: World) -> None:
    session = await session_of(world, {}, policies=[ALL])
    assert await may(world, session, "orders:Write")
    (role_id,) = world.directory.roles
    view = world.directory.roles[role_id]
    emptied = replace(view, principal=replace(view.principal, identity=()))
    world.directory.roles[role_id] = emptied
    assert not await may(world, session, "orders:Write")


async def test_authorize_managed_and_inline_session_policies_are_one_union(world: World) -> None:
    arn = world.managed("reads", policy(allow("orders:Read")))
    params = {"PolicyArns": [{"arn": arn}], "Policy": policy(allow("orders:List"))}
    session = await session_of(world, params, policies=[ALL])
    assert await may(world, session, "orders:Read")
    assert await may(world, session, "orders:List")
    assert not await may(world, session, "orders:Write")


async def test_authorize_later_edit_of_a_managed_session_policy_never_widens_the_session(world: World) -> None:
    arn = world.managed("reads", policy(allow("orders:Read")))
    session = await session_of(world, {"PolicyArns": [{"arn": arn}]}, policies=[ALL])
    world.managed("reads", ALL)
    assert not await may(world, session, "orders:Write")


async def test_authorize_missing_managed_session_policy_allows_nothing_at_all(world: World) -> None:
    forbids = world.managed("forbids", policy(deny("orders:Write")))
    params = {"PolicyArns": [{"arn": forbids}], "Policy": ALL}
    session = await session_of(world, params, policies=[ALL])
    assert not await may(world, session, "orders:Write")
    world.directory.contents.clear()
    assert not await may(world, session, "orders:Write")
    assert not await may(world, session, "orders:Read")


async def test_authorize_federated_user_without_a_session_policy_may_do_nothing(world: World) -> None:
    key = world.key(world.user("broker", policies=[ALL]))
    bare = Credentials.of(await world.call(get_federation_token, key, {"Name": "eve"}))
    some = Credentials.of(
        await world.call(get_federation_token, key, {"Name": "eve", "Policy": policy(allow("orders:Read"))})
    )
    assert not await may(world, bare, "orders:Read")
    assert await may(world, some, "orders:Read")
    assert not await may(world, some, "orders:Write")


async def test_authorize_federated_user_is_within_the_users_own_permissions(world: World) -> None:
    reads = policy(allow(["orders:Read", "sts:GetFederationToken"]))
    key = world.key(world.user("broker", policies=[reads]))
    session = Credentials.of(await world.call(get_federation_token, key, {"Name": "eve", "Policy": ALL}))
    assert await may(world, session, "orders:Read")
    assert not await may(world, session, "orders:Write")


async def test_authorize_session_token_credentials_have_the_users_permissions(world: World) -> None:
    user = world.user("ann", policies=[policy(allow("orders:Read"))])
    session = Credentials.of(await world.call(get_session_token, world.key(user)))
    assert await may(world, session, "orders:Read")
    assert not await may(world, session, "orders:Write")


@pytest.mark.parametrize("operation", [get_session_token, get_federation_token])
async def test_authorize_iam_with_unproven_temporary_credentials_is_an_invalid_token(
    world: World, operation: Any
) -> None:
    key = world.key(world.user("ann", policies=[ALL]))
    session = Credentials.of(await world.call(operation, key, {"Name": "eve", "Policy": ALL}))
    caller = await world.caller(session)
    call = Call(caller, world.facts("iam:GetUser"), world.clock.now())
    with pytest.raises(DaypassError) as caught:
        await authorize(world.env, call, "iam:GetUser", "*")
    assert caught.value.kind is ErrorKind.UNKNOWN_CREDENTIALS
    assert caught.value.public == "The security token included in the request is invalid"


async def test_authorize_iam_with_session_token_credentials_takes_mfa(world: World) -> None:
    key = world.key(world.user("ann", policies=[ALL]))
    session = Credentials.of(await world.call(get_session_token, key))
    caller = replace(await world.caller(session), mfa_at=world.clock.now())
    call = Call(caller, world.facts("iam:GetUser"), world.clock.now())
    assert (await authorize(world.env, call, "iam:GetUser", "*")).allowed


async def test_authorize_resource_policy_between_accounts_needs_both_sides(world: World) -> None:
    world_order = f"arn:aws:orders::{BETA}:order/7"
    user = world.user("ann", policies=[policy(allow("orders:Read"))])
    text = policy({"Effect": "Allow", "Principal": {"AWS": user.arn}, "Action": "orders:*", "Resource": "*"})
    grants = named(text, PolicyKind.RESOURCE)
    key, bindings = world.key(user), {user.arn: user.id}
    assert await may(world, key, "orders:Read", world_order, resource_policy=grants, bindings=bindings)
    assert not await may(world, key, "orders:Read", world_order)
    assert not await may(world, key, "orders:Write", world_order, resource_policy=grants, bindings=bindings)


async def test_authorize_context_keys_given_reach_the_conditions(world: World) -> None:
    only_blue = policy(allow("*", Condition={"StringEquals": {"aws:ResourceTag/Team": "blue"}}))
    key = world.key(world.user("ann", policies=[only_blue]))
    assert await may(world, key, "orders:Read", context={"aws:resourcetag/team": "blue"})
    assert not await may(world, key, "orders:Read", context={"aws:resourcetag/team": "red"})
    assert not await may(world, key, "orders:Read")


async def test_authorize_stale_refusal_is_decided_again_when_the_feed_had_moved(world: World) -> None:
    user = world.user("ann")
    key = world.key(user)
    granted = PrincipalView(user, (named(ALL, PolicyKind.IDENTITY),), None)
    world.directory.later.append(lambda: world.directory.users.update({user.id: granted}))
    assert await may(world, key, "orders:Read")
    assert world.directory.refreshes == 1


async def test_authorize_denial_has_awss_words_and_the_callers_account_as_owner(world: World) -> None:
    user = world.user("ann")
    call = Call(await world.caller(world.key(user)), world.facts("orders:Read"), world.clock.now())
    with pytest.raises(DaypassError) as caught:
        await authorize(world.env, call, "orders:Read", ORDER)
    assert caught.value.public == (
        f"User: {user.arn} is not authorized to perform: orders:Read on resource: {ORDER} "
        "because no identity-based policy allows the orders:Read action"
    )
    assert caught.value.private["account"] == ALPHA


async def test_authorize_policies_that_come_with_daypass_are_nobodys_foreign_resource(world: World) -> None:
    key = world.key(world.user("ann", policies=[ALL]))
    assert await may(world, key, "orders:Read", "arn:aws:orders::aws:policy/ReadOnlyAccess")
    assert not await may(world, key, "orders:Read", f"arn:aws:orders::{BETA}:policy/theirs")


# --- What needs no permission ----------------------------------------------------------------------------------------


async def may_own(world: World, credentials: Credentials, own: Own = Own.RESOURCE, client_id: str = "") -> bool:
    caller = await world.caller(credentials)
    if client_id:
        assert caller.session is not None
        caller = replace(caller, session=replace(caller.session, client_id=client_id))
    call = Call(caller, world.facts("daypass:SignOut"), world.clock.now())
    try:
        return (
            await authorize_own(world.env, call, "daypass:SignOut", f"arn:aws:daypass::{ALPHA}:user/x", own)
        ).allowed
    except DaypassError as error:
        if error.kind is not ErrorKind.ACCESS_DENIED:
            raise
        return False


async def test_authorize_own_takes_no_permission_and_every_other_layer_applies(world: World) -> None:
    """A boundary and a session policy must allow it, unless its result is bound by them anyway."""
    bare = world.key(world.user("bare"))
    denied = world.key(world.user("denied", policies=[ALL, policy(deny("daypass:*"))]))
    bound = world.key(world.user("bound", boundary=policy(allow("orders:*"))))
    narrowed = await session_of(world, {"Policy": policy(allow("orders:*"))})
    forbidden = await session_of(world, {"Policy": policy(allow("*"), deny("daypass:SignOut"))})
    for own, expected in (
        (Own.RESOURCE, [True, False, False, False, False]),
        (Own.RESTRICTED, [True, False, True, True, False]),
    ):
        assert [await may_own(world, each, own) for each in (bare, denied, bound, narrowed, forbidden)] == expected
    world.account(ALPHA, policy(allow("orders:*")))
    assert not await may_own(world, bare)
    assert not await may_own(world, bare, Own.RESTRICTED)


@pytest.mark.parametrize(
    "client_id", ["DPCLAAAAAAAAAAAAAAAAA", "https://app.example/client", f"arn:aws:iam::{ALPHA}:role/b"]
)
async def test_authorize_own_of_an_application_or_an_actor_takes_a_permission(world: World, client_id: str) -> None:
    """Consent to a role, or delegation, does not cover devices, recovery codes or access requests of the person."""
    session, permitted = (
        await session_of(world, {}),
        await session_of(world, {}, policies=[policy(allow("daypass:SignOut"))]),
    )
    assert await may_own(world, session)
    assert not await may_own(world, session, client_id=client_id)
    assert await may_own(world, permitted, client_id=client_id)
    assert await may_own(world, session, client_id=COMMAND_LINE_ID)

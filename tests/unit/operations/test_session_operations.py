"""The other operations of the token service: who I am, sessions of users and federated users, narrowing, messages."""

from __future__ import annotations

import json
from typing import Any

import pytest
from tests.unit.operations.fakes import ALPHA, BETA, NOW, Credentials, World, allow, assume_role, deny, policy, trust

from daypass.domain.errors import DaypassError, ErrorKind
from daypass.domain.events import EventType
from daypass.domain.session import SessionKind
from daypass.operations.authorize import authorize
from daypass.ports import Call
from daypass.wire.aws.sts import (
    STS_OPERATIONS,
    decode_authorization_message,
    get_access_key_info,
    get_caller_identity,
    get_federation_token,
    get_scoped_credentials,
    get_session_token,
)

ALL = policy(allow("*"))


async def refusal(world: World, operation: Any, credentials: Credentials, **params: Any) -> DaypassError:
    with pytest.raises(DaypassError) as caught:
        await world.call(operation, credentials, params)
    return caught.value


async def role_session(world: World, *, policies: tuple[str, ...] = (ALL,), **params: Any) -> Credentials:
    user = world.user("ann", policies=[ALL])
    role = world.role("ops", trusts=[trust(user.arn, ["sts:AssumeRole", "sts:SetSourceIdentity"])], policies=policies)
    asked = {"RoleArn": role.arn, "RoleSessionName": "shift", **params}
    return Credentials.of(await world.call(assume_role, world.key(user), asked))


async def may(world: World, credentials: Credentials, action: str) -> bool:
    call = Call(await world.caller(credentials), world.facts(action), world.clock.now())
    try:
        return (await authorize(world.env, call, action, "*")).allowed
    except DaypassError:
        return False


def test_operations_served_are_those_of_the_issue() -> None:
    assert sorted(STS_OPERATIONS) == [
        "AssumeRole",
        "AssumeRoleWithSAML",
        "AssumeRoleWithWebIdentity",
        "DecodeAuthorizationMessage",
        "GetAccessKeyInfo",
        "GetCallerIdentity",
        "GetFederationToken",
        "GetScopedCredentials",
        "GetSessionToken",
        "GetWebIdentityToken",
    ]


# --- GetCallerIdentity -----------------------------------------------------------------------------------------------


async def test_get_caller_identity_answers_even_against_an_explicit_deny_and_is_recorded(world: World) -> None:
    user = world.user("ann", policies=[policy(deny("*"))])
    answer = await world.call(get_caller_identity, world.key(user))
    assert answer == {"UserId": user.id, "Account": ALPHA, "Arn": user.arn}
    (event,) = world.journal.events
    assert (event.type, event.operation) == (EventType.REQUEST_ALLOWED, "sts:GetCallerIdentity")


# --- GetSessionToken -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("asked", "given"), [(None, 43_200), (900, 900), (129_600, 129_600)])
async def test_get_session_token_of_a_user_takes_no_permission_and_lasts_as_asked(
    world: World, asked: int | None, given: int
) -> None:
    user = world.user("ann", policies=[policy(deny("*"))])
    answer = await world.call(get_session_token, world.key(user), {"DurationSeconds": asked})
    assert answer["Credentials"]["Expiration"] == NOW + given * 1000
    assert answer["SessionTokenSize"] == len(answer["Credentials"]["SessionToken"])
    (claims,) = world.journal.sessions
    assert (claims.kind, claims.principal_id, len(claims.hops)) == (SessionKind.USER, user.id, 2)


@pytest.mark.parametrize(("asked", "given"), [(None, 3600), (900, 900), (129_600, 3600)])
async def test_get_session_token_of_a_root_lasts_an_hour_at_most(world: World, asked: int | None, given: int) -> None:
    answer = await world.call(get_session_token, world.key(ALPHA), {"DurationSeconds": asked})
    assert answer["Credentials"]["Expiration"] == NOW + given * 1000


@pytest.mark.parametrize("operation", [get_session_token, get_federation_token])
async def test_get_session_and_federation_token_with_session_credentials_are_refused(
    world: World, operation: Any
) -> None:
    name = {"get_session_token": "GetSessionToken", "get_federation_token": "GetFederationToken"}[operation.__name__]
    error = await refusal(world, operation, await role_session(world), Name="eve")
    assert (error.kind, error.public) == (ErrorKind.ACCESS_DENIED, f"Cannot call {name} with session credentials")


async def test_get_session_token_credentials_call_only_what_aws_lets_them(world: World) -> None:
    user = world.user("ann", policies=[ALL])
    role = world.role("ops", trusts=[trust(user.arn)])
    session = Credentials.of(await world.call(get_session_token, world.key(user)))
    await world.call(assume_role, session, {"RoleArn": role.arn, "RoleSessionName": "shift"})
    await world.call(get_caller_identity, session)
    await world.call(get_scoped_credentials, session, {"DurationSeconds": 60})
    denied = await refusal(world, get_access_key_info, session, AccessKeyId=session.access_key_id)
    assert denied.public == "Cannot call GetAccessKeyInfo with session credentials"


async def test_get_session_token_of_a_blocked_user_is_refused(world: World) -> None:
    user = world.user("ann")
    world.revoke("principal", user.id, block=True)
    error = await refusal(world, get_session_token, world.key(user))
    assert error.public == f"User: {user.arn} is not authorized to perform: sts:GetSessionToken"


# --- GetFederationToken ----------------------------------------------------------------------------------------------


async def test_get_federation_token_answers_with_the_federated_user(world: World) -> None:
    user = world.user("broker", policies=[ALL])
    params = {"Name": "eve", "Policy": ALL, "Tags": [{"Key": "team", "Value": "red"}], "DurationSeconds": 7200}
    answer = await world.call(get_federation_token, world.key(user), params)
    assert answer["FederatedUser"] == {
        "FederatedUserId": f"{ALPHA}:eve",
        "Arn": f"arn:aws:sts::{ALPHA}:federated-user/eve",
    }
    assert answer["Credentials"]["Expiration"] == NOW + 7200_000
    assert answer["PackedPolicySize"] == answer["SessionTokenUtilization"] > 0
    (claims,) = world.journal.sessions
    assert (claims.kind, claims.user_id, claims.arn) == (SessionKind.FEDERATED, user.id, user.arn)
    assert (claims.tags, claims.base_policy) == ((("team", "red"),), True)


async def test_get_federation_token_without_policies_and_tags_has_a_packed_policy_size_of_zero(world: World) -> None:
    """Recorded from AWS in 2024; the other operations leave the member out then."""
    user = world.user("broker", policies=[ALL])
    answer = await world.call(get_federation_token, world.key(user), {"Name": "eve"})
    assert answer["PackedPolicySize"] == 0
    assert answer["SessionTokenUtilization"] > 0


async def test_get_federation_token_takes_permission_for_the_name_and_for_tags(world: World) -> None:
    only_eve = policy(allow("sts:GetFederationToken", f"arn:aws:sts::{ALPHA}:federated-user/eve"))
    key = world.key(world.user("broker", policies=[only_eve]))
    await world.call(get_federation_token, key, {"Name": "eve"})
    assert (await refusal(world, get_federation_token, key, Name="eva")).kind is ErrorKind.ACCESS_DENIED
    tagged = await refusal(world, get_federation_token, key, Name="eve", Tags=[{"Key": "team", "Value": "red"}])
    assert "sts:TagSession" in tagged.public


async def test_get_federation_token_of_a_root_lasts_an_hour_and_is_within_the_policy(world: World) -> None:
    params = {"Name": "eve", "Policy": policy(allow("orders:Read"))}
    answer = await world.call(get_federation_token, world.key(ALPHA), params)
    assert answer["Credentials"]["Expiration"] == NOW + 3600_000
    session = Credentials.of(answer)
    assert await may(world, session, "orders:Read")
    assert not await may(world, session, "orders:Write")


async def test_get_federation_token_credentials_assume_no_role(world: World) -> None:
    key = world.key(world.user("broker", policies=[ALL]))
    session = Credentials.of(await world.call(get_federation_token, key, {"Name": "eve", "Policy": ALL}))
    role = world.role("ops", trusts=[trust("*")])
    error = await refusal(world, assume_role, session, RoleArn=role.arn, RoleSessionName="shift")
    assert error.public == "Cannot call AssumeRole with session credentials"
    assert (await world.call(get_caller_identity, session))["UserId"] == f"{ALPHA}:eve"


# --- GetScopedCredentials --------------------------------------------------------------------------------------------


async def test_get_scoped_credentials_narrow_the_session_and_keep_its_identity(world: World) -> None:
    session = await role_session(world, SourceIdentity="ann")
    caller = await world.caller(session)
    narrow = policy(allow(["orders:Read", "sts:*"]))
    params = {"Policy": narrow, "DurationSeconds": 60, "ScopedSessionDescription": "for the report"}
    answer = await world.call(get_scoped_credentials, session, params)
    assert answer["SessionInfo"] == {"ScopedSessionId": caller.user_id, "Arn": caller.arn}
    assert (answer["ScopedPoliciesCount"], answer["SourceIdentity"]) == (1, "ann")
    assert answer["Credentials"]["Expiration"] == NOW + 60_000
    scoped = Credentials.of(answer)
    assert (await world.caller(scoped)).arn == caller.arn
    assert await may(world, scoped, "orders:Read")
    assert not await may(world, scoped, "orders:Write")
    assert await may(world, session, "orders:Write")
    assert world.journal.events[-1].detail["description"] == "for the report"


async def test_get_scoped_credentials_each_narrow_what_is_left(world: World) -> None:
    session = await role_session(world, Policy=policy(deny("orders:Delete"), allow("*")))
    for number, text in enumerate([policy(allow("*")), policy(allow(["orders:Read", "sts:*"])), ALL], start=1):
        answer = await world.call(get_scoped_credentials, session, {"Policy": text})
        session = Credentials.of(answer)
        assert answer["ScopedPoliciesCount"] == number
    assert await may(world, session, "orders:Read")
    assert not await may(world, session, "orders:Write")
    error = await refusal(world, get_scoped_credentials, session, Policy=ALL)
    assert error.kind is ErrorKind.ACCESS_DENIED
    shorter = await world.call(get_scoped_credentials, session, {"DurationSeconds": 60})
    assert shorter["ScopedPoliciesCount"] == 3


async def test_get_scoped_credentials_never_outlive_the_session(world: World) -> None:
    session = await role_session(world, DurationSeconds=900)
    error = await refusal(world, get_scoped_credentials, session, DurationSeconds=901)
    assert error.kind is ErrorKind.INSUFFICIENT_SESSION_LIFETIME
    world.clock.time += 300_000
    inherits = await world.call(get_scoped_credentials, session, {"Policy": ALL})
    assert inherits["Credentials"]["Expiration"] == NOW + 900_000
    exact = await world.call(get_scoped_credentials, session, {"DurationSeconds": 600})
    assert exact["Credentials"]["Expiration"] == NOW + 900_000


async def test_get_scoped_credentials_die_with_the_session(world: World) -> None:
    session = await role_session(world)
    scoped = Credentials.of(await world.call(get_scoped_credentials, session, {"Policy": ALL}))
    world.revoke("access_key", session.access_key_id)
    assert (await refusal(world, get_caller_identity, scoped)).kind is ErrorKind.EXPIRED_CREDENTIALS


async def test_get_scoped_credentials_ask_for_something_and_for_temporary_credentials(world: World) -> None:
    session = await role_session(world)
    assert (await refusal(world, get_scoped_credentials, session)).kind is ErrorKind.VALIDATION
    assert (await refusal(world, get_scoped_credentials, session, Policy="{")).kind is ErrorKind.MALFORMED_POLICY
    long_term = await refusal(world, get_scoped_credentials, world.key(ALPHA), Policy=ALL)
    assert long_term.kind is ErrorKind.INVALID_SUBJECT_CREDENTIALS


async def test_get_scoped_credentials_take_no_permission_and_give_none(world: World) -> None:
    session = await role_session(world, policies=(policy(allow("orders:*")),))
    scoped = Credentials.of(await world.call(get_scoped_credentials, session, {"Policy": ALL}))
    for action in ("orders:Read", "billing:Read", "sts:AssumeRole"):
        assert await may(world, scoped, action) == await may(world, session, action)


async def test_get_scoped_credentials_that_a_policy_denies_refused(world: World) -> None:
    session = await role_session(world, policies=(ALL, policy(deny("sts:GetScopedCredentials"))))
    assert (await refusal(world, get_scoped_credentials, session, Policy=ALL)).kind is ErrorKind.ACCESS_DENIED


async def test_get_scoped_credentials_of_a_federated_user_without_policy_give_nothing(world: World) -> None:
    key = world.key(world.user("broker", policies=[ALL]))
    bare = Credentials.of(await world.call(get_federation_token, key, {"Name": "eve"}))
    scoped = Credentials.of(await world.call(get_scoped_credentials, bare, {"Policy": ALL}))
    assert not await may(world, scoped, "orders:Read")


async def test_get_scoped_credentials_of_a_blocked_or_revoked_session_refused(world: World) -> None:
    session = await role_session(world)
    role_id = (await world.caller(session)).principal_id
    world.revoke("principal", role_id, block=True)
    assert (await refusal(world, get_scoped_credentials, session, Policy=ALL)).kind is ErrorKind.EXPIRED_CREDENTIALS


async def test_get_scoped_credentials_cannot_be_repeated_for_ever(world: World) -> None:
    session = await role_session(world)
    with pytest.raises(DaypassError) as caught:
        for _ in range(40):
            session = Credentials.of(await world.call(get_scoped_credentials, session, {"DurationSeconds": 900}))
    assert caught.value.kind is ErrorKind.ACCESS_DENIED


# --- GetAccessKeyInfo ------------------------------------------------------------------------------------------------


async def test_get_access_key_info_knows_every_long_term_key_and_ones_own_session(world: World) -> None:
    theirs = world.key(world.user("bob", BETA))
    session = await role_session(world)
    answer = await world.call(get_access_key_info, session, {"AccessKeyId": theirs.access_key_id})
    assert answer == {"Account": BETA}
    own = await world.call(get_access_key_info, session, {"AccessKeyId": session.access_key_id})
    assert own == {"Account": ALPHA}


@pytest.mark.parametrize("key_id", ["AKIAZZZZZZZZZZZZZZZZ", "ASIAZZZZZZZZZZZZZZZZ"])
async def test_get_access_key_info_of_an_unknown_key_is_as_awss(world: World, key_id: str) -> None:
    error = await refusal(world, get_access_key_info, world.key(ALPHA), AccessKeyId=key_id)
    assert error.kind is ErrorKind.UNKNOWN_CREDENTIALS
    assert error.public == "The X.509 certificate or AWS access key ID provided does not exist in our records."
    assert world.journal.events[-1].type is EventType.REQUEST_FAILED


async def test_get_access_key_info_takes_permission_and_names_no_resource(world: World) -> None:
    user = world.user("ann")
    error = await refusal(world, get_access_key_info, world.key(user), AccessKeyId="AKIAZZZZZZZZZZZZZZZZ")
    assert error.public == (
        f"User: {user.arn} is not authorized to perform: sts:GetAccessKeyInfo "
        "because no identity-based policy allows the sts:GetAccessKeyInfo action"
    )


# --- DecodeAuthorizationMessage --------------------------------------------------------------------------------------


async def test_decode_authorization_message_takes_permission_and_gives_awss_members(world: World) -> None:
    user = world.user("ann", policies=[policy(allow("*", Condition={"Bool": {"aws:SecureTransport": "true"}}))])
    admin = world.key(world.user("admin", policies=[ALL]))
    await refusal(world, get_access_key_info, world.key(user), AccessKeyId="AKIAZZZZZZZZZZZZZZZZ")
    message = {"EncodedMessage": world.message}
    denied = await refusal(world, decode_authorization_message, world.key(world.user("bob")), **message)
    assert denied.kind is ErrorKind.ACCESS_DENIED
    decoded = json.loads((await world.call(decode_authorization_message, admin, message))["DecodedMessage"])
    assert (decoded["allowed"], decoded["explicitDeny"]) == (False, False)
    assert decoded["context"]["principal"] == {"arn": user.arn}
    assert decoded["context"]["action"] == "sts:GetAccessKeyInfo"
    assert decoded["context"]["conditions"]["items"] == [
        {"key": "aws:SecureTransport", "values": {"items": [{"value": "false"}]}}
    ]
    assert decoded["explanation"]["would_have_to_be_true"]


@pytest.mark.parametrize("message", ["", "AAAA", "not base64 !", "MTExMTExMTExMTExAAAAAAkAAAAA"])
async def test_decode_authorization_message_that_is_none_is_invalid(world: World, message: str) -> None:
    error = await refusal(world, decode_authorization_message, world.key(ALPHA), EncodedMessage=message)
    assert error.kind is ErrorKind.INVALID_AUTHORIZATION_MESSAGE


async def test_decode_authorization_message_counts_for_the_account_of_the_session_not_of_its_user(world: World) -> None:
    """A role session decodes only for its own account, though its user belongs to the account that denied."""
    ann = world.user("ann", policies=[ALL])
    role = world.role("ops", BETA, trusts=[trust(ann.arn)], policies=[ALL])
    await refusal(world, get_access_key_info, world.key(world.user("bob")), AccessKeyId="AKIAZZZZZZZZZZZZZZZZ")
    message = world.message
    params = {"RoleArn": role.arn, "RoleSessionName": "shift"}
    session = Credentials.of(await world.call(assume_role, world.key(ann), params))
    error = await refusal(world, decode_authorization_message, session, EncodedMessage=message)
    assert error.kind is ErrorKind.INVALID_AUTHORIZATION_MESSAGE

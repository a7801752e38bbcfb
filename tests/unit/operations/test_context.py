"""Context keys of a call, as AWS documents when each is there."""

from __future__ import annotations

from msgspec.structs import replace
from tests.unit.operations.fakes import ALPHA, NOW, Credentials, World, allow, assume_role, policy, trust

from daypass.domain.assumption import Assumption
from daypass.domain.context import (
    merge_principal_tags,
    principal_facts,
    request_context,
    requested_tags,
    resource_context,
)
from daypass.domain.directory import Grant
from daypass.wire.aws.sts import get_federation_token, get_session_token

ALL = policy(allow("*"))


async def test_context_of_a_user(world: World) -> None:
    user = world.user("ann", tags=(("Team", "red"),))
    caller = await world.caller(world.key(user))
    context = request_context(caller, world.facts("x:y", referer="https://a.test/", secure_transport=True), NOW + 1999)
    assert context == {
        "aws:principalarn": user.arn,
        "aws:principalaccount": ALPHA,
        "aws:principaltype": "User",
        "aws:userid": user.id,
        "aws:username": "ann",
        "aws:principaltag/team": "red",
        "aws:principalisawsservice": "false",
        "aws:viaawsservice": "false",
        "aws:currenttime": "2025-11-24T16:00:01Z",
        "aws:epochtime": "1764000001",
        "aws:securetransport": "true",
        "aws:sourceip": "192.0.2.7",
        "aws:useragent": "tests",
        "aws:referer": "https://a.test/",
        "aws:requestedregion": "eu-central-1",
        "daypass:chaindepth": "0",
        "daypass:authmethod": "sigv4",
    }


async def test_context_without_what_was_not_sent(world: World) -> None:
    caller = await world.caller(world.key(ALPHA))
    context = request_context(caller, world.facts("x:y", source_ip="", user_agent="", region=""), NOW)
    for absent in ("aws:sourceip", "aws:useragent", "aws:referer", "aws:requestedregion", "aws:username"):
        assert absent not in context
    assert context["aws:principaltype"] == "Account"


async def test_context_of_a_role_session_has_the_keys_of_temporary_credentials(world: World) -> None:
    user = world.user("ann", policies=[ALL])
    role = world.role("ops", trusts=[trust(user.arn, ["sts:AssumeRole", "sts:SetSourceIdentity"])])
    params = {"RoleArn": role.arn, "RoleSessionName": "shift", "SourceIdentity": "ann.smith"}
    caller = await world.caller(Credentials.of(await world.call(assume_role, world.key(user), params)))
    context = request_context(caller, world.facts("x:y"), NOW)
    assert context["aws:principalarn"] == role.arn
    assert context["aws:userid"] == f"{role.id}:shift"
    assert context["aws:tokenissuetime"] == "2025-11-24T16:00:00Z"
    assert context["aws:sourceidentity"] == "ann.smith"
    assert context["aws:multifactorauthpresent"] == "false"
    assert context["daypass:chaindepth"] == "1"
    assert "aws:username" not in context
    assert "aws:multifactorauthage" not in context
    with_mfa = request_context(replace(caller, mfa_at=NOW - 61_500), world.facts("x:y"), NOW)
    assert (with_mfa["aws:multifactorauthpresent"], with_mfa["aws:multifactorauthage"]) == ("true", "61")
    assert principal_facts(caller).arns == ((caller.arn, role.id), (role.arn, role.id))


async def test_context_of_long_term_keys_has_no_key_about_mfa(world: World) -> None:
    caller = await world.caller(world.key(world.user("ann")))
    context = request_context(caller, world.facts("x:y"), NOW)
    assert not [key for key in context if "multifactor" in key or "token" in key]


async def test_context_types_of_sessions_of_users_and_federated_users(world: World) -> None:
    key = world.key(world.user("ann", policies=[ALL]))
    user = await world.caller(Credentials.of(await world.call(get_session_token, key)))
    federated = await world.caller(Credentials.of(await world.call(get_federation_token, key, {"Name": "eve"})))
    ours = request_context(user, world.facts("x:y"), NOW)
    theirs = request_context(federated, world.facts("x:y"), NOW)
    assert (ours["aws:principaltype"], ours["aws:username"]) == ("User", "ann")
    assert theirs["aws:principaltype"] == "FederatedUser"
    assert theirs["aws:principalarn"] == f"arn:aws:sts::{ALPHA}:federated-user/eve"
    assert "aws:username" not in theirs


def test_context_of_requests_and_resources() -> None:
    assert requested_tags(()) == {}
    assert requested_tags((("Team", "red"),)) == {"aws:requesttag/team": "red", "aws:tagkeys": ("Team",)}
    assert resource_context("", ()) == {}
    assert resource_context(ALPHA, (("Team", "red"),)) == {
        "aws:resourceaccount": ALPHA,
        "aws:resourcetag/team": "red",
        "iam:resourcetag/team": "red",
    }
    assert Assumption("shift").keys() == {"sts:rolesessionname": "shift", "daypass:approved": "false"}
    ids = "g", ALPHA, "r", "AIDA1", "AROA1", "arn"
    grant = Grant(*ids, (), 60, 1, 2, 1, "p", "rule", approvers=("a", "b"), ticket="INC-1", risk=7)
    whole = Assumption("shift", "x", "ann", (("Team", "red"),), ("Team",), grant=grant, client_id="web")
    assert whole.grant_id == "g"
    assert whole.keys() == {
        "sts:rolesessionname": "shift",
        "sts:externalid": "x",
        "sts:sourceidentity": "ann",
        "aws:requesttag/team": "red",
        "aws:tagkeys": ("Team",),
        "sts:transitivetagkeys": ("Team",),
        "daypass:approved": "true",
        "daypass:grantid": "g",
        "daypass:approvercount": "2",
        "daypass:riskscore": "7",
        "daypass:oncall": "false",
        "daypass:ticketid": "INC-1",
        "daypass:clientid": "web",
    }
    assert whole.actions() == ("sts:AssumeRole", "sts:TagSession", "sts:SetSourceIdentity")
    assert Assumption("shift", source_identity="ann").actions("sts:X") == ("sts:X", "sts:SetSourceIdentity")


def test_merge_principal_tags_session_tags_override_without_regard_to_case() -> None:
    assert merge_principal_tags((("Team", "a"), ("City", "b")), (("team", "c"),)) == (("City", "b"), ("team", "c"))
    assert merge_principal_tags((("Team", "a"),), ()) == (("Team", "a"),)
    assert merge_principal_tags((), (("Team", "a"),)) == (("Team", "a"),)

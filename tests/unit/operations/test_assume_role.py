"""AssumeRole in all its branches: what is asked, who may, what the session is, and what the record says of it."""

from __future__ import annotations

import asyncio
import contextlib
import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.unit.operations.fakes import ALPHA, BETA, NOW, Credentials, World, allow, assume_role, deny, policy, trust

from daypass.domain.directory import Role
from daypass.domain.errors import DaypassError, ErrorKind
from daypass.domain.events import EventType
from daypass.domain.session import SessionKind
from daypass.ports import Call, Limits
from daypass.wire.aws import sts
from daypass.wire.aws.sts import decode_authorization_message, get_session_token

ALL = policy(allow("*"))
BOTH = ["sts:AssumeRole", "sts:TagSession", "sts:SetSourceIdentity"]


async def refusal(world: World, credentials: Credentials, params: dict[str, Any], **facts: Any) -> DaypassError:
    with pytest.raises(DaypassError) as caught:
        await world.call(assume_role, credentials, params, **facts)
    return caught.value


def ask(arn: str, **more: Any) -> dict[str, Any]:
    return {"RoleArn": arn, "RoleSessionName": "shift", **more}


def tags(**pairs: str) -> list[dict[str, str]]:
    return [{"Key": key, "Value": value} for key, value in pairs.items()]


def opened(world: World, actions: str | list[str] = "sts:AssumeRole") -> tuple[Credentials, Role]:
    """The key of a user who may do everything, and a role that trusts the user."""
    user = world.user("ann", policies=[ALL])
    return world.key(user), world.role("ops", trusts=[trust(user.arn, actions)])


# --- The answer and the record ---------------------------------------------------------------------------------------


async def test_assume_role_answers_with_credentials_that_work_and_records_the_session(world: World) -> None:
    user = world.user("ann", policies=[ALL])
    role = world.role("ops", trusts=[trust(user.arn, BOTH)], path="/team/")
    key = world.key(user)
    params = ask(role.arn, Policy=ALL, Tags=tags(team="red"), SourceIdentity="ann.smith", DurationSeconds=900)
    answer = await world.call(assume_role, key, params)

    assert answer["AssumedRoleUser"] == {
        "AssumedRoleId": f"{role.id}:shift",
        "Arn": f"arn:aws:sts::{ALPHA}:assumed-role/ops/shift",
    }
    given = answer["Credentials"]
    assert given["AccessKeyId"].startswith("ASIA")
    assert given["Expiration"] == NOW + 900_000
    assert answer["SessionTokenSize"] == len(given["SessionToken"])
    utilization = -(-len(given["SessionToken"]) * 100 // 4096)
    assert answer["SessionTokenUtilization"] == utilization
    assert answer["SourceIdentity"] == "ann.smith"

    (claims,) = world.journal.sessions
    assert (claims.kind, claims.principal_id, claims.arn, claims.account) == (
        SessionKind.ROLE,
        role.id,
        role.arn,
        ALPHA,
    )
    assert (claims.tags, claims.policies, claims.base_policy) == ((("team", "red"),), (ALL,), True)
    assert claims.seen == world.directory.seen()
    assert [hop.principal_id for hop in claims.hops] == [user.id, role.id]
    assert [hop.access_key_id for hop in claims.hops] == [key.access_key_id, given["AccessKeyId"]]

    (event,) = world.journal.events
    assert (event.type, event.account, event.session_id) == (EventType.SESSION_ISSUED, ALPHA, claims.session_id)
    assert event.actor["principal_id"] == user.id
    assert event.operation == "sts:AssumeRole"
    assert event.decision is not None
    assert event.decision["allowed"]
    assert given["SecretAccessKey"] not in str(event)
    assert given["SessionToken"] not in str(event)
    assert (await world.caller(Credentials.of(answer))).arn == answer["AssumedRoleUser"]["Arn"]


@pytest.mark.parametrize(("more", "there"), [({}, False), ({"Tags": tags(team="red")}, True), ({"Policy": ALL}, True)])
async def test_assume_role_answers_packed_policy_size_with_policies_or_tags_alone(
    world: World, more: dict[str, Any], there: bool
) -> None:
    """As AWS was recorded in 2024; its value is documented as the percentage of the largest token."""
    key, role = opened(world, BOTH)
    answer = await world.call(assume_role, key, ask(role.arn, **more))
    assert answer["PackedPolicySize"] == (answer["SessionTokenUtilization"] if there else None)


async def test_assume_role_without_a_record_gives_no_credential(world: World) -> None:
    key, role = opened(world)
    world.journal.broken = True
    with pytest.raises(DaypassError) as caught:
        await world.call(assume_role, key, ask(role.arn))
    assert caught.value.kind is ErrorKind.UNAVAILABLE
    assert not world.journal.sessions


async def test_assume_role_minimum_size_pads_the_token(world: World) -> None:
    key, role = opened(world)
    answer = await world.call(assume_role, key, ask(role.arn, MinimumSessionTokenSize=3000))
    assert answer["SessionTokenSize"] >= 3000
    await world.caller(Credentials.of(answer))


async def test_assume_role_token_over_the_cap_tells_both_sizes(world: World) -> None:
    world = World(limits=Limits(token_bytes=600))
    key, role = opened(world, BOTH)
    long = {f"k{number}": "v" * 100 for number in range(8)}
    error = await refusal(world, key, ask(role.arn, Tags=tags(**long)))
    assert error.kind is ErrorKind.PACKED_POLICY_TOO_LARGE
    assert " 600 bytes" in error.public
    assert world.journal.events[-1].type is EventType.REQUEST_FAILED
    assert not world.journal.sessions


# --- What is asked ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "arn",
    [
        "arn:aws:iam::111111111111:user/ops",
        "arn:aws:sts::111111111111:assumed-role/ops/x",
        "arn:aws-cn:iam::111111111111:role/ops",
        "arn:aws:iam:eu-west-1:111111111111:role/ops",
        "arn:aws:iam::11111111111:role/ops",
        "arn:aws:iam::１１１１１１１１１１１１:role/ops",
        "arn:aws:iam::111111111111:role/",
        "arn:aws:iam::111111111111:role/ops/",
        "not an arn but long enough",
    ],
)
async def test_assume_role_arn_of_no_role_is_a_validation_error(world: World, arn: str) -> None:
    error = await refusal(world, world.key(world.user("ann", policies=[ALL])), ask(arn))
    assert (error.kind, error.public) == (ErrorKind.VALIDATION, f"{arn} is invalid")


@pytest.mark.parametrize("spelling", ["role/ops", "role/team/OPS", "role/other/ops", "role/team/sub/ops"])
async def test_assume_role_path_and_letters_must_be_the_roles_own(world: World, spelling: str) -> None:
    user = world.user("ann", policies=[ALL])
    world.role("ops", trusts=[trust(user.arn)], path="/team/")
    error = await refusal(world, world.key(user), ask(f"arn:aws:iam::{ALPHA}:{spelling}"))
    assert error.kind is ErrorKind.ACCESS_DENIED


async def test_assume_role_by_root_is_refused_with_awss_words(world: World) -> None:
    role = world.role("ops", trusts=[trust(f"arn:aws:iam::{ALPHA}:root")])
    root = world.key(ALPHA)
    session = Credentials.of(await world.call(get_session_token, root))
    for credentials in (root, session):
        error = await refusal(world, credentials, ask(role.arn))
        assert (error.kind, error.public) == (ErrorKind.ACCESS_DENIED, "Roles may not be assumed by root accounts.")
        assert world.journal.events[-1].type is EventType.REQUEST_DENIED


async def test_assume_role_malformed_session_policy_is_refused_before_anything_else(world: World) -> None:
    error = await refusal(world, world.key(world.user("ann")), ask(f"arn:aws:iam::{ALPHA}:role/none", Policy="{]"))
    assert error.kind is ErrorKind.MALFORMED_POLICY


async def test_assume_role_context_assertions_are_refused_not_ignored(world: World) -> None:
    params = ask(f"arn:aws:iam::{ALPHA}:role/ops", ProvidedContexts=[{"ProviderArn": "arn", "ContextAssertion": "x"}])
    assert (await refusal(world, world.key(world.user("ann")), params)).kind is ErrorKind.INVALID_PARAMETER


@pytest.mark.parametrize(
    ("mfa", "words"),
    [
        ({"SerialNumber": "GAHT12345678", "TokenCode": "123456"}, "unable to validate MFA code."),
        ({"SerialNumber": "GAHT12345678"}, "must provide both MFA serial number and one time pass code."),
        ({"TokenCode": "123456"}, "must provide both MFA serial number and one time pass code."),
    ],
)
async def test_assume_role_unknown_mfa_device_is_denied(world: World, mfa: dict[str, str], words: str) -> None:
    key, role = opened(world)
    error = await refusal(world, key, ask(role.arn, **mfa))
    assert error.kind is ErrorKind.ACCESS_DENIED
    assert words in error.public


# --- Lifetime --------------------------------------------------------------------------------------------------------


async def test_assume_role_lifetime_of_a_role_is_told_to_nobody_who_may_not_have_it(world: World) -> None:
    role = world.role("ops", BETA, trusts=[trust(f"arn:aws:iam::{BETA}:root")])
    error = await refusal(world, world.key(world.user("ann", policies=[ALL])), ask(role.arn, DurationSeconds=43200))
    assert error.kind is ErrorKind.ACCESS_DENIED


# --- Who may ---------------------------------------------------------------------------------------------------------


async def test_assume_role_same_account_trust_in_the_user_suffices(world: World) -> None:
    user = world.user("ann")
    role = world.role("ops", trusts=[trust(user.arn)])
    await world.call(assume_role, world.key(user), ask(role.arn))


async def test_assume_role_same_account_trust_in_the_account_takes_the_users_policy_too(world: World) -> None:
    role = world.role("ops", trusts=[trust(f"arn:aws:iam::{ALPHA}:root")])
    may = world.user("may", policies=[policy(allow("sts:AssumeRole", role.arn))])
    await world.call(assume_role, world.key(may), ask(role.arn))
    error = await refusal(world, world.key(world.user("not")), ask(role.arn))
    assert error.public.endswith("because no identity-based policy allows the sts:AssumeRole action")


async def test_assume_role_identity_policy_alone_opens_no_role(world: World) -> None:
    role = world.role("ops", trusts=[trust(world.user("other").arn)])
    error = await refusal(world, world.key(world.user("ann", policies=[ALL])), ask(role.arn))
    assert error.kind is ErrorKind.ACCESS_DENIED


async def test_assume_role_between_accounts_takes_both_sides(world: World) -> None:
    may = world.user("may", policies=[ALL])
    not_mine = world.user("not")
    role = world.role("ops", BETA, trusts=[trust([may.arn, not_mine.arn])])
    closed = world.role("closed", BETA, trusts=[trust(f"arn:aws:iam::{BETA}:root")])
    answer = await world.call(assume_role, world.key(may), ask(role.arn))
    assert answer["AssumedRoleUser"]["Arn"].startswith(f"arn:aws:sts::{BETA}:")
    assert (await refusal(world, world.key(not_mine), ask(role.arn))).kind is ErrorKind.ACCESS_DENIED
    assert (await refusal(world, world.key(may), ask(closed.arn))).kind is ErrorKind.ACCESS_DENIED


async def test_assume_role_guardrail_of_the_callers_account_holds_between_accounts(world: World) -> None:
    user = world.user("ann", policies=[ALL])
    role = world.role("ops", BETA, trusts=[trust(user.arn)])
    world.account(ALPHA, policy(allow("*"), deny("sts:AssumeRole", f"arn:aws:iam::{BETA}:role/*")))
    assert (await refusal(world, world.key(user), ask(role.arn))).kind is ErrorKind.ACCESS_DENIED


async def test_assume_role_explicit_deny_of_either_side_wins(world: World) -> None:
    user = world.user("ann", policies=[ALL, policy(deny("sts:AssumeRole"))])
    role = world.role("ops", trusts=[trust(user.arn)])
    error = await refusal(world, world.key(user), ask(role.arn))
    assert error.public.endswith("with an explicit deny in an identity-based policy")


async def test_assume_role_stale_trust_is_read_again_before_refusing(world: World) -> None:
    user = world.user("ann", policies=[ALL])
    key = world.key(user)

    def trusted_at_last() -> None:
        world.role("ops", trusts=[trust(user.arn)])

    world.directory.later.append(trusted_at_last)
    await world.call(assume_role, key, ask(f"arn:aws:iam::{ALPHA}:role/ops"))


async def test_assume_role_between_accounts_a_missing_role_reads_like_a_closed_one(world: World) -> None:
    user = world.user("ann", policies=[ALL])
    key = world.key(user)
    closed = world.role(
        "ops1", BETA, trusts=[trust(f"arn:aws:iam::{BETA}:root", Condition={"Bool": {"aws:SecureTransport": "true"}})]
    )
    missing = closed.arn.replace("ops1", "ops2")
    texts, messages, calls = [], [], []
    for arn in (closed.arn, missing):
        before = world.directory.refreshes
        error = await refusal(world, key, ask(arn))
        texts.append((error.kind, error.public.replace(arn, "ROLE")))
        messages.append(len(world.message))
        calls.append(world.directory.refreshes - before)
    assert texts[0] == texts[1]
    assert texts[0][1] == f"User: {user.arn} is not authorized to perform: sts:AssumeRole on resource: ROLE"
    assert messages[0] == messages[1] > 0
    assert calls[0] == calls[1]


async def test_assume_role_tags_of_a_foreign_role_cannot_be_found_out(world: World) -> None:
    probe = policy(allow("*", Condition={"StringEquals": {"aws:ResourceTag/secret": "plans"}}))
    here = world.role("here", trusts=[trust(f"arn:aws:iam::{ALPHA}:root")], tags=(("secret", "plans"),))
    there = world.role("there", BETA, trusts=[trust(f"arn:aws:iam::{ALPHA}:root")], tags=(("secret", "plans"),))
    key = world.key(world.user("ann", policies=[probe]))
    await world.call(assume_role, key, ask(here.arn))
    assert (await refusal(world, key, ask(there.arn))).kind is ErrorKind.ACCESS_DENIED


async def test_assume_role_denial_explains_itself_only_to_the_account_that_denied(world: World) -> None:
    user = world.user("ann", policies=[ALL])
    admin = world.key(world.user("admin", policies=[ALL]))
    their_admin = world.key(world.user("admin", BETA, policies=[ALL]))
    role = world.role("ops", BETA, trusts=[trust(f"arn:aws:iam::{BETA}:root")])
    await refusal(world, world.key(user), ask(role.arn))
    event, message = world.journal.events[-1], {"EncodedMessage": world.message}
    assert (event.type, event.account) == (EventType.REQUEST_DENIED, BETA)
    assert event.actor["account"] == ALPHA
    decoded = json.loads((await world.call(decode_authorization_message, their_admin, message))["DecodedMessage"])
    assert decoded["allowed"] is False
    assert decoded["context"]["action"] == "sts:AssumeRole"
    assert [layer["layer"] for layer in decoded["explanation"]["layers"]] == ["resource"]
    with pytest.raises(DaypassError) as caught:
        await world.call(decode_authorization_message, admin, message)
    assert caught.value.kind is ErrorKind.INVALID_AUTHORIZATION_MESSAGE


async def test_assume_role_denial_by_the_callers_own_account_stays_there(world: World) -> None:
    user = world.user("ann", policies=[policy(deny("sts:AssumeRole"))])
    admin = world.key(world.user("admin", policies=[ALL]))
    role = world.role("ops", BETA, trusts=[trust(user.arn)])
    error = await refusal(world, world.key(user), ask(role.arn))
    assert "explicit" not in error.public
    assert world.journal.events[-1].account == ALPHA
    answer = await world.call(decode_authorization_message, admin, {"EncodedMessage": world.message})
    assert json.loads(answer["DecodedMessage"])["explicitDeny"] is True


# --- Tags and source identity ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("more", "action"),
    [({"Tags": tags(team="red")}, "sts:TagSession"), ({"SourceIdentity": "ann"}, "sts:SetSourceIdentity")],
)
async def test_assume_role_tags_and_source_identity_take_their_own_permissions(
    world: World, more: dict[str, Any], action: str
) -> None:
    key, role = opened(world)
    error = await refusal(world, key, ask(role.arn, **more))
    assert f"not authorized to perform: {action} on resource: " in error.public


@pytest.mark.parametrize(
    ("condition", "held", "broken"),
    [
        ({"StringEquals": {"aws:RequestTag/team": "red"}}, {"Tags": tags(team="red")}, {"Tags": tags(team="blue")}),
        ({"ForAllValues:StringEquals": {"aws:TagKeys": ["team"]}}, {"Tags": tags(team="x")}, {"Tags": tags(t="x")}),
        ({"StringLike": {"sts:SourceIdentity": "ann*"}}, {"SourceIdentity": "ann1"}, {"SourceIdentity": "bob"}),
        ({"StringEquals": {"sts:RoleSessionName": "shift"}}, {}, {"RoleSessionName": "other"}),
        ({"StringEquals": {"sts:RoleSessionName": "${aws:username}"}}, {"RoleSessionName": "ann"}, {}),
        ({"StringEquals": {"sts:ExternalId": "77"}}, {"ExternalId": "77"}, {"ExternalId": "78"}),
        (
            {"ForAllValues:StringEquals": {"sts:TransitiveTagKeys": ["a"]}},
            {"Tags": tags(a="1"), "TransitiveTagKeys": ["a"]},
            {"Tags": tags(b="1"), "TransitiveTagKeys": ["b"]},
        ),
    ],
)
async def test_assume_role_conditions_of_the_trust_policy_see_the_request(
    world: World, condition: dict[str, Any], held: dict[str, Any], broken: dict[str, Any]
) -> None:
    user = world.user("ann", policies=[ALL])
    role = world.role("ops", trusts=[trust(user.arn, BOTH, Condition=condition)])
    key = world.key(user)
    await world.call(assume_role, key, {**ask(role.arn), **held})
    assert (await refusal(world, key, {**ask(role.arn), **broken})).kind is ErrorKind.ACCESS_DENIED


async def test_assume_role_transitive_key_must_be_among_the_tags(world: World) -> None:
    key, role = opened(world, BOTH)
    params = ask(role.arn, Tags=tags(team="red"), TransitiveTagKeys=["city"])
    error = await refusal(world, key, params)
    assert (error.kind, error.public) == (
        ErrorKind.INVALID_PARAMETER,
        "The specified transitive tag key must be included in the requested tags.",
    )


# --- Session policies ------------------------------------------------------------------------------------------------


async def test_assume_role_managed_session_policies_are_kept_once_and_long_enough(world: World) -> None:
    key, role = opened(world)
    arn = world.managed("reads", policy(allow("orders:Read")))
    params = ask(role.arn, PolicyArns=[{"arn": arn}, {"arn": arn}])
    for _ in range(3):
        await world.call(assume_role, key, params)
    assert world.journal.writes == 1
    (kept,) = world.journal.rows.values()
    assert len(world.journal.sessions[0].policy_hashes) == 1
    assert kept.keep_until > world.journal.sessions[-1].expires_at
    world.clock.time += 3 * 86_400_000
    await world.call(assume_role, key, params)
    (kept,) = world.journal.rows.values()
    assert world.journal.writes == 2
    assert kept.keep_until > world.journal.sessions[-1].expires_at


async def test_assume_role_policy_kept_by_another_process_meanwhile_is_used(world: World) -> None:
    key, role = opened(world)
    arn = world.managed("reads", policy(allow("orders:Read")))
    world.journal.lose_races = 1
    await world.call(assume_role, key, ask(role.arn, PolicyArns=[{"arn": arn}]))
    assert world.journal.sessions[0].policy_hashes


@pytest.mark.parametrize("account", [ALPHA, BETA])
async def test_assume_role_managed_session_policy_must_be_there_and_of_the_roles_account(
    world: World, account: str
) -> None:
    key, role = opened(world)
    arn = f"arn:aws:iam::{account}:policy/none"
    if account == BETA:
        arn = world.managed("theirs", ALL, BETA)
    error = await refusal(world, key, ask(role.arn, PolicyArns=[{"arn": arn}]))
    assert (error.kind, error.public) == (ErrorKind.VALIDATION, f"Policy {arn} does not exist or is not attachable.")


async def test_assume_role_texts_of_managed_session_policies_go_when_no_session_can_need_them(world: World) -> None:
    key, role = opened(world)
    first, second = (world.managed(name, text) for name, text in (("one", ALL), ("two", ALL + " ")))
    await world.call(assume_role, key, ask(role.arn, PolicyArns=[{"arn": first}]))
    world.clock.time += 48 * 3_600_000
    await world.call(assume_role, key, ask(role.arn, PolicyArns=[{"arn": second}]))
    assert len(world.journal.rows) == 2  # a day of grace
    world.clock.time += 40 * 3_600_000
    await world.call(assume_role, key, ask(role.arn, PolicyArns=[{"arn": world.managed("three", ALL + "  ")}]))
    assert len(world.journal.rows) == 2


async def test_assume_role_managed_session_policy_that_comes_with_daypass_is_taken(world: World) -> None:
    key, role = opened(world)
    arn = world.managed("ReadOnlyAccess", ALL, "aws")
    await world.call(assume_role, key, ask(role.arn, PolicyArns=[{"arn": arn}]))


async def test_assume_role_more_than_ten_managed_session_policies_is_a_validation_error(world: World) -> None:
    params = ask(f"arn:aws:iam::{ALPHA}:role/ops", PolicyArns=[{"arn": f"arn:aws:iam::{ALPHA}:policy/p"}] * 11)
    assert (await refusal(world, world.key(world.user("ann")), params)).kind is ErrorKind.VALIDATION


# --- Blocked ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("subject", ["principal", "access_key", "role", "source_identity", "account"])
async def test_assume_role_blocked_subject_gets_no_session(world: World, subject: str) -> None:
    user = world.user("ann", policies=[ALL])
    role = world.role("ops", trusts=[trust(user.arn, BOTH)])
    key = world.key(user)
    values = {
        "principal": user.id,
        "access_key": key.access_key_id,
        "role": role.id,
        "source_identity": "ann",
        "account": ALPHA,
    }
    world.revoke(subject, values[subject], block=True, block_until=NOW + 60_000)
    params = ask(role.arn, SourceIdentity="ann")
    error = await refusal(world, key, params)
    assert error.kind is ErrorKind.ACCESS_DENIED
    assert error.public.startswith(
        f"User: {user.arn} is not authorized to perform: sts:AssumeRole on resource: {role.arn}"
    )
    assert not world.journal.sessions
    world.clock.time += 60_000
    await world.call(assume_role, key, params)


# --- Anything at all -------------------------------------------------------------------------------------------------

_TEXT = st.text(max_size=40)
_TAGS = st.lists(st.fixed_dictionaries({"Key": _TEXT, "Value": _TEXT}), max_size=4)


@given(
    arn=st.one_of(_TEXT, st.just(f"arn:aws:iam::{ALPHA}:role/ops"), st.builds("arn:aws:iam::{}".format, _TEXT)),
    name=_TEXT,
    more=st.fixed_dictionaries(
        {},
        optional={
            "Policy": st.one_of(_TEXT, st.just(ALL)),
            "PolicyArns": st.lists(st.fixed_dictionaries({"arn": _TEXT}), max_size=2),
            "Tags": _TAGS,
            "TransitiveTagKeys": st.lists(_TEXT, max_size=3),
            "ExternalId": _TEXT,
            "SourceIdentity": _TEXT,
            "DurationSeconds": st.integers(900, 43_200),
            "MinimumSessionTokenSize": st.integers(0, 4096),
        },
    ),
)
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_assume_role_whatever_is_asked_is_answered_or_refused_and_recorded(
    arn: str, name: str, more: dict[str, Any]
) -> None:
    world = World()
    user = world.user("ann", policies=[ALL])
    world.role("ops", trusts=[trust(user.arn, BOTH)])

    async def call() -> None:
        with contextlib.suppress(DaypassError):
            await world.call(assume_role, world.key(user), {"RoleArn": arn, "RoleSessionName": name, **more})

    asyncio.run(call())
    assert len(world.journal.events) == 1
    assert bool(world.journal.sessions) == (world.journal.events[0].type is EventType.SESSION_ISSUED)


async def test_assume_role_answer_is_made_while_the_session_is_recorded(world: World, monkeypatch: Any) -> None:
    key, role = opened(world)
    steps: list[str] = []
    commit = world.journal.commit

    async def noted(*given: Any) -> None:
        steps.append("handed over")
        await commit(*given)
        given[3]()
        steps.append("recorded")

    def render(answer: Any) -> str:
        steps.append("made")
        return answer["Credentials"]["SessionToken"]

    monkeypatch.setattr(world.journal, "commit", noted)
    call = Call(await world.caller(key), world.facts("sts:AssumeRole"), world.clock.now())
    token = await sts.assume_role(world.env, call, ask(role.arn), render)

    assert steps == ["handed over", "made", "recorded"]
    assert await world.sealer.open(token, world.journal.sessions[-1].hops[-1].access_key_id)

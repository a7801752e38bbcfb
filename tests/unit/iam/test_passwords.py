"""Account alias, password policy and login profiles: whose they are, what they ask, and that no password stays."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from tests.unit.iam.memory import ALPHA, BETA, NOW, World, allow, policy, refusal, trusting

from daypass.domain.directory import LoginProfile, PasswordPolicy
from daypass.domain.errors import DaypassError, ErrorKind
from daypass.operations.iam import login_profiles
from daypass.operations.sign_in import password

GOOD, OTHER, THIRD = "Correct-Horse-1", "Battery-Staple-2", "Other-Stapler-3"
NOT_CONFORMING = "Password does not conform to the account password policy."


@pytest.fixture(autouse=True)
def cheap(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(login_profiles, "_COST", (2, 8, 1))


async def _ann(world: World, password: str | None = GOOD, **more: Any) -> None:
    await world.call("CreateUser", UserName="ann")
    if password is not None:
        await world.call("CreateLoginProfile", UserName="ann", Password=password, **more)


async def _may_change(world: World) -> None:
    document = policy(allow("iam:ChangePassword", f"arn:aws:iam::{ALPHA}:user/ann"))
    await world.call("PutUserPolicy", UserName="ann", PolicyName="p", PolicyDocument=document)


async def _change(world: World, old: str, new: str) -> None:
    await world.call("ChangePassword", world.as_user("ann"), OldPassword=old, NewPassword=new)


def _stored(world: World) -> LoginProfile:
    (found,) = world.tx.find(LoginProfile)
    return found


# --- The account -----------------------------------------------------------------------------------------------------


async def test_account_has_one_alias_and_a_new_one_replaces_it(world: World) -> None:
    assert await world.call("ListAccountAliases") == {"AccountAliases": [], "IsTruncated": False}
    for alias in ("corp", "corp-prod"):
        await world.call("CreateAccountAlias", AccountAlias=alias)
        assert (await world.call("ListAccountAliases"))["AccountAliases"] == [alias]
    with refusal(ErrorKind.NOT_FOUND, "The account alias corp cannot be found."):
        await world.call("DeleteAccountAlias", AccountAlias="corp")
    await world.call("DeleteAccountAlias", AccountAlias="corp-prod")
    assert (await world.call("ListAccountAliases"))["AccountAliases"] == []


async def test_alias_that_is_taken_is_refused_to_everyone_until_it_is_free(world: World) -> None:
    await world.call("CreateAccountAlias", AccountAlias="corp")
    for who in (world.root(), world.root(BETA)):
        with refusal(ErrorKind.ALREADY_EXISTS, "The account alias corp already exists."):
            await world.call("CreateAccountAlias", who, AccountAlias="corp")
    with refusal(ErrorKind.NOT_FOUND):
        await world.call("DeleteAccountAlias", world.root(BETA), AccountAlias="corp")
    await world.call("CreateAccountAlias", AccountAlias="else")
    await world.call("CreateAccountAlias", world.root(BETA), AccountAlias="corp")


async def test_password_policy_without_parameters_is_awss_weakest(world: World) -> None:
    await world.call("UpdateAccountPasswordPolicy")
    assert await world.call("GetAccountPasswordPolicy") == {
        "PasswordPolicy": {
            "MinimumPasswordLength": 6,
            "RequireSymbols": False,
            "RequireNumbers": False,
            "RequireUppercaseCharacters": False,
            "RequireLowercaseCharacters": False,
            "AllowUsersToChangePassword": False,
            "ExpirePasswords": False,
        }
    }


async def test_password_policy_is_replaced_as_a_whole(world: World) -> None:
    given = {
        "MinimumPasswordLength": 10,
        "RequireSymbols": True,
        "RequireNumbers": True,
        "RequireUppercaseCharacters": True,
        "RequireLowercaseCharacters": True,
        "AllowUsersToChangePassword": True,
        "MaxPasswordAge": 60,
        "PasswordReusePrevention": 3,
        "HardExpiry": True,
    }
    await world.call("UpdateAccountPasswordPolicy", **given)
    shown = (await world.call("GetAccountPasswordPolicy"))["PasswordPolicy"]
    assert shown == {**given, "ExpirePasswords": True}
    await world.call("UpdateAccountPasswordPolicy", MinimumPasswordLength=20)
    shown = (await world.call("GetAccountPasswordPolicy"))["PasswordPolicy"]
    assert (shown["MinimumPasswordLength"], shown["ExpirePasswords"]) == (20, False)
    assert not {"MaxPasswordAge", "HardExpiry", "PasswordReusePrevention"} & set(shown)


async def test_missing_password_policy_is_refused_as_aws_words_it(world: World) -> None:
    missing = f"The Password Policy with domain name {ALPHA} cannot be found."
    with refusal(ErrorKind.NOT_FOUND, missing):
        await world.call("GetAccountPasswordPolicy")
    with refusal(ErrorKind.NOT_FOUND, "The account policy with name PasswordPolicy cannot be found."):
        await world.call("DeleteAccountPasswordPolicy")
    await world.call("UpdateAccountPasswordPolicy")
    await world.call("DeleteAccountPasswordPolicy")
    with refusal(ErrorKind.NOT_FOUND, missing):
        await world.call("GetAccountPasswordPolicy")


# --- Login profiles --------------------------------------------------------------------------------------------------


async def test_login_profile_is_shown_without_its_password(world: World) -> None:
    await _ann(world, None)
    made = await world.call("CreateLoginProfile", UserName="ann", Password=GOOD)
    expected = {"LoginProfile": {"UserName": "ann", "CreateDate": NOW, "PasswordResetRequired": False}}
    assert made == expected
    assert await world.call("GetLoginProfile", UserName="ANN") == expected
    more = {"PasswordResetRequired": True, "MaxSigninSessionDuration": 7200}
    await world.call("UpdateLoginProfile", UserName="ann", **more)
    assert (await world.call("GetLoginProfile", UserName="ann"))["LoginProfile"] == {**expected["LoginProfile"], **more}
    assert login_profiles.matches(GOOD, _stored(world).password_hash)
    await world.call("UpdateLoginProfile", UserName="ann", ResetMaxSigninSessionDuration=True, Password=OTHER)
    shown = (await world.call("GetLoginProfile", UserName="ann"))["LoginProfile"]
    assert shown == {**expected["LoginProfile"], "PasswordResetRequired": True}
    assert login_profiles.matches(OTHER, _stored(world).password_hash)


async def test_no_password_is_on_the_record_or_stored(world: World) -> None:
    await _ann(world)
    await _may_change(world)
    await _change(world, GOOD, OTHER)
    await world.call("UpdateLoginProfile", UserName="ann", Password=THIRD)
    with refusal(ErrorKind.ACCESS_DENIED):
        await _change(world, "Wrong-Password-9", GOOD)
    recorded = json.dumps([[dict(event.detail), event.decision] for event in world.journal.events])
    for secret in (GOOD, OTHER, THIRD, "Wrong-Password-9"):
        assert secret not in recorded
        assert secret not in repr(world.rows)


async def test_login_profiles_follow_a_renamed_user_and_hold_up_its_deletion(world: World) -> None:
    await _ann(world)
    await world.call("UpdateUser", UserName="ann", NewUserName="anna")
    assert (await world.call("GetLoginProfile", UserName="anna"))["LoginProfile"]["UserName"] == "anna"
    with refusal(ErrorKind.DELETE_CONFLICT, "Cannot delete entity, must delete login profile first."):
        await world.call("DeleteUser", UserName="anna")
    await world.call("DeleteLoginProfile", UserName="anna")
    await world.call("DeleteUser", UserName="anna")


async def test_missing_and_double_login_profiles_are_refused_as_aws_words_it(world: World) -> None:
    await _ann(world, None)
    for name in ("GetLoginProfile", "UpdateLoginProfile", "DeleteLoginProfile"):
        with refusal(ErrorKind.NOT_FOUND, "Login Profile for User ann cannot be found."):
            await world.call(name, UserName="ann")
        with refusal(ErrorKind.NOT_FOUND, "The user with name none cannot be found."):
            await world.call(name, UserName="none")
    with refusal(ErrorKind.VALIDATION):
        await world.call("CreateLoginProfile", UserName="ann")
    await world.call("CreateLoginProfile", UserName="ann", Password=GOOD)
    with refusal(ErrorKind.ALREADY_EXISTS, "Login Profile for user ann already exists."):
        await world.call("CreateLoginProfile", UserName="ann", Password=GOOD)


async def test_login_profile_without_a_name_is_the_callers_own(world: World) -> None:
    await _ann(world)
    document = policy(allow("iam:GetLoginProfile", f"arn:aws:iam::{ALPHA}:user/ann"))
    await world.call("PutUserPolicy", UserName="ann", PolicyName="p", PolicyDocument=document)
    assert (await world.call("GetLoginProfile", world.as_user("ann")))["LoginProfile"]["UserName"] == "ann"
    with refusal(ErrorKind.VALIDATION, "Must specify userName when calling with non-User credentials"):
        await world.call("GetLoginProfile")


@pytest.mark.parametrize(
    ("rules", "password", "taken"),
    [
        (None, "Abcdefg1", True),
        (None, "abcdef-1", True),
        (None, "Abcdef1", False),
        (None, "abcdefghijkl1", False),
        (None, "Üéàßöäüñ", False),
        ({}, "aaaaaa", True),
        ({}, "aaaaa", False),
        ({"MinimumPasswordLength": 12}, "Abcdefg1-", False),
        ({"RequireSymbols": True}, "Abcdefg1", False),
        ({"RequireSymbols": True}, "Abcdefg'", True),
        ({"RequireSymbols": True}, "Abcdefg?", False),
        ({"RequireNumbers": True}, "Abcdefg-", False),
        ({"RequireNumbers": True}, "Abcdefg٣", False),
        ({"RequireUppercaseCharacters": True}, "abcdefgÜ", False),
        ({"RequireLowercaseCharacters": True}, "ABCDEFGü", False),
        ({"RequireUppercaseCharacters": True, "RequireLowercaseCharacters": True}, "Abcdef", True),
    ],
)
async def test_password_is_held_against_the_policy(
    world: World, rules: dict[str, Any] | None, password: str, taken: bool
) -> None:
    if rules is not None:
        await world.call("UpdateAccountPasswordPolicy", **rules)
    await _ann(world, None)
    if not taken:
        with refusal(ErrorKind.PASSWORD_POLICY, NOT_CONFORMING):
            await world.call("CreateLoginProfile", UserName="ann", Password=password)
        assert world.tx.count(LoginProfile) == 0
        return
    await world.call("CreateLoginProfile", UserName="ann", Password=password)
    with refusal(ErrorKind.PASSWORD_POLICY, NOT_CONFORMING):
        await world.call("UpdateLoginProfile", UserName="ann", Password="a")


async def test_password_may_not_be_the_accounts_name_by_default() -> None:
    assert not login_profiles.conforms("Example-Corp-1", None, "Example-Corp-1")


async def test_former_passwords_are_refused_as_long_as_the_policy_says(world: World) -> None:
    await world.call("UpdateAccountPasswordPolicy", PasswordReusePrevention=2)
    await _ann(world)
    await _may_change(world)
    with refusal(ErrorKind.PASSWORD_POLICY, NOT_CONFORMING):
        await _change(world, GOOD, GOOD)
    await _change(world, GOOD, OTHER)
    with refusal(ErrorKind.PASSWORD_POLICY, NOT_CONFORMING):
        await world.call("UpdateLoginProfile", UserName="ann", Password=GOOD)
    await _change(world, OTHER, THIRD)
    await _change(world, THIRD, GOOD)
    assert len(_stored(world).former_hashes) == 2
    await world.call("DeleteAccountPasswordPolicy")
    await _change(world, GOOD, GOOD)
    assert _stored(world).former_hashes == ()


async def test_change_password_takes_the_old_one_and_ends_the_reset(world: World) -> None:
    await _ann(world, PasswordResetRequired=True)
    await _may_change(world)
    with refusal(ErrorKind.ACCESS_DENIED, "The old password was incorrect."):
        await _change(world, OTHER, THIRD)
    counted, told = world.journal.events[-2:]
    assert (counted.detail["result"], told.error) == ({"refused": "wrong old password"}, "access_denied")
    await _change(world, GOOD, OTHER)
    assert _stored(world).reset_required is False
    assert login_profiles.matches(OTHER, _stored(world).password_hash)


async def test_change_password_locks_after_wrong_ones_whoever_is_right_then(world: World) -> None:
    await _ann(world)
    await _may_change(world)

    async def refused(old: str) -> None:
        with refusal(ErrorKind.ACCESS_DENIED, "The old password was incorrect."):
            await _change(world, old, THIRD)

    for _ in range(login_profiles.MAX_FAILURES - 1):
        await refused(OTHER)
    await _change(world, GOOD, OTHER)  # a right one begins anew
    for _ in range(login_profiles.MAX_FAILURES):
        await refused(GOOD)
    await refused(OTHER)
    world.clock.time += login_profiles.LOCK_MS - 1
    await refused(OTHER)
    world.clock.time += 1
    await _change(world, OTHER, THIRD)
    assert _stored(world).failures == 0


async def test_guesses_side_by_side_are_counted_one_by_one(world: World) -> None:
    await _ann(world)
    await _may_change(world)
    guesses = [_change(world, f"Wrong-Guess-{n}", OTHER) for n in range(7)]
    answers = await asyncio.gather(*guesses, _change(world, GOOD, OTHER), return_exceptions=True)
    assert {str(answer) for answer in answers} == {"The old password was incorrect."}
    assert login_profiles.matches(GOOD, _stored(world).password_hash)


async def test_new_password_by_an_administrator_ends_the_lock(world: World) -> None:
    await _ann(world)
    await _may_change(world)
    for _ in range(login_profiles.MAX_FAILURES):
        with refusal(ErrorKind.ACCESS_DENIED):
            await _change(world, OTHER, THIRD)
    await world.call("UpdateLoginProfile", UserName="ann", Password=OTHER)
    await _change(world, OTHER, THIRD)


async def test_change_password_needs_permission_and_a_profile(world: World) -> None:
    await _ann(world, None)
    with refusal(ErrorKind.ACCESS_DENIED):
        await _change(world, GOOD, OTHER)
    await _may_change(world)
    with refusal(ErrorKind.NOT_FOUND, "Login Profile for User ann cannot be found."):
        await _change(world, GOOD, OTHER)


async def _users_may_change(world: World, *, allowed: bool = True) -> None:
    await world.call("UpdateAccountPasswordPolicy", AllowUsersToChangePassword=allowed)


async def test_change_password_with_the_accounts_permission_needs_no_policy(world: World) -> None:
    await world.call("CreateUser", UserName="ann", Path="/team/")
    await world.call("CreateLoginProfile", UserName="ann", Password=GOOD)
    with refusal(ErrorKind.ACCESS_DENIED):
        await _change(world, GOOD, OTHER)
    await _users_may_change(world)
    assert (await world.call("GetAccountPasswordPolicy", world.as_user("ann")))["PasswordPolicy"]
    await _change(world, GOOD, OTHER)
    assert login_profiles.matches(OTHER, _stored(world).password_hash)
    await _users_may_change(world, allowed=False)
    with refusal(ErrorKind.ACCESS_DENIED):
        await _change(world, OTHER, THIRD)


async def test_change_password_with_the_accounts_permission_and_a_deny_is_refused(world: World) -> None:
    await _ann(world)
    await _users_may_change(world)
    document = policy({"Effect": "Deny", "Action": "iam:Change*", "Resource": "*"})
    await world.call("PutUserPolicy", UserName="ann", PolicyName="p", PolicyDocument=document)
    with pytest.raises(DaypassError, match="with an explicit deny in an identity-based policy"):
        await _change(world, GOOD, OTHER)
    assert login_profiles.matches(GOOD, _stored(world).password_hash)


async def test_change_password_with_the_accounts_permission_outside_the_boundary_is_refused(world: World) -> None:
    await _ann(world)
    await _users_may_change(world)
    document = policy(allow("s3:*"))
    arn = (await world.call("CreatePolicy", PolicyName="b", PolicyDocument=document))["Policy"]["Arn"]
    await world.call("PutUserPermissionsBoundary", UserName="ann", PermissionsBoundary=arn)
    with pytest.raises(DaypassError, match="because no permissions boundary allows"):
        await _change(world, GOOD, OTHER)


async def test_accounts_permission_to_change_passwords_reaches_the_own_password_of_users_alone(world: World) -> None:
    await _ann(world)
    for name in ("bob", "joann"):
        await world.call("CreateUser", UserName=name)
    await world.call("CreateRole", RoleName="r", AssumeRolePolicyDocument=trusting(ALPHA))
    await _users_may_change(world)
    for who in (world.as_user("bob"), world.as_role("r")):
        with refusal(ErrorKind.ACCESS_DENIED):
            await world.call("UpdateLoginProfile", who, UserName="ann", Password=OTHER)
    with refusal(ErrorKind.ACCESS_DENIED):
        await world.call("GetAccountPasswordPolicy", world.as_role("r"))

    async def decision(name: str, own: str) -> Any:
        source, resource = f"arn:aws:iam::{ALPHA}:user/{name}", f"arn:aws:iam::{ALPHA}:user/{own}"
        given = {"PolicySourceArn": source, "ActionNames": ["iam:ChangePassword"], "ResourceArns": [resource]}
        (result,) = (await world.call("SimulatePrincipalPolicy", **given))["EvaluationResults"]
        return result["EvalDecision"], [matched["SourcePolicyId"] for matched in result["MatchedStatements"]]

    assert await decision("ann", "ann") == ("allowed", ["account password policy"])
    assert await decision("ann", "bob") == ("implicitDeny", [])
    assert await decision("ann", "joann") == ("implicitDeny", [])
    listed = await world.call(
        "ListPoliciesGrantingServiceAccess", Arn=f"arn:aws:iam::{ALPHA}:user/ann", ServiceNamespaces=["iam"]
    )
    assert listed["PoliciesGrantingServiceAccess"] == [{"ServiceNamespace": "iam", "Policies": []}]


async def test_change_password_is_for_users_alone(world: World) -> None:
    await world.call("CreateRole", RoleName="r", AssumeRolePolicyDocument=trusting(ALPHA))
    for who in (world.root(), world.as_role("r")):
        with refusal(ErrorKind.INVALID_USER_TYPE):
            await world.call("ChangePassword", who, OldPassword=GOOD, NewPassword=OTHER)


async def test_password_that_was_changed_meanwhile_is_not_overwritten(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await _ann(world)
    await _may_change(world)
    meanwhile = login_profiles.hashed(THIRD, "salt")
    hashed = login_profiles.hashed

    def slow(*args: Any) -> str:
        before = _stored(world)
        if before.password_hash != meanwhile:
            world.tx.replace(LoginProfile(before.user_id, before.account, before.created_at, meanwhile, NOW))
        return hashed(*args)

    profile = _stored(world)
    assert login_profiles.matches(GOOD, profile.password_hash)
    monkeypatch.setattr(login_profiles, "hashed", slow)
    with refusal(ErrorKind.CONCURRENT_MODIFICATION):
        await _change(world, GOOD, OTHER)
    assert _stored(world).password_hash == meanwhile


async def test_other_accounts_policy_does_not_count(world: World) -> None:
    await world.call("UpdateAccountPasswordPolicy", world.root(BETA), MinimumPasswordLength=100)
    await _ann(world)
    assert world.tx.count(PasswordPolicy) == 1


# --- Hashes ----------------------------------------------------------------------------------------------------------


def test_hash_is_memory_hard_salted_and_tells_how_it_was_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    stored = login_profiles.hashed(GOOD, "some/salt+")
    scheme, n, r, p, salt, _ = stored.split("$")
    assert (scheme, salt) == ("scrypt", "some/salt+")
    assert 128 * int(r) * 2 ** int(n) >= 32 * 2**20  # bytes of memory
    assert int(p) >= 3
    assert password._NOBODY.split("$")[:4] == [scheme, n, r, p], "the answer about nobody takes as long"
    assert login_profiles.matches(GOOD, stored)
    assert stored != login_profiles.hashed(GOOD, "other", (2, 8, 1))


def test_hash_of_another_password_or_cost_does_not_match() -> None:
    stored = login_profiles.hashed(GOOD, "s")
    assert not login_profiles.matches(GOOD + " ", stored)
    assert login_profiles.uses_again(
        GOOD, (login_profiles.hashed(OTHER, "s"), login_profiles.hashed(GOOD, "s", (3, 8, 1)))
    )
    assert not login_profiles.uses_again(GOOD, ())

"""Reports on credentials and on what is used: what they say, whom they name, and for how long they stand."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from typing import Any

import pytest
from tests.unit.iam.memory import ALPHA, BETA, NOW, World, allow, policy, refusal, trusting

from daypass.domain.directory import AccessReport, LastUse, OutboundFederation, Role, User
from daypass.domain.errors import ErrorKind
from daypass.operations.iam import service_last_accessed
from daypass.operations.iam.access_keys import TRACKED_MS
from daypass.operations.iam.credential_report import FRESH_MS

HOUR = 3_600_000
READ_ONLY = "arn:aws:iam::aws:policy/IAMReadOnlyAccess"
EVERYTHING = "arn:aws:iam::aws:policy/AdministratorAccess"


def use(world: World, subject: str, operation: str, at: int = NOW, region: str = "eu-central-1") -> None:
    world.tx.insert(LastUse(subject, operation, ALPHA, at, region))


async def user(world: World, name: str, *managed: str) -> User:
    await world.call("CreateUser", UserName=name)
    for arn in managed:
        await world.call("AttachUserPolicy", UserName=name, PolicyArn=arn)
    found = world.tx.get(User, account=ALPHA, name=name)
    assert found is not None
    return found


async def role(world: World, name: str, *managed: str) -> Role:
    await world.call("CreateRole", RoleName=name, AssumeRolePolicyDocument=trusting(ALPHA))
    for arn in managed:
        await world.call("AttachRolePolicy", RoleName=name, PolicyArn=arn)
    found = world.tx.get(Role, account=ALPHA, name=name)
    assert found is not None
    return found


async def test_generate_service_last_accessed_details_keeps_the_newest_jobs_of_an_account(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service_last_accessed, "REPORTS_PER_ACCOUNT", 2)
    ann = await user(world, "ann", READ_ONLY)
    jobs = []
    for _ in range(4):
        world.clock.time += 1
        jobs.append((await world.call("GenerateServiceLastAccessedDetails", Arn=ann.arn))["JobId"])
    assert [report.id for report in world.tx.find(AccessReport, order="created_at", account=ALPHA)] == jobs[2:]
    with refusal(ErrorKind.NOT_FOUND):
        await world.call("GetServiceLastAccessedDetails", JobId=jobs[0])


# --- Last used -----------------------------------------------------------------------------------------------------------


async def test_get_access_key_last_used_of_a_used_key_names_service_and_region(world: World) -> None:
    await user(world, "ann")
    key = (await world.call("CreateAccessKey", UserName="ann"))["AccessKey"]["AccessKeyId"]
    assert (await world.call("GetAccessKeyLastUsed", AccessKeyId=key))["AccessKeyLastUsed"] == {
        "ServiceName": "N/A",
        "Region": "N/A",
    }
    use(world, key, "iam", NOW - HOUR)
    use(world, key, "sts", NOW - 1)
    answer = await world.call("GetAccessKeyLastUsed", AccessKeyId=key)
    last = {"LastUsedDate": NOW - 1, "ServiceName": "sts", "Region": "eu-central-1"}
    assert answer == {"UserName": "ann", "AccessKeyLastUsed": last}


async def test_get_access_key_last_used_of_another_account_is_as_of_none(world: World) -> None:
    theirs = (await world.call("CreateAccessKey", world.root(BETA)))["AccessKey"]["AccessKeyId"]
    for key_id in (theirs, "AKIANOSUCHKEY0000000"):
        action = "iam:GetAccessKeyLastUsed on resource: access key"
        message = f"User: arn:aws:iam::{ALPHA}:root is not authorized to perform {action} {key_id}"
        with refusal(ErrorKind.ACCESS_DENIED, message):
            await world.call("GetAccessKeyLastUsed", AccessKeyId=key_id)


async def test_get_access_key_last_used_is_authorized_on_the_owner_of_the_key(world: World) -> None:
    await user(world, "ann")
    await user(world, "bob")
    own = policy(allow("iam:GetAccessKeyLastUsed", "arn:aws:iam::*:user/${aws:username}"))
    await world.call("PutUserPolicy", UserName="ann", PolicyName="p", PolicyDocument=own)
    keys = {name: (await world.call("CreateAccessKey", UserName=name))["AccessKey"] for name in ("ann", "bob")}
    ann = world.as_user("ann")
    await world.call("GetAccessKeyLastUsed", ann, AccessKeyId=keys["ann"]["AccessKeyId"])
    with refusal(ErrorKind.ACCESS_DENIED):
        await world.call("GetAccessKeyLastUsed", ann, AccessKeyId=keys["bob"]["AccessKeyId"])


async def test_role_last_used_shows_in_get_role_and_details_within_the_tracking_period(world: World) -> None:
    made = await role(world, "r")
    assert (await world.call("GetRole", RoleName="r"))["Role"]["RoleLastUsed"] == {}
    use(world, made.id, "iam:ListUsers", NOW - TRACKED_MS - 1)
    assert (await world.call("GetRole", RoleName="r"))["Role"]["RoleLastUsed"] == {}
    use(world, made.id, "sts:GetCallerIdentity", NOW - 9)
    last = {"LastUsedDate": NOW - 9, "Region": "eu-central-1"}
    assert (await world.call("GetRole", RoleName="r"))["Role"]["RoleLastUsed"] == last
    details = await world.call("GetAccountAuthorizationDetails", Filter=["Role"])
    assert details["RoleDetailList"][0]["RoleLastUsed"] == last


# --- Credential report ---------------------------------------------------------------------------------------------------


async def report(world: World) -> list[dict[str, str]]:
    await world.call("GenerateCredentialReport")
    content: bytes = (await world.call("GetCredentialReport"))["Content"]
    assert not content.endswith(b"\n")
    return list(csv.DictReader(io.StringIO(content.decode("ascii"))))


async def test_credential_report_is_made_once_in_four_hours(world: World) -> None:
    with refusal(ErrorKind.REPORT_NOT_PRESENT, ""):
        await world.call("GetCredentialReport")
    started = await world.call("GenerateCredentialReport")
    description = "No report exists. Starting a new report generation task"
    assert started == {"State": "STARTED", "Description": description}
    await user(world, "late")
    world.clock.time += FRESH_MS
    assert await world.call("GenerateCredentialReport") == {"State": "COMPLETE"}
    stale = await world.call("GetCredentialReport")
    assert (stale["GeneratedTime"], b"late" in stale["Content"]) == (NOW, False)
    world.clock.time += 1
    with refusal(ErrorKind.REPORT_EXPIRED):
        await world.call("GetCredentialReport")
    assert await world.call("GenerateCredentialReport") == {"State": "STARTED"}
    assert b"late" in (await world.call("GetCredentialReport"))["Content"]


async def test_credential_report_has_awss_columns_and_the_root_first(world: World) -> None:
    await user(world, "bob")
    await user(world, "Ann")
    rows = await report(world)
    assert [row["user"] for row in rows] == ["<root_account>", "Ann", "bob"]
    assert ",".join(rows[0]) == (
        "user,arn,user_creation_time,password_enabled,password_last_used,password_last_changed,password_next_rotation,"
        "mfa_active,access_key_1_active,access_key_1_last_rotated,access_key_1_last_used_date,"
        "access_key_1_last_used_region,access_key_1_last_used_service,access_key_2_active,access_key_2_last_rotated,"
        "access_key_2_last_used_date,access_key_2_last_used_region,access_key_2_last_used_service,cert_1_active,"
        "cert_1_last_rotated,cert_2_active,cert_2_last_rotated"
    )
    assert (rows[0]["arn"], rows[0]["password_next_rotation"]) == (f"arn:aws:iam::{ALPHA}:root", "not_supported")
    assert rows[1]["user_creation_time"] == "2025-11-24T16:00:00Z"
    assert (rows[1]["password_enabled"], rows[1]["access_key_1_last_rotated"]) == ("false", "N/A")


async def test_credential_report_shows_keys_and_their_last_use(world: World) -> None:
    await user(world, "a,b=c@d")
    named = {"UserName": "a,b=c@d"}
    keys = [(await world.call("CreateAccessKey", **named))["AccessKey"]["AccessKeyId"] for _ in range(2)]
    await world.call("UpdateAccessKey", **named, AccessKeyId=min(keys), Status="Inactive")
    use(world, max(keys), "sts")
    row = (await report(world))[1]
    assert row["user"] == "a,b=c@d"
    assert (row["access_key_1_active"], row["access_key_2_active"]) == ("false", "true")
    assert row["access_key_1_last_rotated"] == row["access_key_2_last_used_date"] == "2025-11-24T16:00:00Z"
    assert (row["access_key_2_last_used_region"], row["access_key_2_last_used_service"]) == ("eu-central-1", "sts")
    assert row["access_key_1_last_used_date"] == "N/A"


async def test_credential_report_shows_passwords_and_their_next_rotation(world: World) -> None:
    await user(world, "ann")
    await world.call("UpdateAccountPasswordPolicy", MaxPasswordAge=90)
    await world.call("CreateLoginProfile", UserName="ann", Password="Correct-Horse-1")
    row = (await report(world))[1]
    assert (row["password_enabled"], row["password_last_used"]) == ("true", "no_information")
    assert row["password_last_changed"] == "2025-11-24T16:00:00Z"
    assert row["password_next_rotation"] == "2026-02-22T16:00:00Z"
    assert "PasswordLastUsed" not in (await world.call("GetUser", UserName="ann"))["User"]


async def test_credential_report_and_user_show_the_last_sign_in(world: World) -> None:
    ann = await user(world, "ann")
    await world.call("CreateLoginProfile", UserName="ann", Password="Correct-Horse-1")
    use(world, ann.id, "iam:GetUser", at=NOW + 1)
    use(world, ann.id, "daypass:SignIn")
    assert (await report(world))[1]["password_last_used"] == "2025-11-24T16:00:00Z"
    assert (await world.call("GetUser", UserName="ann"))["User"]["PasswordLastUsed"] == NOW
    assert [each.get("PasswordLastUsed") for each in (await world.call("ListUsers"))["Users"]] == [NOW]


# --- Service last accessed -----------------------------------------------------------------------------------------------


async def details(world: World, arn: str, **more: Any) -> tuple[dict[str, Mapping[str, Any]], str]:
    """The services of a new job, by namespace, and its id."""
    job: str = (await world.call("GenerateServiceLastAccessedDetails", Arn=arn, **more))["JobId"]
    answer = await world.call("GetServiceLastAccessedDetails", JobId=job)
    assert (answer["JobStatus"], answer["IsTruncated"]) == ("COMPLETED", False)
    names = [row["ServiceNamespace"] for row in answer["ServicesLastAccessed"]]
    assert names == sorted(names)
    return {row["ServiceNamespace"]: row for row in answer["ServicesLastAccessed"]}, job


async def test_service_last_accessed_lists_services_that_are_granted_with_their_use(world: World) -> None:
    ann = await user(world, "ann")
    statement = [allow(["orders:Read", "S3:Get*"]), allow("iam:GetUser"), {**allow("sqs:*"), "Effect": "Deny"}]
    await world.call("PutUserPolicy", UserName="ann", PolicyName="p", PolicyDocument=policy(*statement))
    use(world, ann.id, "iam:GetUser", NOW - 5)
    use(world, ann.id, "iam:ListUsers", NOW - 3, "us-east-1")
    use(world, ann.id, "sts:GetCallerIdentity", NOW)
    found, _ = await details(world, ann.arn)
    assert set(found) == {"iam", "orders", "s3"}
    assert found["iam"] == {
        "ServiceName": "AWS Identity and Access Management",
        "ServiceNamespace": "iam",
        "LastAuthenticated": NOW - 3,
        "LastAuthenticatedEntity": ann.arn,
        "LastAuthenticatedRegion": "us-east-1",
        "TotalAuthenticatedEntities": 1,
    }
    never = {"ServiceName": "orders", "ServiceNamespace": "orders", "TotalAuthenticatedEntities": 0}
    assert found["orders"] == never


async def test_service_last_accessed_by_action_tells_each_action(world: World) -> None:
    made = await role(world, "r", READ_ONLY)
    use(world, made.id, "iam:GetUser", NOW - 5)
    found, _ = await details(world, made.arn, Granularity="ACTION_LEVEL")
    actions = {row["ActionName"]: row for row in found["iam"]["TrackedActionsLastAccessed"]}
    assert actions["GetUser"] == {
        "ActionName": "GetUser",
        "LastAccessedEntity": made.arn,
        "LastAccessedTime": NOW - 5,
        "LastAccessedRegion": "eu-central-1",
    }
    assert actions["ListUsers"] == {"ActionName": "ListUsers"}


async def test_service_last_accessed_of_a_policy_covers_groups_users_and_roles(world: World) -> None:
    ann, bob = await user(world, "ann"), await user(world, "bob", READ_ONLY)
    made = await role(world, "r", READ_ONLY)
    await world.call("CreateGroup", GroupName="g")
    await world.call("AddUserToGroup", GroupName="g", UserName="ann")
    await world.call("AttachGroupPolicy", GroupName="g", PolicyArn=READ_ONLY)
    use(world, ann.id, "iam:GetUser", NOW - 9)
    use(world, made.id, "iam:GetUser", NOW - 2)
    found, job = await details(world, READ_ONLY)
    assert found["iam"]["TotalAuthenticatedEntities"] == 2
    assert found["iam"]["LastAuthenticatedEntity"] == made.arn
    who = await world.call("GetServiceLastAccessedDetailsWithEntities", JobId=job, ServiceNamespace="iam")
    shown = [
        (e["EntityInfo"]["Name"], e["EntityInfo"]["Type"], e.get("LastAuthenticated")) for e in who["EntityDetailsList"]
    ]
    assert shown == [("r", "ROLE", NOW - 2), ("ann", "USER", NOW - 9), ("bob", "USER", None)]
    assert bob.path == who["EntityDetailsList"][2]["EntityInfo"]["Path"]
    of_group, _ = await details(world, f"arn:aws:iam::{ALPHA}:group/g")
    assert of_group["iam"]["LastAuthenticatedEntity"] == ann.arn


async def test_service_last_accessed_is_frozen_and_its_entities_page(world: World) -> None:
    users = [await user(world, f"u{number}", READ_ONLY) for number in range(3)]
    _, job = await details(world, READ_ONLY)
    use(world, users[0].id, "iam:GetUser")
    await world.call("DetachUserPolicy", UserName="u1", PolicyArn=READ_ONLY)
    await world.call("DetachUserPolicy", UserName="u2", PolicyArn=READ_ONLY)
    await world.call("DeleteUser", UserName="u2")
    asked = {"JobId": job, "ServiceNamespace": "iam", "MaxItems": 2}
    first = await world.call("GetServiceLastAccessedDetailsWithEntities", **asked)
    second = await world.call("GetServiceLastAccessedDetailsWithEntities", **asked, Marker=first["Marker"])
    names = [e["EntityInfo"]["Name"] for page in (first, second) for e in page["EntityDetailsList"]]
    assert sorted(names) == ["u0", "u1"]
    assert not any("LastAuthenticated" in e for e in first["EntityDetailsList"])
    again = await world.call("GetServiceLastAccessedDetails", JobId=job)
    assert again["ServicesLastAccessed"][0]["TotalAuthenticatedEntities"] == 0


async def test_service_last_accessed_job_is_its_askers_alone(world: World) -> None:
    await user(world, "ann", EVERYTHING)
    await user(world, "bob", EVERYTHING)
    made = await world.call("GenerateServiceLastAccessedDetails", world.as_user("ann"), Arn=EVERYTHING)
    await world.call("GetServiceLastAccessedDetails", world.as_user("ann"), JobId=made["JobId"])
    for stranger in (world.as_user("bob"), world.root(), world.root(BETA)):
        with refusal(ErrorKind.NOT_FOUND):
            await world.call("GetServiceLastAccessedDetails", stranger, JobId=made["JobId"])


async def test_service_last_accessed_of_what_is_not_there_is_refused(world: World) -> None:
    await user(world, "ann")
    for arn, kind in (
        (f"arn:aws:iam::{ALPHA}:user/nobody", ErrorKind.NOT_FOUND),
        (f"arn:aws:iam::{ALPHA}:user/other/path/ann", ErrorKind.NOT_FOUND),
        (f"arn:aws:iam::{ALPHA}:policy/none", ErrorKind.NOT_FOUND),
        (f"arn:aws:iam::{BETA}:user/ann", ErrorKind.INVALID_INPUT),
        (f"arn:aws:iam::{ALPHA}:mfa/ann", ErrorKind.INVALID_INPUT),
        ("arn:aws:s3:::a-bucket-of-names", ErrorKind.INVALID_INPUT),
        ("not an arn, but long enough", ErrorKind.INVALID_INPUT),
    ):
        with refusal(kind):
            await world.call("GenerateServiceLastAccessedDetails", Arn=arn)
    assert world.tx.count(AccessReport) == 0


# --- Policies granting access --------------------------------------------------------------------------------------------


async def granting(world: World, arn: str, *namespaces: str) -> list[list[str]]:
    answer = await world.call("ListPoliciesGrantingServiceAccess", Arn=arn, ServiceNamespaces=list(namespaces))
    assert [entry["ServiceNamespace"] for entry in answer["PoliciesGrantingServiceAccess"]] == list(namespaces)
    return [[p["PolicyName"] for p in entry["Policies"]] for entry in answer["PoliciesGrantingServiceAccess"]]


@pytest.mark.parametrize(
    ("statements", "granted"),
    [
        ([allow("s3:GetObject")], True),
        ([allow("S3:*")], True),
        ([allow("*")], True),
        ([allow("s3:GetObject", Condition={"Bool": {"aws:SecureTransport": "true"}})], True),
        ([{"Effect": "Allow", "NotAction": "iam:*", "Resource": "*"}], True),
        ([{"Effect": "Allow", "NotAction": "s3:*", "Resource": "*"}], False),
        ([{"Effect": "Allow", "NotAction": "s3:Get*", "Resource": "*"}], True),
        ([allow("s3-object-lambda:Get*")], False),
        ([allow("*"), {**allow("s3:*"), "Effect": "Deny"}], False),
        ([allow("*"), {**allow("*"), "Effect": "Deny"}], False),
        ([allow("*"), {**allow("s3:Put*"), "Effect": "Deny"}], True),
        ([allow("*"), {**allow("s3:*", "arn:aws:s3:::b/*"), "Effect": "Deny"}], True),
        ([allow("*"), {**allow("s3:*", Condition={"Null": {"aws:x": "true"}}), "Effect": "Deny"}], True),
    ],
)
async def test_policy_grants_a_service_when_it_leaves_anything_of_it(
    world: World, statements: list[Mapping[str, Any]], granted: bool
) -> None:
    made = await role(world, "r")
    await world.call("PutRolePolicy", RoleName="r", PolicyName="p", PolicyDocument=policy(*statements))
    assert await granting(world, made.arn, "s3") == [["p"] if granted else []]
    found, _ = await details(world, made.arn)
    assert ("s3" in found) is granted


async def test_list_policies_granting_service_access_names_each_policy_and_its_owner(world: World) -> None:
    ann = await user(world, "ann", READ_ONLY)
    await world.call("CreateGroup", GroupName="g")
    await world.call("AddUserToGroup", GroupName="g", UserName="ann")
    inline = policy(allow("iam:*"))
    await world.call("PutGroupPolicy", GroupName="g", PolicyName="of-group", PolicyDocument=inline)
    await world.call("PutUserPolicy", UserName="ann", PolicyName="own", PolicyDocument=policy(allow("s3:*")))
    answer = await world.call("ListPoliciesGrantingServiceAccess", Arn=ann.arn, ServiceNamespaces=["iam", "s3", "iam"])
    assert answer["PoliciesGrantingServiceAccess"] == [
        {
            "ServiceNamespace": "iam",
            "Policies": [
                {"PolicyName": "IAMReadOnlyAccess", "PolicyType": "MANAGED", "PolicyArn": READ_ONLY},
                {"PolicyName": "of-group", "PolicyType": "INLINE", "EntityType": "GROUP", "EntityName": "g"},
            ],
        },
        {
            "ServiceNamespace": "s3",
            "Policies": [{"PolicyName": "own", "PolicyType": "INLINE", "EntityType": "USER", "EntityName": "ann"}],
        },
    ]
    with refusal(ErrorKind.INVALID_INPUT):
        await granting(world, READ_ONLY, "iam")


# --- Outbound federation -------------------------------------------------------------------------------------------------


async def test_outbound_federation_keeps_the_issuer_when_it_is_switched_off_and_on(world: World) -> None:
    for operation in ("GetOutboundWebIdentityFederationInfo", "DisableOutboundWebIdentityFederation"):
        with refusal(ErrorKind.FEATURE_DISABLED):
            await world.call(operation)
    issuer = (await world.call("EnableOutboundWebIdentityFederation"))["IssuerIdentifier"]
    with refusal(ErrorKind.FEATURE_ENABLED):
        await world.call("EnableOutboundWebIdentityFederation")
    shown = await world.call("GetOutboundWebIdentityFederationInfo")
    assert shown == {"IssuerIdentifier": issuer, "JwtVendingEnabled": True}
    await world.call("DisableOutboundWebIdentityFederation")
    with refusal(ErrorKind.FEATURE_DISABLED):
        await world.call("GetOutboundWebIdentityFederationInfo")
    assert await world.call("EnableOutboundWebIdentityFederation") == {"IssuerIdentifier": issuer}
    theirs = await world.call("EnableOutboundWebIdentityFederation", world.root(BETA))
    assert theirs["IssuerIdentifier"] != issuer
    assert world.tx.count(OutboundFederation) == 2

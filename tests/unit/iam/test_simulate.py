from __future__ import annotations

import pytest
from tests.unit.iam.memory import ALPHA, BETA, World, allow, policy, trusting

from daypass.domain.directory import Guardrail, InlinePolicy, User
from daypass.domain.errors import DaypassError, ErrorKind
from daypass.domain.policy import budget

ALICE = f"arn:aws:iam::{ALPHA}:user/alice"
ITEM, OTHER = f"arn:aws:orders:eu:{ALPHA}:item/1", f"arn:aws:orders:eu:{ALPHA}:item/2"
READ = policy(allow("orders:Read"))


def deny(action, resource="*", **more):
    return {**allow(action, resource, **more), "Effect": "Deny"}


async def refused(call) -> DaypassError:
    with pytest.raises(DaypassError) as caught:
        await call
    return caught.value


async def make_alice(world: World, *documents: str, **more: object) -> None:
    await world.call("CreateUser", UserName="alice", **more)
    for number, text in enumerate(documents, 1):
        await world.call("PutUserPolicy", UserName="alice", PolicyName=f"p{number}", PolicyDocument=text)


async def one(world: World, *actions: str, **params: object) -> dict:
    params = {"PolicySourceArn": ALICE, "ActionNames": list(actions) or ["orders:Read"], **params}
    answer = await world.call("SimulatePrincipalPolicy", **params)
    return answer["EvaluationResults"][0]


async def custom(world: World, *documents: str, **params: object) -> dict:
    params = {"PolicyInputList": list(documents), "ActionNames": ["orders:Read"], **params}
    return (await world.call("SimulateCustomPolicy", **params))["EvaluationResults"][0]


# --- Decisions


@pytest.mark.parametrize(
    ("documents", "decision", "matched"),
    [
        ([READ], "allowed", ["user_alice_p1"]),
        ([policy(allow("orders:Write"))], "implicitDeny", []),
        ([], "implicitDeny", []),
        ([READ, policy(deny("orders:*"))], "explicitDeny", ["user_alice_p2"]),
    ],
)
async def test_simulate_principal_policy_decides_by_the_users_policies(world, documents, decision, matched):
    await make_alice(world, *documents)
    found = await one(world)
    assert (found["EvalActionName"], found["EvalResourceName"], found["EvalDecision"]) == ("orders:Read", "*", decision)
    assert [s["SourcePolicyId"] for s in found["MatchedStatements"]] == matched
    assert {s["SourcePolicyType"] for s in found["MatchedStatements"]} <= {"IAM Policy"}
    assert "ResourceSpecificResults" not in found
    assert "EvalDecisionDetails" not in found


async def test_simulate_principal_policy_names_policies_of_groups_and_managed_ones(world):
    await make_alice(world)
    await world.call("CreateGroup", GroupName="staff")
    await world.call("PutGroupPolicy", GroupName="staff", PolicyName="g", PolicyDocument=READ)
    await world.call("AddUserToGroup", GroupName="staff", UserName="alice")
    made = await world.call("CreatePolicy", PolicyName="Mine", PolicyDocument=READ)
    await world.call("AttachUserPolicy", UserName="alice", PolicyArn=made["Policy"]["Arn"])
    await world.call("AttachUserPolicy", UserName="alice", PolicyArn="arn:aws:iam::aws:policy/AdministratorAccess")
    found = await one(world)
    assert sorted(s["SourcePolicyId"] for s in found["MatchedStatements"]) == [
        "AdministratorAccess",
        "Mine",
        "group_staff_g",
    ]
    group = await one(world, PolicySourceArn=f"arn:aws:iam::{ALPHA}:group/staff")
    assert [s["SourcePolicyId"] for s in group["MatchedStatements"]] == ["group_staff_g"]


async def test_simulate_principal_policy_of_a_role_counts_policies_of_the_request(world):
    await world.call("CreateRole", RoleName="deployer", AssumeRolePolicyDocument=trusting(f"arn:aws:iam::{ALPHA}:root"))
    role = f"arn:aws:iam::{ALPHA}:role/deployer"
    assert (await one(world, PolicySourceArn=role))["EvalDecision"] == "implicitDeny"
    found = await one(world, PolicySourceArn=role, PolicyInputList=[policy(allow("x:y")), READ])
    assert found["EvalDecision"] == "allowed"
    assert [s["SourcePolicyId"] for s in found["MatchedStatements"]] == ["PolicyInputList.2"]


async def test_simulate_principal_policy_gives_each_resource_its_own_result(world):
    await make_alice(world, policy(allow("orders:Read", ITEM), deny("orders:Read", f"{OTHER}/secret")))
    found = await one(world, ResourceArns=[ITEM, OTHER, f"{OTHER}/secret"])
    assert (found["EvalResourceName"], found["EvalDecision"]) == ("*", "explicitDeny")
    assert found["EvalDecisionDetails"] == {}
    each = found["ResourceSpecificResults"]
    assert [(r["EvalResourceName"], r["EvalResourceDecision"]) for r in each] == [
        (ITEM, "allowed"),
        (OTHER, "implicitDeny"),
        (f"{OTHER}/secret", "explicitDeny"),
    ]
    assert [len(r["MatchedStatements"]) for r in each] == [1, 0, 1]
    assert found["MatchedStatements"] == each[2]["MatchedStatements"]
    assert (await one(world, ResourceArns=[ITEM]))["EvalResourceName"] == ITEM


async def test_simulate_principal_policy_keys_of_the_principal_are_known(world):
    mine = policy(allow("orders:Read", f"arn:aws:orders:eu:{ALPHA}:home/${{aws:username}}/${{aws:PrincipalTag/team}}"))
    await make_alice(world, mine, Tags=[{"Key": "team", "Value": "red"}])
    found = await one(world, ResourceArns=[f"arn:aws:orders:eu:{ALPHA}:home/alice/red"])
    assert found["EvalDecision"] == "allowed"
    assert found["MissingContextValues"] == []


# --- Boundaries, guardrails, exclusions


async def test_simulate_principal_policy_boundary_limits_and_can_be_replaced(world):
    made = await world.call("CreatePolicy", PolicyName="Bound", PolicyDocument=policy(allow("orders:Write")))
    await make_alice(world, policy(allow("orders:*")), PermissionsBoundary=made["Policy"]["Arn"])
    bounded = await one(world)
    assert bounded["EvalDecision"] == "implicitDeny"
    assert bounded["PermissionsBoundaryDecisionDetail"] == {"AllowedByPermissionsBoundary": False}
    replaced = await one(world, PermissionsBoundaryPolicyInputList=[READ])
    assert replaced["EvalDecision"] == "allowed"
    assert replaced["PermissionsBoundaryDecisionDetail"] == {"AllowedByPermissionsBoundary": True}
    assert [s["SourcePolicyId"] for s in replaced["MatchedStatements"]] == ["user_alice_p1"]
    without = await one(world, PolicyExclusionList=[{"PolicyType": "permission-boundary"}])
    assert without["EvalDecision"] == "allowed"
    assert "PermissionsBoundaryDecisionDetail" not in without
    denied = await one(world, PermissionsBoundaryPolicyInputList=[policy(deny("orders:*"))])
    assert denied["EvalDecision"] == "explicitDeny"
    assert [(s["SourcePolicyId"], s["SourcePolicyType"]) for s in denied["MatchedStatements"]] == [
        ("user_alice_p1", "IAM Policy"),
        ("PermissionsBoundaryPolicyInputList.1", "Permissions Boundary Policy"),
    ]


async def test_simulate_principal_policy_guardrails_decide_and_are_not_shown(world):
    await make_alice(world, READ)
    assert "OrganizationsDecisionDetail" not in await one(world)
    world.tx.insert(Guardrail(ALPHA, "fence", policy(allow("*"), deny("orders:Read", ITEM)), 0))
    found = await one(world, ResourceArns=[ITEM])
    assert found["EvalDecision"] == "explicitDeny"
    assert found["OrganizationsDecisionDetail"] == {"AllowedByOrganizations": False}
    assert found["MatchedStatements"] == []
    assert "EvalDecisionDetails" not in found
    excluded = await one(world, ResourceArns=[ITEM], PolicyExclusionList=[{"PolicyType": "scp"}])
    assert excluded["EvalDecision"] == "allowed"
    assert "OrganizationsDecisionDetail" not in excluded


@pytest.mark.parametrize(
    ("identifier", "left"),
    [
        ({"PolicyType": "inline"}, ["AdministratorAccess", "Mine"]),
        ({"PolicyType": "aws-managed"}, ["Mine", "user_alice_p1"]),
        ({"PolicyType": "user-managed"}, ["AdministratorAccess", "user_alice_p1"]),
        ({"PolicyType": "rcp"}, ["AdministratorAccess", "Mine", "user_alice_p1"]),
        ({"PolicyArn": f"arn:aws:iam::{ALPHA}:policy/M?n*"}, ["AdministratorAccess", "user_alice_p1"]),
        ({"PolicyArn": f"arn:aws:iam::{BETA}:policy/*"}, ["AdministratorAccess", "Mine", "user_alice_p1"]),
        (
            {"InlinePolicyIdentifier": {"PolicyName": "p1", "AttachmentType": "user", "AttachmentName": "al*"}},
            ["AdministratorAccess", "Mine"],
        ),
        (
            {"InlinePolicyIdentifier": {"PolicyName": "p1", "AttachmentType": "group", "AttachmentName": "alice"}},
            ["AdministratorAccess", "Mine", "user_alice_p1"],
        ),
    ],
)
async def test_simulate_principal_policy_exclusions_take_policies_away(world, identifier, left):
    await make_alice(world, READ)
    made = await world.call("CreatePolicy", PolicyName="Mine", PolicyDocument=READ)
    for arn in (made["Policy"]["Arn"], "arn:aws:iam::aws:policy/AdministratorAccess"):
        await world.call("AttachUserPolicy", UserName="alice", PolicyArn=arn)
    found = await one(world, PolicyExclusionList=[identifier])
    assert sorted(s["SourcePolicyId"] for s in found["MatchedStatements"]) == left


async def test_simulate_custom_policy_ordered_organization_policies_must_all_allow(world):
    root = {"ServiceControlPolicyInputList": [policy(allow("*"))]}
    account = {"ServiceControlPolicyInputList": [policy(allow("orders:*"))]}
    found = await custom(world, READ, OrderedOrganizationPolicyInputList=[root, account])
    assert (found["EvalDecision"], found["OrganizationsDecisionDetail"]) == (
        "allowed",
        {"AllowedByOrganizations": True},
    )
    narrow = {"ServiceControlPolicyInputList": [policy(allow("x:y"))]}
    found = await custom(world, READ, OrderedOrganizationPolicyInputList=[root, narrow])
    assert (found["EvalDecision"], found["OrganizationsDecisionDetail"]) == (
        "implicitDeny",
        {"AllowedByOrganizations": False},
    )


# --- Resource policies and accounts


def resource_policy(principal, effect="Allow"):
    return policy({"Effect": effect, "Principal": {"AWS": principal}, "Action": "orders:Read", "Resource": "*"})


async def test_simulate_principal_policy_resource_policy_grants_within_the_account(world):
    await make_alice(world)
    found = await one(world, ResourceArns=[ITEM], ResourcePolicy=resource_policy(ALICE))
    assert found["EvalDecision"] == "allowed"
    [statement] = found["MatchedStatements"]
    assert (statement["SourcePolicyId"], statement["SourcePolicyType"]) == ("ResourcePolicy", "Resource Policy")
    assert found["EvalDecisionDetails"] == {}


async def test_simulate_principal_policy_caller_arn_calls_with_the_policies_of_another(world):
    await make_alice(world, READ)
    bob = f"arn:aws:iam::{ALPHA}:user/bob"
    found = await one(world, CallerArn=bob, ResourceArns=[ITEM], ResourcePolicy=resource_policy(ALICE, "Deny"))
    assert found["EvalDecision"] == "allowed"
    found = await one(world, CallerArn=bob, ResourceArns=[ITEM], ResourcePolicy=resource_policy(bob, "Deny"))
    assert found["EvalDecision"] == "explicitDeny"


async def test_simulate_custom_policy_caller_of_the_account_is_the_one_that_there_is(world):
    await make_alice(world, Tags=[{"Key": "team", "Value": "red"}])
    text = policy(allow("orders:Read", Condition={"StringEquals": {"aws:PrincipalTag/team": "red"}}))
    assert (await custom(world, text, CallerArn=ALICE))["EvalDecision"] == "allowed"
    for caller in (f"arn:aws:iam::{ALPHA}:user/p/alice", f"arn:aws:iam::{BETA}:user/alice"):
        found = await custom(world, text, CallerArn=caller)
        assert (found["EvalDecision"], found["MissingContextValues"]) == ("implicitDeny", ["aws:PrincipalTag/team"])
    of_role = policy(allow("orders:Read", Condition={"Null": {"aws:username": "true"}}))
    assert (await custom(world, of_role, CallerArn=f"arn:aws:iam::{ALPHA}:role/r"))["EvalDecision"] == "allowed"


async def test_simulate_custom_policy_boundary_counts_across_accounts_too(world):
    params = {
        "CallerArn": ALICE,
        "ResourceOwner": f"arn:aws:iam::{BETA}:root",
        "ResourcePolicy": resource_policy(ALICE),
        "PermissionsBoundaryPolicyInputList": [policy(allow("orders:Write"))],
        "ResourceArns": ["arn:aws:s3:::bucket", "arn:aws:s3:::other"],
    }
    found = await custom(world, READ, **params)
    expected = {"IAM Policy": "allowed", "Resource Policy": "allowed", "Permissions Boundary Policy": "implicitDeny"}
    assert (found["EvalDecision"], found["EvalDecisionDetails"]) == ("implicitDeny", expected)
    assert found["PermissionsBoundaryDecisionDetail"] == {"AllowedByPermissionsBoundary": False}


@pytest.mark.parametrize(
    ("identity", "resource", "decision", "details"),
    [
        (READ, resource_policy(ALICE), "allowed", ("allowed", "allowed")),
        (policy(allow("x:y")), resource_policy(ALICE), "implicitDeny", ("implicitDeny", "allowed")),
        (READ, resource_policy(BETA), "implicitDeny", ("allowed", "implicitDeny")),
        (READ, resource_policy(ALICE, "Deny"), "explicitDeny", ("allowed", "explicitDeny")),
    ],
)
async def test_simulate_across_accounts_needs_both_sides_and_says_what_each_says(
    world, identity, resource, decision, details
):
    params = {"CallerArn": ALICE, "ResourceOwner": f"arn:aws:iam::{BETA}:root", "ResourcePolicy": resource}
    found = await custom(world, identity, ResourceArns=["arn:aws:s3:::bucket"], **params)
    assert found["EvalDecision"] == decision
    expected = dict(zip(("IAM Policy", "Resource Policy"), details, strict=True))
    assert found["EvalDecisionDetails"] == expected
    assert found["ResourceSpecificResults"][0]["EvalDecisionDetails"] == expected


async def test_simulate_custom_policy_takes_a_trust_policy_for_sts_alone(world):
    trust = trusting(ALICE)
    params = {"CallerArn": ALICE, "ResourcePolicy": trust, "ResourceArns": [f"arn:aws:iam::{ALPHA}:role/r"]}
    assert (await custom(world, READ, ActionNames=["sts:AssumeRole"], **params))["EvalDecision"] == "allowed"
    error = await refused(world.call("SimulateCustomPolicy", PolicyInputList=[READ], ActionNames=["s3:Get"], **params))
    assert error.kind is ErrorKind.INVALID_INPUT


# --- Context


@pytest.mark.parametrize(
    ("kind", "values", "condition"),
    [
        ("string", ["x"], {"StringEquals": {"k:key12": "x"}}),
        (None, ["x"], {"StringEquals": {"k:key12": "x"}}),
        ("stringList", ["x", "y"], {"ForAllValues:StringEquals": {"k:key12": ["x", "y"]}}),
        ("numeric", ["7.5"], {"NumericLessThan": {"k:key12": "8"}}),
        ("numericList", ["7", "9"], {"ForAnyValue:NumericEquals": {"k:key12": "9"}}),
        ("boolean", ["true"], {"Bool": {"k:key12": "true"}}),
        ("booleanList", ["true", "false"], {"ForAnyValue:Bool": {"k:key12": "false"}}),
        ("ip", ["10.1.2.3"], {"IpAddress": {"k:key12": "10.0.0.0/8"}}),
        ("ipList", ["10.1.2.3"], {"ForAllValues:IpAddress": {"k:key12": "10.0.0.0/8"}}),
        ("binary", ["aGk="], {"BinaryEquals": {"k:key12": "aGk="}}),
        ("binaryList", ["aGk="], {"ForAnyValue:BinaryEquals": {"k:key12": "aGk="}}),
        ("date", ["2026-01-01"], {"DateLessThan": {"k:key12": "2027-01-01"}}),
        ("dateList", ["2026-01-01T00:00:00Z"], {"ForAnyValue:DateLessThan": {"k:key12": "2027-01-01"}}),
    ],
)
async def test_simulate_context_entries_of_every_type_are_compared(world, kind, values, condition):
    text = policy(allow("orders:Read", Condition=condition))
    assert (await custom(world, text))["MissingContextValues"] == ["k:key12"]
    entry = {"ContextKeyName": "K:Key12", "ContextKeyValues": values}
    found = await custom(world, text, ContextEntries=[{**entry, "ContextKeyType": kind} if kind else entry])
    assert (found["EvalDecision"], found["MissingContextValues"]) == ("allowed", [])


async def test_simulate_missing_context_values_are_spelled_as_in_the_policy(world):
    text = policy(
        allow("orders:Read", "arn:aws:orders:::${aws:PrincipalTag/Team}/x"),
        allow("x:y", Condition={"Bool": {"aws:MultiFactorAuthPresent": "true"}, "Null": {"orders:Kind": "true"}}),
    )
    found = await custom(world, text, ResourceArns=["arn:aws:orders:::red/x"])
    expected = ["aws:PrincipalTag/Team", "aws:MultiFactorAuthPresent", "orders:Kind"]
    assert found["ResourceSpecificResults"][0]["MissingContextValues"] == expected
    assert found["MissingContextValues"] == expected


# --- Positions: what AWS itself has answered for documents of these forms


PRETTY = """{
  "Version": "2012-10-17",
  "Statement": [
    {
      "Effect": "Allow",
      "Action": "*",
      "Resource": "*"
    }
  ]
}"""
SINGLE = '{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"*","Resource":"*"}}'
SECOND = SINGLE.replace(":{", ':[{"Effect":"Allow","Action":"x:y","Resource":"*"},{').replace("}}", "}]}")


@pytest.mark.parametrize(
    ("text", "place"),
    [(READ, (1, 41, 1, 102)), (PRETTY, (3, 17, 8, 6)), (SINGLE, (1, 38, 1, 83)), (SECOND, (1, 86, 1, 133))],
)
async def test_simulate_statement_positions_are_those_that_aws_gives(world, text, place):
    found = (await custom(world, text))["MatchedStatements"]
    [(start, end)] = [(s["StartPosition"], s["EndPosition"]) for s in found]
    assert (start["Line"], start["Column"], end["Line"], end["Column"]) == place


# --- Pages


async def test_simulate_goes_on_from_page_to_page(world):
    actions = [f"orders:A{number}" for number in range(7)]
    seen, marker = [], {}
    for _ in range(4):
        params = {"PolicyInputList": [READ], "ActionNames": actions, "MaxItems": 2, **marker}
        answer = await world.call("SimulateCustomPolicy", **params)
        seen += [found["EvalActionName"] for found in answer["EvaluationResults"]]
        marker = {"Marker": answer.get("Marker")}
    assert seen == actions
    assert not answer["IsTruncated"]


async def test_simulate_many_resources_shortens_the_page(world):
    params = {
        "PolicyInputList": [READ],
        "ActionNames": [f"orders:A{number}" for number in range(5)],
        "ResourceArns": [f"arn:aws:orders:::{number}" for number in range(900)],
    }
    answer = await world.call("SimulateCustomPolicy", **params)
    assert (len(answer["EvaluationResults"]), answer["IsTruncated"]) == (2, True)


# --- Refusals


@pytest.mark.parametrize(
    ("params", "message"),
    [
        (
            {"PolicySourceArn": f"arn:aws:sts::{ALPHA}:assumed-role/r/s"},
            f"Invalid Entity Arn: arn:aws:sts::{ALPHA}:assumed-role/r/s does not clearly define entity type and name.",
        ),
        (
            {"PolicySourceArn": f"arn:aws:iam::{ALPHA}:root"},
            f"Invalid Entity Arn: arn:aws:iam::{ALPHA}:root does not clearly define entity type and name.",
        ),
        (
            {"PolicySourceArn": f"arn:aws:iam::{BETA}:role/r"},
            f"Invalid Policy Source Arn: caller's account {ALPHA} does not have access to policies in account {BETA}",
        ),
        ({"ResourceArns": ["item"]}, "ResourceNames are not in a valid ARN format: item."),
        ({"ResourceOwner": BETA}, f"'{BETA}' is not a valid as a Resource Owner."),
        ({"ActionNames": ["orders:*"]}, "Invalid Input Action: orders:*"),
        ({"ActionNames": ["orders"]}, "Invalid Input Action: orders"),
        ({"ActionNames": []}, "At least one action name must be specified."),
        ({"PolicyInputList": ["{}"]}, "Invalid policy PolicyInputList.1: Syntax errors in policy."),
        (
            {"PermissionsBoundaryPolicyInputList": [READ, READ]},
            "Only one permissions boundary policy can be specified.",
        ),
        ({"ContextEntries": [{"ContextKeyValues": ["x"]}]}, "A context entry must have a ContextKeyName."),
        (
            {"ContextEntries": [{"ContextKeyName": n, "ContextKeyValues": ["x"]} for n in ("k:key12", "K:key12")]},
            "Context key K:key12 is specified more than once.",
        ),
        (
            {
                "PolicyExclusionList": [
                    {"InlinePolicyIdentifier": {"PolicyName": "p", "AttachmentType": "user", "AttachmentName": "*a*"}}
                ]
            },
            "AttachmentName *a* has more than one *.",
        ),
        ({"PolicyExclusionList": [{}]}, "A policy identifier must have exactly one of "),
        (
            {"PolicyExclusionList": [{"PolicyArn": "arn:aws:iam::*:policy/x"}]},
            "ARN arn:aws:iam::*:policy/x is not valid.",
        ),
        ({"ResourceHandlingOption": "EC2-VPC-EBS"}, "EC2-VPC-EBS requires resources that are missing: instance, image"),
        ({"ResourcePolicy": READ, "CallerArn": ALICE}, "Invalid policy ResourcePolicy: "),
        ({"ResourceHandlingOption": "x"}, "Invalid Resource Handling Option: x"),
        (
            {"CallerArn": f"arn:aws:sts::{ALPHA}:federated-user/x"},
            f"Invalid Entity Arn: arn:aws:sts::{ALPHA}:federated-user/x does not clearly define entity type and name.",
        ),
        *(
            (
                {"ContextEntries": [{"ContextKeyName": "k:key12", "ContextKeyValues": v, "ContextKeyType": k}]},
                "Context key k:key12 ",
            )
            for k, v in (
                ("numeric", ["x"]),
                ("boolean", ["1"]),
                ("ip", ["10.0.0.0/8"]),
                ("binary", ["*"]),
                ("date", ["soon"]),
                ("string", ["a", "b"]),
            )
        ),
    ],
)
async def test_simulate_principal_policy_refuses_bad_input(world, params, message):
    await make_alice(world, READ)
    params = {"PolicySourceArn": ALICE, "ActionNames": ["orders:Read"], **params}
    error = await refused(world.call("SimulatePrincipalPolicy", **params))
    assert error.kind is ErrorKind.INVALID_INPUT
    assert error.public.startswith(message)


async def test_simulate_principal_policy_of_nobody_is_no_such_entity(world):
    await make_alice(world)
    message = "Unable to retrieve specified IAM entity."
    for name in ("user/bob", "user/path/alice", "role/alice", "group/alice"):
        arn = f"arn:aws:iam::{ALPHA}:{name}"
        for operation, more in (
            ("SimulatePrincipalPolicy", {"ActionNames": ["x:y"]}),
            ("GetContextKeysForPrincipalPolicy", {}),
        ):
            error = await refused(world.call(operation, PolicySourceArn=arn, **more))
            assert (error.kind, error.public) == (ErrorKind.NOT_FOUND, message)


async def test_simulate_principal_policy_stored_policy_that_does_not_compile_is_an_evaluation_error(world):
    await make_alice(world, READ)
    alice = world.tx.get(User, account=ALPHA, name="alice")
    world.tx.insert(InlinePolicy(ALPHA, alice.id, "broken", "{", 0))
    error = await refused(world.call("SimulatePrincipalPolicy", PolicySourceArn=ALICE, ActionNames=["orders:Read"]))
    assert error.kind is ErrorKind.POLICY_EVALUATION
    assert error.public == "Policy user_alice_broken could not be evaluated: it is not a valid policy."


async def test_simulate_is_authorized_on_the_principal_that_is_asked_about(world):
    await make_alice(world, policy(allow("iam:SimulatePrincipalPolicy", f"arn:aws:iam::{ALPHA}:user/team/*")))
    await world.call("CreateUser", UserName="bob", Path="/team/")
    alice = world.as_user("alice")
    params = {"ActionNames": ["x:y"], "PolicySourceArn": f"arn:aws:iam::{ALPHA}:user/team/bob"}
    assert (await world.call("SimulatePrincipalPolicy", alice, **params))["EvaluationResults"]
    error = await refused(world.call("SimulatePrincipalPolicy", alice, **{**params, "PolicySourceArn": ALICE}))
    assert error.kind is ErrorKind.ACCESS_DENIED
    assert f"iam:SimulatePrincipalPolicy on resource: {ALICE}" in error.public
    error = await refused(world.call("SimulateCustomPolicy", alice, PolicyInputList=[READ], ActionNames=["x:y"]))
    assert error.kind is ErrorKind.ACCESS_DENIED


# --- Context keys


async def test_get_context_keys_lists_each_key_once_as_it_is_written(world):
    first = policy(
        allow("x:y", "arn:aws:x:::${aws:username}", Condition={"StringLike": {"aws:SourceVpc": "${x:Other, 'd'}*"}})
    )
    second = policy(
        allow("x:y", Condition={"IpAddress": {"AWS:sourcevpc": "10.0.0.0/8", "aws:SourceIp": "10.0.0.0/8"}})
    )
    answer = await world.call("GetContextKeysForCustomPolicy", PolicyInputList=[first, second])
    expected = ["aws:username", "aws:SourceVpc", "x:Other", "aws:SourceIp"]
    assert answer == {"ContextKeyNames": expected}
    await make_alice(world, first)
    answer = await world.call("GetContextKeysForPrincipalPolicy", PolicySourceArn=ALICE)
    assert answer == {"ContextKeyNames": expected[:3]}
    answer = await world.call("GetContextKeysForPrincipalPolicy", PolicySourceArn=ALICE, PolicyInputList=[second])
    assert answer == {"ContextKeyNames": expected}


async def test_get_context_keys_of_the_older_language_has_no_variables(world):
    text = READ.replace("2012-10-17", "2008-10-17").replace('"*"', '"arn:aws:x:::${aws:username}"')
    assert await world.call("GetContextKeysForCustomPolicy", PolicyInputList=[text]) == {"ContextKeyNames": []}


async def test_simulate_principal_of_a_group_has_nobody_for_a_resource_policy(world):
    await world.call("CreateGroup", GroupName="staff")
    params = {"PolicySourceArn": f"arn:aws:iam::{ALPHA}:group/staff", "ActionNames": ["orders:Read"]}
    error = await refused(world.call("SimulatePrincipalPolicy", **params, ResourcePolicy=resource_policy(ALICE)))
    assert error.public == "CallerArn must be specified when a resource policy is specified."
    found = await one(world, **params, ResourcePolicy=resource_policy(ALICE), CallerArn=ALICE)
    assert found["EvalDecision"] == "allowed"
    ec2 = [f"arn:aws:ec2:eu:{ALPHA}:{kind}/1" for kind in ("instance", "image", "security-group", "network-interface")]
    found = await one(world, **params, ResourceArns=ec2, ResourceHandlingOption="EC2-VPC-InstanceStore")
    assert len(found["ResourceSpecificResults"]) == 4


async def test_simulate_context_entry_without_a_value_is_absent_or_an_empty_list(world):
    text = policy(allow("orders:Read", Condition={"Null": {"k:key12": "true"}}))
    for kind in ("string", "stringList"):
        entry = {"ContextKeyName": "k:key12", "ContextKeyValues": [], "ContextKeyType": kind}
        assert (await custom(world, text, ContextEntries=[entry]))["EvalDecision"] == "allowed"


async def test_a113_simulate_custom_policy_page_ends_when_the_budget_of_an_operation_is_used_up(world, monkeypatch):
    actions = [f"orders:Read{number}" for number in range(6)]
    asked = {"ActionNames": actions, "PolicyInputList": [policy(allow("orders:Read*"))]}
    whole = await world.call("SimulateCustomPolicy", **asked)
    monkeypatch.setattr(budget, "OPERATION", 170)  # a decision is charged 50 steps at least
    found, marker = [], {}
    for _ in range(10):
        page = await world.call("SimulateCustomPolicy", **asked, **marker)
        assert 0 < len(page["EvaluationResults"]) < 6
        found += page["EvaluationResults"]
        if not page["IsTruncated"]:
            break
        marker = {"Marker": page["Marker"]}
    assert found == whole["EvaluationResults"]
    monkeypatch.setattr(budget, "OPERATION", 20)
    error = await refused(world.call("SimulateCustomPolicy", **asked))
    assert error.kind is ErrorKind.LIMIT_EXCEEDED
    assert "steps" in error.public

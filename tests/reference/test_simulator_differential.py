"""The simulator against the runtime: for every principal, policies and request that chance finds, the same decision."""

import json
import random

import pytest
from msgspec.structs import replace
from tests.reference import policy_cases as cases
from tests.unit.iam.memory import ALPHA, World

from daypass.domain.claims import RequestFacts
from daypass.domain.directory import (
    Attachment,
    Group,
    Guardrail,
    InlinePolicy,
    ManagedPolicy,
    Membership,
    PolicyVersion,
    Role,
    User,
)
from daypass.domain.errors import DaypassError, ErrorKind
from daypass.domain.policy.document import PolicyKind
from daypass.domain.policy.layers import NamedPolicy
from daypass.operations.authorize import authorize
from daypass.operations.iam import simulate_policy
from daypass.operations.iam.service import IAM
from daypass.ports import Call


def managed(world, rng, pool, number):
    arn = f"arn:aws:iam::{ALPHA}:policy/m{number}"
    policy = ManagedPolicy(f"ANPA{number}", ALPHA, arn, f"m{number}", "/", 0, 0)
    world.tx.insert(policy)
    world.tx.insert(PolicyVersion(ALPHA, policy.id, 1, rng.choice(pool.texts[PolicyKind.IDENTITY]), 0))
    return arn


def peopled(rng, pool):
    """A world with a user in two groups and a role, all with policies of every kind."""
    world = World()
    arns = [managed(world, rng, pool, number) for number in range(3)]
    bound = rng.choice(arns) if rng.random() < 0.3 else None
    user = User("AIDAAL", ALPHA, "al", "/", 0, boundary_arn=bound)
    role = Role("AROAOPS", ALPHA, "ops", "/", 0, "{}", boundary_arn=bound)
    groups = [Group(f"AGPA{n}", ALPHA, f"g{n}", "/", 0) for n in range(2)]
    for entity in (user, role, *groups):
        world.tx.insert(entity)
        for number, text in enumerate(pool.some(PolicyKind.IDENTITY, 2)):
            world.tx.insert(InlinePolicy(ALPHA, entity.id, f"p{number}", text, 0))
        if rng.random() < 0.4:
            world.tx.insert(Attachment(ALPHA, entity.id, rng.choice(arns), 0))
    for group in groups:
        world.tx.insert(Membership(ALPHA, group.id, user.id, 0))
    if rng.random() < 0.3:
        world.tx.insert(Guardrail(ALPHA, "fence", rng.choice(pool.texts[PolicyKind.GUARDRAIL]), 0))
    return world, (user, role)


def entries(context):
    return [
        {"ContextKeyName": key, "ContextKeyValues": list(value), "ContextKeyType": "stringList"}
        if isinstance(value, list)
        else {"ContextKeyName": key, "ContextKeyValues": [value], "ContextKeyType": "string"}
        for key, value in context.items()
    ]


async def runtime_decision(world, caller, action, resource, context, resource_policy):
    call = Call(caller, RequestFacts("r", 0, "", "", ""), 0)
    keys = {key: tuple(value) if isinstance(value, list) else value for key, value in context.items()}
    try:
        await authorize(world.env, call, action, resource, context=keys, resource_policy=resource_policy)
    except DaypassError as error:
        if error.kind is not ErrorKind.ACCESS_DENIED or error.explanation is None:
            raise
        return "explicitDeny" if error.explanation["explicit"] else "implicitDeny"
    return "allowed"


@pytest.mark.parametrize("seed", range(2))
async def test_simulate_random_cases_equal_what_the_runtime_decides(seed):
    rng = random.Random(seed)
    pool = cases.Pool(rng)
    seen = set()
    foreign = cases.OWN[1:]  # what the accounts that own these decide is not simulated
    resources = [resource for resource in cases.RESOURCES if resource not in ("*", *foreign)]
    for _ in range(20):
        world, principals = peopled(rng, pool)
        for entity in principals:
            caller = world.as_user("al") if isinstance(entity, User) else world.as_role("ops")
            context = cases.context(rng)
            given = rng.choice(pool.texts[PolicyKind.RESOURCE]) if rng.random() < 0.4 else None
            if given is not None and isinstance(entity, Role):
                caller = replace(caller, arn=entity.arn)  # a simulation is of the role, not of one of its sessions
            params = {
                "PolicySourceArn": entity.arn,
                "ActionNames": rng.sample(cases.ACTIONS, 3),
                "ResourceArns": rng.sample(resources, 4),
                "ContextEntries": entries(context),
                **({"ResourcePolicy": given} if given else {}),
            }
            ctx = IAM.reading(world.env.scene(world.tx), Call(world.root(), RequestFacts("r", 0, "", "", ""), 0))
            answer = simulate_policy.simulate_principal_policy(ctx, params)
            policy = NamedPolicy("r", cases.compiled(given, PolicyKind.RESOURCE).document) if given else None
            for result in answer["EvaluationResults"]:
                for one in result["ResourceSpecificResults"]:
                    action, resource = result["EvalActionName"], one["EvalResourceName"]
                    wanted = await runtime_decision(world, caller, action, resource, context, policy)
                    assert one["EvalResourceDecision"] == wanted, json.dumps(params, indent=1)
                    seen.add(wanted)
    assert seen == {"allowed", "explicitDeny", "implicitDeny"}

"""Cached admissions: never longer than their facts hold, and never where a request's context counts."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import pytest
from msgspec import structs
from tests.heavy import PickledHeavyWork
from tests.reference import policy_cases as cases
from tests.unit.operations.fakes import ALPHA, BETA, Credentials, World, allow, assume_role, deny, named, policy, trust

from daypass.domain import decision_cache as cache_module
from daypass.domain.decision_cache import DecisionCache
from daypass.domain.errors import DaypassError, ErrorKind
from daypass.domain.policy.compiled import PolicyKind
from daypass.domain.policy.evaluate import decide, depends_on_variables, holds
from daypass.domain.policy.model import Context, Decision, PrincipalFacts
from daypass.domain.trust import AssumedRole, CallerPolicies, admit
from daypass.operations import authorize as module
from daypass.ports import PrincipalView

ALL = policy(allow("*"))


@pytest.fixture
def decided(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The roles over which the evaluator was asked."""
    asked: list[str] = []

    def watched(principal: Any, policies: Any, target: AssumedRole, *rest: Any) -> Any:
        asked.append(target.arn)
        return real(principal, policies, target, *rest)

    real = module.admit
    monkeypatch.setattr(module, "admit", watched)
    return asked


def ask(arn: str, **more: Any) -> dict[str, Any]:
    return {"RoleArn": arn, "RoleSessionName": "shift", **more}


async def denied(world: World, key: Credentials, params: dict[str, Any], **facts: Any) -> bool:
    """Whether policy refuses it; any other refusal is an error."""
    try:
        await world.call(assume_role, key, params, **facts)
    except DaypassError as error:
        if error.kind is not ErrorKind.ACCESS_DENIED:
            raise
        return True
    return False


async def test_assume_role_again_is_remembered_and_recorded_alike(world: World, decided: list[str]) -> None:
    user = world.user("ann", policies=[ALL])
    role = world.role("ops", trusts=[trust(f"arn:aws:iam::{ALPHA}:root")])
    key = world.key(user)
    for _ in range(3):
        await world.call(assume_role, key, ask(role.arn))
    assert decided == [role.arn]
    first, *others = [event.decision for event in world.journal.events]
    assert all(other == first for other in others)
    assert first is not None
    assert first["allowed"] is True


@pytest.mark.parametrize("change", ["trust", "identity", "guardrail", "bindings", "path"])
async def test_assume_role_after_a_change_is_decided_anew(world: World, change: str) -> None:
    """Each change is one that takes the right away."""
    user = world.user("ann", policies=[ALL])
    role = world.role("ops", trusts=[trust(user.arn if change == "bindings" else f"arn:aws:iam::{ALPHA}:root")])
    key = world.key(user)
    for _ in range(2):
        assert not await denied(world, key, ask(role.arn))
    view = world.directory.roles[role.id]
    if change == "trust":
        text = policy(trust(f"arn:aws:iam::{BETA}:root"))
        world.directory.roles[role.id] = structs.replace(view, trust=named(text, PolicyKind.TRUST, "trust"))
    elif change == "identity":
        world.directory.users[user.id] = PrincipalView(user, (), None)
    elif change == "guardrail":
        world.account(ALPHA, policy(allow("*"), deny("sts:AssumeRole")))
    elif change == "bindings":
        world.directory.roles[role.id] = structs.replace(view, bindings={user.arn: "AIDASOMEBODYELSE00000"})
    else:
        world.directory.roles[role.id] = structs.replace(view, role=replace(view.role, path="/elsewhere/"))
    assert await denied(world, key, ask(role.arn))


@pytest.mark.parametrize("where", ["trust", "identity", "guardrail", "boundary", "resource variable"])
async def test_assume_role_where_context_counts_is_decided_each_time(world: World, where: str) -> None:
    """A condition in any layer, or a variable in a resource, keeps an earlier admission from being used."""
    inside = {"IpAddress": {"aws:SourceIp": "192.0.2.0/24"}}
    condition = {name: {"Condition": inside} if where == name else {} for name in ("trust", "identity", "boundary")}
    resource = f"arn:aws:iam::{ALPHA}:role/${{aws:UserAgent}}" if where == "resource variable" else "*"
    guardrail = policy(allow("*"), deny("sts:*", Condition={"NotIpAddress": inside["IpAddress"]}))
    world.account(ALPHA, guardrail if where == "guardrail" else ALL)
    user = world.user(
        "ann",
        policies=[policy(allow("sts:AssumeRole", resource, **condition["identity"]))],
        boundary=policy(allow("*", **condition["boundary"])),
    )
    role = world.role("tests", trusts=[trust(f"arn:aws:iam::{ALPHA}:root", **condition["trust"])])
    key = world.key(user)
    for _ in range(2):
        assert not await denied(world, key, ask(role.arn))
        assert await denied(world, key, ask(role.arn), source_ip="198.51.100.1", user_agent="other")


async def test_assume_role_remembers_each_caller_and_each_permission_by_itself(world: World) -> None:
    ann, bob = world.user("ann", policies=[ALL]), world.user("bob", policies=[policy(allow("iam:*"))])
    role = world.role("ops", trusts=[trust(f"arn:aws:iam::{ALPHA}:root")])
    tagged = ask(role.arn, Tags=[{"Key": "a", "Value": "b"}])
    for _ in range(2):
        assert not await denied(world, world.key(ann), ask(role.arn))
        assert await denied(world, world.key(ann), tagged)  # the trust policy does not grant sts:TagSession
        assert await denied(world, world.key(bob), ask(role.arn))


async def test_assume_role_remembers_a_bounded_number_of_callers(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache_module, "_MAX_PRINCIPALS", 3)
    role = world.role("ops", trusts=[trust(f"arn:aws:iam::{ALPHA}:root")])
    for number in range(10):
        user = world.user(f"u{number}", policies=[ALL])
        assert not await denied(world, world.key(user), ask(role.arn))
        assert len(world.directory.roles[role.id].decisions) <= 3


def test_decisions_with_the_same_outcomes_of_conditions_are_the_same_in_every_context() -> None:
    """Over the random policies with which the evaluator is compared with its reference."""
    pool = cases.Pool(random.Random(20261125))
    compared = differed = 0
    contexts = [cases.to_query(pool.case())[0].context for _ in range(20)]
    for _ in range(1500):
        query, layers = cases.to_query(pool.case())
        if depends_on_variables(query.action, layers):
            continue
        found: dict[tuple[bool, ...], set[Decision]] = {}
        tested = set()
        for context in ({}, query.context, *contexts):
            decision, statements = decide(structs.replace(query, context=context), layers)
            tested.add(tuple(map(id, statements)))
            found.setdefault(tuple(holds(s, context) for s in statements), set()).add(decision)
        assert len(tested) == 1
        assert all(len(decisions) == 1 for decisions in found.values())
        compared += 1
        differed += len(found) > 1
    assert compared > 500
    assert differed > 100


async def test_assume_role_admitted_by_another_statement_is_recorded_with_that_one(world: World) -> None:
    """A decision is told of as an earlier one only if it is the same."""
    networks = ("192.0.2.0/24", "198.51.100.0/24")
    statements = [
        trust(f"arn:aws:iam::{ALPHA}:root", Condition={"IpAddress": {"aws:SourceIp": net}}) for net in networks
    ]
    role = world.role("ops", trusts=statements)
    key = world.key(world.user("ann", policies=[ALL]))
    for address in ("192.0.2.1", "192.0.2.2", "198.51.100.1", "192.0.2.3"):
        await world.call(assume_role, key, ask(role.arn), source_ip=address)
    told = [event.decision for event in world.journal.events]
    assert [decision and decision["determining"][0]["statement"] for decision in told] == [0, 0, 1, 0]


@pytest.mark.parametrize("layer", ["identity", "boundary", "session", "guardrail", "trust"])
def test_cache_tests_both_sides_of_an_assumption_between_accounts(layer: str) -> None:
    principal = PrincipalFacts("User", ALPHA, ((f"arn:aws:iam::{ALPHA}:user/a", "AIDAA"),))
    secure = {"Condition": {"Bool": {"aws:SecureTransport": "true"}}}
    plain = named(ALL, PolicyKind.IDENTITY)
    narrow = named(policy(allow("*", **secure)), PolicyKind.IDENTITY)
    trusting = policy(trust(f"arn:aws:iam::{ALPHA}:root", **(secure if layer == "trust" else {})))
    policies = CallerPolicies(
        (narrow if layer == "identity" else plain,),
        (narrow if layer == "boundary" else plain,),
        ((narrow if layer == "session" else plain,),),
        ((narrow if layer == "guardrail" else plain,),),
    )
    target = AssumedRole("arn:aws:iam::444455556666:role/x", BETA, named(trusting, PolicyKind.TRUST, "trust"), {})
    good: Context = {"aws:securetransport": "true"}
    admission = admit(principal, policies, target, ("sts:AssumeRole",), good)
    assert admission.decision.allowed
    cache, asked = DecisionCache(), (principal, policies, ("sts:AssumeRole",))
    cache.keep(*asked, admission, lambda: good)
    cached = cache.of(*asked)
    assert cached is not None
    assert cached.find(lambda: good) is admission.decision
    assert cached.find(lambda: {"aws:securetransport": "false"}) is None


def test_cache_keeps_providers_and_services_apart() -> None:
    """The bearers of proofs have no ARN: what names them is their provider, or the service that they come through."""
    provider = f"arn:aws:iam::{ALPHA}:oidc-provider/ci.example"
    statement = {"Effect": "Allow", "Principal": {"Federated": provider}, "Action": "sts:AssumeRoleWithWebIdentity"}
    target = AssumedRole(f"arn:aws:iam::{ALPHA}:role/x", ALPHA, named(policy(statement), PolicyKind.TRUST, "trust"), {})
    policies, actions = CallerPolicies(identity=None), ("sts:AssumeRoleWithWebIdentity",)
    principal = PrincipalFacts("WebIdentityUser", "", (), federated=provider)
    admission = admit(principal, policies, target, actions, {})
    assert admission.decision.allowed
    cache = DecisionCache()
    cache.keep(principal, policies, actions, admission, dict)
    cached = cache.of(principal, policies, actions)
    assert cached is not None
    assert cached.find(dict) is admission.decision
    assert cache.of(structs.replace(principal, federated=f"{provider}/other"), policies, actions) is None
    assert cache.of(structs.replace(principal, kind="SAMLUser"), policies, actions) is None
    assert (
        cache.of(structs.replace(principal, federated="", service="rolesanywhere.amazonaws.com"), policies, actions)
        is None
    )


async def test_assume_role_again_compares_with_what_the_role_has(world: World, decided: list[str]) -> None:
    """A comparison by a variable with the role's own tag has its outcome for each request."""
    condition = {"Condition": {"StringEquals": {"sts:ExternalId": "${aws:ResourceTag/partner}"}}}
    role = world.role("ops", trusts=[trust(f"arn:aws:iam::{ALPHA}:root", **condition)], tags=(("partner", "acme"),))
    key = world.key(world.user("ann", policies=[ALL]))
    for external_id, wanted in (("acme", True), ("other", False), ("acme", True), ("other", False), ("acme", True)):
        assert await denied(world, key, ask(role.arn, ExternalId=external_id)) is not wanted
    assert len(decided) == 3  # the first admission, and what is refused


async def test_assume_role_remembers_a_bounded_number_of_outcomes(
    world: World, decided: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache_module, "_MAX_OUTCOMES", 2)
    statements = [
        trust(f"arn:aws:iam::{ALPHA}:root", Condition={"IpAddress": {"aws:SourceIp": f"192.0.2.{n}"}}) for n in range(4)
    ]
    role = world.role("ops", trusts=statements)
    key = world.key(world.user("ann", policies=[ALL]))
    for n in (0, 1, 0, 1, 2, 3, 2, 3):
        assert not await denied(world, key, ask(role.arn), source_ip=f"192.0.2.{n}")
    (entry,) = world.directory.roles[role.id].decisions._entries.values()
    assert len(entry.decisions) <= 2
    assert len(decided) == 4


async def test_cached_admission_with_many_patterns_is_tested_elsewhere_for_a_long_text(world: World) -> None:
    """A caller chooses its User-Agent, so a decision that was cheap once can be expensive for the next request."""
    heavy = PickledHeavyWork()
    world.env = replace(world.env, heavy=heavy)
    patterns = [f"*?x{number}*" for number in range(50)]
    statement = trust(f"arn:aws:iam::{ALPHA}:root", Condition={"StringNotLike": {"aws:UserAgent": patterns}})
    role = world.role("ops", trusts=[statement])
    key = world.key(world.user("ann", policies=[ALL]))
    for _ in range(2):
        await world.call(assume_role, key, ask(role.arn), user_agent="short")
    assert heavy.asked == []
    await world.call(assume_role, key, ask(role.arn), user_agent="b" * 12_000)
    assert len(heavy.asked) == 1

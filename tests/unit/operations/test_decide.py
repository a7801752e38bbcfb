"""Which decisions are taken on the event loop, and that those taken elsewhere are the same."""

from __future__ import annotations

import asyncio
import json
import pickle
from typing import Any

from tests.unit.operations.fakes import World

from daypass.domain.policy.document import PolicyKind, compile_stored
from daypass.domain.policy.evaluate import evaluate
from daypass.domain.policy.explain import explain
from daypass.domain.policy.layers import Layers, NamedPolicy
from daypass.domain.policy.model import AccessQuery, PrincipalFacts
from daypass.domain.trust import AssumedRole, CallerPolicies, admit
from daypass.operations import authorize as decide_module
from daypass.operations.authorize import admission_of, decide, explained, is_large

AGENT = "b" * 12_000
WHO = PrincipalFacts("User", "111111111111", (("arn:aws:iam::111111111111:user/ann", "AIDA"),))
TRUST = '{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":"*","Action":"sts:AssumeRole"}]}'


class Elsewhere:
    """Heavy work that is counted, and pickled as between processes."""

    def __init__(self) -> None:
        self.accounts: list[str] = []

    async def compute(self, account: str, work: Any, *args: Any, quick: bool = False) -> Any:
        self.accounts.append(account)
        work, args = pickle.loads(pickle.dumps((work, args)))
        return pickle.loads(pickle.dumps(work(*args)))

    async def read(self, *_: Any) -> Any:
        raise AssertionError("no decision reads")


def env() -> tuple[Any, Elsewhere]:
    from dataclasses import replace

    elsewhere = Elsewhere()
    return replace(World().env, heavy=elsewhere), elsewhere


def patterned(count: int, pattern: str = "*?b{}*") -> NamedPolicy:
    condition = {"StringLike": {"aws:UserAgent": [pattern.format(number) for number in range(count)]}}
    statement = {"Effect": "Allow", "Action": "*", "Resource": "*", "Condition": condition}
    text = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    return NamedPolicy("p", compile_stored(text, PolicyKind.SESSION))


def asked(agent: str = AGENT) -> AccessQuery:
    return AccessQuery(WHO, "iam:ListRoles", "*", {"aws:useragent": agent, "aws:principaltag/team": ("a", "b")})


def layers(policy: NamedPolicy) -> Layers:
    return Layers(True, (policy,), session=((policy,),), guardrails=((policy,),), boundary=(policy,))


def test_decide_many_patterns_on_a_long_text_is_taken_elsewhere_and_is_the_same() -> None:
    ports, elsewhere = env()
    for agent in (AGENT, "b7" + AGENT):
        query, used = asked(agent), layers(patterned(20))
        decision, explanation = asyncio.run(decide(ports, "a", query, used))
        assert decision == evaluate(query, used)
        assert explanation == (None if decision.allowed else explain(query, used).to_json())
        assert asyncio.run(explained(ports, "a", query, used)) == explain(query, used).to_json()
    assert elsewhere.accounts == ["a"] * 4


def test_decide_usual_policies_and_requests_stay_on_the_event_loop() -> None:
    ports, elsewhere = env()
    for policy, agent in (
        (patterned(200, "agent-{}/*"), AGENT),  # prefixes: one call in C for all of them
        (patterned(200), "aws-cli/2.0"),
        (patterned(1), AGENT),
    ):
        query, used = asked(agent), layers(policy)
        assert asyncio.run(decide(ports, "a", query, used)) == (evaluate(query, used), None)
    assert elsewhere.accounts == []


def test_is_large_few_patterns_never_asks_for_the_context() -> None:
    def context() -> Any:
        raise AssertionError("asked")

    assert not is_large([patterned(5)], context)
    assert decide_module.INLINE // decide_module._LONGEST >= 5


def test_is_large_counts_all_members_of_a_value() -> None:
    context = {"aws:tagkeys": ("x" * 100,) * 100}
    assert is_large([patterned(11)], lambda: context)
    assert not is_large([patterned(9)], lambda: context)


def test_admission_of_many_patterns_is_taken_elsewhere_and_cannot_be_remembered() -> None:
    ports, elsewhere = env()
    target = AssumedRole(
        "arn:aws:iam::111111111111:role/r",
        "111111111111",
        NamedPolicy("trust", compile_stored(TRUST, PolicyKind.TRUST)),
    )
    caller = CallerPolicies((patterned(50),), None, (), ((),))
    context = {"aws:useragent": AGENT}
    here = admit(WHO, caller, target, ("sts:AssumeRole",), context)
    there = asyncio.run(admission_of(ports, "a", WHO, caller, target, ("sts:AssumeRole",), context))
    assert (there.decision, there.query, there.owner) == (here.decision, here.query, here.owner)
    assert elsewhere.accounts == ["a"]
    assert not there.sides
    assert not here.decision.allowed
    assert there.explanation == explain(here.query, here.layers).to_json(), (
        "one journey for the decision and its explanation"
    )
    small = CallerPolicies((patterned(1),))
    assert asyncio.run(admission_of(ports, "a", WHO, small, target, ("sts:AssumeRole",), context)).decision is not None
    assert elsewhere.accounts == ["a"]

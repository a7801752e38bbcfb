"""Matching in time linear in the text, and the steps that a decision may take."""

import json
import pickle
import random

import pytest
from tests.reference import policy_reference as reference

from daypass.domain.claims import PrincipalKind
from daypass.domain.decision_cache import DecisionCache
from daypass.domain.policy import source
from daypass.domain.policy.budget import EVALUATION
from daypass.domain.policy.document import PolicyKind, parse
from daypass.domain.policy.evaluate import evaluate
from daypass.domain.policy.explain import denial_message, explain
from daypass.domain.policy.layers import Layers, NamedPolicy
from daypass.domain.policy.model import AccessQuery, Effect, PrincipalFacts
from daypass.domain.policy.pattern import Patterns
from daypass.domain.policy.source import CharacterPositions
from daypass.domain.trust import AssumedRole, CallerPolicies, admit

ACCOUNT = "111111111111"
ALICE = PrincipalFacts(PrincipalKind.USER.value, ACCOUNT, ((f"arn:aws:iam::{ACCOUNT}:user/alice", "AIDAALICE"),))
AGENT = "aws:useragent"
HEAVY = [f"*?b{number:04}?*" for number in range(800)]


def policy(*statements, kind=PolicyKind.IDENTITY, **document):
    made = [{"Effect": "Allow", "Action": "orders:Read", "Resource": "*", **statement} for statement in statements]
    return NamedPolicy("p", parse(json.dumps({"Version": "2012-10-17", "Statement": made, **document}), kind))


def ask(context, *identity, resource="arn:aws:orders:::a"):
    query = AccessQuery(ALICE, "orders:Read", resource, context)
    return query, Layers(same_account=True, identity=identity)


@pytest.mark.parametrize("alphabet", ["ab", "a", "aж", "ab\u212a\U0001f511"])
def test_patterns_long_text_equal_reference(alphabet):
    rng = random.Random(alphabet)
    matched = 0
    for _ in range(150):
        text = "".join(rng.choice(alphabet) for _ in range(rng.randint(257, 600)))
        pattern = "".join(rng.choice([*alphabet, *alphabet, "*", "?"]) for _ in range(rng.randint(1, 24)))
        pattern = rng.choice(["", "*"]) + pattern + rng.choice(["", "*"])
        found = Patterns([pattern]).matches(text, {})
        assert found is reference.glob(reference.spelled(pattern, False, True), text), (pattern, text)
        matched += found
    assert matched > 10


def test_positions_are_those_of_the_character_in_any_plane():
    text = "aжa\U0001f511\ud800ÿ"
    found_at = CharacterPositions(text)
    for char in {*text, "b", "\u0436", "\U0001f512"}:
        assert found_at.of(char) == sum(1 << at for at, found in enumerate(text) if found == char)
    assert CharacterPositions("plain").of("\u0170") == 0  # its low byte is that of `p`


def test_patterns_with_holes_read_a_text_once_for_each_character_of_the_patterns(monkeypatch):
    """198 patterns on a header of 12 KB took half a second of Python for each request."""
    scans = []
    real = CharacterPositions._scan
    monkeypatch.setattr(CharacterPositions, "_scan", lambda self, code: scans.append(code) or real(self, code))
    source.positions_of.cache_clear()
    patterns = Patterns([f"*?b0{chr(65 + number % 26)}?*" for number in range(198)])
    assert not patterns.matches("0b" * 6_000, {})
    assert len(scans) <= 28


def test_evaluate_header_of_12_kb_against_198_patterns_is_within_the_budget():
    condition = {"StringLike": {"aws:UserAgent": ["*?b0*"] * 197 + ["*?zz?*"]}}
    query, layers = ask({AGENT: "b0" * 6_000}, policy({"Condition": condition}))
    assert evaluate(query, layers).allowed
    query, layers = ask({AGENT: "0b" * 6_000}, policy({"Condition": condition}))
    assert evaluate(query, layers).allowed
    query, layers = ask({AGENT: "b" * 12_000}, policy({"Condition": condition}))
    decision = evaluate(query, layers)
    assert (decision.allowed, decision.over_budget) == (False, False)


def test_evaluate_over_the_budget_is_denied_and_says_so():
    condition = {"StringLike": {"aws:UserAgent": HEAVY}}
    query, layers = ask({AGENT: "b" * 12_000}, policy({}), policy({"Condition": condition, "Effect": "Deny"}))
    decision = evaluate(query, layers)
    assert (decision.allowed, decision.over_budget, decision.blocked_by, decision.explicit) == (
        False,
        True,
        None,
        False,
    )
    assert denial_message(query, decision, "arn:x").endswith("because evaluating the policies takes too many steps")
    explanation = explain(query, layers).to_json()
    assert explanation["over_budget"] is True
    assert str(EVALUATION) in explanation["would_have_to_be_true"][0]


@pytest.mark.parametrize("effect", list(Effect))
def test_evaluate_short_header_against_the_same_patterns_is_decided(effect):
    condition = {"StringLike": {"aws:UserAgent": HEAVY}}
    query, layers = ask({AGENT: "xb0007y"}, policy({}), policy({"Condition": condition, "Effect": effect.value}))
    assert evaluate(query, layers).allowed is (effect is Effect.ALLOW)


@pytest.mark.parametrize(
    ("condition", "context"),
    [
        ({"ForAnyValue:StringLike": {"k:v": [f"?{n}*x" for n in range(500)]}}, {"k:v": ("a",) * 2_000}),
        ({"ForAllValues:NumericLessThan": {"k:v": [str(-n) for n in range(500)]}}, {"k:v": ("5",) * 2_000}),
        ({"ForAnyValue:IpAddress": {"k:v": [f"10.0.{n}.0/24" for n in range(200)]}}, {"k:v": ("192.0.2.1",) * 2_000}),
        (
            {"ForAnyValue:ArnLike": {"k:v": [f"arn:aws:x:::{n}?a*" for n in range(200)]}},
            {"k:v": ("a:b:c:d:e:f",) * 999},
        ),
        (
            {"StringLike": {"k:v": ["${aws:UserAgent}*?${aws:UserAgent}"] * 90}},
            {"k:v": "x" * 9_000, AGENT: "x" * 12_000},
        ),
        ({"ForAnyValue:StringEquals": {"k:v": ["${aws:UserAgent}"] * 90}}, {"k:v": ("a",) * 999, AGENT: "x"}),
    ],
)
def test_evaluate_set_operators_and_variables_count_each_value(condition, context):
    query, layers = ask(context, policy({}), policy({"Condition": condition, "Effect": "Deny"}))
    assert evaluate(query, layers).over_budget
    query, layers = ask(dict.fromkeys(context, "a"), policy({}), policy({"Condition": condition, "Effect": "Deny"}))
    assert not evaluate(query, layers).over_budget


def test_evaluate_resource_patterns_count():
    resources = [f"arn:aws:orders:::*?b{number:04}?*" for number in range(900)]
    query, layers = ask({}, policy({"Resource": resources}), resource="arn:aws:orders:::" + "b" * 2_000)
    assert evaluate(query, layers).over_budget
    query, layers = ask({}, policy({"Resource": resources}), resource="arn:aws:orders:::xb0001y")
    assert evaluate(query, layers).allowed


def test_evaluate_policies_of_every_quotas_size_stay_far_below_the_budget():
    condition = {
        "StringLike": {"aws:UserAgent": ["*Boto3/1.3?*", "aws-cli/2.*"]},
        "Bool": {"aws:SecureTransport": "true"},
    }
    statement = {
        "Action": ["orders:*", "orders:Re?d"],
        "Resource": ["arn:aws:orders:::*/x/?", "*"],
        "Condition": condition,
    }
    identity = tuple(policy(*[statement] * 30) for _ in range(21))
    context = {AGENT: "Boto3/1.34 md/Botocore#1.34 ua/2.0 os/linux#6.1 lang/python#3.11", "aws:securetransport": "true"}
    query, layers = ask(context, *identity)
    assert evaluate(query, layers).allowed


def test_explain_examines_statements_within_its_share():
    heavy = {"Condition": {"StringLike": {"aws:UserAgent": ["*?bcd?*"] * 60}}}
    query, layers = ask({AGENT: "b" * 12_000}, policy(*[heavy] * 5))
    assert not evaluate(query, layers).over_budget
    [layer] = explain(query, layers).layers
    assert layer.omitted + len(layer.statements) == 5
    assert layer.omitted > 0
    assert layer.verdict.value == "implicit_deny"


def test_decision_cache_does_not_test_what_a_decision_may_not_cost():
    trust = {"Version": "2012-10-17", "Statement": [
        {"Effect": "Allow", "Principal": {"AWS": f"arn:aws:iam::{ACCOUNT}:root"}, "Action": "sts:AssumeRole",
         "Condition": {"StringLike": {"aws:UserAgent": [*HEAVY, "short"]}}},
    ]}  # fmt: skip
    target = AssumedRole(
        f"arn:aws:iam::{ACCOUNT}:role/r", ACCOUNT, NamedPolicy("trust", parse(json.dumps(trust), PolicyKind.TRUST))
    )
    policies = CallerPolicies(identity=(policy({"Action": "sts:AssumeRole"}),))
    actions = ("sts:AssumeRole",)
    cache = DecisionCache()
    admission = admit(ALICE, policies, target, actions, {AGENT: "short"})
    assert admission.decision.allowed
    cache.keep(ALICE, policies, actions, admission, lambda: {AGENT: "short"})
    cached = cache.of(ALICE, policies, actions)
    assert cached is not None
    assert cached.find(lambda: {AGENT: "short"}) is not None
    long = {AGENT: "b" * 12_000}
    assert cached.find(lambda: long) is None
    assert admit(ALICE, policies, target, actions, long).decision.over_budget


def test_decision_is_the_same_after_it_was_sent_to_another_process():
    query, layers = ask({AGENT: "b" * 12_000}, policy({"Condition": {"StringLike": {"aws:UserAgent": HEAVY}}}))
    for decision in (evaluate(query, layers), evaluate(*ask({}, policy({"Condition": {"Null": {"k:v": "true"}}})))):
        assert pickle.loads(pickle.dumps(decision)) == decision

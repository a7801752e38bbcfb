"""Invariants of every decision, on random policies: narrowing narrows, denies win, order is nothing."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest
from tests.reference import policy_cases as cases
from tests.reference import policy_reference as reference

from daypass.domain.policy.document import PolicyKind
from daypass.domain.policy.evaluate import evaluate
from daypass.domain.policy.explain import explain

SEEDS = range(4)
CASES = 2_500


def allowed(case):
    return evaluate(*cases.to_query(case)).allowed


@pytest.mark.parametrize("seed", SEEDS)
def test_session_policy_or_boundary_added_never_widens(seed):
    pool = cases.Pool(random.Random(1000 + seed))
    narrowed = 0
    for _ in range(CASES):
        case = pool.case()
        before = allowed(case)
        tighter = [
            {**case, "session": [pool.some(PolicyKind.SESSION), *case["session"]]},
            {
                **case,
                "session": [*case["session"], pool.some(PolicyKind.SESSION)],
                "scope_downs": case["scope_downs"] + 1,
            },
            {**case, "guardrails": [*case["guardrails"], pool.some(PolicyKind.GUARDRAIL)]},
        ]
        if case["boundary"] is None:
            tighter.append({**case, "boundary": pool.some(PolicyKind.IDENTITY)})
        for other in tighter:
            after = allowed(other)
            assert before or not after, json.dumps(other)
            narrowed += before and not after
    assert narrowed > 100


def denying(rng, kind, action):
    """A policy with one Deny that applies to the request, written in one of the ways to write it."""
    made = {"Effect": "Deny", **rng.choice([{"Action": "*"}, {"Action": action}, {"NotAction": "never:Ever"}])}
    if kind is PolicyKind.TRUST:
        made = {"Effect": "Deny", "Action": "sts:*", "Principal": "*"}
    elif kind is PolicyKind.RESOURCE:
        stranger = {"AWS": f"arn:aws:iam::{cases.OTHER}:user/nobody"}
        made |= rng.choice([{"Principal": {"AWS": "*"}}, {"NotPrincipal": stranger}])
    if kind is not PolicyKind.TRUST:
        made |= rng.choice([{"Resource": "*"}, {"NotResource": "arn:aws:never:::ever"}])
    made |= rng.choice(
        [{}, {"Condition": {"StringNotEquals": {"k:never": "x"}}}, {"Condition": {"Null": {"k:no": True}}}]
    )
    return json.dumps({"Version": "2012-10-17", "Statement": [made]})


@pytest.mark.parametrize("seed", SEEDS)
def test_a46_explicit_deny_in_any_layer_always_wins(seed):
    pool = cases.Pool(random.Random(2000 + seed))
    rng = pool.rng
    for _ in range(CASES):
        case = pool.case()
        layer = rng.choice(["guardrails", "resource_policy", "identity", "boundary", "session"])
        if layer == "resource_policy":
            kind = PolicyKind.TRUST if case["trust"] else PolicyKind.RESOURCE
            other = {**case, layer: denying(rng, kind, case["action"])}
        elif layer in ("guardrails", "session"):
            kind = PolicyKind.GUARDRAIL if layer == "guardrails" else PolicyKind.SESSION
            other = {**case, layer: [*case[layer], [denying(rng, kind, case["action"])]]}
        else:
            other = {**case, layer: [*(case[layer] or []), denying(rng, PolicyKind.IDENTITY, case["action"])]}
        decision = evaluate(*cases.to_query(other))
        assert decision.explicit, json.dumps(other)
        assert not decision.allowed


def shuffled(rng, text):
    document = json.loads(text)
    if isinstance(document["Statement"], list):
        rng.shuffle(document["Statement"])
        for statement in document["Statement"]:
            for value in statement.values():
                if isinstance(value, list):
                    rng.shuffle(value)
    return json.dumps(document)


@pytest.mark.parametrize("seed", SEEDS)
def test_order_of_statements_policies_and_values_never_matters(seed):
    pool = cases.Pool(random.Random(3000 + seed), size=30)
    rng = pool.rng
    twin = {text: shuffled(rng, text) for texts in pool.texts.values() for text in texts}

    def turned(texts):
        return None if texts is None else rng.sample([twin[text] for text in texts], len(texts))

    for _ in range(CASES):
        case = pool.case()
        first_scoped = len(case["session"]) - case["scope_downs"]
        plain, scoped = case["session"][:first_scoped], case["session"][first_scoped:]
        other = {
            **case,
            "identity": turned(case["identity"]),
            "boundary": turned(case["boundary"]),
            "resource_policy": twin.get(case["resource_policy"]),
            "session": [turned(level) for level in (*rng.sample(plain, len(plain)), *rng.sample(scoped, len(scoped)))],
            "guardrails": [turned(level) for level in case["guardrails"]],
        }
        first, second = evaluate(*cases.to_query(case)), evaluate(*cases.to_query(other))
        assert cases.answer(first) == cases.answer(second), json.dumps([case, other])
        assert first.consulted == second.consulted
        assert len(first.determining) == len(second.determining)


FILES = sorted((Path(__file__).parents[1] / "cases").glob("*.json"))
ACCOUNT = "111111111111"
ALICE = ["arn:aws:iam::111111111111:user/alice", "AIDAALICEALICEALICEAL"]
ROLE_ID = "AROAOPSOPSOPSOPSOPSOP"
BLANK = {"account": ACCOUNT, "arns": [], "federated": "", "service": "", "canonical_id": ""}
OUTSIDER = {**BLANK, "kind": "Anonymous", "account": ""}
PRINCIPALS = {
    "user": {**BLANK, "kind": "User", "arns": [ALICE]},
    "canonical": {**BLANK, "kind": "User", "arns": [ALICE], "canonical_id": "c" * 64},
    "role-session": {
        **BLANK,
        "kind": "AssumedRole",
        "arns": [
            [f"arn:aws:sts::{ACCOUNT}:assumed-role/ops/deploy", ROLE_ID],
            [f"arn:aws:iam::{ACCOUNT}:role/ops", ROLE_ID],
        ],
    },
    "federated-user": {
        **BLANK,
        "kind": "FederatedUser",
        "arns": [[f"arn:aws:sts::{ACCOUNT}:federated-user/bob", f"{ACCOUNT}:bob"], ALICE],
    },
    "root": {**BLANK, "kind": "Account", "arns": [[f"arn:aws:iam::{ACCOUNT}:root", ACCOUNT]]},
    "saml": {**OUTSIDER, "federated": f"arn:aws:iam::{ACCOUNT}:saml-provider/corp"},
    "service": {**OUTSIDER, "service": "orders.example.com"},
    "anonymous": OUTSIDER,
}
ORDINARY = {
    "action": "orders:Read",
    "resource": "arn:aws:orders:eu-west-1:111111111111:order/7",
    "context": {},
    "same_account": True,
    "identity": [],
    "resource_policy": None,
    "trust": False,
    "bindings": None,
    "boundary": None,
    "session": [],
    "guardrails": [],
}


def texts(policies):
    if policies is None or isinstance(policies, dict):
        return policies and json.dumps(policies)
    return [texts(policy) for policy in policies]


def load(path):
    written = json.loads(path.read_text("utf-8"))
    case = {**ORDINARY, **{name: value for name, value in written.items() if name in ORDINARY}}
    for name in ("identity", "resource_policy", "boundary", "session", "guardrails"):
        case[name] = texts(case[name])
    case["principal"] = PRINCIPALS[written.get("principal", "user")]
    assert written.keys() <= {*ORDINARY, "principal", "why", "source", "expect", "layer"}
    assert written["why"]
    assert written["source"]
    return case, (written["expect"], written.get("layer"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_behaviour_as_documented_both_evaluators(path):
    case, wanted = load(path)
    assert reference.decide(case) == wanted
    query, layers = cases.to_query(case)
    assert cases.answer(evaluate(query, layers)) == wanted
    assert cases.answer(explain(query, layers).decision) == wanted


def test_behaviours_there_are_enough():
    assert len(FILES) >= 120

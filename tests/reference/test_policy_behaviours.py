"""Every behaviour in tests/cases, one JSON file each, against the evaluator and against the reference.

A file says `why`, and which page of AWS's documentation says so (`source`). It leaves out the ordinary: the user
alice reads order 7 of her own account, with no context and no policies but those given.
"""

import json
from pathlib import Path

import pytest
from tests.reference import policy_cases as cases
from tests.reference import policy_reference as reference

from daypass.domain.policy.evaluate import evaluate
from daypass.domain.policy.explain import explain

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

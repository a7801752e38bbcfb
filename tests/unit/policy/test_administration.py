"""Which statements grant Daypass's own actions."""

import json

import pytest

from daypass.domain.policy.cover import withholds_administration
from daypass.domain.policy.document import PolicyKind, parse
from daypass.domain.policy.evaluate import evaluate
from daypass.domain.policy.layers import Layers, NamedPolicy
from daypass.domain.policy.model import AccessQuery, Layer, PrincipalFacts

OWN, OTHER = "111111111111", "222222222222"
ALICE = PrincipalFacts("User", OWN, ((f"arn:aws:iam::{OWN}:user/alice", "AIDAALICE"),))
ROOT = PrincipalFacts("Account", OWN, ((f"arn:aws:iam::{OWN}:root", OWN),))


def policy(*statements, kind=PolicyKind.IDENTITY):
    made = [{"Effect": "Allow", **statement} for statement in statements]
    return NamedPolicy("p", parse(json.dumps({"Version": "2012-10-17", "Statement": made}), kind))


EVERYTHING = policy({"Action": "*", "Resource": "*"})


def ask(*identity, account=OWN, who=ALICE, action="daypass:PutGuardrail", context=None, **layers):
    query = AccessQuery(who, action, f"arn:aws:daypass::{account}:guardrail/g", context or {})
    return evaluate(query, Layers(same_account=True, identity=identity, **layers))


@pytest.mark.parametrize(
    ("statement", "own", "other"),
    [
        ({"Action": "*", "Resource": "*"}, True, False),
        ({"Action": "daypass:*", "Resource": "*"}, True, False),
        ({"Action": "DAYPASS:put*", "Resource": "arn:aws:daypass::*:*"}, True, True),
        ({"Action": "daypass:PutGuardrail", "Resource": f"arn:aws:daypass::{OTHER}:*"}, False, True),
        ({"Action": "daypass:PutGuardrail", "Resource": "arn:aws:daypass"}, True, True),
        ({"Action": ["*", "daypass:Get*"], "Resource": "arn:aws:daypass::*:*"}, True, False),
        ({"Action": "*", "Resource": ["*", "arn:aws:daypass::*:*"]}, True, False),
        ({"Action": "*:*", "Resource": "*"}, False, False),
        ({"Action": "*:PutGuardrail", "Resource": "*"}, False, False),
        ({"NotAction": "iam:*", "Resource": "*"}, False, False),
        ({"NotAction": "daypass:Get*", "Resource": "arn:aws:daypass::*:*"}, False, False),
        ({"Action": "*", "NotResource": "arn:aws:s3:::x"}, False, False),
        ({"Action": "daypass:*", "NotResource": "arn:aws:s3:::x"}, False, False),
        ({"Action": "daypass:*", "Resource": "arn:aws:daypass::${aws:PrincipalTag/of}:*"}, False, True),
    ],
)
def test_evaluate_allow_grants_administration_only_by_name(statement, own, other):
    context = {"aws:principaltag/of": OTHER}
    assert ask(policy(statement), context=context).allowed is own
    assert ask(policy(statement), account=OTHER, context=context).allowed is other


@pytest.mark.parametrize("statement", [{"NotAction": "iam:*", "Resource": "*"}, {"Action": "*:*", "Resource": "*"}])
@pytest.mark.parametrize("layer", ["boundary", "session", "guardrails"])
def test_evaluate_limit_by_exclusion_allows_no_administration(statement, layer):
    kind = PolicyKind.IDENTITY if layer == "boundary" else PolicyKind.SESSION
    made = policy(statement, kind=kind)
    decision = ask(EVERYTHING, **{layer: (made,) if layer == "boundary" else ((made,),)})
    assert (decision.allowed, decision.blocked_by.value) == (False, layer.removesuffix("s"))
    whole = policy({"Action": "*", "Resource": "*"}, kind=kind)
    assert ask(EVERYTHING, **{layer: (whole,) if layer == "boundary" else ((whole,),)}).allowed


@pytest.mark.parametrize(
    "statement",
    [
        {"NotAction": "iam:*", "Resource": "*"},
        {"Action": "*", "NotResource": "arn:aws:s3:::x"},
        {"Action": "*:Put*", "Resource": "*"},
    ],
)
def test_evaluate_deny_by_exclusion_denies_administration(statement):
    decision = ask(EVERYTHING, policy({**statement, "Effect": "Deny"}))
    assert (decision.allowed, decision.explicit, decision.blocked_by) == (False, True, Layer.IDENTITY)


def test_evaluate_root_administers_every_account_without_a_policy():
    assert ask(who=ROOT).allowed
    assert ask(who=ROOT, account=OTHER).allowed
    assert ask(who=ROOT, account="*").allowed


def test_evaluate_other_actions_are_granted_by_exclusion_as_ever():
    assert ask(policy({"NotAction": "iam:*", "Resource": "*"}), action="daypassage:Put").allowed


@pytest.mark.parametrize(
    ("statement", "action", "withheld"),
    [
        ({"Action": "*", "Resource": "*"}, "*", False),
        ({"Action": "*:*", "Resource": "*"}, "*:*", True),
        ({"Action": "iam:*", "Resource": "*"}, "iam:*", False),
        ({"NotAction": "iam:*", "Resource": "*"}, "*", True),
        ({"Action": "daypass:Get*", "Resource": "*"}, "daypass:Get*", False),
        ({"Action": "daypass:Get*", "NotResource": "arn:aws:s3:::x"}, "daypass:Get*", True),
    ],
)
def test_withholds_administration_tells_what_a_grant_leaves_out(statement, action, withheld):
    assert withholds_administration(policy(statement).document.statements[0], action) is withheld

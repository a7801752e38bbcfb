"""Parts of a decision that tests/cases and the reference leave out: its lists, and odd layers."""

import json

import pytest

from daypass.domain.policy.document import PolicyKind, compile_stored, parse
from daypass.domain.policy.evaluate import evaluate
from daypass.domain.policy.layers import Layers, NamedPolicy
from daypass.domain.policy.model import AccessQuery, Effect, Layer, PrincipalFacts

ALICE = PrincipalFacts("User", "111111111111", (("arn:aws:iam::111111111111:user/alice", "AIDAALICE"),))
ROOT = PrincipalFacts("Account", "111111111111", (("arn:aws:iam::111111111111:root", "111111111111"),))


def policy(*statements, name="p", kind=PolicyKind.IDENTITY):
    made = [{"Effect": "Allow", "Action": "orders:Read", "Resource": "*", **statement} for statement in statements]
    if kind is PolicyKind.TRUST:
        for statement in made:
            del statement["Resource"]
    return NamedPolicy(name, parse(json.dumps({"Version": "2012-10-17", "Statement": made}), kind))


def ask(who=ALICE, action="orders:Read", resource="arn:aws:orders:::a", context=None, **layers):
    chosen = {"same_account": True, "identity": None, **layers}
    return evaluate(AccessQuery(who, action, resource, context or {}), Layers(**chosen))


def test_evaluate_allowed_lists_every_allowing_statement_once():
    identity = policy(
        {"Action": ["orders:*", "orders:Read", "ORDERS:READ", "other:Thing"]},
        {"Action": "orders:Write"},
        {"Sid": "mine", "Action": "*", "Resource": ["arn:aws:orders:::a", "arn:aws:orders:::*", "*"]},
        {"Action": ["orders:Read", "orders:Read"], "Resource": ["arn:aws:orders:::a", "arn:aws:orders:::a"]},
    )
    decision = ask(identity=(identity,))
    assert decision.allowed
    assert decision.blocked_by is None
    assert sorted(found.statement for found in decision.determining) == [0, 2, 3]
    found = next(found for found in decision.determining if found.sid)
    assert (found.layer, found.policy, found.sid, found.effect, found.line) == (
        Layer.IDENTITY,
        "p",
        "mine",
        Effect.ALLOW,
        1,
    )


def test_evaluate_denied_lists_every_denying_statement_by_layer():
    deny = {"Effect": "Deny"}
    decision = ask(
        identity=(policy({}, deny, name="b"), policy(deny, name="a")), guardrails=((policy({}, deny, name="g"),),)
    )
    assert not decision.allowed
    assert decision.explicit
    assert decision.blocked_by is Layer.GUARDRAIL
    assert [(found.layer, found.policy, found.statement) for found in decision.determining] == [
        (Layer.GUARDRAIL, "g", 1),
        (Layer.IDENTITY, "a", 0),
        (Layer.IDENTITY, "b", 1),
    ]


def test_evaluate_implicit_deny_lists_nothing():
    decision = ask(identity=())
    assert (decision.allowed, decision.explicit, decision.blocked_by, decision.determining) == (
        False,
        False,
        Layer.IDENTITY,
        (),
    )


def test_evaluate_allowed_lists_all_layers_that_had_to_allow():
    everything = policy({"Action": "*"})
    decision = ask(
        identity=(everything,),
        boundary=(everything,),
        session=((everything,),),
        guardrails=((everything,), (everything,)),
    )
    assert [found.layer for found in decision.determining] == [
        Layer.GUARDRAIL,
        Layer.GUARDRAIL,
        Layer.IDENTITY,
        Layer.BOUNDARY,
        Layer.SESSION,
    ]


def test_evaluate_consulted_are_keys_of_statements_whose_action_and_resource_match():
    identity = policy(
        {"Condition": {"StringEquals": {"k:B": "x"}}},
        {"Condition": {"StringEquals": {"k:a": "${k:c}"}}},
        {"Action": "orders:Write", "Condition": {"StringEquals": {"k:write": "x"}}},
        {"Resource": "arn:aws:orders:::b", "Condition": {"StringEquals": {"k:other": "x"}}},
    )
    assert ask(identity=(identity,)).consulted == ("k:a", "k:b", "k:c")
    assert ask(identity=(policy({"Condition": {"Bool": {"K:Z": True}}}),)).consulted == ("k:z",)
    assert ask(identity=(policy({}),)).consulted == ()


def test_evaluate_other_principals_statement_consults_nothing():
    trust = policy(
        {"Principal": {"AWS": "222222222222"}, "Action": "sts:AssumeRole", "Condition": {"Bool": {"k:z": True}}},
        kind=PolicyKind.TRUST,
    )
    layers = Layers(same_account=True, identity=(), resource=trust)
    assert evaluate(AccessQuery(ALICE, "sts:AssumeRole", "*", {}), layers).consulted == ()


def test_evaluate_empty_request_is_denied():
    nobody = PrincipalFacts("Anonymous", "", ())
    assert not ask(nobody, "", "", identity=(policy({}),)).allowed
    assert not ask(nobody, "", "").allowed


def test_evaluate_root_is_bound_by_session_and_resource_policy_but_not_by_identity():
    assert ask(ROOT).allowed
    assert ask(ROOT, identity=()).allowed
    assert ask(ROOT, session=((),)).blocked_by is Layer.SESSION
    assert ask(ROOT, same_account=False).blocked_by is Layer.RESOURCE
    deny = policy({"Effect": "Deny"})
    assert ask(ROOT, identity=(deny,)).explicit


def test_evaluate_policy_without_principal_in_the_resource_layer_grants_nothing():
    layers = Layers(same_account=False, identity=(policy({}),), resource=policy({}))
    decision = evaluate(AccessQuery(ALICE, "orders:Read", "*", {}), layers)
    assert decision.blocked_by is Layer.RESOURCE


def test_evaluate_policy_with_principal_in_another_layer_reaches_no_further():
    everyone = policy({"Principal": "*"}, kind=PolicyKind.RESOURCE)
    assert ask(identity=(everyone,), boundary=()).blocked_by is Layer.BOUNDARY


def test_evaluate_broken_boundary_denies_even_what_a_resource_policy_grants_directly():
    granting = policy({"Principal": "*"}, kind=PolicyKind.RESOURCE)
    broken = NamedPolicy("gone", compile_stored("", PolicyKind.IDENTITY))
    layers = Layers(same_account=True, identity=(), resource=granting, boundary=(broken,))
    assert evaluate(AccessQuery(ALICE, "orders:Read", "*", {}), layers).explicit


@pytest.mark.parametrize("count", [1, 50, 500])
def test_evaluate_many_statements_finds_the_one(count):
    statements = [{"Action": f"orders:Read{i}", "Resource": f"arn:aws:orders:::{i}/*"} for i in range(count)]
    statements += [{"Action": "orders:Read", "Resource": f"arn:aws:orders:::{i}/*"} for i in range(count)]
    decision = ask(identity=(policy(*statements),), resource=f"arn:aws:orders:::{count - 1}/x")
    assert [found.statement for found in decision.determining] == [2 * count - 1]


def test_evaluate_second_grant_of_shorter_reach_changes_nothing():
    granting = policy({"Principal": "*"}, {"Principal": {"AWS": "111111111111"}}, kind=PolicyKind.RESOURCE)
    layers = Layers(same_account=True, identity=(), resource=granting, boundary=(), session=((),))
    assert evaluate(AccessQuery(ALICE, "orders:Read", "*", {}), layers).allowed


def test_evaluate_resource_that_only_begins_alike_does_not_match():
    assert not ask(identity=(policy({"Resource": "arn:aws:orders:::*/z"}),)).allowed

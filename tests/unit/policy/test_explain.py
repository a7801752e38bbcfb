import json

import pytest

from daypass.domain.policy.document import PolicyKind, compile_stored, parse
from daypass.domain.policy.evaluate import evaluate
from daypass.domain.policy.explain import denial_message, explain
from daypass.domain.policy.layers import Layers, NamedPolicy
from daypass.domain.policy.model import AccessQuery, Decision, Layer, PrincipalFacts

ARN = "arn:aws:iam::111111111111:user/alice"
ALICE = PrincipalFacts("User", "111111111111", ((ARN, "AIDAALICE"),))
ITEM = "arn:aws:orders:::a"


def policy(*statements, name="p", kind=PolicyKind.IDENTITY):
    made = [{"Effect": "Allow", "Action": "orders:Read", "Resource": "*", **statement} for statement in statements]
    if kind is PolicyKind.TRUST:
        for statement in made:
            del statement["Resource"]
    return NamedPolicy(name, parse(json.dumps({"Version": "2012-10-17", "Statement": made}), kind))


def ask(who=ALICE, action="orders:Read", context=None, **layers):
    chosen = {"same_account": True, "identity": None, **layers}
    query, used = AccessQuery(who, action, ITEM, context or {}), Layers(**chosen)
    explanation = explain(query, used)
    assert explanation.decision == evaluate(query, used)
    json.dumps(explanation.to_json())
    return explanation


def only(explanation, layer):
    return next(result for result in explanation.layers if result.layer is layer)


def test_explain_condition_failed_shows_the_values_compared():
    statement = {"Sid": "vip", "Condition": {"StringEquals": {"k:Team": ["red", "blue"]}, "Bool": {"k:ok": True}}}
    explanation = ask(context={"k:team": "green", "k:ok": "true"}, identity=(policy(statement),))
    layer = only(explanation, Layer.IDENTITY)
    assert layer.verdict == "implicit_deny"
    (near,) = layer.statements
    assert (near.failed_at, near.matched, near.sid) == ("condition", False, "vip")
    failed, held = near.conditions
    assert (failed.key, failed.operator, failed.wanted, failed.found, failed.held) == (
        "k:Team",  # as the policy has it
        "StringEquals",
        ("red", "blue"),
        "green",
        False,
    )
    assert held.held
    assert near.would_have_to_be_true == "k:Team would have to satisfy StringEquals [red, blue], but it is 'green'"
    (remedy,) = explanation.would_have_to_be_true
    assert remedy == (
        "an identity-based policy would have to allow orders:Read on arn:aws:orders:::a; "
        f"nearest is the statement at line 1 of p: {near.would_have_to_be_true}"
    )


@pytest.mark.parametrize(
    ("condition", "context", "sentence"),
    [
        ({"StringEquals": {"k:a": "x"}}, {}, "k:a would have to satisfy StringEquals [x], but it is absent"),
        (
            {"StringEquals": {"k:a": "x"}},
            {"k:a": ("y", "z")},
            "k:a would have to satisfy StringEquals [x], but it is [y, z]",
        ),
        ({"Null": {"k:a": "true"}}, {"k:a": "x"}, "k:a would have to be absent"),
        ({"Null": {"k:a": "false"}}, {}, "k:a would have to be present"),
    ],
)
def test_explain_condition_sentences(condition, context, sentence):
    layer = only(ask(context=context, identity=(policy({"Condition": condition}),)), Layer.IDENTITY)
    assert layer.statements[0].would_have_to_be_true == sentence


def test_explain_nearest_statements_come_first_and_other_actions_are_left_out():
    identity = policy(
        {"Action": "orders:Write"},
        {"Resource": "arn:aws:orders:::b"},
        {"Condition": {"Bool": {"k:x": True}}},
        {"Action": "*", "Resource": "arn:aws:orders:::c"},
    )
    layer = only(ask(identity=(identity,)), Layer.IDENTITY)
    assert [near.index for near in layer.statements] == [2, 1, 3]
    assert layer.omitted == 1
    assert layer.statements[1].would_have_to_be_true == "the resource would have to match one of [arn:aws:orders:::b]"


def raw(statement, kind=PolicyKind.IDENTITY):
    return NamedPolicy("raw", parse(json.dumps({"Version": "2012-10-17", "Statement": statement}), kind))


def test_explain_negated_elements_have_their_own_sentences():
    statement = {"Effect": "Allow", "Action": "*", "NotResource": ITEM}
    layer = only(ask(identity=(raw(statement),)), Layer.IDENTITY)
    assert layer.statements[0].would_have_to_be_true == f"the resource would have to be none of [{ITEM}]"
    deny = {"Effect": "Deny", "NotPrincipal": {"AWS": [ARN, "111111111111"]}, "Action": "*", "Resource": "*"}
    explanation = ask(identity=(policy({}),), resource=raw(deny, PolicyKind.RESOURCE))
    assert explanation.decision.allowed
    (near,) = only(explanation, Layer.RESOURCE).statements
    assert near.would_have_to_be_true == f"the principal would have to be none of [{ARN}, 111111111111]"
    other = {"Effect": "Allow", "NotAction": "orders:*", "Resource": "*"}
    assert only(ask(identity=(raw(other),)), Layer.IDENTITY).statements == ()


def test_explain_recreated_principal_says_that_it_is_another_entity():
    trust = policy({"Principal": {"AWS": ARN}, "Action": "sts:AssumeRole"}, name="trust", kind=PolicyKind.TRUST)
    explanation = ask(action="sts:AssumeRole", identity=(), resource=trust, bindings={ARN: "AIDAOLD"})
    (near,) = only(explanation, Layer.RESOURCE).statements
    assert near.failed_at == "principal"
    assert "the same entity" in near.would_have_to_be_true
    assert only(explanation, Layer.IDENTITY).verdict == "implicit_deny"


def test_explain_allowed_needs_nothing():
    explanation = ask(
        identity=(policy({}),), boundary=(policy({}),), session=((policy({}),),), guardrails=((policy({}),),)
    )
    assert explanation.decision.allowed
    assert explanation.would_have_to_be_true == ()
    assert {result.verdict for result in explanation.layers} == {"allow"}
    assert [result.layer for result in explanation.layers] == [
        Layer.GUARDRAIL,
        Layer.IDENTITY,
        Layer.BOUNDARY,
        Layer.SESSION,
    ]


def test_explain_direct_grant_makes_other_layers_not_required():
    granting = policy({"Principal": "*"}, kind=PolicyKind.RESOURCE)
    explanation = ask(identity=(), resource=granting, boundary=(), session=((),))
    assert explanation.decision.allowed
    assert [(r.layer, r.verdict) for r in explanation.layers] == [
        (Layer.RESOURCE, "allow"),
        (Layer.IDENTITY, "not_required"),
        (Layer.BOUNDARY, "not_required"),
        (Layer.SESSION, "not_required"),
    ]


def test_explain_explicit_deny_names_the_statement():
    explanation = ask(
        identity=(policy({}), policy({"Sid": "No", "Effect": "Deny"}, name="stop"), policy({"Effect": "Deny"}))
    )
    assert only(explanation, Layer.IDENTITY).verdict == "explicit_deny"
    assert explanation.would_have_to_be_true == (
        "statement at line 1 of p (identity-based policy) would have to stop denying orders:Read",
        "statement 'No' at line 1 of stop (identity-based policy) would have to stop denying orders:Read",
    )
    assert explanation.to_json()["determining"][1]["sid"] == "No"


def test_explain_missing_resource_layer_is_named():
    explanation = ask(same_account=False, identity=(policy({}),))
    assert explanation.decision.blocked_by is Layer.RESOURCE
    assert explanation.would_have_to_be_true == ("a resource-based policy would have to allow orders:Read",)


@pytest.mark.parametrize(
    ("effect", "remedy"),
    [
        ("Allow", "the role trust policy would have to allow sts:AssumeRole on arn:aws:orders:::a; nearest is "),
        ("Deny", "statement at line 1 of trust (role trust policy) would have to stop denying sts:AssumeRole"),
    ],
)
def test_explain_calls_a_trust_policy_what_the_denial_calls_it(effect, remedy):
    statement = {"Effect": effect, "Action": "sts:AssumeRole", "Principal": {"AWS": "222222222222"}}
    if effect == "Deny":
        statement["Principal"] = {"AWS": "*"}
    explanation = ask(action="sts:AssumeRole", resource=policy(statement, name="trust", kind=PolicyKind.TRUST))
    assert explanation.would_have_to_be_true[0].startswith(remedy)


def test_explain_broken_policy_is_an_explicit_deny():
    broken = NamedPolicy("broken", compile_stored("{", PolicyKind.IDENTITY))
    assert only(ask(identity=(broken,)), Layer.IDENTITY).verdict == "explicit_deny"


def test_explain_federated_and_anonymous_principals_are_shown():
    saml = PrincipalFacts("Anonymous", "", (), federated="arn:aws:iam::111111111111:saml-provider/x")
    assert ask(saml).principal == saml.federated
    assert ask(PrincipalFacts("Account", "111111111111", ())).decision.allowed


def test_explain_stays_small_whatever_it_holds():
    long = "x" * 800
    operators = ("StringEquals", "StringLike", "StringEqualsIgnoreCase")
    conditions = {op: {f"k:{i}": [long] * 6 for i in range(8)} for op in operators}
    big = policy({"Sid": "big", "Condition": conditions}, name=long)
    many = policy(*[{"Condition": {"StringEquals": {f"k:{i}": "x"}}} for i in range(300)])
    context = {f"k:{i}": (long,) * 6 for i in range(300)}
    explanation = ask(context=context, identity=(big,) * 20 + (many,), session=((many,), (many,)), boundary=(many,))
    assert len(json.dumps(explanation.to_json())) < 60_000
    assert only(explanation, Layer.IDENTITY).omitted > 250
    assert all(result.statements for result in explanation.layers)


# --- AWS's messages (IAM User Guide, "Troubleshoot access denied error messages") ----------------------------------

HEAD = f"User: {ARN} is not authorized to perform: orders:Read on resource: {ITEM}"


@pytest.mark.parametrize(
    ("layer", "implicit", "explicit"),
    [
        (
            Layer.IDENTITY,
            "because no identity-based policy allows the orders:Read action",
            "with an explicit deny in an identity-based policy",
        ),
        (
            Layer.RESOURCE,
            "because no resource-based policy allows the orders:Read action",
            "with an explicit deny in a resource-based policy",
        ),
        (
            Layer.BOUNDARY,
            "because no permissions boundary allows the orders:Read action",
            "with an explicit deny in a permissions boundary",
        ),
        (
            Layer.SESSION,
            "because no session policy allows the orders:Read action",
            "with an explicit deny in a session policy",
        ),
        (
            Layer.GUARDRAIL,
            "because no service control policy allows the orders:Read action",
            "with an explicit deny in a service control policy",
        ),
    ],
)
def test_denial_message_each_layer_is_worded_as_aws_does(layer, implicit, explicit):
    query = AccessQuery(ALICE, "orders:Read", ITEM, {})
    assert denial_message(query, Decision(False, layer), ARN) == f"{HEAD} {implicit}"
    assert denial_message(query, Decision(False, layer, explicit=True), ARN) == f"{HEAD} {explicit}"


def test_denial_message_names_the_managed_policy_that_denies():
    arn = "arn:aws:iam::111111111111:policy/stop"
    denials = {"named": policy({"Effect": "Deny"}, name=arn), "inline": policy({"Effect": "Deny"}, name="p")}
    query = AccessQuery(ALICE, "orders:Read", ITEM, {})

    def message(**layers):
        return denial_message(query, evaluate(query, Layers(same_account=True, **layers)), ARN)

    both = tuple(denials.values())
    assert message(identity=both) == f"{HEAD} with an explicit deny in an identity-based policy: {arn}"
    assert message(identity=both[1:]) == f"{HEAD} with an explicit deny in an identity-based policy"
    allowing = (policy({}),)
    assert (
        message(identity=allowing, boundary=both[:1])
        == f"{HEAD} with an explicit deny in a permissions boundary: {arn}"
    )


def test_denial_message_trust_policy_is_called_role_trust_policy():
    query = AccessQuery(ALICE, "sts:AssumeRole", "arn:aws:iam::1:role/r", {})
    head = f"User: {ARN} is not authorized to perform: sts:AssumeRole on resource: arn:aws:iam::1:role/r"
    assert denial_message(query, Decision(False, Layer.RESOURCE), ARN) == (
        f"{head} because no role trust policy allows the sts:AssumeRole action"
    )
    assert denial_message(query, Decision(False, Layer.RESOURCE, explicit=True), ARN) == (
        f"{head} with an explicit deny in the role trust policy"
    )


def test_denial_message_without_a_layer_says_no_reason():
    assert denial_message(AccessQuery(ALICE, "orders:Read", ITEM, {}), Decision(False), ARN) == HEAD

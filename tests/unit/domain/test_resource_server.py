"""The settings of a resource server: their limits, and the session policy of its scopes."""

from __future__ import annotations

import json
from typing import Any

import pytest

from daypass.domain.oauth.resource_server import MAX_POLICY, MAX_TEXT, ScopeSettings, parse_resource_server, policy_of
from daypass.domain.policy.document import PolicyKind, parse
from daypass.domain.policy.evaluate import evaluate
from daypass.domain.policy.layers import Layers, NamedPolicy
from daypass.domain.policy.model import AccessQuery, PrincipalFacts


@pytest.mark.parametrize("seconds", [0, 60, 43_200])
def test_parse_resource_server_token_seconds_within_limits(seconds: int) -> None:
    assert parse_resource_server(json.dumps({"token_seconds": seconds})).token_seconds == seconds


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"token_seconds": 59}, "token_seconds"),
        ({"token_seconds": 43_201}, "token_seconds"),
        ({"token_seconds": -1}, "token_seconds"),
        ({"scopes": {f"s{n}": {} for n in range(101)}}, "at most 100"),
        ({"scopes": {"a b": {}}}, "without spaces"),
        ({"default_scopes": ["read"]}, "unknown scope 'read'"),
        ({"unknown": 1}, "not valid"),
    ],
)
def test_parse_resource_server_outside_its_limits_is_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_resource_server(json.dumps(settings))


def test_parse_resource_server_of_the_longest_text_is_read_and_one_character_more_is_refused() -> None:
    longest = "{}".ljust(MAX_TEXT)
    assert parse_resource_server(longest).scopes == {}
    with pytest.raises(ValueError, match="too long"):
        parse_resource_server(longest + " ")


def test_policy_of_a_fraction_in_a_condition_is_text() -> None:
    settings = '{"scopes":{"a":{"policy":{"Statement":{"Condition":{"NumericLessThan":{"shop:total":1.50}}}}}}}'
    (statement,) = json.loads(policy_of(parse_resource_server(settings).scopes.values()))["Statement"]
    assert statement["Condition"] == {"NumericLessThan": {"shop:total": "1.50"}}


def test_policy_of_joins_the_statements_without_their_sids_up_to_the_limit() -> None:
    read = {"Statement": {"Sid": "S", "Effect": "Allow", "Action": "orders:Read", "Resource": "*"}}
    write = {"Statement": [{"Effect": "Allow", "Action": "orders:Write", "Resource": "*"}]}
    scopes = [ScopeSettings(policy=each) for each in (read, write, None)]
    statements = json.loads(policy_of(scopes))["Statement"]
    assert [(s["Action"], "Sid" in s) for s in statements] == [("orders:Read", False), ("orders:Write", False)]
    assert policy_of([ScopeSettings()]) == ""
    rest = MAX_POLICY - len(policy_of([ScopeSettings(policy={"Statement": [{"Action": ""}]})]))
    assert len(policy_of([ScopeSettings(policy={"Statement": [{"Action": "x" * rest}]})])) == MAX_POLICY
    with pytest.raises(ValueError, match="more than"):
        policy_of([ScopeSettings(policy={"Statement": [{"Action": "x" * (rest + 1)}]})])


def allows(policy: str, text: str) -> bool:
    """Whether the policy allows an action on the resource `text`, with the same text in the context."""
    user = PrincipalFacts("User", ACCOUNT, ((f"arn:aws:iam::{ACCOUNT}:user/ann", "AIDAANN"),))
    context = {"aws:username": "ann", "aws:requesttag/of": text}
    layers = Layers(same_account=True, identity=(NamedPolicy("p", parse(policy, PolicyKind.SESSION)),))
    return evaluate(AccessQuery(user, "s3:GetObject", text, context), layers).allowed


ACCOUNT = "111122223333"
TEXTS = (
    *(
        "arn:aws:s3:::b/${aws:username}/*",
        "arn:aws:s3:::b/$${aws:username}",
        "arn:aws:s3:::b/${*}/x?z",
        "arn:aws:s3:::b/$",
    ),
    *("arn:aws:s3:::b/${", "arn:aws:s3:::b/${$}", "arn:aws:s3:::b/${aws:username, 'x'}", "arn:aws:s3:::b/}{$*"),
)


@pytest.mark.parametrize("version", ["2008-10-17", None])
@pytest.mark.parametrize("text", TEXTS)
def test_policy_of_an_older_version_keeps_the_meaning_of_dollar_signs(version: str | None, text: str) -> None:
    """`${...}` is plain text in a policy of 2008-10-17, which is also the default; scopes are merged into one of 2012-10-17."""
    condition = {"StringLike": {"aws:RequestTag/of": text}}
    statement = {"Effect": "Allow", "Action": "s3:GetObject", "Resource": text, "Condition": condition}
    own = {"Statement": statement, **({"Version": version} if version else {})}
    merged = policy_of([ScopeSettings(policy=own), ScopeSettings(policy={"Version": "2012-10-17", "Statement": []})])
    assert json.loads(merged)["Version"] == "2012-10-17"
    for asked in (text, text.replace("${aws:username}", "ann"), text.replace("*", "xyz"), text.replace("?", "y")):
        assert allows(json.dumps(own), asked) is allows(merged, asked), asked
    assert allows(merged, text)


def test_policy_of_the_newer_version_keeps_its_variables() -> None:
    statement = {"Effect": "Allow", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::b/${aws:username}"}
    merged = policy_of([ScopeSettings(policy={"Version": "2012-10-17", "Statement": statement})])
    assert json.loads(merged)["Statement"] == [statement]

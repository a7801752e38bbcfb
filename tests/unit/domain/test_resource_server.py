"""The settings of a resource server: their limits, and the session policy of its scopes."""

from __future__ import annotations

import json
from typing import Any

import pytest

from daypass.domain.oauth.resource_server import MAX_POLICY, MAX_TEXT, ScopeSettings, parse_resource_server, policy_of


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

"""Statements of a trust policy in plain language."""

from __future__ import annotations

import json
from typing import Any

import pytest

from daypass.domain.policy.document import PolicyKind, parse
from daypass.domain.policy.plain import PlainStatement, plain


def statement(**members: Any) -> PlainStatement:
    given = {"Effect": "Allow", "Principal": {"AWS": "*"}, "Action": "sts:AssumeRole", **members}
    text = json.dumps({"Version": "2012-10-17", "Statement": given})
    [found] = plain(parse(text, PolicyKind.TRUST))
    return found


@pytest.mark.parametrize(
    ("principal", "words"),
    [
        ({"AWS": "*"}, "everyone"),
        ({"AWS": "111122223333"}, "principals of account 111122223333 whose own policies allow it"),
        ({"AWS": "arn:aws:iam::111122223333:root"}, "principals of account 111122223333 whose own policies allow it"),
        ({"AWS": "arn:aws:iam::111122223333:user/ann"}, "the user ann of account 111122223333"),
        ({"AWS": "arn:aws:sts::111122223333:assumed-role/r/s"}, "the session s of the role r of account 111122223333"),
        ({"Service": "rolesanywhere.amazonaws.com"}, "the service rolesanywhere.amazonaws.com"),
        (
            {"Federated": "arn:aws:iam::111122223333:oidc-provider/a.example"},
            "people and workloads of the identity provider a.example",
        ),
    ],
)
def test_plain_principal_is_named_in_words(principal: dict[str, str], words: str) -> None:
    assert statement(Principal=principal).principals == (words,)


@pytest.mark.parametrize(
    ("condition", "words"),
    [
        ({"Bool": {"daypass:Approved": "true"}}, "an approved access request exists"),
        ({"BoolIfExists": {"aws:MultiFactorAuthPresent": "true"}}, "the caller has used MFA, or it is absent"),
        ({"Bool": {"aws:SecureTransport": ["true", "false"]}}, "aws:securetransport is true or false"),
        ({"Null": {"aws:SourceIdentity": "true"}}, "aws:sourceidentity is absent"),
        ({"Null": {"aws:SourceIdentity": "false"}}, "aws:sourceidentity is present"),
        ({"StringLike": {"aws:username": ["a*", "b*"]}}, "aws:username matches a* or b*"),
        ({"StringNotEquals": {"aws:username": ["a", "b"]}}, "aws:username is not a and not b"),
        ({"ForAllValues:StringEquals": {"aws:TagKeys": "team"}}, "each value of aws:tagkeys is team"),
        ({"ForAnyValue:StringEquals": {"aws:TagKeys": "team"}}, "one value of aws:tagkeys is team"),
    ],
)
def test_plain_condition_is_a_sentence(condition: dict[str, Any], words: str) -> None:
    assert statement(Condition=condition).conditions == (words,)


def test_plain_permissions_name_their_resources() -> None:
    found = {"Effect": "Deny", "NotAction": "sts:AssumeRole", "NotResource": ["arn:aws:s3:::a", "arn:aws:s3:::b"]}
    every = {"Effect": "Allow", "Action": ["*", "sts:AssumeRole"], "Resource": ["arn:aws:s3:::a", "*"]}
    text = json.dumps({"Version": "2012-10-17", "Statement": [found, every]})
    denied, allowed = plain(parse(text, PolicyKind.IDENTITY))
    assert (denied.actions, denied.allows) == (("everything except: sts:AssumeRole",), False)
    assert denied.resources == ("everything except: arn:aws:s3:::a, arn:aws:s3:::b",)
    assert (allowed.actions, allowed.resources) == (("do everything", "sts:AssumeRole"), ("every resource",))
    assert not allowed.principals


def test_plain_actions_are_named_once_and_a_deny_does_not_allow() -> None:
    assert statement(Action=["sts:AssumeRole", "sts:assumerole", "sts:TagSession"]).actions == (
        "assume the role",
        "set session tags",
    )
    denied = statement(Effect="Deny", Action=["sts:TagSession", "sts:SetSourceIdentity"])
    assert (denied.allows, denied.actions) == (False, ("set session tags", "set a source identity"))

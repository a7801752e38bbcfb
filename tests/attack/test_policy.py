"""Attacks on policies, over the whole application: rows A38 to A49, and comparisons that cost much (A113).
tests/reference proves the evaluator.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable
from typing import Any

import pytest
from tests.attack.installation import ALPHA, EVERYTHING, ROOT, Answer, Installation, Key, document, trust

Refused = Callable[..., dict[str, Any]]
LISTED = f"arn:aws:iam::{ALPHA}:user/"


def put(site: Installation, text: str, user: str = "victim") -> Answer:
    """Whether this is a policy at all, by IAM's judgement."""
    params = {"UserName": user, "PolicyName": "p", "PolicyDocument": text}
    return site.call(ROOT, "PutUserPolicy", params, service="iam")


@pytest.fixture(scope="module")
def ann(site: Installation) -> Key:
    site.iam("CreateUser", UserName="victim")
    return site.user("ann", policy=EVERYTHING)[1]


def under(site: Installation, *statements: dict[str, Any]) -> Key:
    """The key of a new user whose only policy this is."""
    return site.user(f"u-{secrets.token_hex(4)}", policy=document(*statements))[1]


def may_list(site: Installation, key: Key) -> bool:
    answer = site.call(key, "ListUsers", service="iam")
    assert answer.status in (200, 403)
    return answer.status == 200


@pytest.mark.parametrize(
    "text",
    [
        '{"Version":"2012-10-17","Statement":[{"Effect":"Deny","Effect":"Allow","Action":"*","Resource":"*"}]}',
        '{"Version":"2012-10-17","Statement":[{"Effect":"Deny","\\u0045ffect":"Allow","Action":"*","Resource":"*"}]}',
        '{"Version":"2012-10-17","Statement":[],"Statement":[{"Effect":"Allow","Action":"*","Resource":"*"}]}',
        '{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"*","Resource":"*","Condition":{"Null":{},"Null":{}}}]}',
    ],
)
def test_a38_duplicate_key_is_a_malformed_policy(site: Installation, ann: Key, refused: Refused, text: str) -> None:
    refused(put(site, text), "MalformedPolicyDocument", 400, "request.failed")
    trusted = {"RoleName": "twice", "AssumeRolePolicyDocument": text}
    refused(site.call(ROOT, "CreateRole", trusted, service="iam"), "MalformedPolicyDocument", 400)
    asked = {"RoleArn": f"arn:aws:iam::{ALPHA}:role/any", "RoleSessionName": "job", "Policy": text}
    refused(site.call(ann, "AssumeRole", asked), "MalformedPolicyDocument", 400)


def test_a42_absent_variable_matches_nothing(site: Installation) -> None:
    resource = f"arn:aws:iam::{ALPHA}:user/${{aws:PrincipalTag/none}}*"
    key = under(site, {"Action": "iam:GetUser", "Resource": resource})
    answer = site.call(key, "GetUser", {"UserName": "victim"}, service="iam")
    assert answer.code == "AccessDenied"


def test_a42_name_that_begins_with_anothers_is_not_the_other(site: Installation) -> None:
    """MinIO#7791: alice's policy on `${aws:username}` gives her nothing of alice2."""
    policy = document({"Action": "iam:GetUser", "Resource": f"{LISTED}${{aws:username}}"})
    _, alice = site.user("alice", policy=policy)
    _, alice2 = site.user("alice2", policy=policy)
    for key, own, other in ((alice, "alice", "alice2"), (alice2, "alice2", "alice")):
        assert site.call(key, "GetUser", {"UserName": own}, service="iam").status == 200
        assert site.call(key, "GetUser", {"UserName": other}, service="iam").code == "AccessDenied"


@pytest.mark.parametrize(
    "action", ["iam:[L]istUsers", "iam:ListUsers\n", "\niam:ListUsers", "iam:ListUsers\0", "iam:List.*"]
)
def test_a43_what_is_no_wildcard_is_literal(site: Installation, ann: Key, action: str) -> None:
    text = document({"Action": action, "Resource": "*"})
    if put(site, text).status == 200:
        assert not may_list(site, under(site, {"Action": action, "Resource": "*"}))


@pytest.mark.parametrize("name", ["\u212a", "\u017f", "\u212b"])
def test_a44_look_alikes_of_a_tag_are_other_values(site: Installation, name: str) -> None:
    """A tag value that Unicode would fold or compose into the wanted one does not match."""
    wanted = {"\u212a": "K", "\u017f": "s", "\u212b": "\u00c5"}[name]
    condition = {"StringEqualsIgnoreCase": {"aws:PrincipalTag/team": wanted}}
    key = under(site, {"Action": "iam:ListUsers", "Resource": "*", "Condition": condition})
    user = site.call(key, "GetCallerIdentity").text("Arn").rpartition("/")[2]
    tagging = {"UserName": user, "Tags.member.1.Key": "team"}
    site.iam("TagUser", **{**tagging, "Tags.member.1.Value": name})
    assert not may_list(site, key)
    site.iam("TagUser", **{**tagging, "Tags.member.1.Value": wanted})
    assert may_list(site, key)


@pytest.mark.parametrize(
    ("operator", "key", "value", "allowed"),
    [
        ("StringEquals", "aws:PrincipalTag/none", "x", False),
        ("StringEqualsIfExists", "aws:PrincipalTag/none", "x", True),
        ("StringNotEquals", "aws:PrincipalTag/none", "x", True),
        ("ForAllValues:StringEquals", "aws:TagKeys", "x", True),
        ("ForAnyValue:StringEquals", "aws:TagKeys", "x", False),
        ("ForAnyValue:StringNotEquals", "aws:TagKeys", "x", False),
        ("Null", "aws:PrincipalTag/none", "true", True),
        ("Null", "aws:PrincipalTag/none", "false", False),
        ("Bool", "aws:MultiFactorAuthPresent", "true", False),
        ("BoolIfExists", "aws:MultiFactorAuthPresent", "true", True),
    ],
)
def test_a45_absent_keys_follow_awss_truth_table(
    site: Installation, operator: str, key: str, value: str, allowed: bool
) -> None:
    condition = {operator: {key: value}}
    assert may_list(site, under(site, {"Action": "*", "Resource": "*", "Condition": condition})) is allowed


def test_a46_deny_wins_wherever_it_stands(site: Installation, refused: Refused) -> None:
    deny = {"Effect": "Deny", "Action": "iam:ListUsers", "Resource": "*"}
    key = under(site, {"Action": "*", "Resource": "*"}, deny)
    refused(site.call(key, "ListUsers", service="iam"), "AccessDenied", 403, "request.denied")
    all_but = {"Effect": "Deny", "NotAction": "iam:Get*", "Resource": "*"}
    key = under(site, {"Action": "*", "Resource": "*"}, all_but)
    assert not may_list(site, key)
    arn, trusted = site.user("trusted", policy=EVERYTHING)
    spared = json.loads(trust(arn))
    spared["Statement"].append({"Effect": "Deny", "Principal": {"AWS": arn}, "Action": "sts:*"})
    role = site.role("denied", json.dumps(spared))
    refused(site.assume(trusted, role), "AccessDenied", 403, "request.denied")


def test_a46_session_policy_and_boundary_only_take_away(site: Installation, ann: Key) -> None:
    role = site.role("narrow", trust(ALPHA), policy=document({"Action": "iam:GetUser", "Resource": "*"}))
    wide = site.assume(ann, role, Policy=EVERYTHING)
    assert not may_list(site, wide.key)
    bounded = under(site, {"Action": "iam:ListUsers", "Resource": "*"})
    user = site.call(bounded, "GetCallerIdentity").text("Arn").rpartition("/")[2]
    assert may_list(site, bounded)
    boundary = site.iam(
        "CreatePolicy", PolicyName="bound", PolicyDocument=document({"Action": "s3:*", "Resource": "*"})
    )
    site.iam("PutUserPermissionsBoundary", UserName=user, PermissionsBoundary=boundary.text("Arn"))
    assert not may_list(site, bounded)


@pytest.mark.parametrize(
    ("operator", "network", "allowed"),
    [
        ("IpAddress", "127.0.0.0/8", True),
        ("IpAddress", "::ffff:127.0.0.1", True),
        ("NotIpAddress", "::ffff:127.0.0.1", False),
        ("IpAddress", "::ffff:10.0.0.1", False),
    ],
)
def test_a48_mapped_addresses_are_the_addresses_they_map(
    site: Installation, operator: str, network: str, allowed: bool
) -> None:
    condition = {operator: {"aws:SourceIp": network}}
    assert may_list(site, under(site, {"Action": "*", "Resource": "*", "Condition": condition})) is allowed


def _around(value: str) -> str:
    return f'{{"Version":"2012-10-17","Statement":[{{"Effect":"Allow","Action":"*","Resource":{value}}}]}}'


@pytest.mark.parametrize(
    "text",
    [
        "[" * 100_000,
        '{"a":' * 60_000,
        _around("[" * 50_000 + "]" * 50_000),
        _around("1" * 5000),
        _around("-1e999"),
        _around("NaN"),
        _around('"\\ud800"'),
        _around('"\\udfff\\ud800"'),
        _around('"\x00"'),
        "\ufeff" + _around('"*"'),
        _around('"*"') + "\x00",
        _around('"*"') + "]",
        "",
        " ",
        "null",
        '"x"',
        "\ud800",
        "\U0001f511" * 1000,
        document({"Action": "s3:*", "Resource": "${" * 60_000}),
        document({"Action": "s3:*", "Resource": "arn:aws:s3:::" + "${" * 60_000}),
    ],
)
def test_a49_hostile_document_is_a_400(site: Installation, ann: Key, refused: Refused, text: str) -> None:
    asked = {"RoleArn": f"arn:aws:iam::{ALPHA}:role/any", "RoleSessionName": "job", "Policy": text}
    for answer in (put(site, text), site.call(ann, "AssumeRole", asked)):
        assert answer.status == 400
        assert answer.code in ("MalformedPolicyDocument", "ValidationError", "MalformedInput")
        refused(answer, answer.code, 400)


AGENT = "b" * 12_000


def test_a113_decision_over_its_budget_is_refused_and_on_the_record(site: Installation, refused: Refused) -> None:
    """A Deny that would take too long to test is never skipped: the whole request is refused."""
    patterns = [f"*?b{number:03}?*" for number in range(450)]
    deny = {
        "Effect": "Deny",
        "Action": "iam:*",
        "Resource": "*",
        "Condition": {"StringLike": {"aws:UserAgent": patterns}},
    }
    _, key = site.user("a113", policy=document({"Action": "iam:*", "Resource": "*"}))
    made = site.iam("CreatePolicy", PolicyName="a113", PolicyDocument=document(deny))
    site.iam("AttachUserPolicy", UserName="a113", PolicyArn=made.text("Arn"))
    assert site.call(key, "ListUsers", service="iam").status == 200
    answer = site.call(key, "ListUsers", service="iam", extra={"user-agent": AGENT})
    record = refused(answer, "AccessDenied", 403, "request.denied")
    assert "takes too many steps" in answer.text("Message")
    assert record["decision"]["over_budget"] is True


def test_a113_session_policy_of_many_patterns_on_a_long_header_is_decided_cheaply(site: Installation) -> None:
    """198 such patterns cost two seconds of the event loop for each request."""
    patterns = [f"*?b{number:03}*" for number in range(120)]
    condition = {"StringLike": {"aws:UserAgent": [*patterns, "b*"]}}
    _, key = site.user("a113-session", policy=document({"Action": "sts:AssumeRole", "Resource": "*"}))
    role = site.role("a113-session", trust(f"arn:aws:iam::{ALPHA}:root"), policy=EVERYTHING)
    narrow = document({"Action": "iam:ListUsers", "Resource": "*", "Condition": condition})
    session = site.assume(key, role, Policy=narrow).key
    assert site.call(session, "ListUsers", service="iam", extra={"user-agent": AGENT}).status == 200
    assert site.call(session, "ListUsers", service="iam", extra={"user-agent": "x" + AGENT}).code == "AccessDenied"

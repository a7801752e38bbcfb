"""Attacks by trust in everyone of a shared issuer: row A117, refused when the trust policy is written."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import Any

import pytest
from tests.attack.installation import ALPHA, ROOT, Answer, Installation, document

from daypass.domain.policy.compiled import PolicyKind
from daypass.domain.policy.lint.run import lint_text

Refused = Callable[..., dict[str, Any]]
GITHUB = "token.actions.githubusercontent.com"
GOOGLE = "accounts.google.com"
ARN = f"arn:aws:iam::{ALPHA}:oidc-provider/"
SAML = f"arn:aws:iam::{ALPHA}:saml-provider/corp"
BY_TOKEN, BY_ASSERTION = "sts:AssumeRoleWithWebIdentity", "sts:AssumeRoleWithSAML"


def trusting(principal: Any, action: Any = BY_TOKEN, condition: Any = None, **more: Any) -> str:
    statement = {"Principal": principal, "Action": action, **more}
    return document(statement | ({"Condition": condition} if condition else {}))


def create(site: Installation, text: str, name: str = "a117") -> Answer:
    return site.call(ROOT, "CreateRole", {"RoleName": name, "AssumeRolePolicyDocument": text}, service="iam")


AUD = {"StringEquals": {f"{GITHUB}:aud": "sts.amazonaws.com"}}
OPTIONAL = {"StringLikeIfExists": {f"{GITHUB}:sub": "repo:acme/*"}}
BROAD = [
    trusting("*"),
    trusting({"AWS": "*"}),
    trusting({"AWS": ["*", f"arn:aws:iam::{ALPHA}:root"]}),
    trusting("*", ["sts:AssumeRole", BY_TOKEN]),
    trusting("*", "sts:AssumeRoleWith*"),
    trusting("*", "sts:*"),
    trusting("*", "STS:assumerolewithWEBidentity"),
    document({"Principal": "*", "NotAction": "sts:TagSession"}),
    trusting("*", BY_TOKEN, AUD),
    trusting("*", BY_TOKEN, OPTIONAL),
    trusting("*", BY_TOKEN, {"StringLike": {f"{GITHUB}:sub": "repo:*"}}),
    trusting("*", BY_TOKEN, {"StringLike": {f"{GITHUB}:a:b": "x"}}),
    trusting("*", BY_TOKEN, {"StringEquals": {"aws:PrincipalAccount": ALPHA}}),
    trusting("*", BY_TOKEN, {"StringEquals": {"aws:FederatedProvider": ARN + GITHUB}}),
    trusting("*", BY_TOKEN, {"StringLike": {"aws:FederatedProvider": ARN + "*"}}),
    trusting({"Federated": ARN + GITHUB}),
    trusting({"Federated": GITHUB}),
    trusting({"Federated": ARN + GITHUB}, BY_TOKEN, AUD),
    trusting({"Federated": GOOGLE}),
    trusting({"Federated": ARN + GOOGLE}),
    trusting("*", BY_ASSERTION),
    trusting({"AWS": "*"}, BY_ASSERTION, {"StringEquals": {"saml:aud": "https://signin.aws.amazon.com/saml"}}),
    trusting("*", BY_ASSERTION, {"StringLike": {"saml:sub": "*"}}),
]


@pytest.mark.parametrize("text", BROAD)
def test_a117_trust_in_everyone_of_a_shared_issuer_is_refused_at_write(
    site: Installation, refused: Refused, text: str
) -> None:
    refused(create(site, text), "MalformedPolicyDocument", 400, "request.failed")
    missing = site.call(ROOT, "GetRole", {"RoleName": "a117"}, service="iam")
    assert missing.code == "NoSuchEntity"


def test_a117_trust_is_not_widened_by_an_update(site: Installation, refused: Refused) -> None:
    narrow = trusting({"Federated": ARN + GITHUB}, BY_TOKEN, {"StringLike": {f"{GITHUB}:sub": "repo:acme/shop:*"}})
    assert create(site, narrow, "a117-update").status == 200
    asked = {"RoleName": "a117-update", "PolicyDocument": BROAD[0]}
    refused(site.call(ROOT, "UpdateAssumeRolePolicy", asked, service="iam"), "MalformedPolicyDocument", 400)


@pytest.mark.parametrize(
    "text",
    [
        trusting("*", "sts:AssumeRole"),
        trusting("*", BY_TOKEN, {"StringLike": {f"{GITHUB}:sub": "repo:acme/shop:*"}}),
        trusting("*", BY_TOKEN, {"StringEquals": {"idp.example.com:8443/realms/a:sub": "job"}}),
        trusting({"Federated": ARN + GITHUB}, BY_TOKEN, {"StringLike": {f"{GITHUB}:sub": "repo:acme/shop:*"}}),
        trusting({"Federated": GOOGLE}, BY_TOKEN, {"StringEquals": {f"{GOOGLE}:sub": "1120104"}}),
        trusting({"Federated": GOOGLE}, BY_TOKEN, {"StringEquals": {f"{GOOGLE}:aud": "client.example"}}),
        trusting({"Federated": SAML}, BY_ASSERTION),
        trusting("*", BY_ASSERTION, {"StringEquals": {"saml:iss": "https://idp.example.com"}}),
        trusting("*", BY_ASSERTION, {"StringEquals": {"aws:FederatedProvider": SAML}}),
        trusting("*", "sts:*", Effect="Deny"),
    ],
)
def test_a117_trust_that_names_whom_it_means_is_taken(site: Installation, text: str) -> None:
    answer = create(site, text, f"a117-{zlib.crc32(text.encode())}")
    assert answer.status == 200, answer.body


def test_a117_lint_says_which_identities_are_let_in() -> None:
    def why(text: str) -> list[str]:
        return [found.why for found in lint_text(text, PolicyKind.TRUST) if found.id == "trust-public"]

    assert ["a token of any identity provider" in w for w in why(trusting("*"))] == [True]
    assert ["an assertion of any identity provider" in w for w in why(trusting("*", BY_ASSERTION))] == [True]
    assert ["Every user and role" in w for w in why(trusting("*", "sts:AssumeRole"))] == [True]
    assert len(why(trusting("*", "sts:*"))) == 3


@pytest.mark.parametrize("kind", ["trust", "identity"])
def test_a117_empty_block_of_an_unknown_operator_is_refused(site: Installation, refused: Refused, kind: str) -> None:
    statement: dict[str, Any] = {"Action": "sts:AssumeRole", "Condition": {"Bogus": {}}}
    if kind == "trust":
        answer = create(site, document({**statement, "Principal": {"AWS": ALPHA}}))
    else:
        asked = {"PolicyName": "a117", "PolicyDocument": document({**statement, "Resource": "*"})}
        answer = site.call(ROOT, "CreatePolicy", asked, service="iam")
    refused(answer, "MalformedPolicyDocument", 400, "request.failed")

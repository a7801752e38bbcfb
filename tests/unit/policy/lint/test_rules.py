"""The lint: its rules, and what it knows."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from daypass.domain.access.request import keys_of
from daypass.domain.assumption import Assumption
from daypass.domain.directory import Grant
from daypass.domain.policy.compiled import PolicyKind
from daypass.domain.policy.lint.finding import RULES, Severity
from daypass.domain.policy.lint.grants import FAMILIES, KNOWN, Facts
from daypass.domain.policy.lint.run import lint_text

OWN, FRIEND, OTHER = "111122223333", "222233334444", "999988887777"
FACTS = Facts(account=OWN, accounts=frozenset({OWN, FRIEND}))
POWERFUL = Facts(account=OWN, accounts=frozenset({OWN}), powerful=True, max_session_seconds=12 * 3600)
GITHUB = "token.actions.githubusercontent.com"
CLUSTER = "oidc.cluster.example.com/id/AB12"


def document(*statements: dict[str, Any], version: str = "2012-10-17") -> str:
    return json.dumps({"Version": version, "Statement": list(statements)}, indent=1)


def trusting(principal: Any, condition: Any = None, action: Any = "sts:AssumeRole", effect: str = "Allow") -> str:
    statement = {"Effect": effect, "Principal": principal, "Action": action}
    return document(statement | ({"Condition": condition} if condition else {}))


def oidc(url: str, *conditions: Any, aud: bool = True) -> str:
    merged: dict[str, dict[str, Any]] = {"StringEquals": {f"{url}:aud": "sts.amazonaws.com"}} if aud else {}
    for condition in conditions:
        for name, keys in condition.items():
            merged.setdefault(name, {}).update(keys)
    provider = {"Federated": f"arn:aws:iam::{OWN}:oidc-provider/{url}"}
    return trusting(provider, merged, "sts:AssumeRoleWithWebIdentity")


def sub(url: str, value: Any, operator: str = "StringLike") -> dict[str, Any]:
    return {operator: {f"{url}:sub": value}}


def acting(arn: str) -> dict[str, Any]:
    return {"ArnEquals": {"daypass:ActorArn": arn}}


def allowing(action: Any, resource: Any = "*", condition: Any = None, **more: Any) -> dict[str, Any]:
    statement = {"Effect": "Allow", "Action": action, "Resource": resource, **more}
    return statement | ({"Condition": condition} if condition else {})


def denying(action: Any, resource: Any = "*") -> dict[str, Any]:
    return {"Effect": "Deny", "Action": action, "Resource": resource}


def given(condition: Any, **more: Any) -> str:
    return document(allowing("orders:Read", "arn:aws:orders:::o/1", condition, **more))


def ids(text: str, kind: PolicyKind, facts: Facts = FACTS) -> set[str]:
    return {finding.id for finding in lint_text(text, kind, facts)}


USER = f"arn:aws:iam::{OWN}:user/alice"
THEIR_ROLE = f"arn:aws:iam::{OTHER}:role/vendor"
MFA = {"Bool": {"aws:MultiFactorAuthPresent": "true"}}
EXTERNAL = {"StringEquals": {"sts:ExternalId": "7f3a"}}
SAML = {"Federated": f"arn:aws:iam::{OWN}:saml-provider/Corp"}
CERTIFICATES = {"Service": "rolesanywhere.amazonaws.com"}
ANCHOR = {"ArnEquals": {"aws:SourceArn": f"arn:aws:rolesanywhere:eu-1:{OWN}:trust-anchor/a"}}

TRUST = [
    ("trust-public", trusting("*"), trusting("*", {"StringEquals": {"aws:PrincipalAccount": OWN}})),
    ("trust-public", trusting({"AWS": "*"}, EXTERNAL), trusting({"AWS": USER})),
    ("trust-public", trusting("*", {"StringLikeIfExists": {"aws:PrincipalArn": USER}}), trusting({"AWS": USER})),
    ("trust-public", trusting("*", {"StringLike": {"aws:PrincipalArn": "*"}}), trusting({"AWS": USER})),
    ("trust-public", trusting("*", {"ArnLike": {"aws:PrincipalArn": "arn:aws:iam::*:role/deploy"}}),
     trusting("*", {"ArnLike": {"aws:PrincipalArn": f"arn:aws:iam::{OWN}:role/*"}})),
    ("trust-public", trusting("*", {"StringLike": {"aws:PrincipalArn": [USER, "arn:aws:*"]}}),
     trusting("*", {"StringLike": {"aws:PrincipalOrgID": "o-acme*"}})),
    ("trust-public", trusting("*", {"StringEquals": {"aws:PrincipalTag/team": "red"}}),
     trusting("*", {"StringEquals": {"aws:PrincipalTag/team": "red", "aws:PrincipalAccount": OWN}})),
    ("trust-own-account", trusting({"AWS": OWN}), trusting({"AWS": OWN}, {"ArnLike": {"aws:PrincipalArn": USER}})),
    ("trust-own-account", trusting({"AWS": OWN}), trusting({"AWS": OWN}, {"Bool": {"daypass:Approved": "true"}})),
    ("trust-whole-account", trusting({"AWS": f"arn:aws:iam::{FRIEND}:root"}), trusting({"AWS": USER})),
    ("trust-no-external-id", trusting({"AWS": THEIR_ROLE}), trusting({"AWS": THEIR_ROLE}, EXTERNAL)),
    ("trust-no-external-id", trusting({"AWS": OTHER}), trusting({"AWS": FRIEND})),
    ("trust-gone-principal", trusting({"AWS": "AROAABCDEFGHIJKLMNOPQ"}), trusting({"AWS": USER})),
    ("trust-wrong-action", trusting(SAML, {"StringEquals": {"saml:aud": "a"}}), trusting({"AWS": USER})),
    ("trust-wrong-action", trusting({"AWS": USER}, action="sts:AssumeRoleWithSAML"), trusting({"AWS": USER}, action="sts:*")),
    ("saml-no-audience", trusting(SAML, action="sts:AssumeRoleWithSAML"),
     trusting(SAML, {"StringEquals": {"saml:aud": "a"}}, "sts:AssumeRoleWithSAML")),
    ("trust-certificate-any", trusting(CERTIFICATES), trusting(CERTIFICATES, ANCHOR)),
    ("oidc-no-subject", oidc(GITHUB), oidc(GITHUB, sub(GITHUB, "repo:acme/shop:*"))),
    ("oidc-no-subject", oidc(GITHUB, {"StringLikeIfExists": {f"{GITHUB}:sub": "repo:acme/*"}}),
     oidc(GITHUB, {"StringEquals": {f"{GITHUB}:repository_owner": "acme"}})),
    ("oidc-wide-subject", oidc(GITHUB, sub(GITHUB, "repo:*")), oidc(GITHUB, sub(GITHUB, "repo:acme/*"))),
    ("oidc-wide-subject", oidc(GITHUB, sub(GITHUB, "repo:acme*")), oidc(GITHUB, sub(GITHUB, "repo:acme/a?:*"))),
    ("oidc-wide-subject", oidc(GITHUB, sub(GITHUB, ["repo:acme/x:*", "*:pull_request"])),
     oidc(GITHUB, sub(GITHUB, ["repo:acme/x:*", "repo:acme/y:*"]))),
    ("oidc-wide-subject", oidc("gitlab.com", sub("gitlab.com", "project_path:*/x:*")),
     oidc("gitlab.com", sub("gitlab.com", "project_path:acme/x:*"))),
    ("oidc-wide-subject", oidc("app.terraform.io", sub("app.terraform.io", "organization:*:project:p:*")),
     oidc("app.terraform.io", sub("app.terraform.io", "organization:acme:*"))),
    ("oidc-wide-subject", oidc("agent.buildkite.com", sub("agent.buildkite.com", "organization:ac*")),
     oidc("agent.buildkite.com", sub("agent.buildkite.com", "organization:acme:pipeline:*"))),
    ("oidc-any-subject", oidc(CLUSTER), oidc(CLUSTER, sub(CLUSTER, "system:serviceaccount:shop:web", "StringEquals"))),
    ("oidc-any-subject", oidc(CLUSTER, sub(CLUSTER, "*:web")), oidc(CLUSTER, sub(CLUSTER, "team-a:*"))),
    ("oidc-any-subject", oidc(CLUSTER, acting("arn:*")), oidc(CLUSTER, acting(f"arn:aws:iam::{OWN}:role/agent"))),
    ("oidc-no-audience", oidc(GITHUB, sub(GITHUB, "repo:acme/*"), aud=False), oidc(GITHUB, sub(GITHUB, "repo:acme/*"))),
    ("oidc-unknown-claim", oidc(GITHUB, sub(GITHUB, "repo:acme/*"), {"StringEquals": {f"{GITHUB}:repo": "x"}}),
     oidc(GITHUB, sub(GITHUB, "repo:acme/*"), {"StringEquals": {f"{GITHUB}:repository": "acme/x"}})),
    ("oidc-unknown-provider", oidc(GITHUB, sub(GITHUB, "repo:acme/*")).replace(OWN, OTHER),
     oidc(GITHUB, sub(GITHUB, "repo:acme/*"))),
    ("kubernetes-any-namespace", oidc(CLUSTER, sub(CLUSTER, "system:serviceaccount:*:x")),
     oidc(CLUSTER, sub(CLUSTER, "system:serviceaccount:shop:x"))),
    ("kubernetes-any-namespace", oidc(CLUSTER, sub(CLUSTER, "system:serviceaccount:*")),
     oidc(CLUSTER, sub(CLUSTER, "system:serviceaccount:*"), {"StringEquals": {f"{CLUSTER}:kubernetes.io/namespace": "n"}})),
    ("kubernetes-any-namespace", oidc(CLUSTER, {"StringEquals": {f"{CLUSTER}:kubernetes.io/serviceaccount/name": "web"}}),
     oidc(CLUSTER, {"StringEquals": {f"{CLUSTER}:kubernetes.io/serviceaccount/name": "web",
                                     f"{CLUSTER}:kubernetes.io/namespace": "shop"}})),
    ("kubernetes-any-account", oidc(CLUSTER, sub(CLUSTER, "system:serviceaccount:shop:*")),
     oidc(CLUSTER, sub(CLUSTER, "system:serviceaccount:shop:web"))),
]  # fmt: skip

IDENTITY = [
    ("grant-everything", document(allowing("*")), document(allowing("*", condition=MFA))),
    ("grant-by-exclusion", document({"Effect": "Allow", "NotAction": "iam:*", "Resource": "arn:aws:s3:::b"}),
     document({"Effect": "Deny", "NotAction": "iam:*", "Resource": "*"})),
    ("grant-escalation", document(allowing("iam:*")), document(allowing("iam:Get*"))),
    ("grant-escalation", document(allowing("iam:CreateAccessKey")),
     document(allowing("iam:CreateAccessKey", f"arn:aws:iam::{OWN}:user/${{aws:username}}"))),
    ("grant-escalation", document(allowing("iam:PassRole", f"arn:aws:iam::{OWN}:role/*")),
     document(allowing("iam:PassRole", "*", {"StringEquals": {"iam:PassedToService": "build.example.com"}}))),
    ("grant-escalation", document(allowing("IAM:updateassumerolepolicy")),
     document(allowing("iam:UpdateAssumeRolePolicy", f"arn:aws:iam::{OWN}:role/deploy"))),
    ("condition-never-true", given({"StringEquals": {"aws:PrincipalTag/team": "a"},
                                    "StringLike": {"aws:PrincipalTag/team": "b*"}}),
     given({"StringEquals": {"aws:PrincipalTag/team": ["a", "bc"]}, "StringLike": {"aws:PrincipalTag/team": "b*"}})),
    ("condition-never-true", given({"StringEquals": {"aws:PrincipalTag/t": "a"}, "StringNotEquals": {"aws:PrincipalTag/t": "a"}}),
     given({"StringEquals": {"aws:PrincipalTag/t": "a"}, "StringNotEquals": {"aws:PrincipalTag/t": "b"}})),
    ("condition-never-true", given({"NumericLessThan": {"aws:MultiFactorAuthAge": "5"},
                                    "NumericGreaterThanEquals": {"aws:MultiFactorAuthAge": "5"}}),
     given({"NumericLessThanEquals": {"aws:MultiFactorAuthAge": "5"},
            "NumericGreaterThanEquals": {"aws:MultiFactorAuthAge": "5"}})),
    ("condition-never-true", given({"DateGreaterThan": {"aws:CurrentTime": "2026-12-01"},
                                    "DateLessThan": {"aws:CurrentTime": "2026-11-01"}}),
     given({"DateGreaterThan": {"aws:CurrentTime": "2026-11-01"}, "DateLessThan": {"aws:CurrentTime": "2026-12-01"}})),
    ("condition-never-true", given({"IpAddress": {"aws:SourceIp": ["10.1.0.0/16", "10.2.0.1"]},
                                    "NotIpAddress": {"aws:SourceIp": ["10.0.0.0/8", "2001:db8::/32"]}}),
     given({"IpAddress": {"aws:SourceIp": "10.0.0.0/8"}, "NotIpAddress": {"aws:SourceIp": "10.1.0.0/16"}})),
    ("condition-never-true", given({"Null": {"aws:TokenIssueTime": "true"}, "Bool": {"aws:TokenIssueTime": "true"}}),
     given({"Null": {"aws:TokenIssueTime": "true"}})),
    ("condition-never-true", given({"ArnEquals": {"aws:SourceArn": "deploy"}}),
     given({"ArnEquals": {"aws:SourceArn": "arn:aws:sns:*:*:t"}})),
    ("condition-optional", given({"BoolIfExists": {"aws:MultiFactorAuthPresent": "true"}}), given(MFA)),
    ("condition-optional", given({"ForAllValues:StringEquals": {"acme:teams": ["a"]}}),
     given({"ForAllValues:StringEquals": {"acme:teams": ["a"]}, "Null": {"acme:teams": "false"}})),
    ("condition-optional", given({"StringEqualsIfExists": {"aws:PrincipalTag/t": "a"}}),
     given({"ForAllValues:StringEquals": {"aws:TagKeys": ["a"]}})),
    ("condition-literal-wildcard", given({"StringEquals": {"aws:PrincipalTag/team": "a*"}}),
     given({"StringEquals": {"aws:PrincipalTag/team": "a${*}"}})),
    ("condition-unknown-key", given({"StringEquals": {"aws:PrincipleArn": "x"}}),
     given({"StringEquals": {"acme:PrincipleArn": "x", "aws:PrincipalTag/x": "y"}})),
    ("statement-shadowed", document(allowing("s3:Get*"), denying("s3:*")), document(allowing("s3:*"), denying("s3:Put*"))),
    ("statement-redundant", document(allowing("s3:Get*", "arn:aws:s3:::b/x"), allowing("s3:*", "arn:aws:s3:::b/*")),
     document(allowing("s3:Get*", "arn:aws:s3:::b/*"), allowing("s3:*", "arn:aws:s3:::b/x"))),
    ("version-old", document(allowing("s3:Get*", "arn:aws:s3:::${aws:username}"), version="2008-10-17"),
     document(allowing("s3:Get*", "arn:aws:s3:::${aws:username}"))),
    ("malformed", '{"Version": "2012-10-17"}', document(allowing("s3:Get*"))),
]  # fmt: skip


def test_lint_guardrail_that_only_denies_shuts_the_account() -> None:
    assert ids(document(denying("s3:*")), PolicyKind.GUARDRAIL) == {"guardrail-allows-nothing"}
    assert ids(document(allowing("*"), denying("s3:*")), PolicyKind.GUARDRAIL) == set()


@pytest.mark.parametrize(("rule", "bad", "good"), TRUST)
def test_lint_trust_policy_with_the_fault_finds_it_and_without_does_not(rule: str, bad: str, good: str) -> None:
    assert rule in ids(bad, PolicyKind.TRUST)
    assert rule not in ids(good, PolicyKind.TRUST)


@pytest.mark.parametrize(("rule", "bad", "good"), IDENTITY)
def test_lint_identity_policy_with_the_fault_finds_it_and_without_does_not(rule: str, bad: str, good: str) -> None:
    assert rule in ids(bad, PolicyKind.IDENTITY)
    assert rule not in ids(good, PolicyKind.IDENTITY)


def test_lint_powerful_role_without_mfa_and_with_long_sessions_finds_both() -> None:
    assert {"trust-no-mfa", "role-long-session"} <= ids(trusting({"AWS": USER}), PolicyKind.TRUST, POWERFUL)
    assert "trust-no-mfa" not in ids(trusting({"AWS": USER}, MFA), PolicyKind.TRUST, POWERFUL)
    assert "trust-no-mfa" not in ids(trusting({"AWS": THEIR_ROLE}), PolicyKind.TRUST, POWERFUL)
    assert not ids(trusting({"AWS": USER}), PolicyKind.TRUST)


def test_lint_provider_that_the_account_lacks_is_found_only_when_the_providers_are_known() -> None:
    text = oidc(CLUSTER, sub(CLUSTER, "team-a:*"))
    assert "oidc-unknown-provider" not in ids(text, PolicyKind.TRUST)
    assert "oidc-unknown-provider" in ids(text, PolicyKind.TRUST, Facts(account=OWN, providers=frozenset()))
    assert "oidc-unknown-provider" not in ids(
        text, PolicyKind.TRUST, Facts(account=OWN, providers=frozenset({CLUSTER}))
    )


def test_lint_deny_statement_is_not_taken_for_an_opening() -> None:
    assert ids(trusting("*", effect="Deny"), PolicyKind.TRUST) == set()


def test_lint_every_rule_has_a_case() -> None:
    covered = {rule for rule, *_ in (*TRUST, *IDENTITY)} | {
        "trust-no-mfa",
        "role-long-session",
        "guardrail-allows-nothing",
    }
    of_rules = {"rule-never-approved", "rule-always-automatic", "rule-anyone", "unknown-role", "unknown-principal"}
    assert covered | of_rules == set(RULES)  # tests/integration/api/test_trust.py has cases of these


def test_lint_finding_points_at_the_place_and_says_why_and_how_to_mend_it() -> None:
    text = document(allowing("s3:Get*", "arn:aws:s3:::b/*", {"StringEquals": {"aws:PrincipleArn": "x"}}))
    [finding] = lint_text(text, PolicyKind.IDENTITY)
    line = text.splitlines()[finding.line - 1]
    assert line[finding.column - 1 :].startswith('"x"')
    assert all((finding.why, finding.fix))
    assert finding.severity is Severity.WARNING
    assert finding.to_json()["title"] == RULES["condition-unknown-key"].title


def test_lint_findings_come_in_the_order_of_the_text() -> None:
    findings = lint_text(document(allowing("iam:*"), allowing("*")), PolicyKind.IDENTITY)
    assert [f.line for f in findings] == sorted(f.line for f in findings)


def test_lint_more_values_than_are_held_against_one_another_is_not_judged() -> None:
    values = {"StringEquals": {"acme:x": [str(n) for n in range(200)]}, "StringLike": {"acme:x": ["y*"] * 200}}
    assert "condition-never-true" not in ids(given(values), PolicyKind.IDENTITY)
    fewer = {"StringEquals": {"acme:x": ["1", "2"]}, "StringLike": {"acme:x": ["y*"] * 200}}
    assert "condition-never-true" in ids(given(fewer), PolicyKind.IDENTITY)


def test_a36_wildcard_service_account_is_an_error() -> None:
    findings = lint_text(oidc(CLUSTER, sub(CLUSTER, "system:serviceaccount:*:x")), PolicyKind.TRUST, FACTS)
    assert [f.severity for f in findings if f.id == "kubernetes-any-namespace"] == [Severity.ERROR]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("{", "not JSON"),
        ("[]", "A policy must be a JSON object."),
        ("{}", "Statement is missing or empty."),
        ('{"statement": []}', "A policy has no element statement"),
        ('{"Version": "2012", "Statement": []}', 'Version must be "2012-10-17".'),
        ('{"Statement": {"Effect": "allow", "Action": "a:B", "Resource": "*"}}', 'Effect must be "Allow" or "Deny".'),
        ('{"Statement": {"Action": "a:B", "Resource": "*"}}', "Effect is missing."),
        ('{"Statement": {"Effect": "Allow", "Actions": "a:B", "Resource": "*"}}', "A statement has no element Actions"),
        ('{"Statement": {"Effect": "Allow", "Action": 1, "Resource": "*"}}', "must be a string"),
        (
            '{"Statement": {"Effect": "Allow", "Action": "a:B", "Resource": "*", "Condition": {"StringEqual": {"a:b": "c"}}}}',
            "StringEqual is not a condition operator.",
        ),
        (
            '{"Statement": {"Effect": "Allow", "Action": "a:B", "Resource": "*", "Condition": {"DateLessThan": {"a:b": "c"}}}}',
            "DateLessThan cannot compare this value.",
        ),
        (
            '{"Statement": {"Effect": "Allow", "Action": "a:B", "Resource": "arn:aws:::::x"}}',
            "A resource is an ARN or *",
        ),
    ],
)
def test_lint_text_that_aws_refuses_without_a_reason_says_what_is_wrong(text: str, why: str) -> None:
    [finding] = lint_text(text, PolicyKind.IDENTITY)
    assert finding.id == "malformed"
    assert why in finding.why


# --- The linter knows every context key that a request to assume a role can have


GRANT = Grant("g", "111122223333", "1", "AIDA1", "AROA1", "arn:r", (), 60, 1, 1001, 1, "p", "r", "rd", ticket="T-1")
FULL = Assumption(
    "name",
    external_id="partner",
    source_identity="ann",
    tags=(("team", "a"),),
    transitive_keys=("team",),
    grant=GRANT,
    client_id="app",
)


def test_every_field_of_the_assumption_is_set() -> None:
    fields = [f for f in msgspec.structs.fields(Assumption) if not f.required]
    assert [f.name for f in fields if getattr(FULL, f.name) == f.default] == []


def test_known_keys_have_those_of_an_assumption() -> None:
    keys = FULL.keys()
    assert keys_of(GRANT).keys() <= keys.keys()
    assert [key for key in keys if key not in KNOWN and not key.startswith(FAMILIES)] == []

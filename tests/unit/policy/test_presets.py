"""Presets of issuers: a policy made of one is tight, and the issuers are recognised."""

from __future__ import annotations

import json
from typing import Any

import pytest

from daypass.domain.claims import PrincipalKind
from daypass.domain.policy.compiled import PolicyKind
from daypass.domain.policy.document import parse
from daypass.domain.policy.layers import NamedPolicy
from daypass.domain.policy.lint.grants import Facts
from daypass.domain.policy.lint.oidc import unrestricted_issuer
from daypass.domain.policy.lint.run import lint_text
from daypass.domain.policy.model import PrincipalFacts
from daypass.domain.presets import PRESETS, Preset, SubjectForm, preset_of
from daypass.domain.trust import ACTION, AssumedRole, CallerPolicies, TemplateError, admit, trust_policy
from daypass.domain.web_identity import audience_keys, claim_keys

ACCOUNT = "111122223333"
TENANTS = {"kubernetes": "oidc.example.com/id/1", "okta": "acme.okta.com/oauth2/default", "spiffe": "td.example.com"}
FORMS = [(preset, form) for preset in PRESETS.values() for form in preset.forms]
VALUES = {"repo": "acme/shop", "project": "acme/shop", "path": "/ns/shop/sa/web"}


def made(preset: Preset, form: SubjectForm, **changed: str) -> str:
    values = {name: VALUES.get(name, f"the-{name}") for name in form.parameters} | changed
    tenant = TENANTS.get(preset.name, "acme") if preset.tenant else ""
    audience = "" if preset.audience else "client-1"
    return json.dumps(trust_policy(preset, ACCOUNT, values, tenant=tenant, audience=audience).document)


@pytest.mark.parametrize(("preset", "form"), FORMS, ids=lambda value: getattr(value, "name", getattr(value, "sub", "")))
def test_trust_policy_of_a_preset_leaves_the_linter_nothing_to_say(preset: Preset, form: SubjectForm) -> None:
    url = preset.url(TENANTS.get(preset.name, "acme"))
    facts = Facts(account=ACCOUNT, providers=frozenset({url}))
    assert lint_text(made(preset, form), PolicyKind.TRUST, facts) == ()


@pytest.mark.parametrize("value", ["*", "a?", "a/*", "${aws:username}", "", "a\nb", "a\u202eb"])
def test_trust_policy_parameter_that_would_widen_is_refused(value: str) -> None:
    github = PRESETS["github"]
    with pytest.raises(TemplateError):
        trust_policy(github, ACCOUNT, {"repo": value, "branch": "main"})


@pytest.mark.parametrize("given", [{}, {"branch": "main"}, {"repo": "a/b", "branch": "m", "tag": "v1"}])
def test_trust_policy_that_does_not_say_whom_in_full_is_refused(given: dict[str, str]) -> None:
    with pytest.raises(TemplateError, match="--repo --branch"):
        trust_policy(PRESETS["github"], ACCOUNT, given)


@pytest.mark.parametrize(
    ("name", "given", "add"),
    [
        ("github", {"repo": "acme/shop"}, "Add --environment, --branch or --tag. "),
        ("gitlab", {"project": "acme/shop"}, "Add --branch or --tag. "),
        ("bitbucket", {"repo": "{1}"}, "Add --environment. "),
    ],
)
def test_trust_policy_without_branch_is_refused_and_says_what_to_add(
    name: str, given: dict[str, str], add: str
) -> None:
    tenant = "acme" if PRESETS[name].tenant else ""
    with pytest.raises(TemplateError, match=add):
        trust_policy(PRESETS[name], ACCOUNT, given, tenant=tenant, audience="x")


def test_trust_policy_admits_pull_requests_only_when_asked_to_and_says_so() -> None:
    assert all("pull request" in form.admits for _, form in FORMS if "pull-requests" in form.parameters)
    made = trust_policy(PRESETS["github"], ACCOUNT, {"repo": "acme/shop", "pull-requests": "yes"})
    assert (made.subject, bool(made.admits)) == ("repo:acme/shop:pull_request", True)


def test_trust_policy_tenant_is_needed_where_there_are_many_and_refused_where_there_is_one() -> None:
    with pytest.raises(TemplateError, match="needs the tenant"):
        trust_policy(PRESETS["kubernetes"], ACCOUNT, {"namespace": "a", "service-account": "b"})
    with pytest.raises(TemplateError, match="takes no tenant"):
        trust_policy(PRESETS["github"], ACCOUNT, {"repo": "a/b", "branch": "m"}, tenant="x")
    with pytest.raises(TemplateError, match="client id"):
        trust_policy(PRESETS["google"], ACCOUNT, {"subject": "1"})


def test_preset_of_an_issuer_is_found_exactly() -> None:
    found = {
        "token.actions.githubusercontent.com": "github",
        "gitlab.com": "gitlab",
        "oidc.circleci.com/org/0a1b": "circleci",
        "api.bitbucket.org/2.0/workspaces/acme/pipelines-config/identity/oidc": "bitbucket",
        "sts.windows.net/6f1c/": "azure",
    }
    for url, name in found.items():
        preset = preset_of(url)
        assert preset is not None
        assert preset.name == name
    for url in ("token.actions.githubusercontent.com.evil.example", "gitlab.com/", "oidc.circleci.com/org/a/b", "x"):
        assert preset_of(url) is None


def test_issuers_that_aws_has_as_shared_demand_the_claim_that_tells_customers_apart() -> None:
    for issuer, claim, good, bad in (
        ("oidc.codefresh.io", "sub", "account:64f1:*", "*"),
        ("scalr.io", "sub", "account:acme:environment:prod", "?*"),
        ("oidc.vercel.com", "aud", "https://vercel.com/acme", "https://vercel.com/*"),
        ("api.pulumi.com/oidc", "aud", "aws:acme", "*"),
    ):
        preset = preset_of(issuer)
        assert preset is not None
        assert preset.demanded
        assert not preset.name
        for value, refused in ((good, False), (bad, True)):
            statement = {
                "Effect": "Allow",
                "Action": ACTION,
                "Principal": {"Federated": f"arn:aws:iam::{ACCOUNT}:oidc-provider/{issuer}"},
                "Condition": {"StringLike": {f"{issuer}:{claim}": value, f"{issuer}:anything": "x"}},
            }
            text = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
            assert (unrestricted_issuer(parse(text, PolicyKind.TRUST)) is not None) is refused
            found = {f.id for f in lint_text(text, PolicyKind.TRUST, Facts(account=ACCOUNT)) if "subject" in f.id}
            assert bool(found) is refused


def test_every_preset_pins_only_claims_that_its_tokens_have() -> None:
    for preset in PRESETS.values():
        assert preset.shared == bool(preset.pins)
        assert all(preset.sends(claim) for claim in preset.pins)


STEP = "{6c8a1d32-9c1e-4a55-8f0b-2f1f3d0f5a10}"
REPOSITORY = "{c7e2f80a-51d6-4b0d-9d5e-8d7d2a7a3e55}"
TOKENS: dict[str, tuple[dict[str, str], str, str, dict[str, Any]]] = {
    # what is said on the command line, the tenant, the audience, and the claims of a token as its issuer makes it
    "github": (
        {"repo": "acme/shop", "branch": "main"},
        "",
        "sts.amazonaws.com",
        {
            "sub": "repo:acme/shop:ref:refs/heads/main",
            "repository": "acme/shop",
            "ref_protected": "true",
            "job_workflow_ref": "acme/shop/.github/workflows/ci.yml@refs/heads/main",
            "repo_property_team": "shop",
        },
    ),
    "github-ids": (
        {"repo": "acme@1/shop@2", "environment": "production"},
        "",
        "sts.amazonaws.com",
        {"sub": "repo:acme@1/shop@2:environment:production", "repository_id": "2", "environment": "production"},
    ),
    "gitlab": (
        {"project": "acme/shop", "branch": "main"},
        "",
        "https://gitlab.com",
        {
            "sub": "project_path:acme/shop:ref_type:branch:ref:main",
            "project_path": "acme/shop",
            "namespace_path": "acme",
            "ref_protected": "true",
            "user_identities": [{"provider": "github", "extern_uid": "1"}],
        },
    ),
    "buildkite": (
        {"org": "acme", "pipeline": "shop", "branch": "main"},
        "",
        "sts.amazonaws.com",
        {
            "sub": "organization:acme:pipeline:shop:ref:refs/heads/main:commit:9f3182061f1e2cca4702c368cbc039b7dc9d4485:step:deploy",
            "organization_slug": "acme",
            "build_number": 5,
        },
    ),
    "circleci": (
        {"project": "2b2b"},
        "1a1a",
        "1a1a",
        {
            "sub": "org/1a1a/project/2b2b/user/3c3c",
            "oidc.circleci.com/project-id": "2b2b",
            "oidc.circleci.com/context-ids": ["4d4d"],
            "oidc.circleci.com/ssh-rerun": False,
        },
    ),
    "bitbucket": (
        {"repo": REPOSITORY, "pull-requests": "yes"},
        "acme",
        "ari:cloud:bitbucket::workspace/84c08677-e352-4a1c-a107-6df387cfeef7",
        {"sub": f"{REPOSITORY}:{STEP}", "repositoryUuid": REPOSITORY, "stepUuid": STEP, "branchName": "main"},
    ),
    "terraform": (
        {"org": "acme", "project": "web", "workspace": "prod", "phase": "apply"},
        "",
        "aws.workload.identity",
        {
            "sub": "organization:acme:project:web:workspace:prod:run_phase:apply",
            "terraform_workspace_name": "prod",
            "terraform_full_workspace": "organization:acme:project:web:workspace:prod",
        },
    ),
    "kubernetes": (
        {"namespace": "shop", "service-account": "web"},
        "oidc.example.com/id/1",
        "sts.amazonaws.com",
        {
            "sub": "system:serviceaccount:shop:web",
            "aud": ["sts.amazonaws.com"],
            "kubernetes.io": {"namespace": "shop", "serviceaccount": {"name": "web", "uid": "1"}},
        },
    ),
    "google": (
        {"subject": "112010400000000710080"},
        "",
        "daypass",
        {
            "sub": "112010400000000710080",
            "azp": "112010400000000710080",
            "email": "w@acme.iam.gserviceaccount.com",
            "email_verified": True,
            "google": {"compute_engine": {"project_id": "acme"}},
        },
    ),
    "azure": (
        {"object": "7f1c9b0e-0000-4000-8000-000000000001"},
        "6f1c",
        "api://daypass",
        {
            "sub": "7f1c9b0e-0000-4000-8000-000000000001",
            "oid": "7f1c9b0e-0000-4000-8000-000000000001",
            "appid": "a",
            "tid": "6f1c",
            "idp": "https://sts.windows.net/6f1c/",
            "xms_mirid": "/subscriptions/1",
        },
    ),
    "okta": (
        {"subject": "00u1a2b3c4d5e6f7g8h9"},
        "acme.okta.com/oauth2/default",
        "0oa1client",
        {"sub": "00u1a2b3c4d5e6f7g8h9", "ver": 1, "groups": ["staff"], "amr": ["mfa"]},
    ),
    "spiffe": (
        {"trust-domain": "td.example.com", "path": "/ns/shop/sa/web"},
        "td.example.com",
        "sts.amazonaws.com",
        {"sub": "spiffe://td.example.com/ns/shop/sa/web", "aud": ["sts.amazonaws.com"]},
    ),
}


@pytest.mark.parametrize("name", TOKENS)
def test_trust_policy_of_a_preset_lets_in_the_token_that_its_issuer_makes_and_no_other(name: str) -> None:
    said, tenant, audience, claims = TOKENS[name]
    preset = PRESETS[name.removesuffix("-ids")]
    made = trust_policy(preset, ACCOUNT, said, tenant=tenant, audience="" if preset.audience else audience)
    assert made.audience == audience

    def admitted(**changed: Any) -> bool:
        token = {"aud": audience, **claims, **changed}
        audiences = tuple(token["aud"]) if isinstance(token["aud"], list) else (token["aud"],)
        keys = claim_keys(made.url, token) | audience_keys(made.url, audiences, token.get("azp", ""))
        provider = f"arn:aws:iam::{ACCOUNT}:oidc-provider/{made.url}"
        who = PrincipalFacts(PrincipalKind.WEB_IDENTITY, "", (), provider)
        policy = NamedPolicy("trust", parse(json.dumps(made.document), PolicyKind.TRUST))
        target = AssumedRole(f"arn:aws:iam::{ACCOUNT}:role/r", ACCOUNT, policy)
        return admit(who, CallerPolicies(identity=None), target, (ACTION,), keys).decision.allowed

    assert admitted()
    assert not admitted(aud="x")
    assert not admitted(sub="x" + claims["sub"])
    brought = {**claims, "https://aws.amazon.com/tags": {"principal_tags": {"team": ["shop"]}}}
    paths = [key.partition(":")[2] for key in claim_keys("issuer.example.com", brought)]
    assert [path for path in paths if not preset.sends(path)] == []
    assert not preset.sends("nosuchclaim")


def test_preset_where_only_the_customer_knows_the_audience_says_where_it_is_found() -> None:
    for name in ("bitbucket", "google", "azure", "okta"):
        assert not PRESETS[name].audience
        assert "audience" in PRESETS[name].note or "azp" in PRESETS[name].note


def test_trust_policy_tenant_that_would_widen_is_refused() -> None:
    with pytest.raises(TemplateError, match="in full"):
        trust_policy(PRESETS["circleci"], ACCOUNT, {"project": "p"}, tenant="*")

"""What presets know of issuers: a policy made of one is tight, and the issuers are recognised."""

from __future__ import annotations

import json

import pytest

from daypass.domain.policy.compiled import PolicyKind
from daypass.domain.policy.lint.facts import Facts
from daypass.domain.policy.lint.run import lint_text
from daypass.domain.presets import PRESETS, Preset, SubjectForm, preset_of
from daypass.domain.trust_template import TemplateError, trust_policy

ACCOUNT = "111122223333"
TENANTS = {"kubernetes": "oidc.example.com/id/1", "okta": "acme.okta.com/oauth2/default", "spiffe": "td.example.com"}
FORMS = [(preset, form) for preset in PRESETS.values() for form in preset.forms]
VALUES = {"repo": "acme/shop", "project": "acme/shop", "path": "/ns/shop/sa/web"}


def made(preset: Preset, form: SubjectForm, **changed: str) -> str:
    values = {name: VALUES.get(name, f"the-{name}") for name in form.parameters} | changed
    tenant = TENANTS.get(preset.name, "acme") if preset.tenant else ""
    audience = "" if preset.audience.format(tenant=tenant) else "client-1"
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


def test_every_preset_pins_only_claims_that_its_tokens_have() -> None:
    for preset in PRESETS.values():
        assert preset.shared == bool(preset.pins)
        assert all(preset.sends(claim) for claim in preset.pins)

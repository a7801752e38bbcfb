"""Settings of providers, and which issuers an account's allow-list accepts."""

from __future__ import annotations

import json
from typing import Any

import pytest

from daypass.domain import provider_settings
from daypass.domain.claims import issuer_allowed
from daypass.domain.provider_settings import (
    ALGORITHMS,
    ProviderSettings,
    TokenReview,
    dump_settings,
    issuer_of,
    parse_settings,
    url_of,
)

KEYS = {"keys": [{"kty": "RSA", "n": "AQ", "e": "AQAB"}]}
EVERYTHING: dict[str, Any] = {
    "issuer": "http://idp.example.com",
    "jwks_url": "http://10.0.0.1/jwks",
    "jwks_bearer": "c2VhbGVk",
    "jwks_bearer_file": "/run/token",
    "ca_pem": "-----BEGIN CERTIFICATE-----",
    "allow_private_networks": True,
    "allow_http": True,
    "algorithms": ["ES256"],
    "token_types": ["JWT", "at+jwt"],
    "leeway_seconds": 0,
    "max_age_seconds": 600,
    "one_time": True,
    "tag_claims": {"repository": "Repo", "kubernetes.io/namespace": "ns"},
    "transitive_tags": ["repo"],
    "source_identity_claim": "actor",
    "spiffe_trust_domain": "example.org",
    "token_review": {"url": "https://10.0.0.1:6443", "bearer_file": "/run/token", "cache_seconds": 3},
}


def test_parse_settings_nothing_is_the_strict_default() -> None:
    settings = parse_settings("{}")
    assert settings == ProviderSettings()
    assert settings.algorithms == ALGORITHMS
    assert not any(name.startswith("HS") or name == "none" for name in settings.algorithms)
    assert (settings.leeway_seconds, settings.one_time, settings.allow_http) == (60, False, False)


def test_parse_settings_all_of_them_come_back_as_they_were() -> None:
    settings = parse_settings(json.dumps(EVERYTHING))
    assert settings.tag_claims == (("repository", "Repo"), ("kubernetes.io/namespace", "ns"))
    assert settings.token_review == TokenReview("https://10.0.0.1:6443", bearer_file="/run/token", cache_seconds=3)
    assert parse_settings(dump_settings(settings)) == settings
    assert dump_settings(ProviderSettings()) == "{}"


@pytest.mark.parametrize("form", [KEYS, json.dumps(KEYS)])
def test_parse_settings_static_keys_may_be_text_or_the_object(form: Any) -> None:
    assert json.loads(parse_settings(json.dumps({"static_jwks": form})).static_jwks) == KEYS


@pytest.mark.parametrize(
    ("member", "value"),
    [
        ("leeway", 60),
        ("leeway_seconds", "60"),
        ("leeway_seconds", True),
        ("leeway_seconds", 301),
        ("leeway_seconds", -1),
        ("leeway_seconds", 1.5),
        ("max_age_seconds", None),
        ("one_time", 1),
        ("one_time", "true"),
        ("algorithms", []),
        ("algorithms", ["none"]),
        ("algorithms", ["HS256"]),
        ("algorithms", ["RS256", "RS256"]),
        ("algorithms", "RS256"),
        ("token_types", [""]),
        ("token_types", [7]),
        ("tag_claims", [["a", "b"]]),
        ("tag_claims", {"a": "Team", "b": "team"}),
        ("tag_claims", {"": "Team"}),
        ("tag_claims", {"a": ""}),
        ("tag_claims", {"a": 7}),
        ("tag_claims", {f"c{n}": f"t{n}" for n in range(51)}),
        ("transitive_tags", ["Team"]),
        ("static_jwks", "not json"),
        ("static_jwks", {"keys": {}}),
        ("static_jwks", {"keys": [{"kty": "OKP"}, {"kty": "OKP", "d": "canary"}]}),
        ("static_jwks", {"keys": [{"kty": "oct", "k": "canary"}]}),
        ("ca_pem", "-----BEGIN PRIVATE KEY-----\ncanary\n-----END PRIVATE KEY-----"),
        ("static_jwks", {"keys": ["x" * 140_000]}),
        ("jwks_url", "ftp://idp.example.com"),
        ("jwks_url", "http://idp.example.com/keys"),
        ("jwks_url", "https:///keys"),
        ("jwks_url", "https://idp.example.com/ keys"),
        ("jwks_url", "https://idp.exämple.com/keys"),
        ("issuer", ""),
        ("issuer", "https://idp.example.com\n"),
        ("spiffe_trust_domain", "Example.org"),
        ("spiffe_trust_domain", ""),
        ("token_review", {}),
        ("token_review", {"url": "https://a", "cache_seconds": 11}),
        ("token_review", {"url": "https://a", "more": 1}),
        ("token_review", "https://a"),
    ],
)
def test_parse_settings_wrong_member_makes_the_whole_unusable(member: str, value: Any) -> None:
    with pytest.raises(ValueError, match=member.split("_", maxsplit=1)[0]):
        parse_settings(json.dumps({member: value}))


@pytest.mark.parametrize("text", ["", "[]", "null", '{"one_time":true,"one_time":false}', '{"leeway_seconds":NaN}'])
def test_parse_settings_text_that_is_no_one_object_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="settings"):
        parse_settings(text)


def test_parse_settings_two_sources_of_keys_are_refused() -> None:
    with pytest.raises(ValueError, match="Only one"):
        parse_settings(json.dumps({"static_jwks": KEYS, "jwks_url": "https://idp.example.com/keys"}))


def test_parse_settings_far_too_long_is_refused() -> None:
    with pytest.raises(ValueError, match="too long"):
        parse_settings(" " * 300_000 + "{}")


def test_issuer_of_is_https_unless_told_otherwise() -> None:
    assert issuer_of("idp.example.com/a", ProviderSettings()) == "https://idp.example.com/a"
    assert issuer_of("idp.example.com", ProviderSettings(issuer="idp.example.com")) == "idp.example.com"


@pytest.mark.parametrize("issuer", ["https://idp.example.com/A/", "http://idp.example.com/A/", "idp.example.com/A/"])
def test_url_of_takes_the_scheme_away_and_nothing_else(issuer: str) -> None:
    assert url_of(issuer) == "idp.example.com/A/"


@pytest.mark.parametrize("part", ['{"kty":"x"}', "[]", "0"])
def test_a114_settings_of_many_small_parts_are_refused_before_they_are_parsed(
    monkeypatch: pytest.MonkeyPatch, part: str
) -> None:
    monkeypatch.setattr(provider_settings, "read_json", lambda _: pytest.fail("it was parsed"))
    jwks = '{"keys":[' + ",".join([part] * 3_000) + "]}"
    for text in (json.dumps({"static_jwks": jwks}), json.dumps({"static_jwks": json.loads(jwks)})):
        with pytest.raises(ValueError, match="too many parts"):
            parse_settings(text)


# --- Which issuers an account's allow-list lets in: what it names and what lies below, whichever way that


LISTED = ("ci.example.com", "forge.example.com/ours/*", "ci.example.com/odd/../one")


@pytest.mark.parametrize(
    "url",
    ["ci.example.com", "forge.example.com/ours/team", "forge.example.com/ours/a..b/...", "ci.example.com/odd/../one"],
)
def test_issuer_allowed_listed_or_below_is_let_in(url: str) -> None:
    assert issuer_allowed(LISTED, url)
    assert issuer_allowed(None, url)
    assert not issuer_allowed((), url)


@pytest.mark.parametrize(
    "url",
    [
        "ci.example.com/",
        "ci.example.com.evil.example",
        "forge.example.com/ours",
        "forge.example.com/ours-too/team",
        "Forge.example.com/ours/team",
        "forge.example.com/ours/../theirs",
        "forge.example.com/ours/team/..",
        "forge.example.com/ours/%2e%2E/theirs",
        "forge.example.com/ours/.%2e/theirs",
        "forge.example.com/ours/./team",
    ],
)
def test_a23_issuer_beside_or_out_of_what_is_listed_is_not_let_in(url: str) -> None:
    assert not issuer_allowed(LISTED, url)

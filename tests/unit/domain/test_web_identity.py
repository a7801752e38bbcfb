"""Claims become condition keys by path, session tags and a source identity as AWS documents them."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daypass.domain.provider_settings import ProviderSettings
from daypass.domain.strict_json import read_json
from daypass.domain.web_identity import (
    MAX_KEYS,
    MAX_VALUES,
    SOURCE_IDENTITY,
    TAGS,
    UnusableClaimsError,
    audience_keys,
    authentication,
    claim_at,
    claim_keys,
    is_usable_url,
    requested_session,
    tag_problem,
)

URL = "idp.example.com"
PLAIN = ProviderSettings()


def test_claim_keys_every_claim_is_there_by_its_path() -> None:
    claims = {
        "sub": "Somebody",
        "email_verified": True,
        "level": 7,
        "score": Decimal("0.50"),
        "nothing": None,
        "groups": ["a", "b", 3, False, None],
        "none": [],
        "kubernetes.io": {"namespace": "shop", "pod": {"name": "web-0", "uid": "1"}},
        "https://example.com/roles": ["admin"],
        "a~b": "t",
        "steps": [{"name": "build"}, ["x", "y"]],
    }
    assert claim_keys(URL, claims) == {
        f"{URL}:sub": "Somebody",
        f"{URL}:email_verified": "true",
        f"{URL}:level": "7",
        f"{URL}:score": "0.50",
        f"{URL}:groups": ("a", "b", "3", "false"),
        f"{URL}:kubernetes.io/namespace": "shop",
        f"{URL}:kubernetes.io/pod/name": "web-0",
        f"{URL}:kubernetes.io/pod/uid": "1",
        f"{URL}:https:~1~1example.com~1roles": ("admin",),
        f"{URL}:a~0b": "t",
        f"{URL}:steps/0/name": "build",
        f"{URL}:steps/1": ("x", "y"),
    }


def test_claim_keys_are_lower_case_values_are_not() -> None:
    assert claim_keys("IDP.example.com/A", {"Team": "Red"}) == {"idp.example.com/a:team": "Red"}


@pytest.mark.parametrize("claims", [{"sub": "a", "Sub": "b"}, {"a": {"B": 1, "b": 2}}])
def test_claim_keys_claims_that_differ_in_case_alone_are_refused(claims: dict[str, Any]) -> None:
    with pytest.raises(UnusableClaimsError, match="case"):
        claim_keys(URL, claims)


def test_claim_keys_separators_in_names_never_make_the_key_of_another_claim() -> None:
    keys = claim_keys(URL, {"a": {"b": "nested"}, "a/b": "flat", "a~1b": "escaped"})
    assert keys == {f"{URL}:a/b": "nested", f"{URL}:a~1b": "flat", f"{URL}:a~01b": "escaped"}


def test_claim_keys_that_a_longer_provider_url_could_have_belong_to_that_one() -> None:
    claims = {"8443:sub": "a", "8443": {"realms~": {"x:sub": "b"}, "plain": "c"}, "99": {":sub": "d"}}
    assert claim_keys(URL, claims) == {f"{URL}:8443/plain": "c"}
    assert f"{URL}:8443:8443:sub" in claim_keys(f"{URL}:8443", claims)
    assert claim_keys(URL, {"https://a": "b", "8443a:sub": "c"}).keys() == {f"{URL}:https:~1~1a", f"{URL}:8443a:sub"}


@pytest.mark.parametrize(
    "claims",
    [
        {f"c{n}": n for n in range(MAX_KEYS + 1)},
        {"c": ["x"] * (MAX_VALUES + 1)},
        {"c" * 1025: 1},
        {"c" * 600: {"d" * 600: 1}},
    ],
)
def test_claim_keys_too_many_or_too_long_are_refused(claims: dict[str, Any]) -> None:
    with pytest.raises(UnusableClaimsError, match="too many"):
        claim_keys(URL, claims)


@pytest.mark.parametrize(
    "url", ["idp.example.com", "idp.example.com:8443/a/b", "localhost:1", "keycloak/realms/x", "x.y/a?b=c%3A"]
)
def test_is_usable_url_takes_hosts_ports_and_paths(url: str) -> None:
    assert is_usable_url(url)


@pytest.mark.parametrize(
    "url", ["aws", "sts", "saml", "daypass", "", "aws:tag", "idp.example.com/a:b", "a b.c", "[::1]:80", "a.b\n"]
)
def test_is_usable_url_refuses_what_could_be_the_beginning_of_another_key(url: str) -> None:
    assert not is_usable_url(url)


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4),
    max_leaves=20,
)


@given(st.dictionaries(st.text(max_size=6), _JSON, max_size=5))
def test_claim_keys_of_any_claims_begin_with_the_url_and_name_their_claim(claims: dict[str, Any]) -> None:
    try:
        keys = claim_keys("Idp.example.com/x", claims)
    except UnusableClaimsError:
        return
    assert all(key.startswith("idp.example.com/x:") for key in keys)
    assert all(isinstance(value, str) or (value and all(isinstance(v, str) for v in value)) for value in keys.values())
    for name, value in claims.items():
        path = name.replace("~", "~0").replace("/", "~1")
        assert claim_at(claims, path) == value


def test_audience_keys_authorized_party_takes_the_place_of_the_audience() -> None:
    assert audience_keys(URL, ("a",), "") == {f"{URL}:aud": "a"}
    assert audience_keys(URL, ("a", "b"), "") == {f"{URL}:aud": ("a", "b")}
    assert audience_keys(URL, ("a",), "app") == {f"{URL}:aud": "app", f"{URL}:oaud": "a"}


# --- Tags and source identity ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "claims",
    [
        {TAGS: {"principal_tags": {"Project": ["Atlas"], "Cost": "7"}, "transitive_tag_keys": ["Project"]}},
        {
            f"{TAGS}/principal_tags/Project": ["Atlas"],
            f"{TAGS}/principal_tags/Cost": "7",
            f"{TAGS}/transitive_tag_keys": ["Project"],
        },
    ],
)
def test_requested_session_tags_are_taken_nested_and_flattened(claims: dict[str, Any]) -> None:
    requested = requested_session(claims, PLAIN)
    assert requested.tags == (("Project", "Atlas"), ("Cost", "7"))
    assert (requested.transitive_keys, requested.source_identity) == (("Project",), "")


@pytest.mark.parametrize(
    "claims",
    [
        {TAGS: []},
        {TAGS: "x"},
        {TAGS: {"principal_tags": []}},
        {TAGS: {"principal_tags": {"a": ["x", "y"]}}},
        {TAGS: {"principal_tags": {"a": []}}},
        {TAGS: {"principal_tags": {"a": [1]}}},
        {TAGS: {"principal_tags": {"a": True}}},
        {TAGS: {"principal_tags": {"a": {"b": "c"}}}},
        {TAGS: {"principal_tags": {"": "x"}}},
        {TAGS: {"principal_tags": {"aws:x": "x"}}},
        {TAGS: {"principal_tags": {"AWS:x": "x"}}},
        {TAGS: {"principal_tags": {"a": "x\n"}}},
        {TAGS: {"principal_tags": {"a*": "x"}}},
        {TAGS: {"principal_tags": {"a": "x" * 257}}},
        {TAGS: {"principal_tags": {"k" * 129: "x"}}},
        {TAGS: {"principal_tags": {"a": "x", "A": "y"}}},
        {TAGS: {"principal_tags": {"a": "x"}}, f"{TAGS}/principal_tags/a": "y"},
        {TAGS: {"principal_tags": {f"k{n}": "x" for n in range(51)}}},
        {TAGS: {"transitive_tag_keys": "a"}},
        {TAGS: {"transitive_tag_keys": [1]}},
        {f"{TAGS}/transitive_tag_keys": "a"},
        {SOURCE_IDENTITY: "a"},
        {SOURCE_IDENTITY: ["ann"]},
        {SOURCE_IDENTITY: ""},
        {SOURCE_IDENTITY: 12},
        {SOURCE_IDENTITY: "ann\n"},
        {SOURCE_IDENTITY: "aws:ann"},
        {SOURCE_IDENTITY: "änn"},
        {SOURCE_IDENTITY: "a" * 65},
    ],
)
def test_requested_session_form_that_aws_does_not_document_is_refused(claims: dict[str, Any]) -> None:
    with pytest.raises(UnusableClaimsError):
        requested_session(claims, PLAIN)


def test_requested_session_claims_of_the_settings_become_tags_and_source_identity() -> None:
    settings = ProviderSettings(
        tag_claims=(("kubernetes.io/namespace", "Namespace"), ("run", "Run"), ("org", "Org"), ("one", "One")),
        transitive_tags=("namespace", "Org"),
        source_identity_claim="actor",
    )
    claims = {"kubernetes.io": {"namespace": "shop"}, "run": 17, "actor": "ann@example.com", "one": ["x"]}
    requested = requested_session(claims, settings)
    assert requested.tags == (("Namespace", "shop"), ("Run", "17"), ("One", "x"))  # `org` is not in this token
    assert requested.transitive_keys == ("namespace",)
    assert requested.source_identity == "ann@example.com"


@pytest.mark.parametrize(
    "claims",
    [
        {"team": ["a", "b"]},
        {"team": {"name": "a"}},
        {"team": "bad*value"},
        {"team": "a", TAGS: {"principal_tags": {"TEAM": "b"}}},
        {"actor": "ann", SOURCE_IDENTITY: "bob"},
        {"actor": ["ann", "bob"]},
    ],
)
def test_requested_session_mapped_claim_that_is_not_one_value_is_refused(claims: dict[str, Any]) -> None:
    settings = ProviderSettings(tag_claims=(("team", "Team"),), source_identity_claim="actor")
    with pytest.raises(UnusableClaimsError):
        requested_session(claims, settings)


def test_tag_problem_letters_of_any_script_are_taken() -> None:
    assert tag_problem("Größe 面_.:/=+-@", "Ωmega 7") == ""
    assert tag_problem("a", "") == ""


def test_read_json_numbers_keep_their_text() -> None:
    claims = read_json('{"a":1.10,"b":-0,"c":1e3,"d":12345678901234567890}')
    keys = claim_keys(URL, claims)
    assert keys == {f"{URL}:a": "1.10", f"{URL}:b": "0", f"{URL}:c": "1000", f"{URL}:d": "12345678901234567890"}


@given(_JSON)
def test_read_json_honest_values_are_read_as_json_reads_them(value: Any) -> None:
    text = json.dumps(value)
    if len(text) < 500 and "\\ud" not in text:
        assert read_json(text) == json.loads(text)


@pytest.mark.parametrize(
    ("claims", "expected"),
    [
        ({"auth_time": 5, "amr": ["pwd", "mfa"]}, (5_000, ("pwd", "mfa"))),
        ({"auth_time": Decimal("5.5")}, (5_000, ())),
        *(({"auth_time": wrong}, (0, ())) for wrong in (True, 0, -5, 2**40, "5", None, [5])),
        ({"amr": "mfa"}, (0, ())),
        ({"amr": ["a" * 64, "b" * 65, "", 1, None, ["mfa"]]}, (0, ("a" * 64,))),
        ({"amr": [str(number) for number in range(20)]}, (0, tuple(map(str, range(16))))),
    ],
)
def test_authentication_leaves_out_what_is_no_time_or_method(claims: dict[str, Any], expected: Any) -> None:
    assert authentication(claims) == expected

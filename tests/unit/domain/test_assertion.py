"""The content of a verified assertion: roles, session, tags, context keys."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import replace
from typing import Any

import pytest

from daypass.domain.assertion import (
    ATTRIBUTES,
    Assertion,
    context_keys,
    name_qualifier,
    proof_of,
    replay_entry,
    role_pairs,
    session_name,
    session_seconds,
    session_tags,
    source_identity,
)
from daypass.domain.claims import PrincipalKind
from daypass.domain.directory import SamlProvider
from daypass.domain.errors import DaypassError, ErrorKind

PROVIDER = SamlProvider("ASPRAAAAAAAAAAAAAAAAA", "123456789012", "MySAMLIdP", 0, 2**52, "")
ROLE = "arn:aws:iam::123456789012:role/dev"


def assertion(**attributes: tuple[str, ...] | str) -> Assertion:
    given = {name: (value,) if isinstance(value, str) else value for name, value in attributes.items()}
    return made(*((f"{ATTRIBUTES}{name}", values) for name, values in given.items()))


def made(*attributes: tuple[str, tuple[str, ...]]) -> Assertion:
    return Assertion(
        id="_1",
        issuer="https://example.com/saml",
        subject="ann",
        subject_format="urn:oasis:names:tc:SAML:2.0:nameid-format:persistent",
        recipient="https://signin.aws.amazon.com/saml",
        in_response_to="",
        issued_at=1000,
        not_after=9000,
        session_ends_at=0,
        attributes=attributes,
        key="ab" * 32,
    )


def refused(work: Any, *given: Any) -> str:
    with pytest.raises(DaypassError) as caught:
        work(*given)
    assert caught.value.kind is ErrorKind.INVALID_IDENTITY_TOKEN
    return caught.value.public


@pytest.mark.parametrize(
    ("value", "pairs"),
    [
        (f"{ROLE},{PROVIDER.arn}", ((ROLE, PROVIDER.arn),)),
        (f"{PROVIDER.arn},{ROLE}", ((ROLE, PROVIDER.arn),)),
        (f" {PROVIDER.arn} ,\n{ROLE} ", ((ROLE, PROVIDER.arn),)),
        (ROLE, ()),
        (f"{ROLE}{PROVIDER.arn}", ()),
        (f"{ROLE},{ROLE}", ()),
        (f"{PROVIDER.arn},{PROVIDER.arn}", ()),
        (f"{ROLE},{PROVIDER.arn},{ROLE}", ()),
        ("", ()),
        (f"{ROLE},x,y,{PROVIDER.arn}", ((f"{ROLE},x,y", PROVIDER.arn),)),
        (f"{PROVIDER.arn},{ROLE},x", ((f"{ROLE},x", PROVIDER.arn),)),
        (f"{PROVIDER.arn},", ()),
    ],
)
def test_role_pairs_come_in_either_order(value: str, pairs: tuple[tuple[str, str], ...]) -> None:
    assert role_pairs((value,)) == pairs
    assert role_pairs((value, value)) == pairs


def test_role_pairs_are_bounded() -> None:
    assert len(role_pairs(tuple(f"{ROLE}{n},{PROVIDER.arn}" for n in range(1000)))) == 200


@pytest.mark.parametrize("name", ["", "a", "a" * 65, "a b", "ann\n", "ä", "a/b"])
def test_session_name_of_another_form_is_refused(name: str) -> None:
    assert "must match" in refused(session_name, assertion(RoleSessionName=name))


def test_session_name_is_there_once() -> None:
    assert session_name(assertion(RoleSessionName="ann@example.com")) == "ann@example.com"
    assert "required" in refused(session_name, assertion())
    assert "exactly one value" in refused(session_name, assertion(RoleSessionName=("a1", "b1")))


@pytest.mark.parametrize(
    "text", ["899", "43201", "-1", "3600.0", "３６００", " 3600", "3600\n", "1e4", "", "999999999"]
)
def test_session_duration_of_another_form_is_refused(text: str) -> None:
    assert "SessionDuration" in refused(session_seconds, assertion(SessionDuration=text))


def test_session_duration_is_optional() -> None:
    assert session_seconds(assertion()) is None
    assert session_seconds(assertion(SessionDuration="900")) == 900
    assert session_seconds(assertion(SessionDuration="43200")) == 43_200
    refused(session_seconds, assertion(SessionDuration=("900", "901")))


@pytest.mark.parametrize("text", ["a", "aws:ann", "AWS:ann", "a b", "x" * 65])
def test_source_identity_of_another_form_is_refused(text: str) -> None:
    assert "Source Identity" in refused(source_identity, assertion(SourceIdentity=text))


def test_source_identity_is_optional() -> None:
    assert source_identity(assertion()) == ""
    assert source_identity(assertion(SourceIdentity="ann")) == "ann"
    refused(source_identity, assertion(SourceIdentity=("ann", "bob")))


def test_tags_and_transitive_keys_are_taken() -> None:
    given = assertion(**{"PrincipalTag:Team": "core é", "PrincipalTag:Cost": "", "TransitiveTagKeys": ("Team",)})
    assert session_tags(given) == ((("Team", "core é"), ("Cost", "")), ("Team",))


@pytest.mark.parametrize(
    ("attributes", "told"),
    [
        ({"PrincipalTag:Team": ("a", "b")}, "exactly one"),
        ({"PrincipalTag:Team": ()}, "exactly one"),
        ({"PrincipalTag:": "a"}, "not a valid tag"),
        ({"PrincipalTag:a\nb": "a"}, "not a valid tag"),
        ({"PrincipalTag:Team": "a<b"}, "not a valid tag"),
        ({"PrincipalTag:Team": "x" * 257}, "not a valid tag"),
        ({f"PrincipalTag:{'k' * 129}": "x"}, "not a valid tag"),
        ({f"PrincipalTag:k{n}": "x" for n in range(51)}, "more than 50"),
        ({"PrincipalTag:Team": "a", "TransitiveTagKeys": ("Cost",)}, "TransitiveTagKeys"),
    ],
)
def test_tags_of_another_form_are_refused(attributes: dict[str, Any], told: str) -> None:
    assert told in refused(session_tags, assertion(**attributes))


def test_name_qualifier_is_as_aws_computes_it() -> None:
    digest = hashlib.sha1(b"https://example.com/saml123456789012/MySAMLIdP").digest()
    assert name_qualifier("https://example.com/saml", "123456789012", "MySAMLIdP") == base64.b64encode(digest).decode()


def test_context_keys_are_those_that_aws_lists() -> None:
    given = made(
        ("urn:oid:1.3.6.1.4.1.5923.1.1.1.3", ("dc=example",)),
        ("urn:oid:1.3.6.1.4.1.5923.1.1.1.1", ("staff", "member")),
        ("urn:oid:1.3.6.1.4.1.5923.1.2.1.4", ("Example Org",)),
        ("urn:oid:2.5.4.3", ("Ann",)),
        ("http://schemas.xmlsoap.org/claims/CommonName", ("Ann A",)),
        ("2.5.4.3", ("Ann B",)),
        ("http://schemas.xmlsoap.org/ws/2005/05/identity/claims/emailaddress", ()),
        ("saml:sub", ("root",)),
        ("SAML:AUD", ("evil",)),
        ("groups", ("admins",)),
    )
    assert context_keys(given, PROVIDER) == {
        "saml:aud": "https://signin.aws.amazon.com/saml",
        "saml:iss": "https://example.com/saml",
        "saml:sub": "ann",
        "saml:sub_type": "persistent",
        "saml:namequalifier": name_qualifier("https://example.com/saml", "123456789012", "MySAMLIdP"),
        "saml:doc": "123456789012/MySAMLIdP",
        "saml:edupersonorgdn": "dc=example",
        "saml:edupersonaffiliation": ("staff", "member"),
        "saml:eduorglegalname": "Example Org",
        "saml:cn": "Ann",
        "saml:commonname": ("Ann A", "Ann B"),
    }


def test_subject_type_of_another_prefix_stays_whole() -> None:
    other = "urn:oasis:names:tc:SAML:1.1:nameid-format:emailAddress"
    assert replace(made(), subject_format=other).subject_type == other


def test_proof_carries_what_the_assertion_asks_for() -> None:
    given = replace(
        assertion(RoleSessionName="ann", SourceIdentity="ann", **{"PrincipalTag:Team": "core"}), session_ends_at=7000
    )
    proof = proof_of(given, PROVIDER, replay_entry(given))
    assert (proof.kind, proof.method, proof.account) == (PrincipalKind.SAML, "saml", "123456789012")
    assert (proof.provider, proof.subject, proof.not_after) == (PROVIDER.arn, "ann", 7000)
    assert (proof.tags, proof.source_identity) == ((("Team", "core"),), "ann")
    assert proof.session_keys == {
        "aws:federatedprovider": PROVIDER.arn,
        "saml:sub": "ann",
        "saml:sub_type": "persistent",
        "saml:namequalifier": proof.keys["saml:namequalifier"],
    }
    assert proof.one_time is not None
    assert proof.one_time.expires_at == 9000


def test_one_use_differs_by_key_issuer_and_id_and_by_nothing_else() -> None:
    first = replay_entry(made()).id
    assert replay_entry(replace(made(), subject="bob", recipient="x")).id == first
    others = {replay_entry(replace(made(), **{name: "other"})).id for name in ("id", "issuer", "key")}
    assert len(others | {first}) == 4


def test_essential_keeps_what_is_looked_at() -> None:
    given = made(("groups", ("a",)), ("urn:oid:2.5.4.3", ("Ann",)), (f"{ATTRIBUTES}Role", ("x",)))
    assert [name for name, _ in given.essential().attributes] == ["urn:oid:2.5.4.3", f"{ATTRIBUTES}Role"]


def test_offering_keeps_one_role_and_everything_else() -> None:
    given = assertion(Role=(f"{ROLE},{PROVIDER.arn}", "x,y"), RoleSessionName="ann")
    left = given.offering(ROLE, PROVIDER.arn)
    assert role_pairs(left.values("Role")) == ((ROLE, PROVIDER.arn),)
    assert session_name(left) == "ann"

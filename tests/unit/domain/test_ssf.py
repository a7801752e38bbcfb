"""Subjects of security events, and questions of the AuthZEN API."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from daypass.domain.authzen import MAX_KEYS, Entity, Evaluation, KeyReader, action_of, resource_arn
from daypass.domain.ssf import InvalidSubject, canonical, covering, parsed_subject

TENANT = {"format": "opaque", "id": "111122223333"}
USER = {"format": "iss_sub", "iss": "https://a.example", "sub": "AIDA1"}
OF_USER = {"format": "complex", "tenant": TENANT, "user": USER}


@pytest.mark.parametrize("subject", [TENANT, USER, {"format": "email", "email": "ann@a.example"}, OF_USER])
def test_parsed_subject_of_a_known_format_is_unchanged(subject: dict[str, Any]) -> None:
    assert parsed_subject(subject) == subject


@pytest.mark.parametrize(
    "subject",
    [
        None,
        [],
        "opaque",
        {},
        {"format": "unknown", "id": "1"},
        {"format": "opaque"},
        {"format": "opaque", "id": 1},
        {"format": "opaque", "id": Decimal("1.5")},  # as strict JSON reads a fraction
        {"format": "opaque", "id": "1", "more": "2"},
        {"format": "iss_sub", "iss": "https://a.example"},
        {"format": "complex"},
        {"format": "complex", "person": USER},
        {"format": "complex", "user": OF_USER},
        {"format": "opaque", "id": "1" * 2048},
    ],
)
def test_parsed_subject_of_another_form_is_refused(subject: Any) -> None:
    with pytest.raises(InvalidSubject):
        parsed_subject(subject)


@pytest.mark.parametrize(
    ("removed", "event", "covered"),
    [
        (USER, OF_USER, True),
        (TENANT, OF_USER, True),
        (OF_USER, OF_USER, True),
        ({"format": "complex", "user": USER}, OF_USER, True),
        (OF_USER, {"format": "complex", "tenant": TENANT}, False),
        ({**USER, "sub": "AIDA2"}, OF_USER, False),
        ({"format": "complex", "tenant": TENANT, "user": {**USER, "sub": "AIDA2"}}, OF_USER, False),
        (USER, USER, True),
    ],
)
def test_covering_names_the_subjects_with_every_member_in_the_event(
    removed: dict[str, Any], event: dict[str, Any], covered: bool
) -> None:
    assert (canonical(removed) in covering(event)) is covered


# --- Questions of the AuthZEN API in the terms of the policy language


def question(**context: Any) -> Evaluation:
    return Evaluation(Entity("user", "ann"), "orders:read", Entity("orders", "1"), {}, context)


@pytest.mark.parametrize(
    ("value", "key"),
    [
        ("x", "x"),
        (True, "true"),
        (False, "false"),
        (1, "1"),
        (Decimal("1.50"), "1.50"),
        (["a", None, True], ("a", "true")),
        ([], ()),
    ],
)
def test_keys_of_a_value_is_text_as_policies_compare_it(value: Any, key: Any) -> None:
    assert KeyReader().keys_of(question(Level=value)) == {"daypass:requestcontext/level": key}


def test_keys_of_null_is_absent_and_nested_names_have_a_slash() -> None:
    assert KeyReader().keys_of(question(a=None, b={"c": {"d": "1"}})) == {"daypass:requestcontext/b/c/d": "1"}


@pytest.mark.parametrize("name", ["aws:PrincipalArn", "daypass:Approved", "saml:sub"])
def test_keys_of_a_key_that_only_the_server_sets_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match="only the server sets it"):
        KeyReader().keys_of(question(**{name: "x"}))


@pytest.mark.parametrize("name", ["aws:SourceIp", "aws:RequestTag/team", "orders:region"])
def test_keys_of_a_key_of_the_request_are_itself_folded(name: str) -> None:
    assert KeyReader().keys_of(question(**{name: "x"})) == {name.lower(): "x"}


def test_keys_of_too_many_values_are_refused() -> None:
    assert len(KeyReader().keys_of(question(**{f"k{n}": "x" for n in range(MAX_KEYS)}))) == MAX_KEYS
    with pytest.raises(ValueError, match="at most"):
        KeyReader().keys_of(question(**{f"k{n}": "x" for n in range(MAX_KEYS + 1)}))


@pytest.mark.parametrize(
    ("resource", "arn"),
    [
        (Entity("orders", "1"), "arn:aws:orders::111122223333:1"),
        (Entity("orders", "*"), "arn:aws:orders::111122223333:*"),
        (Entity("iam", "*"), "*"),
        (Entity("orders", "arn:aws:s3:::b"), "arn:aws:s3:::b"),
    ],
)
def test_resource_arn_is_the_id_or_made_from_it(resource: Entity, arn: str) -> None:
    assert resource_arn(resource, "111122223333") == arn


@pytest.mark.parametrize("name", ["", "a b", "a:b:c", ":read", "orders:"])
def test_action_of_another_form_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=r"action\.name"):
        action_of(name, Entity("orders", "1"))

"""Subjects of security events: which ones a receiver may name, and which events a removed subject covers."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

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

"""The linter knows every context key that a request to assume a role can have."""

from __future__ import annotations

import msgspec

from daypass.domain.access.request import keys_of
from daypass.domain.assumption import Assumption
from daypass.domain.directory import Grant
from daypass.domain.policy.lint.grants import FAMILIES, KNOWN

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

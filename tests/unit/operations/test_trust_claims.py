"""The context keys of a token that a trust test could not verify: those that it would have if it were verified."""

from __future__ import annotations

from typing import Any

import pytest

from daypass.operations.access import trust_test

URL = "idp.example.com"


@pytest.mark.parametrize(
    ("claims", "expected"),
    [
        ({"aud": "api"}, {"aud": "api"}),
        ({"aud": "api", "azp": "app"}, {"aud": "app", "oaud": "api", "azp": "app"}),
        ({"aud": ["api", "b"], "azp": "app"}, {"aud": "app", "oaud": ("api", "b"), "azp": "app"}),
        ({"aud": ["api"], "azp": "app"}, {"aud": "app", "oaud": "api", "azp": "app"}),
        ({"aud": ["api", "b"]}, {"aud": ("api", "b")}),
        ({"aud": [], "azp": "app"}, {"azp": "app"}),
        ({"azp": "app"}, {"azp": "app"}),
        ({"aud": "api", "azp": 1}, {"aud": "api", "azp": "1"}),
        ({"aud": ["api", 1], "azp": "app"}, {"aud": ("api", "1"), "azp": "app"}),
        ({"Aud": "a", "aud": "b"}, {}),  # ambiguous: unusable
    ],
)
def test_claimed_audience_and_authorized_party_are_those_of_a_verified_token(
    claims: dict[str, Any], expected: dict[str, Any]
) -> None:
    assert trust_test._unverified_keys(URL, claims) == {f"{URL}:{name}": value for name, value in expected.items()}

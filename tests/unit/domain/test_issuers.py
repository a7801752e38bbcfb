"""Which issuers an account's allow-list lets in: what it names and what lies below, whichever way that is written."""

from __future__ import annotations

import pytest

from daypass.domain.claims import issuer_allowed

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

"""A pattern that covers another matches whatever the other matches."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from daypass.domain.policy.cover import Budget, all_covered, covers
from daypass.domain.policy.pattern import Patterns

PATTERNS = st.text("ab*?:", max_size=7)


@given(PATTERNS, PATTERNS, st.lists(st.text("ab:", max_size=8), max_size=20))
@settings(max_examples=400, deadline=None)
def test_covers_proven_then_every_text_of_the_narrow_pattern_matches_the_wide(
    wide: str, narrow: str, texts: list[str]
) -> None:
    if covers(wide, narrow, Budget(10_000)):
        for text in texts:
            assert not Patterns([narrow]).matches(text, {}) or Patterns([wide]).matches(text, {})


def test_covers_shows_the_common_cases() -> None:
    assert covers("s3:*", "s3:Get*", Budget(10_000))
    assert covers("arn:aws:s3:::b/*", "arn:aws:s3:::b/x/*", Budget(10_000))
    assert covers("a?c", "abc", Budget(10_000))
    assert not covers("s3:Get*", "s3:*", Budget(10_000))
    assert not covers("a?", "a*", Budget(10_000))
    assert covers("home/${aws:username}/*", "home/${aws:username}/x", Budget(10_000))
    assert not covers("home/a/*", "home/${aws:username}/x", Budget(10_000))
    assert all_covered(["s3:*", "iam:*"], ["s3:Get*", "iam:List*"], Budget(10_000))
    assert not all_covered(["s3:*"], ["s3:Get*", "iam:List*"], Budget(10_000))


def test_covers_hostile_patterns_take_no_more_steps_than_the_budget() -> None:
    budget = Budget(50_000)
    wide, narrow = ["a" + "*a" * 200 + "b*"] * 80, ["a" * 400] * 80
    assert not all_covered(wide, narrow, budget)
    assert -100_000 < budget.left <= 0  # what is over is one subtraction for each pair that was not begun
    assert not covers("x*", "xy", budget)


def test_a312_covers_pattern_with_another_end_takes_one_step() -> None:
    budget = Budget(10_000)
    assert not covers("s3:*Get" + "*a" * 100, "s3:" + "*a" * 100 + "b", budget)
    assert budget.left == 10_000 - 1

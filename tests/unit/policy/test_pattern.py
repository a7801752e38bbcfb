"""Patterns, and which ones cover others."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.cost import costs_less_than

from daypass.domain.policy.cover import Budget, all_covered, covers
from daypass.domain.policy.pattern import Glob, Patterns, Wild, fold, replace_braces, resolve, tokenize


def matches(pattern, text, context=None, **options):
    return Patterns([pattern], **options).matches(text, context or {})


@pytest.mark.parametrize(
    ("pattern", "text", "wanted"),
    [
        ("", "", True),
        ("", "a", False),
        ("a", "a", True),
        ("*", "", True),
        ("a*", "abc", True),
        ("a*", "ba", False),
        ("*a", "ba", True),
        ("a*c", "abc", True),
        ("a*c", "ac", True),
        ("a*a", "a", False),
        ("*b*", "abc", True),
        ("*b*", "acc", False),
        ("**", "x", True),
        ("?", "a", True),
        ("?", "", False),
        ("a?c", "abc", True),
        ("a?c", "abbc", False),
        ("a?", "a\n", True),
        ("*?", "", False),
        ("*?x*", "x", False),
        ("*?x*", "ax", True),
        ("*a?b*", "xxacbxx", True),
        ("*a?b*", "xxacxbx", False),
        ("a*b*c", "aXbYc", True),
        ("a*b*c", "aXcYb", False),
        ("?*?", "ab", True),
        ("?*?", "a", False),
        ("*ab?*ab", "abab", False),
        ("*ab?*ab", "abxab", True),
    ],
)
def test_patterns_wildcards(pattern, text, wanted):
    assert matches(pattern, text) is wanted


@pytest.mark.parametrize("pattern", ["[a]", "a.c", "(a|b)", "^a$", "a\\d", "{a}", "$a", "a\x00b", "a\nb", "~"])
def test_a43_patterns_everything_else_is_literal(pattern):
    assert matches(pattern, pattern)
    assert not matches(pattern, "a")
    assert not matches(pattern, pattern + "\n")


def test_a43_patterns_star_matches_line_breaks_and_nul():
    assert matches("a*b", "a\n\x00b")


def test_a44_fold_leaves_all_but_ascii_letters():
    assert fold("ABCxyz") == "abcxyz"
    assert fold("\u212aelviN") == "\u212aelvin"
    assert fold("\u017f\u00c9\u0130") == "\u017f\u00c9\u0130"


@pytest.mark.parametrize(
    ("one", "other"), [("\u212a", "k"), ("\u017f", "s"), ("\u00e9", "e\u0301"), ("\u00df", "ss"), ("\u0130", "i")]
)
def test_a44_patterns_look_alikes_stay_distinct_even_ignoring_case(one, other):
    assert not matches(one, other, folded=True)
    assert not matches(other, one, folded=True)


def test_patterns_folded_ignores_ascii_case_in_text_pattern_and_variable():
    assert matches("AbC", "aBc", folded=True)
    assert matches("x${k:v}", "XYZ", {"k:v": "yZ"}, folded=True, variables=True, wildcards=False)


@pytest.mark.parametrize(
    ("pattern", "text", "context", "wanted"),
    [
        ("${k:v}", "alice", {"k:v": "alice"}, True),
        ("${K:V}", "alice", {"k:v": "alice"}, True),
        ("${k:v}", "alice2", {"k:v": "alice"}, False),
        ("${k:v}", "", {}, False),
        ("${k:v}", "${k:v}", {}, False),
        ("${k:v}*", "alice2", {"k:v": "alice"}, True),
        ("*${k:v}", "bob alice", {"k:v": "alice"}, True),
        ("${k:v}?x", "a-x", {"k:v": "a"}, True),
        ("${k:v}", "bob", {"k:v": "*"}, False),
        ("${k:v}*", "bob", {"k:v": "?"}, False),
        ("${k:v, 'guest'}", "guest", {}, True),
        ("${k:v,'guest'}", "guest", {}, True),
        ("${k:v, 'guest'}", "guest", {"k:v": "alice"}, False),
        ("${k:v, ''}", "", {}, True),
        ("${k:v, '*'}", "bob", {}, False),
        ("${k:v}", "a", {"k:v": ("a",)}, False),
        ("${k:v, 'a'}", "a", {"k:v": ("a",)}, False),
        ("${*}", "*", {}, True),
        ("${*}", "x", {}, False),
        ("${?}${$}", "?$", {}, True),
        ("${${k:v}", None, {}, None),
        ("a$b$", "a$b$", {}, True),
        ("${aws:PrincipalTag/a b+c=d@e}", "x", {"aws:principaltag/a b+c=d@e": "x"}, True),
    ],
)
def test_a42_patterns_variables(pattern, text, context, wanted):
    if wanted is None:
        with pytest.raises(ValueError, match="variable"):
            Patterns([pattern], variables=True)
    else:
        assert matches(pattern, text, context, variables=True) is wanted


@pytest.mark.parametrize("text", ["${", "${}", "${a", "${a,b}", "${a, 'b}", "${,'b'}", "${a{b}"])
def test_tokenize_malformed_variable_raises(text):
    with pytest.raises(ValueError, match="variable"):
        tokenize(text, variables=True, wildcards=True)


def test_tokenize_without_variables_takes_them_for_text():
    assert tokenize("${a}*", variables=False, wildcards=True) == ("${a}", Wild.STAR)
    assert tokenize("*?", variables=False, wildcards=False) == ("*?",)


def test_resolve_without_value_is_none():
    tokens = tokenize("a${k:v}", variables=True, wildcards=True)
    assert resolve(tokens, {}) is None
    assert resolve(tokens, {"k:v": "b"}) == ["a", "b"]


def test_glob_between_stars_an_empty_value_is_nothing():
    assert Glob([Wild.STAR, "", Wild.STAR, "a"]).matches("ba")


@pytest.mark.parametrize(
    ("texts", "prefix"),
    [(["abc*", "abd"], "ab"), (["*"], ""), (["abc"], "abc"), ([], ""), (["a${k:v}", "ab"], "a"), (["", "a"], "")],
)
def test_patterns_head_is_what_all_matching_texts_begin_with(texts, prefix):
    assert Patterns(texts, variables=True).prefix == prefix


def test_patterns_keys_are_those_of_variables():
    assert Patterns(["${K:a}${k:b, 'x'}", "*"], variables=True).keys == ("k:a", "k:b")


@pytest.mark.parametrize(
    "pattern",
    ["*a" * 3000, "*a?" * 2000, "?" * 3000 + "*", "*" + "a?" * 3000, "*" + "?" * 3000 + "b*", "a*" * 3000 + "b"],
)
def test_patterns_hostile_patterns_take_linear_time(pattern):
    compiled = Patterns([pattern])
    text = "a" * 20_000
    assert costs_less_than(2, lambda: compiled.matches(text, {}))


@pytest.mark.parametrize(
    ("text", "expected"),
    [("a${b}c${d:e}", "a<4>c<6>"), ("${", "${"), ("}${a", "}${a"), ("${${a}b}", "<6>b}"), ("$ {a}${}", "$ {a}<3>")],
)
def test_replace_braces_replaces_up_to_the_first_closing_one(text, expected):
    assert replace_braces(text, lambda found: f"<{len(found)}>") == expected


def test_replace_braces_unclosed_ones_take_linear_time():
    assert costs_less_than(0.5, lambda: replace_braces("${" * 60_000, lambda _: ""))


# --- A pattern that covers another matches whatever the other matches


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

import pytest
from tests.cost import least_cpu_seconds

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
    ("one", "other"),
    [("\u212a", "k"), ("\u017f", "s"), ("\u00e9", "e\u0301"), ("\u00df", "ss"), ("\u0130", "i")],
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
    assert least_cpu_seconds(lambda: compiled.matches(text, {})) < 2


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a${b}c${d:e}", "a<4>c<6>"),
        ("${", "${"),
        ("}${a", "}${a"),
        ("${${a}b}", "<6>b}"),
        ("$ {a}${}", "$ {a}<3>"),
    ],
)
def test_replace_braces_replaces_up_to_the_first_closing_one(text, expected):
    assert replace_braces(text, lambda found: f"<{len(found)}>") == expected


def test_replace_braces_unclosed_ones_take_linear_time():
    assert least_cpu_seconds(lambda: replace_braces("${" * 60_000, lambda _: "")) < 0.5

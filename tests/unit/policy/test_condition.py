import pytest

from daypass.domain.policy.condition import OPERATORS, compile_condition, split_operator

V2012 = "2012-10-17"
MATCHING = {  # operator: (policy value, a request's value that equals it, one that does not)
    "StringEquals": ("a", "a", "b"),
    "StringNotEquals": ("a", "b", "a"),
    "StringEqualsIgnoreCase": ("A", "a", "b"),
    "StringNotEqualsIgnoreCase": ("A", "b", "a"),
    "StringLike": ("a*", "ab", "ba"),
    "StringNotLike": ("a*", "ba", "ab"),
    "NumericEquals": ("5", "5.0", "6"),
    "NumericNotEquals": ("5", "6", "5"),
    "NumericLessThan": ("5", "-1", "5"),
    "NumericLessThanEquals": ("5", "5", "5.1"),
    "NumericGreaterThan": ("5", "10", "5"),
    "NumericGreaterThanEquals": ("5", "5", "4.9"),
    "DateEquals": ("2024-01-01", "1704067200", "2024-01-02"),
    "DateNotEquals": ("2024-01-01", "2024-01-02", "1704067200"),
    "DateLessThan": ("2024-01-01", "2023-12-31T23:59:59Z", "2024-01-01"),
    "DateLessThanEquals": ("2024-01-01", "2024-01-01", "2024-01-02"),
    "DateGreaterThan": ("2024-01-01", "2024-01-01T00:00:01Z", "2024-01-01"),
    "DateGreaterThanEquals": ("2024-01-01", "2024-01-01", "2023-12-31"),
    "Bool": ("true", "TRUE", "false"),
    "BinaryEquals": ("YQ==", "YQ==", "Yg=="),
    "IpAddress": ("10.0.0.0/8", "10.1.2.3", "11.0.0.1"),
    "NotIpAddress": ("10.0.0.0/8", "11.0.0.1", "10.1.2.3"),
    "ArnEquals": ("arn:aws:s3:::a*", "arn:aws:s3:::ab", "arn:aws:s3:::b"),
    "ArnLike": ("arn:aws:s3:::a*", "arn:aws:s3:::ab", "arn:aws:s3:::b"),
    "ArnNotEquals": ("arn:aws:s3:::a*", "arn:aws:s3:::b", "arn:aws:s3:::ab"),
    "ArnNotLike": ("arn:aws:s3:::a*", "arn:aws:s3:::b", "arn:aws:s3:::ab"),
}
NEGATED = {name for name, entry in OPERATORS.items() if entry.negated}


def holds(written, wanted, context):
    return compile_condition(written, "K:a", wanted, V2012).holds(context)


def test_operators_are_all_here():
    assert {*MATCHING, "Null"} == set(OPERATORS)
    assert {name for name in OPERATORS if "Not" in name} == NEGATED


@pytest.mark.parametrize("name", MATCHING)
def test_condition_single_value_holds_or_not(name):
    wanted, yes, no = MATCHING[name]
    assert holds(name, [wanted], {"k:a": yes})
    assert not holds(name, [wanted], {"k:a": no})
    assert holds(name + "IfExists", [wanted], {"k:a": yes})
    assert not holds(name + "IfExists", [wanted], {"k:a": no})


@pytest.mark.parametrize("name", MATCHING)
def test_a45_condition_absent_key_follows_truth_table(name):
    wanted = [MATCHING[name][0]]
    for context in ({}, {"k:a": ()}):
        assert holds(name, wanted, context) is (name in NEGATED)
        assert holds(name + "IfExists", wanted, context)
        assert holds("ForAllValues:" + name, wanted, context)
        assert not holds("ForAnyValue:" + name, wanted, context)
        assert holds("ForAnyValue:" + name + "IfExists", wanted, context)


@pytest.mark.parametrize("name", MATCHING)
def test_condition_multiple_values_follow_set_operators(name):
    wanted, yes, no = MATCHING[name]
    both, good, bad = {"k:a": (yes, no)}, {"k:a": (yes, yes)}, {"k:a": (no,)}
    assert holds(name, [wanted], both) is (name not in NEGATED)  # a negated operator asks that no value matches
    assert not holds("ForAllValues:" + name, [wanted], both)
    assert holds("ForAllValues:" + name, [wanted], good)
    assert holds("ForAnyValue:" + name, [wanted], both)
    assert not holds("ForAnyValue:" + name, [wanted], bad)


@pytest.mark.parametrize("value", ["", ("",)])
@pytest.mark.parametrize("name", MATCHING)
def test_condition_empty_string_is_the_empty_set_for_set_operators(name, value):
    assert holds("ForAllValues:" + name, [MATCHING[name][0]], {"k:a": value})
    assert not holds("ForAnyValue:" + name, [MATCHING[name][0]], {"k:a": value})


@pytest.mark.parametrize("name", MATCHING)
def test_condition_no_policy_values_matches_nothing(name):
    assert holds(name, [], {"k:a": "x"}) is (name in NEGATED)


@pytest.mark.parametrize("name", [n for n in MATCHING if not n.startswith("String")])
def test_condition_unreadable_request_value_equals_nothing(name):
    for value in ("", "nonsense", "１", "\x00"):
        assert holds(name, [MATCHING[name][0]], {"k:a": value}) is (name in NEGATED)


@pytest.mark.parametrize(
    ("wanted", "absent", "present"),
    [
        (["true"], True, False),
        (["false"], False, True),
        (["true", "false"], True, True),
        (["TRUE"], True, False),
        ([], False, False),
    ],
)
def test_a45_null_tells_absence(wanted, absent, present):
    for prefix in ("", "ForAllValues:", "ForAnyValue:"):
        assert holds(prefix + "Null", wanted, {}) is absent
        assert holds(prefix + "Null", wanted, {"k:a": ()}) is absent
        assert holds(prefix + "Null", wanted, {"k:a": "x"}) is present
        assert holds(prefix + "Null", wanted, {"k:a": ("x", "y")}) is present


@pytest.mark.parametrize(
    "written",
    [
        "",
        "stringEquals",
        "StringEqual",
        "NullIfExists",
        "ForAllValues:",
        "ForAnyValue::Bool",
        "BoolIfExistsIfExists",
        "Binary",
    ],
)
def test_split_operator_unknown_is_none(written):
    assert split_operator(written) is None
    with pytest.raises(ValueError, match="operator"):
        compile_condition(written, "k", ["x"], V2012)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("NumericEquals", "1e3"),
        ("NumericEquals", "${k:n}"),
        ("DateEquals", "yesterday"),
        ("Bool", "yes"),
        ("Bool", "kelvin\u212a"),
        ("BinaryEquals", "YQ"),
        ("IpAddress", "10.0.0.0/33"),
        ("NotIpAddress", "example.com"),
        ("Null", "maybe"),
        ("StringEquals", "${"),
        ("ArnLike", "${"),
    ],
)
def test_compile_condition_value_of_wrong_type_raises(name, value):
    with pytest.raises(ValueError):
        compile_condition(name, "k", [value], V2012)


def test_condition_bool_takes_variables_in_2012_only():
    condition = compile_condition("Bool", "k:a", ["${k:b}"], V2012)
    assert condition.holds({"k:a": "true", "k:b": "TRUE"})
    assert condition.keys == ("k:a", "k:b")
    with pytest.raises(ValueError, match="true"):
        compile_condition("Bool", "k:a", ["${k:b}"], "2008-10-17")


def test_condition_arn_with_variables_is_resolved_then_taken_apart():
    condition = compile_condition("ArnLike", "k:a", ["arn:aws:s3:::${k:b}/*", "${k:c}"], V2012)
    assert condition.holds({"k:a": "arn:aws:s3:::x/y", "k:b": "x"})
    assert condition.holds({"k:a": "arn:aws:s3:::z", "k:c": "arn:aws:s3:::z"})
    assert not condition.holds({"k:a": "arn:aws:s3:::x/y"})
    assert not condition.holds({"k:a": "arn:aws:s3:::x/y", "k:b": "*"})
    assert condition.keys == ("k:a", "k:b", "k:c")


def test_a48_ip_conditions_normalise_mapped_addresses_both_ways():
    assert holds("IpAddress", ["::ffff:10.0.0.0/104"], {"k:a": "10.9.9.9"})
    assert holds("IpAddress", ["10.0.0.1"], {"k:a": "::FFFF:0a00:1"})
    assert not holds("NotIpAddress", ["10.0.0.0/8"], {"k:a": "::ffff:10.0.0.1"})
    assert not holds("IpAddress", ["::/0"], {"k:a": "::ffff:10.0.0.1"})

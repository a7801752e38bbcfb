from datetime import date
from decimal import Decimal

import pytest

from daypass.domain.policy import values
from daypass.domain.policy.pattern import tokenize

NANO = 10**9


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1970-01-01", 0),
        ("1970", 1970),  # digits alone are epoch seconds
        ("1970-01", 0),
        ("1970-01-01T00:00:00Z", 0),
        ("1970-01-01t01:00z", 3600),
        ("1970-01-01T01:00:00+01:30", -1800),
        ("1970-01-01T01:00:00-01:30", 9000),
        ("1970-01-01T01:00:00+0130", -1800),
        ("1970-01-01T02:00:00.593194+23", 7200 - 23 * 3600 + 0.593194),
        ("1970-01-01T02", 7200),
        ("2000-02-29", 951782400),
        ("2024-12-31T23:59:59.5Z", 1735689599.5),
        ("1969-12-31", -86400),
        ("0000-03-01", -62162035200),
        ("01T", -62135596800),
        ("9999999999", 9999999999),
    ],
)
def test_date_forms_that_aws_takes(text, seconds):
    assert values.date(text) == round(seconds * 10**6) * 1000


def test_date_is_the_day_of_the_calendar():
    epoch = date(1970, 1, 1).toordinal()
    leap_days = [date(year, 2, 29) for year in (4, 400, 1600, 2000, 2400, 9996)]
    others = [date.fromordinal(day) for day in range(1, date.max.toordinal(), 997)]
    for day in [*leap_days, *others]:
        assert values.date(day.isoformat()) == (day.toordinal() - epoch) * 86_400 * NANO


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        "234-13",
        "2016-12-13t2:00:00.593194+1",
        "2016-12-13t2:00:00.1999999999+10:59",
        "9223372036854775808",
        "2023-02-29",
        "1900-02-29",
        "2024-04-31",
        "2024-00-01",
        "2024-01-00",
        "2024-01-01T24:00:00Z",
        "2024-01-01T00:60Z",
        "2024-01-01T00:00:60Z",
        "2024-01-01 00:00",
        "２０２４-01-01",
        "2024-01-01\n",
        "2024-01-01T00:00:00+24",
        "2024-01-01T00:00:00+10:60",
        "292278994-01",
        "-292275055",
        "1" * 30,
    ],
)
def test_date_other_text_is_none(text):
    assert values.date(text) is None


def test_date_extreme_years_have_a_place_in_order():
    assert values.date("-292275054") < values.date("-1") < values.date("0") < values.date("292278993-12-31")


@pytest.mark.parametrize(("text", "wanted"), [("5", "5"), ("-5.50", "-5.5"), ("+0", "0"), ("007", "7")])
def test_number_reads_decimals(text, wanted):
    assert values.number(text) == Decimal(wanted)


@pytest.mark.parametrize("text", ["", "1e3", "NaN", "Infinity", "１", ".5", "5.", "1_0", " 1", "1\n", "9" * 41, "--1"])
def test_number_other_text_is_none(text):
    assert values.number(text) is None


@pytest.mark.parametrize("text", ["", "yes", "1", "true ", "ＴＲＵＥ"])
def test_boolean_other_text_is_none(text):
    assert values.boolean(text) is None


@pytest.mark.parametrize("text", ["YQ", "YQ=", "Y Q==", "YR==", "é", "YQ==\n", "*"])
def test_binary_not_canonical_base64_is_none(text):
    assert values.binary(text) is None


@pytest.mark.parametrize(
    "text", ["", "10.0.0", "10.0.0.256", "010.0.0.1", "fe80::1%eth0", "1", "１０.0.0.1", "10.0.0.1 ", "::g"]
)
def test_address_other_text_is_none(text):
    assert values.address(text) is None
    assert values.network(text) is None


@pytest.mark.parametrize(
    "text",
    [
        "10.0.0.0/",
        "10.0.0.0/33",
        "10.0.0.0/-1",
        "10.0.0.0/255.0.0.0",
        "::/129",
        "10.0.0.0/8/8",
        "10.0.0.0/٨",
        "10.0.0.0/0008",
        "::ffff:10.0.0.0/95",
    ],
)
def test_network_malformed_prefix_is_none(text):
    assert values.network(text) is None


def test_network_host_bits_are_dropped():
    assert values.network("10.1.2.3/8") == values.network("10.0.0.0/8")
    assert values.network("10.1.2.3") == values.network("10.1.2.3/32") == values.network("::ffff:10.1.2.3/128")
    assert values.network("::ffff:10.1.2.3") == values.network("10.1.2.3")


@pytest.mark.parametrize(
    ("pattern", "text", "wanted"),
    [
        ("*", "arn:aws:s3:::a", True),
        ("*", "text", False),
        ("arn:aws:s3:::a:b*", "arn:aws:s3:::a:bc", True),
        ("arn:*:s3:*:*:?", "arn:aws:s3:x:y:z", True),
        ("arn:*:?", "arn:aws:s3:x:y:z", False),
        ("arn:aws:s3:*:z", "arn:aws:s3:x:y:z", False),
    ],
)
def test_arn_glob_matches_field_by_field(pattern, text, wanted):
    assert values.ArnGlob(tokenize(pattern, variables=False, wildcards=True)).matches(text) is wanted


def test_address_of_the_longest_form_is_read():
    longest = "0000:0000:0000:0000:0000:ffff:255.255.255.255"
    assert values.address(longest) == (4, 2**32 - 1)
    assert values.network(longest) == values.network("255.255.255.255")
    assert values.address(f"0{longest}") is None


def test_number_of_forty_digits_before_and_after_the_point_is_read():
    assert values.number(f"{'9' * 40}.{'9' * 40}") is not None
    assert values.number(f"1.{'9' * 41}") is None

"""Values, keys and ARNs of a request, as policies compare them."""

from __future__ import annotations

import json
from datetime import date
from decimal import Decimal

import pytest

from daypass.domain import arn
from daypass.domain.directory import Role, User
from daypass.domain.policy import values
from daypass.domain.policy.document import PolicyKind, compile_stored
from daypass.domain.policy.layers import context_keys
from daypass.domain.policy.pattern import tokenize
from daypass.domain.question import hypothetical
from daypass.domain.trust import CallerPolicies

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


# --- test_arn


def test_parse_arn_whole_gives_fields_and_name():
    parsed = arn.parse_arn("arn:aws:iam::111111111111:role/team/ops")
    assert parsed == ("aws", "iam", "", "111111111111", "role/team/ops")
    assert parsed.name == "ops"
    assert str(parsed) == "arn:aws:iam::111111111111:role/team/ops"


def test_parse_arn_resource_keeps_its_colons():
    assert arn.parse_arn("arn:aws:sns:eu-west-1:111111111111:topic:sub").resource == "topic:sub"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "arn",
        "arn:aws:iam::1",
        "ARN:aws:iam::1:x",
        "arn::iam::1:x",
        "arn:aws:::1:x",
        "arn:aws:iam::1:",
        "arn:a s:iam::1:x",
        "arn:aws:iam:\n:1:x",
    ],
)
def test_parse_arn_malformed_raises(text):
    with pytest.raises(ValueError, match="ARN"):
        arn.parse_arn(text)


def test_spelling_of_principals():
    assert arn.root_arn("1") == "arn:aws:iam::1:root"
    assert arn.role_arn("1", "/a/", "r") == "arn:aws:iam::1:role/a/r"
    assert arn.assumed_role_arn("1", "r", "s") == "arn:aws:sts::1:assumed-role/r/s"
    assert arn.federated_user_arn("1", "f") == "arn:aws:sts::1:federated-user/f"


@pytest.mark.parametrize("text", ["11111111111", "1111111111111", "11111111111a", "１１１１１１１１１１１１", ""])
def test_is_account_id_other_text_is_not(text):
    assert not arn.is_account_id(text)


def test_is_session_arn_tells_sessions_from_identities():
    assert arn.is_session_arn("arn:aws:sts::1:assumed-role/r/s")
    assert arn.is_session_arn("arn:aws:sts::1:federated-user/f")
    assert not arn.is_session_arn("arn:aws:iam::1:role/assumed-role/x")
    assert not arn.is_session_arn("arn:aws:sts::1")


# --- test_keys


def document(**statement):
    made = {"Effect": "Allow", "Action": "x:y", "Resource": "*", **statement}
    return compile_stored(json.dumps({"Version": "2012-10-17", "Statement": [made]}), PolicyKind.IDENTITY)


def test_context_keys_come_in_the_order_and_spelling_of_the_text():
    found = context_keys(
        document(
            Resource=["arn:aws:x:::${aws:UserName}/${*}", "arn:aws:x:::${AWS:username, 'nobody'}"],
            Condition={"StringLike": {"x:B": "${x:A}"}, "Bool": {"X:b": "true"}, "NumericEquals": {"x:C": 5}},
        )
    )
    assert found == ("aws:UserName", "x:B", "x:A", "x:C")


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"Statement": 5}', '{"Statement": {"Effect": "Deny", "Condition": 1}}']
)
def test_context_keys_of_what_is_no_policy_are_none(text):
    assert context_keys(compile_stored(text, PolicyKind.IDENTITY)) == ()


def test_hypothetical_role_is_one_session_only_when_it_is_named():
    role = Role("AROA", "111111111111", "ops", "/p/", 0, "{}", tags=(("Team", "red"),))
    arn = "arn:aws:iam::111111111111:role/p/ops"
    any_session, session = hypothetical(role, CallerPolicies()), hypothetical(role, CallerPolicies(), "s")
    assert any_session.facts.arns == ((arn, "AROA"),)
    session_arn = "arn:aws:sts::111111111111:assumed-role/ops/s"
    assert session.facts.arns == ((session_arn, "AROA"), (arn, "AROA"))
    assert "aws:userid" not in any_session.keys
    assert (session.keys["aws:userid"], session.keys["aws:principaltag/team"]) == ("AROA:s", "red")
    assert "aws:username" in any_session.known  # known to be absent
    assert "aws:principaltag/team" not in any_session.known  # its sessions may bring another


def test_hypothetical_user_is_known_as_a_whole():
    user = hypothetical(User("AIDA", "111111111111", "al", "/", 0), CallerPolicies())
    keys, known = user.keys, user.known
    assert (keys["aws:userid"], keys["aws:username"]) == ("AIDA", "al")
    assert all(key in known for key in (*keys, "aws:principaltag/any", "aws:resourceaccount"))
    assert "aws:sourceip" not in known

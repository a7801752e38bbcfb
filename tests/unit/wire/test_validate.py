"""The models' constraints, in AWS's words."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daypass.wire.aws import models, validate

STS, IAM = models.load("sts"), models.load("iam")
GOOD = {"RoleArn": "arn:aws:iam::123456789012:role/demo", "RoleSessionName": "session"}
SESSION_NAME = r"Member must satisfy regular expression pattern: [\w+=,.@-]*"
TEXT = st.text(st.characters(), max_size=8) | st.sampled_from(
    ["", "ab", "x\n", "\u212a", "\u017f", "a" * 65, "\x00", "\ud800"]
)


def _message(action: str, params: dict[str, Any], model: models.ServiceModel = STS) -> str:
    operation = model.operation(action)
    assert operation is not None
    assert not operation.check(params)
    return operation.explain(params)


def _accepted(action: str, params: dict[str, Any], model: models.ServiceModel = STS) -> bool:
    operation = model.operation(action)
    assert operation is not None
    return operation.check(params)


@pytest.mark.parametrize(
    ("params", "problems"),
    [
        ({"RoleSessionName": "x"}, "Value 'x' at 'roleSessionName' failed to satisfy constraint: Member must have length greater than or equal to 2"),
        ({"RoleSessionName": "x" * 65}, f"Value '{'x' * 65}' at 'roleSessionName' failed to satisfy constraint: Member must have length less than or equal to 64"),
        ({"RoleSessionName": "a b"}, f"Value 'a b' at 'roleSessionName' failed to satisfy constraint: {SESSION_NAME}"),
        ({"DurationSeconds": 43201}, "Value '43201' at 'durationSeconds' failed to satisfy constraint: Member must have value less than or equal to 43200"),
        ({"DurationSeconds": 899}, "Value '899' at 'durationSeconds' failed to satisfy constraint: Member must have value greater than or equal to 900"),
        ({"Tags": [{"Key": "a"}]}, "Value null at 'tags.1.member.value' failed to satisfy constraint: Member must not be null"),
        ({"PolicyArns": [{"arn": "short"}]}, "Value 'short' at 'policyArns.1.member.arn' failed to satisfy constraint: Member must have length greater than or equal to 20"),
        ({"Tags": [{"Key": f"k{i}", "Value": ""} for i in range(51)]}, "Value '[...]' at 'tags' failed to satisfy constraint: Member must have length less than or equal to 50"),
        ({"TransitiveTagKeys": [""]}, ("Value '[]' at 'transitiveTagKeys' failed to satisfy constraint: Member must satisfy constraint: "
            "[Member must have length less than or equal to 128, Member must have length greater than or equal to 1, "
            r"Member must satisfy regular expression pattern: [\p{L}\p{Z}\p{N}_.:/=+\-@]+]")),
    ],
)  # fmt: skip
def test_explain_one_problem_in_aws_words(params: dict[str, Any], problems: str) -> None:
    assert _message("AssumeRole", {**GOOD, **params}) == f"1 validation error detected: {problems}"


def test_explain_members_of_a_list_names_only_constraints_that_aws_has() -> None:
    operation = IAM.operation("CreateOpenIDConnectProvider")
    assert operation is not None
    assert operation.explain({"Url": "https://idp.example.com", "ThumbprintList": ["b" * 41]}) == (
        "1 validation error detected: Value at 'thumbprintList' failed to satisfy constraint: "
        "Member must satisfy constraint: [Member must have length less than or equal to 40, "
        "Member must have length greater than or equal to 40]"
    )


def test_explain_missing_members_in_aws_words() -> None:
    assert _message("AssumeRole", {}) == (
        "2 validation errors detected: Value null at 'roleArn' failed to satisfy constraint: Member must not be null; "
        "Value null at 'roleSessionName' failed to satisfy constraint: Member must not be null"
    )


def test_explain_pattern_comes_before_length() -> None:
    message = _message("AssumeRole", {**GOOD, "RoleArn": ""})
    assert message.startswith("2 validation errors detected: Value '' at 'roleArn'")
    assert message.index("regular expression") < message.index("greater than or equal to 20")


def test_explain_what_is_too_long_is_held_against_its_pattern_too() -> None:
    message = _message("AssumeRole", {**GOOD, "RoleArn": "\x00" * 2049})
    assert message.startswith("2 validation errors detected: Value '")
    assert message.index("regular expression") < message.index("less than or equal to 2048")


def test_explain_enum_in_aws_words() -> None:
    params = {"AccessKeyId": "A" * 20, "Status": "active"}
    assert _message("UpdateAccessKey", params, IAM) == (
        "1 validation error detected: Value at 'status' failed to satisfy constraint: "
        "Member must satisfy enum value set"
    )


def test_explain_iam_reports_members_in_the_recorded_order_without_their_values() -> None:
    provider = {"Url": "u" * 256, "ClientIDList": ["c" * 256], "ThumbprintList": ["t" * 41]}
    message = _message("CreateOpenIDConnectProvider", provider, IAM)
    places = [message.index(f"Value at '{member}' failed") for member in ("clientIDList", "thumbprintList", "url")]
    assert places == sorted(places)
    assert "ccc" not in message
    policy = {"MaxPasswordAge": 1096, "MinimumPasswordLength": 129, "PasswordReusePrevention": 25}
    assert _message("UpdateAccountPasswordPolicy", policy, IAM) == (
        "3 validation errors detected: "
        "Value at 'minimumPasswordLength' failed to satisfy constraint: Member must have value less than or equal to 128; "
        "Value at 'passwordReusePrevention' failed to satisfy constraint: Member must have value less than or equal to 24; "
        "Value at 'maxPasswordAge' failed to satisfy constraint: Member must have value less than or equal to 1095"
    )


@pytest.mark.parametrize(
    ("action", "params", "message"),
    [
        ("GetRole", {"RoleName": "a/b"}, "roleName is invalid. It must contain only alphanumeric characters and/or the following: +=,.@_-"),
        ("CreateUser", {"UserName": "ada", "Path": "team/"}, "path is invalid. It must begin and end with / and contain only alphanumeric characters and/or / characters."),
        ("ListPolicies", {"PathPrefix": "team"}, "pathPrefix is invalid. It must begin with the / character and contain only alphanumeric characters and/or / characters."),
        ("PutUserPolicy", {"UserName": "ada", "PolicyName": "p", "PolicyDocument": "{\u2028}"}, "policyDocument is invalid. It must contain only printable ASCII characters."),
        ("DeleteAccessKey", {"AccessKeyId": "AKIA-" + "A" * 15}, "accessKeyId is invalid. It must contain only alphanumeric characters."),
    ],
)  # fmt: skip
def test_explain_iam_says_in_a_sentence_what_a_name_must_be(action: str, params: dict[str, Any], message: str) -> None:
    assert _message(action, params, IAM) == f"The specified value for {message}"


def test_explain_iam_sentence_waits_until_all_else_is_right() -> None:
    message = _message("CreateUser", {"UserName": "a/b", "Path": "/" + "a" * 512 + "/"}, IAM)
    assert message.startswith("1 validation error detected: Value at 'path'")
    assert _message("CreateRole", {}, IAM).count("Member must not be null") == 2


def test_explain_iam_length_comes_before_the_pattern() -> None:
    message = _message("TagUser", {"UserName": "ada", "Tags": [{"Key": "", "Value": ""}]}, IAM)
    assert message.startswith("2 validation errors detected: Value at 'tags.1.member.key' failed")
    assert message.index("greater than or equal to 1") < message.index("regular expression")


def test_explain_iam_document_within_a_list_is_told_with_its_pattern() -> None:
    params = {"ActionNames": ["s3:GetObject"], "PolicyInputList": ["{\u2028}"]}
    assert "at 'policyInputList' failed" in _message("SimulateCustomPolicy", params, IAM)


def test_explain_never_repeats_a_secret() -> None:
    message = _message("ChangePassword", {"OldPassword": "", "NewPassword": "canary\x00secret"}, IAM)
    assert "canary" not in message
    assert "Value at 'newPassword' failed" in message


def test_explain_cuts_values_and_counts() -> None:
    assert len(_message("AssumeRole", {**GOOD, "ExternalId": "é" * 100_000})) < 9000
    many = _message("AssumeRole", {**GOOD, "Tags": [{}] * 40})
    assert many.startswith("10 validation errors detected: ")


def test_explain_of_a_huge_value_does_not_try_its_pattern() -> None:
    message = _message("AssumeRole", {**GOOD, "Tags": [{"Key": "é" * 500_000 + "\x00", "Value": ""}]})
    assert "less than or equal to 128" in message
    assert "regular expression" not in message


@pytest.mark.parametrize("name", ["x\n", "xy\n", "Ада", "x\x00y", "ab\u200b", "\u212aa", "\u017fs", "１２", ""])
def test_a54_session_name_outside_the_pattern_refused(name: str) -> None:
    assert "at 'roleSessionName'" in _message("AssumeRole", {**GOOD, "RoleSessionName": name})


@pytest.mark.parametrize("name", ["ab", "a+b=c,d.e@f-g_h", "A" * 64])
def test_session_name_in_the_pattern_accepted(name: str) -> None:
    assert _accepted("AssumeRole", {**GOOD, "RoleSessionName": name})


@pytest.mark.parametrize(
    ("key", "accepted"),
    [("Team", True), ("équipe", True), ("ключ", True), ("a b", True), ("a\u00a0b", True), ("٣", True), ("x_.:/=+-@", True),
     ("a\n", False), ("é\n", False), ("a\x00", False), ("a&b", False), ("é&", False), ("", False), ("\u200b", False), ("a{b", False)],
)  # fmt: skip
def test_tag_key_properties_are_those_of_unicode(key: str, accepted: bool) -> None:
    assert _accepted("AssumeRole", {**GOOD, "Tags": [{"Key": key, "Value": ""}]}) is accepted


@pytest.mark.parametrize(
    ("path", "accepted"),
    [("/", True), ("/a/", True), ("/a/b/", True), ("a", False), ("/a", False), ("/a/\n", False), ("", False)],
)
def test_path_pattern_holds_for_the_whole_text(path: str, accepted: bool) -> None:
    assert _accepted("CreateUser", {"UserName": "u", "Path": path}, IAM) is accepted


@pytest.mark.parametrize("text", ["a\x00", "\x1b[31m", "\ud800", "\ufffe", "a\x7f\x01"])
def test_strings_without_a_pattern_hold_no_control_characters(text: str) -> None:
    params = {"PolicyInputList": ["{}"], "ActionNames": ["a:b"], "ContextEntries": [{"ContextKeyValues": [text]}]}
    assert not _accepted("SimulateCustomPolicy", params, IAM)


@given(st.dictionaries(st.sampled_from(["RoleArn", "RoleSessionName", "ExternalId", "Policy", "SourceIdentity", "TokenCode"]), TEXT),
       st.lists(st.fixed_dictionaries({}, optional={"Key": TEXT, "Value": TEXT}), max_size=3), st.lists(TEXT, max_size=3),
       st.integers(-5, 50_000))  # fmt: skip
def test_check_and_explain_always_agree(texts: dict[str, str], tags: list[Any], keys: list[str], seconds: int) -> None:
    params = {**texts, "Tags": tags, "TransitiveTagKeys": keys, "DurationSeconds": seconds}
    operation = STS.operation("AssumeRole")
    assert operation is not None
    assert operation.check(params) is operation.explain(params).startswith("0 ")


def test_every_pattern_of_the_models_compiles_and_takes_linear_time() -> None:
    for model in (STS, IAM):
        for name, shape in model._shapes.items():
            if shape["type"] == "string" and "enum" not in shape:
                matches = validate.matcher(validate.pattern_of(model.name, name, shape))
                for text in ("a" * 20_000 + "\x00", "/a" * 10_000 + "\n", "-" * 20_000, " a" * 10_000 + "\x00"):
                    assert not matches(text) or "\n" in text or "\x00" not in text


@pytest.mark.parametrize("model", [STS, IAM])
def test_check_of_every_string_of_the_models_is_its_length_and_its_pattern(model: models.ServiceModel) -> None:
    for name, shape in model._shapes.items():
        if shape["type"] != "string" or "enum" in shape:
            continue
        check = model._checks.compile(name)
        matches = validate.matcher(validate.pattern_of(model.name, name, shape))
        low, high = shape.get("min", 0), shape.get("max", 1 << 31)
        sizes = {0, 1, low - 1, low, low + 1, min(high, 4096) - 1, min(high, 4096), min(high, 4096) + 1}
        for size in sizes - {-1}:
            for text in ("a" * size, "/" * size, "a" * (size - 1) + "\n", "1" * (size - 1) + "ü", "\x00" * size):
                assert bool(check(text)) == bool(low <= len(text) <= high and matches(text)), (name, text)


def test_check_of_a_repeated_class_without_a_least_length_wants_one_character() -> None:
    check = validate.Checks("sts", {"a": {"type": "string", "pattern": "[ab]+", "max": 3}}).compile("a")
    assert [bool(check(text)) for text in ("", "a", "aba", "abab", "c", "a\n")] == [
        False,
        True,
        True,
        False,
        False,
        False,
    ]


def test_hand_kept_patterns_name_shapes_that_exist_and_have_none() -> None:
    for service, name in validate._PATTERNS:
        shape = models.load(service)._shapes[name]
        assert "pattern" not in shape


@pytest.mark.parametrize(
    ("name", "params"),
    [
        ("AssumeRole", GOOD),
        ("AssumeRoleWithWebIdentity", {**GOOD, "WebIdentityToken": "t" * 10}),
        ("AssumeRoleWithSAML", {"RoleArn": GOOD["RoleArn"], "PrincipalArn": GOOD["RoleArn"], "SAMLAssertion": "YQ=="}),
        ("GetFederationToken", {"Name": "eve"}),
        ("GetScopedCredentials", {}),
    ],
)
def test_check_session_policy_longer_than_documented_refused(name: str, params: dict[str, Any]) -> None:
    """2,048 characters of plain text (STS API reference, Policy), also where the service model sets no limit."""
    operation = STS.operation(name)
    assert operation is not None
    assert operation.check({**params, "Policy": "x" * 2048})
    assert not operation.check({**params, "Policy": "x" * 2049})
    message = operation.explain({**params, "Policy": "x" * 2049})
    assert message.endswith(
        "at 'policy' failed to satisfy constraint: Member must have length less than or equal to 2048"
    )

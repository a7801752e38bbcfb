import pytest

from daypass.domain import arn


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

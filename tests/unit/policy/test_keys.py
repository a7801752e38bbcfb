import json

import pytest

from daypass.domain.directory import Role, User
from daypass.domain.policy.document import PolicyKind, compile_stored
from daypass.domain.policy.layers import context_keys
from daypass.domain.question import hypothetical
from daypass.domain.trust import CallerPolicies


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

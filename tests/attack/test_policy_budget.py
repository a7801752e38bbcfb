"""Attacks by policies and headers whose comparison costs much: part of row A113. The work is counted, never timed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.attack.installation import ALPHA, EVERYTHING, Installation, document, trust

Refused = Callable[..., dict[str, Any]]
AGENT = "b" * 12_000


def test_a113_decision_over_its_budget_is_refused_and_on_the_record(site: Installation, refused: Refused) -> None:
    """A Deny that would take too long to test is never skipped: the whole request is refused."""
    patterns = [f"*?b{number:03}?*" for number in range(450)]
    deny = {
        "Effect": "Deny",
        "Action": "iam:*",
        "Resource": "*",
        "Condition": {"StringLike": {"aws:UserAgent": patterns}},
    }
    _, key = site.user("a113", policy=document({"Action": "iam:*", "Resource": "*"}))
    made = site.iam("CreatePolicy", PolicyName="a113", PolicyDocument=document(deny))
    site.iam("AttachUserPolicy", UserName="a113", PolicyArn=made.text("Arn"))
    assert site.call(key, "ListUsers", service="iam").status == 200
    answer = site.call(key, "ListUsers", service="iam", extra={"user-agent": AGENT})
    record = refused(answer, "AccessDenied", 403, "request.denied")
    assert "takes too many steps" in answer.text("Message")
    assert record["decision"]["over_budget"] is True


def test_a113_session_policy_of_many_patterns_on_a_long_header_is_decided_cheaply(site: Installation) -> None:
    """198 such patterns cost two seconds of the event loop for each request."""
    patterns = [f"*?b{number:03}*" for number in range(120)]
    condition = {"StringLike": {"aws:UserAgent": [*patterns, "b*"]}}
    _, key = site.user("a113-session", policy=document({"Action": "sts:AssumeRole", "Resource": "*"}))
    role = site.role("a113-session", trust(f"arn:aws:iam::{ALPHA}:root"), policy=EVERYTHING)
    narrow = document({"Action": "iam:ListUsers", "Resource": "*", "Condition": condition})
    session = site.assume(key, role, Policy=narrow).key
    assert site.call(session, "ListUsers", service="iam", extra={"user-agent": AGENT}).status == 200
    assert site.call(session, "ListUsers", service="iam", extra={"user-agent": "x" + AGENT}).code == "AccessDenied"

"""A party that acts for the subject of a session, and has its own session by an access grant (attack A327)."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from daypass.domain.claims import Caller, PrincipalKind, RequestFacts
from daypass.domain.policy.model import PrincipalFacts
from daypass.domain.session import FeedPosition, Hop, SessionClaims, SessionKind
from daypass.operations.assume.applicant import Applicant, IssuanceSnapshot, SessionParent, acted_for
from daypass.operations.oauth.parties import _own_actor

ACCOUNT, SEEN = "111122223333", FeedPosition("e", 1)
ROLE = f"arn:aws:iam::{ACCOUNT}:role/agent"
ENV: Any = SimpleNamespace(oauth=SimpleNamespace(issuer="https://sts.example.com"))


def agent(grant: str) -> Caller:
    hops = (
        Hop("", ACCOUNT, "AIDAAGENT", 1, SEEN, "AKIA"),
        Hop("5" * 32, ACCOUNT, "AROAAGENT", 1, SEEN, "ASIA", "job", grant),
    )
    session = SessionClaims(SessionKind.ROLE, "5" * 32, ACCOUNT, "AROAAGENT", ROLE, "job", 1, 5_000, SEEN, hops)
    names = (ACCOUNT, ROLE, ROLE, "AROAAGENT", "AROAAGENT:job", "job")
    return Caller(PrincipalKind.ROLE_SESSION, *names, "ASIA", SEEN, hops, session=session)


@pytest.mark.parametrize(
    ("grant", "own", "expected"), [("", 0, 0), ("g" * 32, 0, 5_000), ("g" * 32, 4_000, 4_000), ("", 4_000, 4_000)]
)
def test_acted_for_by_holder_of_a_grant_ends_with_the_grant(grant: str, own: int, expected: int) -> None:
    person = Hop("", ACCOUNT, "AIDAPERSON", 1, SEEN, "AKIA")
    parent = SessionParent((person,), {"arn": "ann"}, not_after=own)
    facts = RequestFacts("", 0, "sts:AssumeRole", "", "")
    principal = PrincipalFacts(PrincipalKind.USER, ACCOUNT, ())
    subject = Applicant(principal, parent, facts, IssuanceSnapshot(1, SEEN), dict)
    assert acted_for(subject, _own_actor(ENV, agent(grant))).parent.not_after == expected

"""The state machine of requests and grants, driven at random: whatever happens in whatever order, the rules hold."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from daypass.domain.access.request import (
    GRANTED,
    NEXT,
    EndReason,
    GrantState,
    GrantUnusable,
    TransitionRefused,
    check_undecided,
    check_voter,
    end_due,
    ended_grant,
    keys_of,
    latest_end,
    moved,
    overdue,
    same_person,
    state_of,
    used_grant,
)
from daypass.domain.access.terms import StageKey, Version, VoteTally, binding_of, count, tally
from daypass.domain.directory import AccessRequest, AccessVote, Grant, RequestState

STAGES = {("r", "lead"): 1, ("r", "security"): 2}
PEOPLE = {
    # user: the identifiers of the person behind it, and the stages
    "AIDA-ann": (("principal:AIDA-ann", "person:ann"), ("lead", "security")),
    "AIDA-ann2": (("person:ann", "principal:AIDA-ann2"), ("lead", "security")),
    "AIDA-bob": (("principal:AIDA-bob",), ("lead", "security")),
    "AIDA-bob2": (("principal:AIDA-bob", "principal:AIDA-bob2"), ("lead", "security")),
    "AIDA-bob3": (("principal:AIDA-bob2", "principal:AIDA-bob3"), ("lead", "security")),
    "AIDA-cy": (("principal:AIDA-cy",), ("security",)),
    "AIDA-di": (("principal:AIDA-di",), ("security", "lead")),
    "AIDA-ed": (("principal:AIDA-ed",), ()),
}


def binding(version: int) -> str:
    return binding_of("d", [Version("AROA1", f"policies{version}", "r", "rd")])


def vote(user: str, version: int, at: int = 1, *, approve: bool = True) -> AccessVote:
    persons, stages = PEOPLE[user]
    eligible = tuple(("r", stage) for stage in stages)
    return AccessVote("1", user, "111122223333", user, approve, binding(version), eligible, persons, (user,), 0, at)


def request(state: RequestState = RequestState.PENDING) -> AccessRequest:
    persons = PEOPLE["AIDA-ann"][0]
    return AccessRequest(
        "1", "111122223333", state, "AIDA-ann", "AIDA-ann", "1", "{}", "d", persons, created_at=0, deadline=1000
    )


def count_of(
    waiting: AccessRequest, votes: list[AccessVote], version: int, now: int = 5, stages: dict[StageKey, int] = STAGES
) -> VoteTally:
    return count(votes, stages, binding(version), waiting.persons, now).tally


APPROVERS = ("AIDA-bob", "AIDA-cy", "AIDA-di")


def grant_at(now: int, **more: int) -> Grant:
    ids = "g", "111122223333", "1", "AIDA-ann", "AROA1", "arn"
    return Grant(*ids, (), 60, now, now + 1000, now, "r", "d", approvers=APPROVERS, **more)


class Access(RuleBasedStateMachine):
    """One request, its votes and its grant, as the operations hold them."""

    def __init__(self) -> None:
        super().__init__()
        self.now, self.version = 0, 1
        self.request = request(RequestState.DRAFT)
        self.votes: dict[str, AccessVote] = {}
        self.grant: Grant | None = None
        self.closed: AccessRequest | None = None
        self.sessions: list[tuple[int, int]] = []

    @initialize(uses=st.integers(0, 2))
    def begin(self, uses: int) -> None:
        self.uses = uses

    def move(self, state: RequestState) -> None:
        try:
            self.request = moved(self.request, state, self.now, "x")
        except TransitionRefused:
            assert state not in NEXT[self.request.state]

    @rule()
    def accept(self) -> None:
        self.move(RequestState.PENDING)

    @rule()
    def cancel(self) -> None:
        self.move(RequestState.CANCELLED)
        self.end(EndReason.CANCELLED)

    @rule(seconds=st.integers(1, 400))
    def time_passes(self, seconds: int) -> None:
        self.now += seconds * 100
        self.request = overdue(self.request, self.now) or self.request
        if self.grant is not None and not self.grant.ended_at and (due := end_due(self.grant, self.now)):
            self.end(due)

    @rule()
    def role_changes(self) -> None:
        self.version += 1

    @rule(user=st.sampled_from(sorted(PEOPLE)), approve=st.booleans(), stale=st.booleans())
    def votes_(self, user: str, approve: bool, stale: bool) -> None:
        before = self.request
        try:
            check_undecided(self.request, self.now)
            check_voter(self.request, PEOPLE[user][0])
        except TransitionRefused:
            assert (
                before.state is not RequestState.PENDING or self.now >= before.deadline or user.startswith("AIDA-ann")
            )
            return
        self.votes[user] = vote(user, self.version - stale, self.now, approve=approve)
        votes = list(self.votes.values())
        tallied = count_of(self.request, votes, self.version, self.now)
        if not approve:
            self.request = moved(self.request, RequestState.DENIED, self.now)
        elif tallied.complete:
            self.request = moved(self.request, RequestState.APPROVED, self.now)
            self.check_approval()
            self.request = replace(self.request, deadline=self.now + 1000)
            self.grant = grant_at(self.now, max_uses=self.uses)
            assert len(tallied.counted) == 3

    def check_approval(self) -> None:
        current = [v for v in self.votes.values() if v.approve and v.binding == binding(self.version)]
        assert all(v.approve for v in self.votes.values())
        assert not any(same_person(v.persons, self.request.persons) for v in current)
        distinct: list[AccessVote] = []
        for each in current:
            if not any(same_person(each.persons, other.persons) for other in distinct):
                distinct.append(each)
        assert len([v for v in distinct if v.stages]) >= 3

    def end(self, reason: EndReason) -> None:
        if self.grant is not None:
            self.grant = ended_grant(self.grant, reason, self.now)
            if self.request.state in GRANTED:
                self.request = moved(self.request, RequestState.ENDED, self.now, reason.value)

    @precondition(lambda self: self.grant is not None)
    @rule()
    def use(self) -> None:
        assert self.grant is not None
        open_before = state_of(self.grant, self.now)
        try:
            after = used_grant(self.grant, self.now)
        except GrantUnusable:
            assert open_before is GrantState.ENDED or self.grant.uses >= self.grant.max_uses > 0
            return
        assert open_before in (GrantState.OPEN, GrantState.CLAIMED)
        assert not self.grant.claimed_at or after.claimed_at == self.grant.claimed_at
        self.grant = after
        self.sessions.append((self.now, latest_end(after, self.now)))
        if self.request.state is RequestState.APPROVED:
            self.request = moved(self.request, RequestState.CLAIMED, self.now)

    @rule()
    def done(self) -> None:
        self.end(EndReason.DONE)

    @invariant()
    def a_closed_request_never_changes(self) -> None:
        if self.closed is not None:
            assert self.request == self.closed
        elif not NEXT[self.request.state]:
            assert self.request.ended_at == self.now or self.request.state is not RequestState.ENDED
            self.closed = self.request

    @invariant()
    def a_grant_needs_an_approval_and_no_session_outlives_it(self) -> None:
        if self.grant is None:
            assert self.request.state not in GRANTED
            return
        assert all(begin < self.grant.ends_at for begin, _ in self.sessions)
        assert all(end <= self.grant.ends_at for _, end in self.sessions)
        assert not self.uses or len(self.sessions) <= self.uses


TestAccess = Access.TestCase
TestAccess.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)


def test_count_of_one_person_twice_is_not_complete() -> None:
    votes = [vote("AIDA-bob", 1), vote("AIDA-bob2", 1), vote("AIDA-cy", 1)]
    tallied = count_of(request(), votes, 1)
    assert not tallied.complete
    assert [each.approver_id for _, each in tallied.counted] == ["AIDA-bob", "AIDA-cy"]


def test_count_moves_approvals_between_stages_to_fill_them_all() -> None:
    """Bob and Di, who come first, could fill the security stage and leave the lead stage empty."""
    votes = [vote("AIDA-cy", 1, 3), vote("AIDA-di", 1, 1), vote("AIDA-bob", 1, 2)]
    assert count_of(request(), votes, 1).complete


def test_count_without_stages_is_never_complete() -> None:
    assert not count_of(request(), [vote("AIDA-bob", 1)], 1, stages={}).complete


def test_a120_votes_for_another_version_do_not_count() -> None:
    votes = [vote("AIDA-bob", 1), vote("AIDA-cy", 1), vote("AIDA-di", 1)]
    tallied = count_of(request(), votes, 2)
    assert (tallied.complete, tallied.counted) == (False, ())


def test_a335_vote_of_an_approver_who_is_gone_does_not_count() -> None:
    votes = [vote("AIDA-bob", 1), vote("AIDA-cy", 1), vote("AIDA-di", 1)]
    counted = count(votes, STAGES, binding(1), (), 5, lambda each: "gone" * (each.approver_id == "AIDA-cy"))
    assert (counted.void, counted.tally.complete) == ({"AIDA-cy": "gone"}, False)


def test_a333_vote_waits_for_others_for_seven_days() -> None:
    votes = [vote("AIDA-bob", 1), vote("AIDA-cy", 1), vote("AIDA-di", 1)]
    assert count_of(request(), votes, 1, now=7 * 86_400_000).complete
    assert not count_of(request(), votes, 1, now=7 * 86_400_000 + 1).complete


def test_a355_person_has_one_vote_also_if_it_fills_no_place() -> None:
    """Bob's second user shows that the first and the third are one person, who would fill two places."""
    stages = {("r", "lead"): 1, ("r", "security"): 1, ("r", "owner"): 1}
    security, owner = (("r", "security"),), (("r", "owner"),)
    votes = [
        replace(vote("AIDA-di", 1, 1), stages=(("r", "lead"),)),
        replace(vote("AIDA-bob2", 1, 2), stages=(("r", "lead"),)),
        replace(vote("AIDA-bob", 1, 3), stages=security),
        replace(vote("AIDA-bob3", 1, 4), stages=owner),
    ]
    counted = count(votes, stages, binding(1), request().persons, 5)
    assert [each.approver_id for each in counted.approvals] == ["AIDA-di", "AIDA-bob2"]
    assert counted.void.keys() == {"AIDA-bob", "AIDA-bob3"}
    assert not counted.tally.complete


def test_tally_counts_what_is_missing() -> None:
    assert tally(STAGES, [vote("AIDA-cy", 1)]).missing == {("r", "lead"): 1, ("r", "security"): 1}


def test_a121_requester_by_any_identity_is_no_voter() -> None:
    for user in ("AIDA-ann", "AIDA-ann2"):
        with pytest.raises(TransitionRefused, match="own access request"):
            check_voter(request(), PEOPLE[user][0])
    check_voter(request(), PEOPLE["AIDA-bob"][0])


def test_moved_to_a_state_that_cannot_follow_is_refused() -> None:
    with pytest.raises(TransitionRefused, match="is denied"):
        moved(request(RequestState.DENIED), RequestState.APPROVED, 1)


def test_overdue_request_expires_and_says_why() -> None:
    assert overdue(request(), 999) is None
    expired = overdue(request(), 1000)
    assert expired is not None
    assert (expired.state, expired.end_reason) == (RequestState.EXPIRED, "undecided")
    unclaimed = overdue(request(RequestState.APPROVED), 1000)
    assert unclaimed is not None
    assert unclaimed.end_reason == "unclaimed"
    assert overdue(request(RequestState.CLAIMED), 9999) is None


def test_grant_clock_starts_at_first_use_and_not_again() -> None:
    first = used_grant(grant_at(10), 500)
    assert (first.claimed_at, first.ends_at) == (500, 60_500)
    assert used_grant(first, 2000) == first
    with pytest.raises(GrantUnusable, match="time") as caught:
        used_grant(first, 60_500)
    assert caught.value.reason is EndReason.TIME


def test_grant_not_used_in_time_or_not_started_is_not_usable() -> None:
    with pytest.raises(GrantUnusable, match="not started"):
        used_grant(grant_at(10), 9)
    assert state_of(grant_at(10), 9) is GrantState.SCHEDULED
    with pytest.raises(GrantUnusable, match="unclaimed"):
        used_grant(grant_at(10), 1010)


def test_grant_keys_say_what_was_approved() -> None:
    keys = keys_of(replace(grant_at(1), ticket="INC-1", risk=7, on_call=True))
    assert keys == {
        "daypass:approved": "true",
        "daypass:grantid": "g",
        "daypass:approvercount": "3",
        "daypass:riskscore": "7",
        "daypass:oncall": "true",
        "daypass:ticketid": "INC-1",
    }

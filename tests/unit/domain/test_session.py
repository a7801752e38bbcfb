"""Chains, tags, lifetimes and revocation."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from daypass.domain.directory import Revocation, Role
from daypass.domain.revocation_index import SUBJECT_TABLES, RevocationIndex, is_spent
from daypass.domain.session import (
    LONGEST_SESSION_MS,
    MAX_HOPS,
    FeedPosition,
    Hop,
    SessionClaims,
    SessionKind,
    SessionRefused,
    chain_depth,
    extend_chain,
    has_policies_or_tags,
    merge_transitive,
    role_session_seconds,
    transitive_tags,
)

DB = "db1"
USER = Hop("", "111111111111", "AIDAUSER", 1000, FeedPosition(DB, 5), "AKIAUSER", "alice")
FIRST = Hop("a" * 32, "111111111111", "AROAFIRST", 1000, FeedPosition(DB, 5), "ASIAFIRST", "s1")
SECOND = Hop("b" * 32, "222222222222", "AROASECOND", 3000, FeedPosition(DB, 9), "ASIASECOND", "s2")


def claims(*hops: Hop, **more: object) -> SessionClaims:
    own = hops[-1]
    made = SessionClaims(
        kind=SessionKind.ROLE,
        session_id=own.session_id,
        account=own.account,
        principal_id=own.principal_id,
        arn="arn:aws:iam::222222222222:role/r",
        name=own.name,
        issued_at=own.issued_at,
        expires_at=own.issued_at + 3_600_000,
        seen=own.seen,
        hops=hops,
    )
    return replace(made, **more)


def revocation(subject: str, value: str, account: str = "111111111111", **more: object) -> Revocation:
    made = Revocation("rv1", account, subject, value, issued_before=0, created_at=2000, position=7)
    return dataclasses.replace(made, **more)


def index(*revocations: Revocation) -> RevocationIndex:
    made = RevocationIndex(DB)
    for one in revocations:
        made.add(one)
    return made


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ({}, False),
        ({"source_identity": "ann", "mfa_at": 1, "transitive_keys": ("a",)}, False),
        ({"policies": ("{}",)}, True),
        ({"policy_hashes": ("a" * 64,)}, True),
        ({"tags": (("a", "1"),)}, True),
    ],
)
def test_has_policies_or_tags_counts_inline_and_managed_policies_and_tags(
    more: dict[str, object], expected: bool
) -> None:
    assert has_policies_or_tags(claims(USER, **more)) is expected


# --- chains


def test_chain_depth_counts_role_sessions_only() -> None:
    assert chain_depth((USER,)) == 0
    assert chain_depth((USER, FIRST, SECOND)) == 2


def test_extend_chain_at_cap_is_denied() -> None:
    assert extend_chain((USER, FIRST), SECOND, 2) == (USER, FIRST, SECOND)
    with pytest.raises(SessionRefused) as refused:
        extend_chain((USER, FIRST, SECOND), FIRST, 2)
    assert refused.value.denied


def test_extend_chain_beyond_what_a_token_holds_is_denied_whatever_the_cap() -> None:
    with pytest.raises(SessionRefused):
        extend_chain((USER,) + (FIRST,) * (MAX_HOPS - 1), SECOND, 1000)


# --- tags


def test_transitive_tags_hand_down_only_the_named_keys() -> None:
    parent = claims(FIRST, tags=(("Team", "red"), ("x", "1")), transitive_keys=("team",))
    assert transitive_tags(parent) == (("Team", "red"),)
    assert transitive_tags(None) == ()
    assert transitive_tags(claims(FIRST, tags=(("x", "1"),))) == ()


def test_merge_transitive_spells_keys_as_the_tags_do_and_keeps_inherited() -> None:
    assert merge_transitive(["TEAM", "team"], (("Team", "red"),), (("old", "1"),)) == ("old", "Team")


# --- lifetimes


def role(longest: int = 43_200, chained: int = 3600) -> Role:
    return Role("AROA", "1", "r", "/", 0, "{}", max_session_seconds=longest, chained_max_seconds=chained)


@pytest.mark.parametrize(
    ("asked", "of", "chained", "seconds"),
    [
        (None, role(), False, 3600),
        (43_200, role(), False, 43_200),
        (None, role(), True, 3600),
        (3600, role(), True, 3600),
        (None, role(chained=1800), True, 1800),
        (7200, role(chained=7200), True, 7200),
        (None, role(chained=7200), True, 3600),
    ],
)
def test_role_session_seconds_within_limits(asked: int | None, of: Role, chained: bool, seconds: int) -> None:
    assert role_session_seconds(asked, of, chained=chained) == seconds


@pytest.mark.parametrize(
    ("asked", "of", "chained", "says"),
    [
        (3601, role(3600), False, "MaxSessionDuration set for this role"),
        (3601, role(), True, "1 hour session limit for roles assumed by role chaining"),
        (7201, role(chained=7200), True, "7200 second session limit for roles assumed by role chaining"),
        (7200, role(3600, chained=43_200), True, "MaxSessionDuration set for this role"),
    ],
)
def test_a51_role_session_seconds_over_a_limit_names_it(asked: int, of: Role, chained: bool, says: str) -> None:
    with pytest.raises(SessionRefused, match=says):
        role_session_seconds(asked, of, chained=chained)


# --- revocation


@pytest.mark.parametrize(
    ("subject", "value", "account"),
    [
        ("session", FIRST.session_id, "111111111111"),
        ("role", "AROAFIRST", "111111111111"),
        ("principal", "AROAFIRST", "111111111111"),
        ("principal", "AIDAUSER", "111111111111"),
        ("access_key", "AKIAUSER", "111111111111"),
        ("access_key", "ASIAFIRST", "111111111111"),
        ("account", "111111111111", "111111111111"),
        ("source_identity", "alice", "111111111111"),
        ("grant", "gr-1", "111111111111"),
        ("client", "web", "111111111111"),
    ],
)
def test_revoked_by_any_hop_cascades_to_the_child(subject: str, value: str, account: str) -> None:
    first = replace(FIRST, grant_id="gr-1", client_id="web")
    child = claims(USER, first, SECOND, source_identity="alice")
    made = revocation(subject, value, account)
    assert index(made).revoked(child) == made
    foreign = dataclasses.replace(made, account="333333333333")
    assert index(foreign).revoked(child) is None, "another account cannot name this hop"


def test_revoked_source_identity_of_an_account_outside_the_chain_spares_the_session() -> None:
    session = claims(USER, FIRST, source_identity="alice")
    assert index(revocation("source_identity", "alice", "222222222222")).revoked(session) is None


def test_revoked_child_of_an_ancestor_issued_anew_lives() -> None:
    made = revocation("role", "AROAFIRST", issued_before=2000)
    renewed = replace(FIRST, issued_at=2500, seen=FeedPosition(DB, 7))
    assert index(made).revoked(claims(USER, renewed, SECOND)) is None


def test_revoked_child_made_after_the_revocation_dies_with_an_older_ancestor() -> None:
    """The child's own `seen` and time are past the revocation; its ancestor's are not, and it is the one named."""
    made = revocation("session", FIRST.session_id, issued_before=2000)
    assert SECOND.seen.position > made.position
    assert SECOND.issued_at > made.issued_before
    assert index(made).revoked(claims(USER, FIRST, SECOND)) == made


def test_revoked_compares_seen_so_that_a_clock_ahead_does_not_save_a_session() -> None:
    ahead = replace(FIRST, issued_at=10**9, seen=FeedPosition(DB, 6))
    assert index(revocation("role", "AROAFIRST", issued_before=2000)).revoked(claims(USER, ahead)) is not None


def test_revoked_compares_time_so_that_a_revocation_of_the_past_reaches_sessions_that_saw_it() -> None:
    late = replace(FIRST, issued_at=1999, seen=FeedPosition(DB, 50))
    assert index(revocation("role", "AROAFIRST", issued_before=2000)).revoked(claims(USER, late)) is not None


def test_revoked_session_of_another_database_epoch_counts_as_older() -> None:
    other = replace(FIRST, issued_at=10**9, seen=FeedPosition("db0", 10**6))
    assert index(revocation("role", "AROAFIRST")).revoked(claims(USER, other)) is not None


def test_revoked_by_a_revocation_without_position_kills_all_it_names() -> None:
    fresh = replace(FIRST, seen=FeedPosition(DB, 10**6))
    made = revocation("role", "AROAFIRST", position=0)
    revocations = index(made)
    assert revocations.revoked(claims(USER, fresh)) is not None
    revocations.add(dataclasses.replace(made, position=8))
    assert revocations.revoked(claims(USER, fresh)) is None
    assert len(revocations) == 1


def test_blocked_until_ends_the_block_and_not_the_kill() -> None:
    made = index(revocation("principal", "AIDAUSER", block=True, block_until=9000))
    assert made.blocked((USER,), "", 8999) is not None
    assert made.blocked((USER,), "", 9000) is None
    assert made.revoked(claims(USER, FIRST)) is not None


def test_blocked_for_ever_outlasts_a_block_with_an_end() -> None:
    ever = revocation("account", "111111111111", id="rv2", block=True)
    made = index(revocation("account", "111111111111", block=True, block_until=9000), ever)
    assert made.blocked((USER,), "", 10**15) == ever


def test_blocked_without_block_blocks_nobody() -> None:
    assert index(revocation("principal", "AIDAUSER")).blocked((USER,), "", 0) is None
    assert RevocationIndex(DB).blocked((USER,), "", 0) is None


def test_blocked_source_identity_blocks_chains_through_the_owning_account() -> None:
    made = index(revocation("source_identity", "alice", block=True))
    assert made.blocked((USER, SECOND), "alice", 0) is not None
    assert made.blocked((SECOND,), "alice", 0) is None


@pytest.mark.parametrize(("subject", "value"), [("planet", "x"), ("session", ""), ("source_identity", "")])
def test_add_of_a_revocation_that_names_nobody_is_refused(subject: str, value: str) -> None:
    with pytest.raises(ValueError, match="nobody"):
        index(revocation(subject, value))


def test_remove_spent_forgets_after_the_longest_session_and_keeps_blocks() -> None:
    old = revocation("role", "AROAFIRST")
    blocking = revocation("role", "AROAFIRST", id="rv2", block=True)
    unplaced = revocation("role", "AROASECOND", id="rv3", position=0)
    made = index(old, blocking, unplaced)
    assert made.remove_spent(2000 + LONGEST_SESSION_MS) == 0
    assert made.remove_spent(2000 + 2 * LONGEST_SESSION_MS) == 1
    assert len(made) == 2
    assert made.revoked(claims(USER, FIRST)) == blocking


def test_is_spent_is_true_once_a_block_has_ended() -> None:
    made = revocation("role", "x", block=True, block_until=9000)
    assert not is_spent(made, 8999)
    assert is_spent(made, 9000 + 2 * LONGEST_SESSION_MS)


def test_is_spent_is_true_a_day_after_the_longest_session_has_ended() -> None:
    made = revocation("role", "x", created_at=3000, issued_before=2000)
    ends = 3000 + LONGEST_SESSION_MS + 24 * 3600 * 1000
    assert not is_spent(made, ends - 1)
    assert is_spent(made, ends)


def test_remove_of_the_last_one_revives_nobody_else() -> None:
    one, two = revocation("role", "AROAFIRST"), revocation("role", "AROAFIRST", id="rv2", position=6)
    made = index(one, two)
    made.remove(one)
    assert made.revoked(claims(USER, FIRST)) == two
    made.remove(two)
    made.remove(two)
    assert len(made) == 0
    assert made.revoked(claims(USER, FIRST)) is None


ACCOUNTS = st.sampled_from(["1", "2"])
IDS = st.sampled_from(["x", "y", "z"])
HOPS = st.builds(
    Hop,
    IDS,
    ACCOUNTS,
    IDS,
    st.integers(0, 9),
    st.builds(FeedPosition, st.sampled_from(["d", "e"]), st.integers(0, 9)),
    IDS,
    IDS,
    st.just("") | IDS,
    st.just("") | IDS,
)
REVOCATIONS = st.builds(
    Revocation,
    id=st.uuids().map(str),
    account=ACCOUNTS,
    subject=st.sampled_from(sorted(SUBJECT_TABLES)),
    value=st.sampled_from(["x", "y", "1", "2"]),
    issued_before=st.integers(0, 9),
    created_at=st.just(0),
    position=st.integers(0, 9),
    block=st.booleans(),
    block_until=st.none() | st.integers(0, 9),
)


def names(made: Revocation, hop: Hop, source_identity: str) -> bool:
    """The rule, as design.md has it, without an index."""
    named = {
        "session": hop.session_id,
        "role": hop.principal_id,
        "principal": hop.principal_id,
        "access_key": hop.access_key_id,
        "account": hop.account,
        "source_identity": source_identity,
        "grant": hop.grant_id,
        "client": hop.client_id,
    }
    return made.account == hop.account and named[made.subject] == made.value


@given(
    st.lists(REVOCATIONS, max_size=6, unique_by=lambda r: r.id), st.lists(HOPS, min_size=1, max_size=4), IDS, st.data()
)
def test_index_agrees_with_the_rule_spelled_out(
    made: list[Revocation], hops: list[Hop], identity: str, data: st.DataObject
) -> None:
    gone = data.draw(st.sets(st.sampled_from([r.id for r in made]))) if made else set()
    revocations = RevocationIndex("d")
    for one in made:
        revocations.add(one)
    for one in made:
        if one.id in gone:
            revocations.remove(one)
    left = [r for r in made if r.id not in gone]

    def older(r: Revocation, h: Hop) -> bool:
        before = r.position == 0 or h.seen.position < r.position
        return h.seen.epoch != "d" or before or h.issued_at < r.issued_before

    dead = any(names(r, h, identity) and older(r, h) for r in left for h in hops)
    assert (revocations.revoked(claims(*hops, source_identity=identity)) is not None) == dead
    blocked = any(
        names(r, h, identity) and r.block and (r.block_until is None or r.block_until > 4) for r in left for h in hops
    )
    assert (revocations.blocked(hops, identity, 4) is not None) == blocked
    assert len(revocations) == len(left)

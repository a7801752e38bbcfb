"""Counts votes: which approvals count, why others do not, and whether the approvers of every stage have approved.

Stages are AND-ed. A person fills one place of one stage only, however many stages, users or votes the person has.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final, NamedTuple

from daypass.domain.access.person import same_person
from daypass.domain.directory import AccessVote

StageKey = tuple[str, str]
"""(rule, stage)."""
CHANGED: Final = "the request, a role of it or its rule has changed since"
_WAITED_MS: Final = 7 * 86_400_000
"""An approval waits so long for others. Revocations, which would end it, are stored for a day longer (attack A333)."""


class Tally(NamedTuple):
    """The result of a count: the missing approvals of each stage, and the number of persons who approved."""

    missing: Mapping[StageKey, int]
    approvers: int

    @property
    def complete(self) -> bool:
        """Whether every stage has its approvals."""
        return bool(self.missing) and not any(self.missing.values())


def tally(thresholds: Mapping[StageKey, int], approvals: Sequence[AccessVote]) -> Tally:
    """Assigns each approval to one stage so that as many places as possible are filled."""
    places = [stage for stage, threshold in thresholds.items() for _ in range(threshold)]
    eligible = [{(stage[0], stage[1]) for stage in vote.stages} for vote in approvals]
    filled: dict[int, int] = {}  # place: approval
    for approval in range(len(approvals)):
        _assign(approval, places, eligible, filled, set())
    missing = dict(thresholds)
    for place in filled:
        missing[places[place]] -= 1
    return Tally(missing, len(filled))


def _assign(
    approval: int,
    places: Sequence[StageKey],
    eligible: Sequence[set[StageKey]],
    filled: dict[int, int],
    tried: set[int],
) -> bool:
    """Finds a place for an approval, moving earlier approvals when necessary (augmenting paths of a bipartite matching)."""
    for place, stage in enumerate(places):
        if stage not in eligible[approval] or place in tried:
            continue
        tried.add(place)
        if place not in filled or _assign(filled[place], places, eligible, filled, tried):
            filled[place] = approval
            return True
    return False


class Count(NamedTuple):
    """The approvals that count; why others do not, by approver id; and what is missing."""

    approvals: Sequence[AccessVote]
    void: Mapping[str, str]
    tally: Tally


def count(
    votes: Iterable[AccessVote],
    thresholds: Mapping[StageKey, int],
    binding: str,
    excluded: Sequence[str],
    at: int,
    standing: Callable[[AccessVote], tuple[AccessVote, str]] = lambda vote: (vote, ""),
) -> Count:
    """Counts at `at` (ms) the approvals that are bound to `binding`, not by an excluded person, one for each person.

    `standing`: a vote with the persons and stages that it has now, and why it does not count, or "". It is slow, and votes
    can be many: one that does not fill a further place is not examined. Its narrower terms still apply.
    """
    approvals: list[AccessVote] = []
    needed: list[AccessVote] = []
    known: set[str] = set()  # identifiers of the persons of `approvals`
    void: dict[str, str] = {}

    def fills(vote: AccessVote) -> bool:
        return tally(thresholds, [*needed, vote]).approvers > len(needed)

    for cast in sorted((vote for vote in votes if vote.approve), key=lambda v: (v.at, v.approver_id)):
        vote, why = cast, _outdated(cast, binding, at)
        if not why and fills(cast):
            vote, why = standing(cast)
        if not why and same_person(vote.persons, excluded):
            why = "it is an approval of one's own request"
        if not why and same_person(vote.persons, known):
            why = "it is another approval of the same person"
        if why:
            void[vote.approver_id] = why
            continue
        approvals.append(vote)
        known.update(vote.persons)
        if fills(vote):
            needed.append(vote)
    return Count(approvals, void, tally(thresholds, needed))


def _outdated(vote: AccessVote, binding: str, at: int) -> str:
    if vote.binding != binding:
        return CHANGED
    return "it has waited for others for seven days" if vote.at <= at - _WAITED_MS else ""

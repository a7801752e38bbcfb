"""Counts votes: whether the approvers of every stage have approved.

Stages are AND-ed. A person fills one place of one stage only, however many stages, users or votes the person has.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from daypass.domain.access.person import same_person
from daypass.domain.directory import AccessVote

StageKey = tuple[str, str]
"""(rule, stage)."""


class Tally(NamedTuple):
    """The result of a count: the missing approvals of each stage, and the number of persons who approved."""

    missing: Mapping[StageKey, int]
    approvers: int

    @property
    def complete(self) -> bool:
        """Whether every stage has its approvals."""
        return not any(self.missing.values())


def counted(votes: Iterable[AccessVote], binding: str, excluded: Sequence[str]) -> list[AccessVote]:
    """The approvals that count: bound to `binding`, not by an excluded person, one for each person."""
    found: list[AccessVote] = []
    for vote in sorted(votes, key=lambda v: (v.at, v.approver_id)):
        if not vote.approve or vote.binding != binding or same_person(vote.persons, excluded):
            continue
        if any(same_person(vote.persons, other.persons) for other in found):
            continue
        found.append(vote)
    return found


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

"""The exact request, as it is approved, its digest, and the votes that count for it.

An approval is bound to the digest of the terms and to the versions of each role and its rule. Any change of these gives
another digest, so that the approval no longer counts.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

import msgspec
from msgspec import Struct

from daypass.domain.access.request import same_person
from daypass.domain.directory import AccessRequest, AccessVote
from daypass.domain.policy.model import Value

MAX_ROLES = 10
MAX_REASON = 1024
MAX_TICKET = 128


class RoleRef(Struct, frozen=True):
    """A role of a request. A recreated role with the same name has another id."""

    arn: str
    id: str


class Terms(Struct, frozen=True, omit_defaults=True):
    """The terms of a request."""

    # requester, beneficiary: ARNs; the second gets the grants.
    requester: str
    beneficiary: str
    roles: tuple[RoleRef, ...]
    reason: str
    seconds: int  # duration from the first use
    ticket: str = ""
    policy: str = ""  # the text of a scope-down policy, or ""
    starts_at: int = 0  # ms; 0: at once
    max_uses: int = 0  # sessions for each role; 0: any number
    break_glass: bool = False
    extends: str = ""  # id of the request whose access is to last longer; "": none
    rules: tuple[str, ...] = ()  # names of the rules under which the roles are requested, in the order of `roles`
    rule_digests: tuple[str, ...] = ()  # the versions of these rules whose limits and conditions were tested
    accepted_at: int = 0  # ms; when the beneficiary accepted what somebody else requested; 0: nobody else did


def keys_of(terms: Terms, risk: int) -> dict[str, Value]:
    """The context keys of a request that is stored, lower-cased."""
    ticket: dict[str, Value] = {"daypass:ticketid": terms.ticket} if terms.ticket else {}
    return {**ticket, "daypass:riskscore": str(risk)}


class Version(NamedTuple):
    """The version of a role and of its rule."""

    role_id: str
    role_digest: str
    rule: str
    rule_digest: str


_encode = msgspec.json.Encoder(order="sorted").encode
_decode = msgspec.json.Decoder(Terms).decode


def encode(terms: Terms) -> str:
    """The canonical text."""
    return _encode(terms).decode()


def decode(document: str) -> Terms:
    """The terms of a stored text. Raises ValueError."""
    return _decode(document)


def waiting_since(request: AccessRequest) -> int:
    """When (ms) approvers could decide: approvers cannot before the beneficiary accepts (attack A336)."""
    return decode(request.document).accepted_at or request.created_at


def digest(value: Any) -> str:
    """SHA-256, in hex, of a text or of the canonical JSON of another value."""
    data = value.encode("utf-8", "surrogatepass") if isinstance(value, str) else _encode(value)
    return hashlib.sha256(data).hexdigest()


def binding_of(terms_digest: str, versions: Iterable[Version]) -> str:
    """The digest of the exact request and of the versions of its roles and rules.

    A vote is bound to that of all roles, a grant to that of its own role.
    """
    return digest([terms_digest, sorted(tuple(version) for version in versions)])


# --- Quorum: one person counts once, however many identities the person has


StageKey = tuple[str, str]
"""(rule, stage)."""
_WAITED_MS: Final = 7 * 86_400_000
"""An approval waits so long for others. Revocations, which would void it, are stored for a day longer (attack A333)."""


class Ballot(Struct, frozen=True, omit_defaults=True):
    """The limits that a vote sets."""

    reason: str = ""  # of the approver
    seconds: int = 0  # the approver's shorter duration; 0: as requested
    policy: str = ""  # the approver's narrower scope-down policy, or ""
    step_up: str = ""  # how the approver confirmed the vote with MFA: "passkey", "code", or "" for not at all
    chat: str = ""  # the user of a chat service who voted there, or ""


read_ballot: Callable[[str], Ballot] = msgspec.json.Decoder(Ballot).decode


def write_ballot(ballot: Ballot) -> str:
    """The text that a vote stores."""
    return msgspec.json.encode(ballot).decode()


class VoteTally(NamedTuple):
    """The result of a count: the missing approvals of each stage, and which approval fills a place of which stage."""

    missing: Mapping[StageKey, int]
    counted: tuple[tuple[StageKey, AccessVote], ...]

    @property
    def complete(self) -> bool:
        """Whether every stage has its approvals."""
        return bool(self.missing) and not any(self.missing.values())


def tally(thresholds: Mapping[StageKey, int], approvals: Sequence[AccessVote]) -> VoteTally:
    """Assigns each approval to one stage so that as many places as possible are filled."""
    places = [stage for stage, threshold in thresholds.items() for _ in range(threshold)]
    eligible = [{(stage[0], stage[1]) for stage in vote.stages} for vote in approvals]
    filled: dict[int, int] = {}  # place: approval
    for approval in range(len(approvals)):
        _assign(approval, places, eligible, filled, set())
    missing = dict(thresholds)
    for place in filled:
        missing[places[place]] -= 1
    return VoteTally(missing, tuple((places[place], approvals[each]) for place, each in filled.items()))


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
    tally: VoteTally


def count(
    votes: Iterable[AccessVote],
    thresholds: Mapping[StageKey, int],
    binding: str,
    excluded: Sequence[str],
    now: int,
    lost: Callable[[AccessVote], str] = lambda _: "",
) -> Count:
    """Counts the approvals at `now` (ms) that are bound to `binding`, not by an excluded person, one for each person.

    `lost`: why the approver of a vote does not count any more; "": the approver does.
    """
    approvals: list[AccessVote] = []
    known: set[str] = set()  # identifiers of the persons of `approvals`
    void: dict[str, str] = {}
    for vote in sorted((vote for vote in votes if vote.approve), key=lambda v: (v.at, v.approver_id)):
        if vote.binding != binding:
            why = "the request, a role of it or its rule has changed since"
        elif vote.at <= now - _WAITED_MS:
            why = "it has waited for others for seven days"
        elif same_person(vote.persons, excluded):
            why = "it is an approval of one's own request"
        elif same_person(vote.persons, known):
            why = "it is another approval of the same person"
        else:
            why = lost(vote)
        if why:
            void[vote.approver_id] = why
            continue
        approvals.append(vote)
        known.update(vote.persons)
    return Count(approvals, void, tally(thresholds, approvals))

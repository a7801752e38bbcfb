"""A request as its readers see it: with its votes, its grants, and what it still needs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from msgspec import Struct

from daypass.domain.access import terms as t
from daypass.domain.access.quorum import StageKey, counted, tally
from daypass.domain.access.request import UNDECIDED
from daypass.domain.access.rule import expanded
from daypass.domain.arn import account_of
from daypass.domain.directory import AccessRequest, AccessVote, Grant
from daypass.domain.errors import DaypassError
from daypass.operations.grants.close import grants_of
from daypass.operations.grants.eligible import approved_binding, binding, thresholds
from daypass.operations.grants.facts import Target, names_of, principals_in, targets_of
from daypass.ports import Reader

_MANY = 1_000


class RequestView(Struct, frozen=True):
    """A request in one snapshot.

    Attributes:
        binding: the digest that a vote must name: of the exact request, of the roles' policies and of the rules, now.
            "" when the request can no longer be granted.
        missing: approvals that are missing, by (rule, stage).
        void: ids of approvers whose approval does not count, because something changed after it.
        chat: votes may come from a chat.
        substitutes: (ARN of a requested role, ARN of a role that its rule lists as a substitute).
        reused: a new request was not made, because this earlier one covers it.
    """

    request: AccessRequest
    terms: t.Terms
    votes: tuple[AccessVote, ...]
    grants: tuple[Grant, ...]
    binding: str = ""
    missing: Mapping[StageKey, int] = {}
    void: tuple[str, ...] = ()
    chat: bool = False
    substitutes: tuple[tuple[str, str], ...] = ()
    reused: bool = False


def votes_on(tx: Reader, request_id: str) -> list[AccessVote]:
    return tx.find(AccessVote, request_id=request_id, order="approver_id", limit=_MANY)


def current_targets(
    tx: Reader, builtin: Mapping[str, str], request: AccessRequest, terms: t.Terms
) -> tuple[Target, ...]:
    """The roles of a request with the rules under which they are requested, if these apply to the beneficiary now.

    Conditions on requesters were tested when the request was made, so no other rule may take the place of one whose
    conditions held (attack A209).

    Raises DaypassError: NOT_FOUND, ACCESS_DENIED when the beneficiary is no longer eligible.
    """
    names = names_of(tx, principals_in(request))
    return targets_of(tx, builtin, terms.roles, names, None, terms.rules)


def chat_allowed(request: AccessRequest, targets: Sequence[Target]) -> bool:
    """Whether the rules allow votes on the request from a chat."""
    rules = [target.rule.rule for target in targets]
    return bool(rules) and all(rule.chat is not None and request.risk <= rule.chat.max_risk for rule in rules)


def view_of(tx: Reader, builtin: Mapping[str, str], request: AccessRequest) -> RequestView:
    """The request as it is now."""
    terms, votes = t.decode(request.document), tuple(votes_on(tx, request.id))
    found = tuple(grants_of(tx, request.id))
    if request.state not in UNDECIDED:
        bound_to = approved_binding(tx, request)
        return RequestView(request, terms, votes, found, void=_void(votes, bound_to) if found else ())
    try:
        targets: Sequence[Target] = current_targets(tx, builtin, request, terms)
    except DaypassError:
        return RequestView(request, terms, votes, found)
    bound_to = binding(request.digest, targets)
    others = substitutes_of(request.account, targets)
    count = tally(thresholds(target.rule for target in targets), counted(votes, bound_to, request.persons))
    chat = chat_allowed(request, targets)
    return RequestView(request, terms, votes, found, bound_to, count.missing, _void(votes, bound_to), chat, others)


def substitutes_of(account: str, targets: Sequence[Target]) -> tuple[tuple[str, str], ...]:
    """See `RequestView.substitutes`. Roles of another account are none: it has other rules and approvers (attack A278)."""
    return tuple(
        (target.role.arn, other)
        for target in targets
        for other in expanded(target.rule.rule.substitutes, account)
        if other != target.role.arn and account_of(other) == account
    )


def _void(votes: Sequence[AccessVote], bound_to: str) -> tuple[str, ...]:
    return tuple(vote.approver_id for vote in votes if vote.approve and vote.binding != bound_to)

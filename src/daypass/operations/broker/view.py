"""A request as its readers see it: with its votes, its grants, and what it still needs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress

from msgspec import Struct, structs

from daypass.domain.access import terms as t
from daypass.domain.access.quorum import StageKey, counted, tally
from daypass.domain.access.request import UNDECIDED
from daypass.domain.access.rule import expanded
from daypass.domain.access.terms import Version, binding_of
from daypass.domain.arn import account_of
from daypass.domain.directory import AccessRequest, AccessVote, Grant
from daypass.domain.errors import DaypassError
from daypass.operations.grants.close import grants_of
from daypass.operations.grants.eligible import approved_binding, binding, thresholds
from daypass.operations.grants.facts import Target, names_of, principals_in, targets_of
from daypass.operations.grants.snapshot import once
from daypass.operations.principals import principal_behind
from daypass.ports import Reader

_MANY = 1_000


class RequestView(Struct, frozen=True):
    """A request in one snapshot.

    Attributes:
        binding: the digest that a vote must name: of the exact request, of the policies and rules of its roles and of
            their substitutes, now. "" when the request can no longer be granted.
        missing: approvals that are missing, by (rule, stage).
        void: ids of approvers whose approval does not count, because something changed after it.
        chat: votes may come from a chat.
        principals: the ARNs of the principals whose sessions requested or voted, by principal id, where the session's own
            ARN does not say it: see `principals.principal_behind`.
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
    principals: Mapping[str, str] = {}
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


def open_targets(tx: Reader, builtin: Mapping[str, str], request: AccessRequest) -> tuple[Target, ...]:
    """The roles of the open grants with their rules. A grant that is void already keeps nobody from ending the others
    (attack A325).
    """
    names, found = names_of(tx, principals_in(request)), list[Target]()
    for grant in grants_of(tx, request.id):
        if not grant.ended_at:
            with suppress(DaypassError):
                found += targets_of(tx, builtin, [t.RoleRef(grant.role_arn, grant.role_id)], names, None, [grant.rule])
    return tuple(found)


def chat_allowed(request: AccessRequest, targets: Sequence[Target]) -> bool:
    """Whether the rules allow votes on the request from a chat."""
    rules = [target.rule.rule for target in targets]
    return bool(rules) and all(rule.chat is not None and request.risk <= rule.chat.max_risk for rule in rules)


def view_of(tx: Reader, builtin: Mapping[str, str], request: AccessRequest) -> RequestView:
    """The request as it is now."""
    terms, votes = t.decode(request.document), tuple(votes_on(tx, request.id))
    found = tuple(grants_of(tx, request.id))
    view = RequestView(request, terms, votes, found, principals=_principals(tx, request, terms, votes))
    if request.state not in UNDECIDED:
        return structs.replace(view, void=_void(votes, approved_binding(tx, request)) if found else ())
    try:
        targets: Sequence[Target] = current_targets(tx, builtin, request, terms)
    except DaypassError:
        return view
    bound_to = binding(request.digest, targets)
    return structs.replace(
        view,
        binding=shown_binding(tx, builtin, request, targets),
        missing=tally(thresholds(target.rule for target in targets), counted(votes, bound_to, request.persons)).missing,
        void=_void(votes, bound_to),
        chat=chat_allowed(request, targets),
        substitutes=substitutes_of(request.account, targets),
    )


def _principals(tx: Reader, request: AccessRequest, terms: t.Terms, votes: Sequence[AccessVote]) -> Mapping[str, str]:
    shown = {request.requester_id: terms.requester, **{vote.approver_id: vote.approver_arn for vote in votes}}
    found = {each: principal_behind(tx, each, arn) for each, arn in shown.items()}
    return {each: arn for each, arn in found.items() if arn}


def substitutes_of(account: str, targets: Sequence[Target]) -> tuple[tuple[str, str], ...]:
    """See `RequestView.substitutes`. Roles of another account are none: it has other rules and approvers (attack A278)."""
    return tuple(
        (target.role.arn, other)
        for target in targets
        for other in expanded(target.rule.rule.substitutes, account)
        if other != target.role.arn and account_of(other) == account
    )


def substitute(tx: Reader, builtin: Mapping[str, str], request: AccessRequest, other: str) -> Target:
    """The role `other` with the rule that the beneficiary could request it by. Raises DaypassError: NOT_FOUND, ACCESS_DENIED."""
    names = names_of(tx, principals_in(request))
    [found] = once(
        tx, ("substitute", other, names), lambda: targets_of(tx, builtin, [t.RoleRef(other, "")], names, None)
    )
    return found


def shown_binding(tx: Reader, builtin: Mapping[str, str], request: AccessRequest, targets: Sequence[Target]) -> str:
    """What a vote must name: what it will be bound to, and the versions of the substitutes that it may choose (A288)."""
    versions: list[Version] = []
    for _, other in substitutes_of(request.account, targets):
        with suppress(DaypassError):  # one that cannot be granted is refused anyway
            versions.append(substitute(tx, builtin, request, other).version)
    bound_to = binding(request.digest, targets)
    return binding_of(bound_to, set(versions)) if versions else bound_to


def _void(votes: Sequence[AccessVote], bound_to: str) -> tuple[str, ...]:
    return tuple(vote.approver_id for vote in votes if vote.approve and vote.binding != bound_to)

"""A request as its readers see it: with its votes, its grants, and what it still needs."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final

from msgspec import Struct, structs

from daypass.domain.access import terms as t
from daypass.domain.access.grant import GrantState, state_of
from daypass.domain.access.quorum import CHANGED, Count, StageKey
from daypass.domain.access.request import UNDECIDED
from daypass.domain.access.rule import expanded
from daypass.domain.access.terms import Version, binding_of
from daypass.domain.arn import account_of
from daypass.domain.directory import AccessRequest, AccessVote, Grant, RequestState
from daypass.domain.errors import DaypassError, ErrorKind
from daypass.operations.grants.close import grants_of
from daypass.operations.grants.eligible import binding
from daypass.operations.grants.facts import Target, is_disabled, is_revoked, names_of, principals_in, targets_of
from daypass.operations.grants.snapshot import Snapshot, once
from daypass.operations.grants.standing import count_votes, votes_on
from daypass.operations.grants.void import approved_binding, held_by, still_permitted, why_void
from daypass.operations.principals import principal_behind
from daypass.ports import Env, Reader

_COMPLETE: Final = "Approvals that did not count for a time count again. Any approver decides it by voting again."


class RequestView(Struct, frozen=True):
    """A request in one snapshot.

    Attributes:
        binding: the digest that a vote must name: of the exact request, of the policies and rules of its roles and of
            their substitutes, now. "" when the request can no longer be granted.
        missing: approvals that are missing, by (rule, stage).
        obstacle: why the request is not decided although no approval is missing, or cannot be approved now; "" otherwise.
        void: why approvals do not count, by the id of the approver. See `grants.standing`.
        refused: why grants that have not ended would be refused now, by id. A sweep ends them. See `grants.void`.
        chat: votes may come from a chat.
        principals: the ARNs of the principals whose sessions requested or voted, by principal id, where the session's own
            ARN does not say it: see `principals.principal_behind`.
        substitutes: (ARN of a requested role, ARN of a role that its rule lists as a substitute).
        reused: a new request was not made, because this earlier one covers it or asks for the same.
        hint: what would have approved the request that was just sent; "" otherwise.
    """

    request: AccessRequest
    terms: t.Terms
    votes: tuple[AccessVote, ...]
    grants: tuple[Grant, ...]
    binding: str = ""
    missing: Mapping[StageKey, int] = {}
    obstacle: str = ""
    void: Mapping[str, str] = {}
    refused: Mapping[str, str] = {}
    chat: bool = False
    principals: Mapping[str, str] = {}
    substitutes: tuple[tuple[str, str], ...] = ()
    reused: bool = False
    hint: str = ""


def current_targets(env: Env, reader: Reader, request: AccessRequest, terms: t.Terms) -> tuple[Target, ...]:
    """The roles of a request with the rules under which they are requested, if these apply to the beneficiary now.

    Conditions on requesters were tested when the request was made, so no other rule may take the place of one whose
    conditions held (attack A209).

    Raises DaypassError: NOT_FOUND, ACCESS_DENIED when the grant would be refused to the beneficiary: no longer eligible or
    permitted, a person of the request disabled or revoked after it was made (attack A383).
    """
    tx, persons = _snapshot(reader), (request.requester_id, request.beneficiary_id)
    if is_revoked(tx, request, persons, env.clock.now()):
        why = "was revoked afterwards. Access has to be requested again"
        raise _lost(request, f"The person who made the request, or for whom it is, {why}.")
    if is_disabled(tx, persons):
        raise _lost(request, "The person who made the request, or for whom it is, has been disabled.")
    names = names_of(tx, held_by(env, tx, principals_in(request)))
    targets = targets_of(tx, env.builtin, terms.roles, names, None, terms.rules)
    for arn in (target.role.arn for target in targets):
        if not still_permitted(env, tx, request, arn):
            raise _lost(request, f"The person who made the request is no longer permitted to request {arn}.")
    for grant in extended_by(tx, terms):
        if fault := why_void(env, tx, grant, env.clock.now()):
            raise _lost(request, f"The access that is to last longer is refused: {fault}")
    return targets


def _snapshot(tx: Reader) -> Snapshot:
    return tx if isinstance(tx, Snapshot) else Snapshot(tx)


def extended_by(tx: Reader, terms: t.Terms) -> list[Grant]:
    """The grants that an extension extends, as far as they are open."""
    return [grant for grant in (grants_of(tx, terms.extends) if terms.extends else ()) if not grant.ended_at]


def _lost(request: AccessRequest, message: str) -> DaypassError:
    private = {"reason": "no longer eligible", "request": request.id}
    return DaypassError(ErrorKind.ACCESS_DENIED, message, private=private)


def count_of(env: Env, tx: Reader, request: AccessRequest, targets: Sequence[Target]) -> Count:
    """The votes on an undecided request as they count now."""
    roles = [(target.rule, target.role.arn) for target in targets]
    return count_votes(env, tx, request, binding(request.digest, targets), roles, env.clock.now())


def open_targets(tx: Reader, builtin: Mapping[str, str], request: AccessRequest) -> tuple[Target, ...]:
    """The roles of the open grants with their rules, without those that are void already (attack A325)."""
    opened = [grant for grant in grants_of(tx, request.id) if not grant.ended_at]
    return _remaining(tx, builtin, request, [(t.RoleRef(each.role_arn, each.role_id), each.rule) for each in opened])


def requested_targets(tx: Reader, builtin: Mapping[str, str], request: AccessRequest) -> tuple[Target, ...]:
    """The roles of the request with their rules, without those that can no longer be granted: whose approvers see it, and
    may deny it (attack A375).
    """
    terms = t.decode(request.document)
    rules = terms.rules or ("",) * len(terms.roles)
    return _remaining(tx, builtin, request, zip(terms.roles, rules, strict=True))


def _remaining(
    tx: Reader, builtin: Mapping[str, str], request: AccessRequest, wanted: Iterable[tuple[t.RoleRef, str]]
) -> tuple[Target, ...]:
    names, found = names_of(tx, principals_in(request)), list[Target]()
    for ref, rule in wanted:
        with suppress(DaypassError):
            found += targets_of(tx, builtin, [ref], names, None, [rule])
    return tuple(found)


def chat_allowed(request: AccessRequest, targets: Sequence[Target]) -> bool:
    """Whether the rules allow votes on the request from a chat."""
    rules = [target.rule.rule for target in targets]
    return bool(rules) and all(rule.chat is not None and request.risk <= rule.chat.max_risk for rule in rules)


def view_of(env: Env, reader: Reader, request: AccessRequest, count: Count | None = None) -> RequestView:
    """The request as it is now. `count`: of its votes, which this transaction has made."""
    tx = _snapshot(reader)
    terms, votes = t.decode(request.document), tuple(votes_on(tx, request.id))
    found = tuple(grants_of(tx, request.id))
    view = RequestView(request, terms, votes, found, principals=_principals(tx, request, terms, votes))
    if request.state not in UNDECIDED:
        return structs.replace(view, void=count.void) if count is not None else _granted_view(env, tx, view)
    try:
        targets: Sequence[Target] = current_targets(env, tx, request, terms)
    except DaypassError as error:
        return structs.replace(view, obstacle=str(error))
    count = count or count_of(env, tx, request, targets)
    complete = request.state is RequestState.PENDING and count.tally.complete
    return structs.replace(
        view,
        binding=shown_binding(tx, env.builtin, request, targets),
        missing=count.tally.missing,
        obstacle=_COMPLETE if complete else "",
        void=count.void,
        chat=chat_allowed(request, targets),
        substitutes=substitutes_of(request.account, targets),
    )


def _granted_view(env: Env, tx: Reader, view: RequestView) -> RequestView:
    """A decided request: a vote for something else never counted, and one that ends a grant does not count now."""
    now, void, refused = env.clock.now(), dict[str, str](), dict[str, str]()
    bound_to = approved_binding(tx, view.request) if view.grants else ""
    for vote in view.votes:
        if bound_to and vote.approve and vote.binding != bound_to:
            void[vote.approver_id] = CHANGED
    for grant in view.grants:
        if state_of(grant, now) is not GrantState.ENDED and (fault := why_void(env, tx, grant, now)) is not None:
            refused[grant.id] = str(fault)
            void |= fault.votes
    return structs.replace(view, void=void, refused=refused)


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


def request_detail(view: RequestView) -> dict[str, Any]:
    """What the record says about a request."""
    request, terms = view.request, view.terms
    detail: dict[str, Any] = {
        "request": request.id,
        "state": request.state.value,
        "digest": request.digest,
        "requester": terms.requester,
        "roles": [ref.arn for ref in terms.roles],
        "reason": terms.reason,
        "seconds": terms.seconds,
        "risk": request.risk,
        "risk_reasons": json.loads(request.risk_reasons),
    }
    optional = {
        "beneficiary": terms.beneficiary if terms.beneficiary != terms.requester else "",
        "ticket": terms.ticket,
        "policy": terms.policy,
        "starts_at": terms.starts_at,
        "max_uses": terms.max_uses,
        "extends": terms.extends,
        "chat_binding": view.binding if view.chat and request.state is RequestState.PENDING else "",
        "grants": [grant.id for grant in view.grants],
    }
    return {**detail, **{name: value for name, value in optional.items() if value}}

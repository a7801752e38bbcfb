"""A request as its readers see it: with its votes, its grants, and what it still needs."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final

from msgspec import Struct, structs

from daypass.domain.access import terms as t
from daypass.domain.access.grant import GrantState, state_of
from daypass.domain.access.quorum import Count, StageKey
from daypass.domain.access.request import UNDECIDED
from daypass.domain.directory import AccessRequest, AccessVote, Grant, RequestState
from daypass.domain.errors import DaypassError, ErrorKind
from daypass.operations.grants.end import grants_of
from daypass.operations.grants.persons import names_of, principals_in, why_gone
from daypass.operations.grants.snapshot import Snapshot
from daypass.operations.grants.targets import RequestedRole, binding, targets_of
from daypass.operations.grants.void import why_void
from daypass.operations.grants.votes import count_votes, votes_on
from daypass.operations.principals import principal_behind
from daypass.ports import Env, Reader

_COMPLETE: Final = "Approvals that did not count for a time count again. Any approver decides it by voting again."


class RequestView(Struct, frozen=True):
    """A request in one snapshot.

    Attributes:
        binding: the digest that a vote must name: of the exact request, and of the policies and rules of its roles now. ""
            when the request cannot be granted.
        missing: approvals that are missing, by (rule, stage).
        obstacle: why the request is not decided although no approval is missing, or cannot be approved; "" otherwise.
        void: why approvals of a pending request do not count, by the id of the approver.
        refused: why grants that have not ended would be refused now, by id. See `grants.void`.
        chat: votes may come from a chat.
        principals: the ARNs of the principals whose sessions requested or voted, by principal id, where the session's own
            ARN does not say it: see `principals.principal_behind`.
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
    reused: bool = False
    hint: str = ""


def current_targets(env: Env, tx: Reader, request: AccessRequest, terms: t.Terms) -> tuple[RequestedRole, ...]:
    """The roles of an undecided request with the rules under which they are requested.

    Conditions on requesters were tested when the request was made, so no other rule may take the place of one whose
    conditions held, and no later version of it (attacks A209, A211).

    Raises DaypassError: NOT_FOUND, ACCESS_DENIED when the request can no longer be granted.
    """
    persons = (request.requester_id, request.beneficiary_id)
    if gone := why_gone(tx, persons, request.persons, request.created_at, env.clock.now()):
        raise _lost(request, f"The person who made the request, or for whom it is, {gone}.")
    names = names_of(tx, principals_in(request))
    targets = targets_of(tx, env.builtin, terms.roles, names, None, terms.rules)
    for target in targets:
        if request.state is RequestState.PENDING and target.rule.digest not in terms.rule_digests:
            raise _lost(
                request, f"The approval rule {target.rule.name} has changed since. Access has to be requested again."
            )
    return targets


def _lost(request: AccessRequest, message: str) -> DaypassError:
    private = {"reason": "no longer eligible", "request": request.id}
    return DaypassError(ErrorKind.ACCESS_DENIED, message, private=private)


def open_targets(tx: Reader, builtin: Mapping[str, str], request: AccessRequest) -> tuple[RequestedRole, ...]:
    """The roles of the open grants with their rules, without those that are void already (attack A325)."""
    opened = [grant for grant in grants_of(tx, request.id) if not grant.ended_at]
    return _remaining(tx, builtin, request, [(t.RoleRef(each.role_arn, each.role_id), each.rule) for each in opened])


def requested_targets(tx: Reader, builtin: Mapping[str, str], request: AccessRequest) -> tuple[RequestedRole, ...]:
    """The roles of the request with their rules, without those that can no longer be granted: whose approvers see it, and
    may deny it (attack A375).
    """
    terms = t.decode(request.document)
    return _remaining(tx, builtin, request, zip(terms.roles, terms.rules, strict=True))


def _remaining(
    tx: Reader, builtin: Mapping[str, str], request: AccessRequest, wanted: Iterable[tuple[t.RoleRef, str]]
) -> tuple[RequestedRole, ...]:
    names, found = names_of(tx, principals_in(request)), list[RequestedRole]()
    for ref, rule in wanted:
        with suppress(DaypassError):
            found += targets_of(tx, builtin, [ref], names, None, [rule])
    return tuple(found)


def chat_allowed(request: AccessRequest, targets: Sequence[RequestedRole]) -> bool:
    """Whether the rules allow votes on the request from a chat."""
    rules = [target.rule.rule for target in targets]
    return bool(rules) and all(rule.chat is not None and request.risk <= rule.chat.max_risk for rule in rules)


def view_of(env: Env, reader: Reader, request: AccessRequest, count: Count | None = None) -> RequestView:
    """The request as it is now. `count`: of its votes, which this transaction has made."""
    tx = reader if isinstance(reader, Snapshot) else Snapshot(reader)
    terms, votes, now = t.decode(request.document), tuple(votes_on(tx, request.id)), env.clock.now()
    found = tuple(grants_of(tx, request.id))
    view = RequestView(request, terms, votes, found, principals=_principals(tx, request, terms, votes))
    if request.state not in UNDECIDED:
        opened = [grant for grant in found if state_of(grant, now) is not GrantState.ENDED]
        refused = {grant.id: void.message for grant in opened if (void := why_void(env, tx, grant, now)) is not None}
        return structs.replace(view, refused=refused)
    try:
        targets: Sequence[RequestedRole] = current_targets(env, tx, request, terms)
    except DaypassError as error:
        return structs.replace(view, obstacle=str(error))
    count = count or count_votes(env, tx, request, targets, now)
    complete = request.state is RequestState.PENDING and count.tally.complete
    return structs.replace(
        view,
        binding=binding(request.digest, targets),
        missing=count.tally.missing,
        obstacle=_COMPLETE if complete else "",
        void=count.void,
        chat=chat_allowed(request, targets),
    )


def _principals(tx: Reader, request: AccessRequest, terms: t.Terms, votes: Sequence[AccessVote]) -> Mapping[str, str]:
    shown = {request.requester_id: terms.requester, **{vote.approver_id: vote.approver_arn for vote in votes}}
    found = {each: principal_behind(tx, each, arn) for each, arn in shown.items()}
    return {each: arn for each, arn in found.items() if arn}


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

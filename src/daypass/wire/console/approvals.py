"""The approver's inbox, and one access request with everything that a vote needs."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Final

from daypass.domain.access.request import GRANTED, UNDECIDED
from daypass.domain.directory import RequestState
from daypass.domain.errors import DaypassError, Family
from daypass.operations.broker import examine, follow, read, vote
from daypass.operations.broker.eligible import read_ballot
from daypass.operations.broker.view import RequestView
from daypass.operations.broker.vote import Vote, vote_digest
from daypass.operations.sign_in import step_up
from daypass.wire.console.change import optional_confirmation
from daypass.wire.console.visit import ConsoleVisit, address, to
from daypass.wire.http import Response
from daypass.wire.web.render import duration
from daypass.wire.web.step_up import PROOF_FIELDS, proof_of

_ROWS: Final = 50
_REQUEST: Final = "/console/access-request"


async def inbox(visit: ConsoleVisit) -> Response:
    """GET /console/approvals. `state`: all visible requests in that state, instead of those that wait for a vote.
    `person`: only those for this person.
    """
    state, person = visit.value("state", 16), visit.value("person")
    found, following = await visit.perform(
        "daypass:ListAccessRequests",
        read.list_requests,
        state="" if state == "all" else state,
        approvable=not state,
        person=person,
        after=visit.value("after", 64),
        limit=_ROWS,
    )
    states = ("all", *(each.value for each in RequestState))
    listed = {"rows": found, "following": following, "first": bool(visit.value("after"))}
    here = address("/console/approvals", state=state, person=person)
    return visit.page("approvals", "Approvals", wanted=state, person_name=person, states=states, here=here, **listed)


async def show(visit: ConsoleVisit) -> Response:
    """GET /console/access-request?id=… Without an id, as after a reload of a form's answer: the inbox."""
    if not visit.value("id", 64):
        return to("/console/approvals")
    return await _page(visit, visit.value("id", 64))


async def approve(visit: ConsoleVisit) -> Response:
    """POST /console/access-request/approve. The form names the digest of what was shown."""
    try:
        wanted, other = visit.value("substitute_for"), visit.value("substitute")
        sent = Vote(
            binding=visit.value("binding", 64),
            approve=True,
            reason=visit.value("reason"),
            seconds=visit.number("minutes") * 60,
            policy=visit.value("policy", 20_480),
            substitutes=((wanted, other),) if other else (),
        )
    except DaypassError as error:
        return await _page(visit, visit.value("request", 64), await visit.problem(error))
    return await _voted(visit, sent, "daypass:ApproveAccessRequest")


async def deny(visit: ConsoleVisit) -> Response:
    """POST /console/access-request/deny."""
    sent = Vote(binding=visit.value("binding", 64), approve=False, reason=visit.value("reason"))
    return await _voted(visit, sent, "daypass:DenyAccessRequest")


async def _voted(visit: ConsoleVisit, sent: Vote, operation: str) -> Response:
    """Casts the vote. A person who has MFA confirms it first, by a step-up that is bound to the vote's digest."""
    request_id = visit.value("request", 64)
    path = address(f"{_REQUEST}/{'approve' if sent.approve else 'deny'}", id=request_id)
    proof = proof_of(visit.signed_in, visit.values)
    digest = vote_digest(visit.call.caller.account, request_id, sent)
    if proof is None:
        try:
            options = await step_up.ask(visit.env, visit.named(operation), visit.signed_in, digest)
        except DaypassError as error:
            if sent.approve:
                return await _page(visit, request_id, await visit.problem(error))
        else:
            if options.passkey or options.devices:
                return await _confirm(visit, sent, path, options)
    try:
        await visit.perform(operation, vote.vote, "", request_id, replace(sent, step_up=proof))
    except DaypassError as error:
        problem = await visit.problem(error)
        if proof is not None and error.kind.family in (Family.DENIED, Family.PROOF):
            options = await step_up.ask(visit.env, visit.call, visit.signed_in, digest)
            return await _confirm(visit, sent, path, options, problem)
        return await _page(visit, request_id, problem)
    return to(_REQUEST, id=request_id, done="approved" if sent.approve else "denied")


async def _confirm(
    visit: ConsoleVisit, sent: Vote, path: str, options: step_up.MfaOptions, problem: str = ""
) -> Response:
    """Asks for MFA, and shows all that it confirms."""
    view = await visit.perform("daypass:GetAccessRequest", read.get_request, "", visit.value("request", 64))
    terms = view.terms
    facts = [
        ("Decision", "Approve" if sent.approve else "Deny"),
        ("Who", terms.beneficiary),
        ("Roles", ", ".join(ref.arn for ref in terms.roles)),
        ("Why", terms.reason),
        ("For", duration(sent.seconds or terms.seconds)),
        ("Your reason", sent.reason),
        ("Limited by", sent.policy),
        ("Granted instead", ", ".join(f"{other} in place of {wanted}" for wanted, other in sent.substitutes)),
        ("Request as you have read it", sent.binding),
    ]
    return visit.page(
        "confirm",
        "Confirm your vote",
        action=path,
        values={name: value for name, value in visit.values.items() if name not in PROOF_FIELDS},
        facts=[(name, text) for name, text in facts if text],
        mfa_options=options,
        problem=problem,
    )


async def accept(visit: ConsoleVisit) -> Response:
    """POST /console/access-request/accept: the beneficiary accepts a request that was made for it."""
    accept_operation = "daypass:AcceptAccessRequest"
    page = await optional_confirmation(visit, f"{_REQUEST}/accept", "Confirm that you accept", accept_operation)
    return page or await _followed(visit, accept_operation, "accepted", follow.accept_request)


async def cancel(visit: ConsoleVisit) -> Response:
    """POST /console/access-request/cancel."""
    return await _followed(visit, "daypass:CancelAccessRequest", "cancelled", follow.cancel_request)


async def _followed(
    visit: ConsoleVisit, operation: str, done: str, function: Callable[..., Awaitable[RequestView]]
) -> Response:
    request_id = visit.value("request", 64)
    try:
        await visit.perform(operation, function, request_id)
    except DaypassError as error:
        return await _page(visit, request_id, await visit.problem(error))
    return to(_REQUEST, id=request_id, done=done)


async def _page(visit: ConsoleVisit, request_id: str, problem: str = "") -> Response:
    found = await visit.perform("daypass:GetAccessRequest", examine.examine_request, "", request_id)
    view, request = found.view, found.view.request
    undecided = request.state in UNDECIDED and visit.call.now < request.deadline
    return visit.page(
        "access_request",
        "Access request",
        found=found,
        view=view,
        votes=[(cast, read_ballot(cast.document), cast.approver_id in view.void) for cast in view.votes],
        risk_reasons=json.loads(request.risk_reasons),
        may_vote=found.may_vote and undecided and bool(view.binding),
        may_withdraw=found.may_vote and request.state in GRANTED,
        may_accept=request.state is RequestState.DRAFT and request.beneficiary_id == visit.person_id,
        may_cancel=found.own and request.state in (*UNDECIDED, RequestState.APPROVED),
        may_finish=found.own and request.state is RequestState.CLAIMED,
        role_options=[(ref.arn, ref.arn.rpartition("/")[2]) for ref in view.terms.roles],
        can_confirm=await visit.can_confirm(),
        problem=problem,
        values=visit.values,
    )

"""Access requests, the form for a new one, approval rules and reviews."""

from __future__ import annotations

import json
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from typing import Final

from daypass.domain.access.request import GRANTED, UNDECIDED
from daypass.domain.access.rule import Rule
from daypass.domain.access.terms import MAX_ROLES, read_ballot
from daypass.domain.directory import ApprovalRule, RequestState
from daypass.domain.errors import DaypassError, ErrorKind, Family
from daypass.operations.access_requests import anomalies, create, follow, read, rules, vote
from daypass.operations.access_requests.create import NewRequest
from daypass.operations.access_requests.view import RequestView
from daypass.operations.access_requests.vote import Vote, vote_digest
from daypass.operations.grants.targets import compiled
from daypass.operations.sign_in import step_up
from daypass.wire.console.change import FormChange, optional_confirmation
from daypass.wire.console.context import ConsoleContext, PagePart, address, to
from daypass.wire.console.members import form_schema
from daypass.wire.console.table import Cell, TableView, link
from daypass.wire.http import Response
from daypass.wire.web.devices import PROOF_FIELDS, proof_of
from daypass.wire.web.render import arn_name, duration, moment

_ROWS: Final = 50
_REQUEST: Final = "/console/access-request"


async def inbox(ctx: ConsoleContext) -> Response:
    """GET /console/approvals. `state`: all visible requests in that state, instead of those that wait for a vote.
    `person`: only those for this person.
    """
    state, person = ctx.value("state", 16), ctx.value("person")
    found, following = await ctx.perform(
        "daypass:ListAccessRequests",
        read.list_requests,
        state="" if state == "all" else state,
        approvable=not state,
        person=person,
        after=ctx.value("after", 64),
        limit=_ROWS,
    )
    states = ("all", *(each.value for each in RequestState))
    listed = {"rows": found, "following": following, "first": bool(ctx.value("after"))}
    here = address("/console/approvals", state=state, person=person)
    return ctx.page("approvals", "Approvals", wanted=state, person_name=person, states=states, here=here, **listed)


async def show(ctx: ConsoleContext) -> Response:
    """GET /console/access-request?id=… Without an id, as after a reload of a form's answer: the inbox."""
    if not ctx.value("id", 64):
        return to("/console/approvals")
    return await _page(ctx, ctx.value("id", 64))


def show_sent(view: RequestView) -> Response:
    """Leads from the form to the request that it has made."""
    done = "needs-mfa" if view.hint else "requested" if view.request.state in UNDECIDED else "granted"
    return to(_REQUEST, id=view.request.id, done=done)


async def approve(ctx: ConsoleContext) -> Response:
    """POST /console/access-request/approve. The form names the digest of what was shown."""
    try:
        sent = Vote(
            binding=ctx.value("binding", 64),
            approve=True,
            reason=ctx.value("reason"),
            seconds=ctx.number("minutes") * 60,
            policy=ctx.value("policy", 20_480),
        )
    except DaypassError as error:
        return await _page(ctx, ctx.value("request", 64), await ctx.problem(error))
    return await _voted(ctx, sent, "daypass:ApproveAccessRequest")


async def deny(ctx: ConsoleContext) -> Response:
    """POST /console/access-request/deny."""
    sent = Vote(binding=ctx.value("binding", 64), approve=False, reason=ctx.value("reason"))
    return await _voted(ctx, sent, "daypass:DenyAccessRequest")


async def _voted(ctx: ConsoleContext, sent: Vote, operation: str) -> Response:
    """Casts the vote. A person who has MFA confirms it first, by a step-up that is bound to the vote's digest."""
    request_id = ctx.required("request", 64)
    path = address(f"{_REQUEST}/{'approve' if sent.approve else 'deny'}", id=request_id)
    proof = proof_of(ctx.signed_in, ctx.values)
    digest = vote_digest(ctx.call.caller.account, request_id, sent)
    if proof is None:
        try:
            options = await step_up.ask(ctx.env, ctx.named(operation), ctx.signed_in, digest)
        except DaypassError as error:
            if sent.approve:
                return await _page(ctx, request_id, await ctx.problem(error))
        else:
            if options.passkey or options.devices:
                return await _confirm(ctx, sent, path, options)
    try:
        await ctx.perform(operation, vote.vote, "", request_id, replace(sent, step_up=proof))
    except DaypassError as error:
        problem = await ctx.problem(error)
        if proof is not None and error.kind.family in (Family.DENIED, Family.PROOF):
            options = await step_up.ask(ctx.env, ctx.call, ctx.signed_in, digest)
            return await _confirm(ctx, sent, path, options, problem)
        return await _page(ctx, request_id, problem)
    return to(_REQUEST, id=request_id, done="approved" if sent.approve else "denied")


async def _confirm(
    ctx: ConsoleContext, sent: Vote, path: str, options: step_up.MfaOptions, problem: str = ""
) -> Response:
    """Asks for MFA, and shows all that it confirms."""
    view = await ctx.perform("daypass:GetAccessRequest", read.get_request, "", ctx.value("request", 64))
    terms = view.terms
    facts = [
        ("Decision", "Approve" if sent.approve else "Deny"),
        ("Who", terms.beneficiary),
        ("Requested by", terms.requester if terms.requester != terms.beneficiary else ""),
        ("In a session of", view.principals.get(view.request.requester_id, "")),
        ("Roles", ", ".join(ref.arn for ref in terms.roles)),
        ("Why", terms.reason),
        ("Ticket", terms.ticket),
        ("For", duration(sent.seconds or terms.seconds)),
        ("From", moment(terms.starts_at) if terms.starts_at else ""),
        ("Sessions at most", str(terms.max_uses or "")),
        ("Extends the request", terms.extends),
        ("Limited by the request", terms.policy),
        ("Your reason", sent.reason),
        ("Limited by you", sent.policy),
        ("Request as you have read it", sent.binding),
    ]
    return ctx.page(
        "confirm",
        "Confirm your vote",
        action=path,
        values={name: value for name, value in ctx.values.items() if name not in PROOF_FIELDS},
        facts=[(name, text) for name, text in facts if text],
        mfa_options=options,
        problem=problem,
    )


async def accept(ctx: ConsoleContext) -> Response:
    """POST /console/access-request/accept: the beneficiary accepts a request that was made for it."""
    accept_operation = "daypass:AcceptAccessRequest"
    page = await optional_confirmation(ctx, f"{_REQUEST}/accept", "Confirm that you accept", accept_operation)
    return page or await _followed(ctx, accept_operation, "accepted", follow.accept_request)


async def cancel(ctx: ConsoleContext) -> Response:
    """POST /console/access-request/cancel."""
    return await _followed(ctx, "daypass:CancelAccessRequest", "cancelled", follow.cancel_request)


async def _followed(
    ctx: ConsoleContext, operation: str, done: str, function: Callable[..., Awaitable[RequestView]]
) -> Response:
    request_id = ctx.required("request", 64)
    try:
        await ctx.perform(operation, function, request_id)
    except DaypassError as error:
        return await _page(ctx, request_id, await ctx.problem(error))
    return to(_REQUEST, id=request_id, done=done)


async def _page(ctx: ConsoleContext, request_id: str, problem: str = "") -> Response:
    found = await ctx.perform("daypass:GetAccessRequest", anomalies.examine_request, "", request_id)
    view, request = found.view, found.view.request
    undecided = request.state in UNDECIDED and ctx.call.now < request.deadline
    return ctx.page(
        "access_request",
        "Access request",
        found=found,
        view=view,
        votes=[(cast, read_ballot(cast.document), view.void.get(cast.approver_id, "")) for cast in view.votes],
        risk_reasons=json.loads(request.risk_reasons),
        may_vote=found.may_vote and undecided,
        may_withdraw=found.may_vote and request.state in GRANTED,
        may_accept=request.state is RequestState.DRAFT and request.beneficiary_id == ctx.person_id,
        may_cancel=found.own and request.state in (*UNDECIDED, RequestState.APPROVED),
        may_use=request.beneficiary_id == ctx.person_id
        and request.state in GRANTED
        and view.terms.starts_at <= ctx.call.now
        and not view.refused,
        may_finish=found.own and request.state is RequestState.CLAIMED,
        can_confirm=await ctx.can_confirm(),
        problem=problem,
        values=ctx.values,
    )


# --- The form for a new access request, with suggestions by need


_ROLES: Final = 100
_PATH: Final = "/console/request"
_ROLE_FIELD = re.compile(r"role\.[0-9]{1,4}")


async def form(ctx: ConsoleContext) -> Response:
    """GET /console/request. `role`: an ARN that is chosen already. `action`, `resource`: a need, to find roles by."""
    return await _requests_page(ctx, chosen=tuple(filter(None, (ctx.value("role"),))))


async def send(ctx: ConsoleContext) -> Response:
    """POST /console/request/send."""
    page = await optional_confirmation(ctx, f"{_PATH}/send", "Confirm your request", "daypass:CreateAccessRequest")
    if page is not None:
        return page
    try:
        new = _new_request(ctx)
        view = await ctx.perform("daypass:CreateAccessRequest", create.create_request, new)
    except DaypassError as error:
        return await _requests_page(ctx, chosen=_roles(ctx.values), problem=await ctx.problem(error))
    return show_sent(view)


def _roles(values: Mapping[str, str]) -> tuple[str, ...]:
    """The chosen roles: of the list, and one by its ARN."""
    listed = [value.strip() for name, value in values.items() if _ROLE_FIELD.fullmatch(name)]
    return tuple(dict.fromkeys(filter(None, (*listed, values.get("role", "").strip()))))


def _new_request(ctx: ConsoleContext) -> NewRequest:
    roles = _roles(ctx.values)
    if not roles:
        raise DaypassError(ErrorKind.VALIDATION, f"Choose 1 to {MAX_ROLES} roles.")
    minutes = ctx.number("minutes")
    return NewRequest(
        roles=roles,
        reason=" ".join(ctx.value("reason", 4096).split()),
        ticket=ctx.value("ticket"),
        seconds=minutes * 60 if minutes else None,
        policy=ctx.value("policy", 20_480),
        starts_at=ctx.time("starts") or 0,
        beneficiary=ctx.value("beneficiary"),
        break_glass=ctx.value("break_glass", 8) == "yes",
        confirmation=ctx.value("confirmation"),
        client_token=ctx.value("client_token", 128),
    )


async def _requests_page(ctx: ConsoleContext, *, chosen: tuple[str, ...], problem: str = "") -> Response:
    requestable = await ctx.attempt(
        "daypass:ListRequestableRoles", read.list_requestable_roles, ctx.value("after"), _ROLES
    )
    action, resource = ctx.value("action"), ctx.value("resource")
    suggestions: PagePart[list[read.Suggestion]] = PagePart()
    if action:
        suggestions = await ctx.attempt("daypass:SuggestRoles", read.suggest_roles, action, resource or "*")
    listed = {role.arn for role in requestable.value[0]} if requestable.value else set()
    return ctx.page(
        "request",
        "Request access",
        requestable=requestable,
        chosen=chosen,
        other=next((arn for arn in chosen if arn not in listed), ""),
        suggestions=suggestions,
        action=action,
        resource=resource,
        can_confirm=await ctx.can_confirm(),
        client_token=ctx.value("client_token", 128) or ctx.env.ids.session(),
        values=ctx.values,
        problem=problem,
    )


# --- Approval rules, reviews of emergency access, and notifications


_RULES: Final = "/console/rules"
_EXAMPLE: Final = """{
  "roles": ["role/prod-*"],
  "requesters": {"principals": ["group/engineers"]},
  "stages": [{"name": "lead", "approvers": {"principals": ["group/leads"]}}],
  "max_seconds": 14400
}"""


async def listed(ctx: ConsoleContext) -> Response:
    """GET /console/rules."""
    found = await ctx.perform("daypass:ListApprovalRules", rules.RULES.every)
    rows = [
        (
            link(rule.name, "/console/rule", name=rule.name),
            Cell(_roles_of(rule)),
            Cell(at=rule.updated_at),
            Cell(arn_name(rule.updated_by)),
        )
        for rule in found
    ]
    empty = ("No approval rules.", "A role without a rule cannot be requested.")
    table = TableView(("Name", "Roles", "Changed", "By"), rows, _RULES, empty=empty)
    return ctx.page("rules", "Approval rules", table=table)


def _roles_of(rule: ApprovalRule) -> str:
    """The patterns of a rule's roles."""
    found = compiled(rule)
    return ", ".join(found.rule.roles) if found is not None else "cannot be read: it admits nobody"


async def one(ctx: ConsoleContext) -> Response:
    """GET /console/rule?name=… Without a name, the form for a new rule."""
    name = ctx.value("name", 64)
    document = _EXAMPLE
    if name:
        document = (await ctx.perform("daypass:GetApprovalRule", rules.RULES.get, name)).document
    return _rule_page(ctx, name, document)


def _rule_page(ctx: ConsoleContext, name: str, document: str, problem: str = "") -> Response:
    title = name or "New approval rule"
    return ctx.page("rule", title, name=name, document=document, schema=form_schema(Rule), problem=problem)


async def _put(ctx: ConsoleContext) -> Response:
    await ctx.perform(
        "daypass:PutApprovalRule", rules.put_rule, "", ctx.value("name", 64), ctx.value("document", 16_384)
    )
    return to(_RULES, done="saved")


async def _delete(ctx: ConsoleContext) -> Response:
    await ctx.perform("daypass:DeleteApprovalRule", rules.RULES.delete, ctx.value("name", 64))
    return to(_RULES, done="saved")


async def _as_written(ctx: ConsoleContext, problem: str) -> Response:
    """The form with what the person wrote, and the problem."""
    name, document = ctx.value("name", 64), ctx.value("document", 16_384)
    return _rule_page(ctx, name, document, problem)


async def _as_stored(ctx: ConsoleContext, problem: str) -> Response:
    """The page of the rule, and the problem."""
    name = ctx.value("name", 64)
    found = await ctx.attempt("daypass:GetApprovalRule", rules.RULES.get, name)
    document = found.value.document if found.value is not None else _EXAMPLE
    return _rule_page(ctx, name, document, problem)


def rule_changes() -> Sequence[FormChange]:
    """Every change of an approval rule. Each is confirmed: a rule decides who gets access (attack A208)."""
    save, delete = "daypass:PutApprovalRule", "daypass:DeleteApprovalRule"
    return (
        FormChange("/console/rule/save", save, "Write an approval rule", _put, _as_written, confirmed=True),
        FormChange(
            "/console/rule/delete",
            delete,
            "Delete an approval rule",
            _delete,
            _as_stored,
            confirmed=True,
            asks=True,
            of="name",
        ),
    )


# --- Reviews ---------------------------------------------------------------------------------------------------------


async def reviews(ctx: ConsoleContext, problem: str = "") -> Response:
    """GET /console/reviews: emergency access that nobody has reviewed yet."""
    found, following = await ctx.perform(
        "daypass:ListAccessReviews", read.list_reviews, after=ctx.value("after", 64), limit=_ROWS
    )
    return ctx.page("reviews", "Reviews", rows=found, following=following, problem=problem, values=ctx.values)


async def close_review(ctx: ConsoleContext) -> Response:
    """POST /console/reviews/close."""
    try:
        await ctx.perform(
            "daypass:CloseAccessReview", read.close_review, "", ctx.required("review", 64), ctx.value("finding", 8192)
        )
    except DaypassError as error:
        return await reviews(ctx, await ctx.problem(error))
    return to("/console/reviews", done="saved")

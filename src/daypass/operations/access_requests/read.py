"""Access requests, grants and reviews, for their persons, for approvers, and for readers with the permission."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, NamedTuple

from msgspec import Struct

from daypass.api.access_requests import RequestableRoleOut
from daypass.domain.access.request import NOBODY, OPEN, UNDECIDED, GrantState, is_usable, same_person, state_of
from daypass.domain.access.risk import breadth_of
from daypass.domain.access.rule import CompiledRule, is_meaningful
from daypass.domain.access.terms import Terms, decode
from daypass.domain.directory import AccessRequest, AccessReview, Grant, RequestState, Role, User
from daypass.domain.errors import DaypassError, ErrorKind
from daypass.domain.events import Event, EventType
from daypass.domain.policy.model import Decision
from daypass.domain.policy.partial_evaluation import PartialOutcome
from daypass.domain.policy.pattern import fold
from daypass.domain.question import decide_partially
from daypass.operations import heavy
from daypass.operations.access.snapshot import asked_in, check_question, context_in
from daypass.operations.access_requests.view import RequestView, requested_targets, view_of
from daypass.operations.grants.persons import Person, person_of, persons_of
from daypass.operations.grants.targets import Snapshot, requestable_roles
from daypass.operations.grants.use import no_such_request
from daypass.operations.grants.void import why_void
from daypass.operations.grants.votes import requester, stages_for
from daypass.operations.iam.builtin import actions_in
from daypass.operations.iam.holdings import Gatherer
from daypass.operations.iam.mfa import enabled_devices
from daypass.operations.management import allow, allow_all_or_own, allow_own, read_page, read_recorded
from daypass.operations.notifications import announce
from daypass.operations.outcome import served
from daypass.ports import Call, Env, Reader, Scene, Tx

_SCANNED: Final = 1_000  # requests that one page looks through
_FINDING_LETTERS: Final = 8
_MAX_FINDING: Final = 4_096


async def get_request(env: Env, call: Call, account: str, request_id: str) -> RequestView:
    """daypass:GetAccessRequest on `access-request/ID`. Its people and approvers need no permission.

    Raises DaypassError: ACCESS_DENIED, NOT_FOUND.
    """
    owner = account or call.caller.account

    def query(tx: Reader) -> tuple[RequestView | None, bool]:
        request = tx.get(AccessRequest, id=request_id)
        if request is None or request.account != owner:
            return None, False
        return view_of(env, tx, request), concerns(tx, env, request, person_of(tx, call.caller), call.now)

    view, concerned = await env.directory.read(query, account=call.caller.account)
    decision, _ = await allow_request(env, call, request_id, owner, concerned=concerned)
    if view is None:
        raise no_such_request(request_id)
    await env.journal.commit(served(call, account=owner, decision=decision, detail={"request": request_id}))
    return view


async def list_requests(
    env: Env,
    call: Call,
    account: str = "",
    *,
    state: str = "",
    approvable: bool = False,
    person: str = "",
    after: str = "",
    limit: int = 100,
) -> tuple[list[RequestView], str]:
    """daypass:ListAccessRequests; without that permission, the requests that concern the caller. Newest first, but those
    in a state in which they wait oldest first.

    `approvable`: only pending requests that the caller could vote on. `person`: the ARN or the last part of the ARN of
    who gets the access. Covers a limited number of requests; a page may have fewer than `limit` and still have a next one.
    """
    owner = account or call.caller.account
    decision, everything = await allow_all_or_own(env, call, "ListAccessRequests", "access-request", "*", owner)
    if state and state not in set(RequestState):
        raise DaypassError(ErrorKind.VALIDATION, f"The state is one of: {', '.join(RequestState)}.")
    state = state or (RequestState.PENDING.value if approvable else "")
    wanted = {"state": state} if state else {}
    order = "id" if state in UNDECIDED else "-id"

    def query(reader: Reader) -> tuple[list[RequestView], str]:
        tx = Snapshot(reader)  # the requests share roles and rules
        caller, views = person_of(tx, call.caller), []
        of_user = tx.get(User, account=owner, name=person) if person else None
        of = {"beneficiary_id": of_user.id} if of_user is not None else {}
        page = tx.find(AccessRequest, account=owner, order=order, after=after, limit=_SCANNED, **wanted, **of)
        for request in page:
            if person and of_user is None and person not in _names(request):
                continue
            if approvable:
                visible = can_vote(tx, env, request, caller, call.now)
            else:
                visible = everything or concerns(tx, env, request, caller, call.now)
            if visible:
                views.append(view_of(env, tx, request))
                if len(views) == limit:
                    return views, request.id
        return views, page[-1].id if len(page) == _SCANNED else ""

    found, following = await env.directory.read(query, account=call.caller.account)
    await env.journal.commit(served(call, account=owner, decision=decision, detail={"found": len(found)}))
    return found, following


def _names(request: AccessRequest) -> tuple[str, str]:
    """Names of the person who gets the access: the ARN, and its last part."""
    arn = decode(request.document).beneficiary
    return arn, arn.rpartition("/")[2]


def concerns(tx: Reader, env: Env, request: AccessRequest, person: Person, now: int) -> bool:
    """Whether the person is requester, beneficiary or a possible approver of the request."""
    if person.id and person.id in (request.requester_id, request.beneficiary_id):
        return True
    return can_vote(tx, env, request, person, now)


def can_vote(tx: Reader, env: Env, request: AccessRequest, person: Person, now: int) -> bool:
    """Whether the person is an approver of the request, apart from conditions and MFA."""
    if not person.id or same_person(persons_of(tx, request), person.identifiers):
        return False
    rules = [target.rule for target in requested_targets(tx, env.builtin, request)]
    return bool(stages_for(request, rules, person.names, now).stages)


async def list_grants(
    env: Env, call: Call, account: str = "", *, active: bool = False, after: str = "", limit: int = 100
) -> tuple[list[Grant], str]:
    """daypass:ListGrants, newest first; without that permission, the caller's own. `active`: those that have not ended."""
    owner = account or call.caller.account
    decision, everything = await allow_all_or_own(env, call, "ListGrants", "grant", "*", owner)

    def query(tx: Reader) -> tuple[list[Grant], str]:
        wanted: dict[str, Any] = {"ended_at": 0} if active else {}
        if not everything:
            wanted["principal_id"] = person_of(tx, call.caller).id
        return read_page(tx, Grant, "-id", after, limit, account=owner, **wanted)

    grants, following = await env.directory.read(query, account=call.caller.account)
    await env.journal.commit(served(call, account=owner, decision=decision, detail={"found": len(grants)}))
    return grants, following


async def refusals(env: Env, call: Call, listed: Sequence[Grant]) -> dict[str, str]:
    """Why those of these grants that have not ended would be refused now, by id."""
    opened = [grant for grant in listed if state_of(grant, call.now) is not GrantState.ENDED]

    def query(tx: Reader) -> dict[str, str]:
        snapshot = Snapshot(tx)
        voids = ((grant.id, why_void(env, snapshot, grant, call.now)) for grant in opened)
        return {each: void.message for each, void in voids if void is not None}

    return await env.directory.read(query, account=call.caller.account)


@dataclass(frozen=True, slots=True)
class ReviewView:
    """A review, and the terms of its request."""

    review: AccessReview
    terms: Terms


async def list_reviews(
    env: Env, call: Call, account: str = "", *, every: bool = False, after: str = "", limit: int = 100
) -> tuple[list[ReviewView], str]:
    """daypass:ListAccessReviews: the open reviews of emergency access, oldest first, or all of them, newest first."""
    wanted: dict[str, Any] = {} if every else {"closed_at": 0}
    order = "-id" if every else "id"

    def query(tx: Reader, owner: str) -> tuple[list[ReviewView], str]:
        reviews, following = read_page(tx, AccessReview, order, after, limit, account=owner, **wanted)
        requests = tx.find_among(AccessRequest, "id", [each.id for each in reviews], order="id")
        terms = {each.id: decode(each.document) for each in requests}
        return [ReviewView(each, terms[each.id]) for each in reviews], following

    return await read_recorded(env, call, "ListAccessReviews", "access-review", "*", account, query)


async def close_review(env: Env, call: Call, account: str, review_id: str, finding: str) -> ReviewView:
    """daypass:CloseAccessReview on `access-review/ID`: records the finding. The persons who had the access cannot.

    Raises DaypassError: ACCESS_DENIED, NOT_FOUND, VALIDATION, CONCURRENT_MODIFICATION when it is closed already.
    """
    owner = account or call.caller.account
    decision = await allow(env, call, "CloseAccessReview", "access-review", review_id, owner)
    if len(finding) > _MAX_FINDING or not is_meaningful(finding, _FINDING_LETTERS):
        raise DaypassError(
            ErrorKind.VALIDATION,
            f"A finding says what the review found: {_FINDING_LETTERS} letters or digits at least, "
            f"and at most {_MAX_FINDING} characters.",
        )

    def change(tx: Tx) -> tuple[ReviewView, Event]:
        review = tx.get(AccessReview, id=review_id)
        request = tx.get(AccessRequest, id=review_id)
        if review is None or request is None or review.account != owner:
            raise DaypassError(ErrorKind.NOT_FOUND, f"The review with id {review_id} cannot be found.")
        own = {*review.persons, *persons_of(tx, request)}
        person, terms = person_of(tx, call.caller), decode(request.document)
        again = terms.beneficiary in person.names  # as a new user of that name
        if not person.id:  # who it is could be the one who had the access (A332)
            raise DaypassError(ErrorKind.ACCESS_DENIED, f"This session cannot close a review. {NOBODY}")
        if again or same_person(own, person.identifiers):
            raise DaypassError(ErrorKind.ACCESS_DENIED, "Nobody reviews their own emergency access.")
        if review.closed_at:
            raise DaypassError(ErrorKind.CONCURRENT_MODIFICATION, "The review is closed.")
        closed = replace(review, closed_at=call.now, closed_by=call.caller.arn, finding=finding)
        tx.replace(closed)
        detail = {"request": review_id, "finding": finding}
        event = served(call, kind=EventType.ACCESS_REVIEWED, account=owner, decision=decision, detail=detail)
        return ReviewView(closed, terms), announce(env, tx, event)

    return await env.journal.write(change, account=call.caller.account)


async def allow_request(
    env: Env, call: Call, request_id: str, account: str, *, concerned: bool
) -> tuple[Decision, bool]:
    """Authorizes daypass:GetAccessRequest: the decision, and whether a policy allows it. Whom the request concerns needs no
    permission.
    """
    if concerned:
        return await allow_all_or_own(env, call, "GetAccessRequest", "access-request", request_id, account)
    return await allow(env, call, "GetAccessRequest", "access-request", request_id, account), True


# --- Own


_EXAMINED: Final = 1_000  # roles that the caller may request
_BEYOND: Final = 50
MAX_REQUESTS: Final = 100
"""Maximum number of requests in one state and of grants that are returned."""


MAX_WAITING: Final = 200
"""Pending requests of the account, the oldest, of which those that the caller could decide are counted."""


class OwnAccess(Struct, frozen=True):
    """The caller's grants and open requests, oldest first."""

    requests: tuple[RequestView, ...]  # open requests of which the caller is the requester or the beneficiary
    grants: tuple[Grant, ...]  # the caller's grants that have not ended and are not void
    mfa_devices: tuple[str, ...]  # serial numbers of the caller's enabled MFA devices
    waiting: tuple[str, ...] = ()  # ids of pending requests that the caller could decide


async def get_own_access(env: Env, call: Call) -> OwnAccess:
    """daypass:GetOwnAccess. A Deny of the action applies. Raises DaypassError(ACCESS_DENIED)."""
    decision = await allow_own(env, call, "GetOwnAccess", "access-request")
    own_access = await env.directory.read(lambda tx: _own_access(tx, env, call), account=call.caller.account)
    detail = {"requests": len(own_access.requests), "grants": len(own_access.grants)}
    await env.journal.commit(served(call, decision=decision, detail=detail))
    return own_access


def _own_access(reader: Reader, env: Env, call: Call) -> OwnAccess:
    tx = Snapshot(reader)
    person, account = person_of(tx, call.caller), call.caller.account
    requests: dict[str, AccessRequest] = {}
    for state in OPEN:
        for role in ("requester_id", "beneficiary_id"):
            whose = {role: person.id, "state": state.value}
            found = tx.find(AccessRequest, account=account, order="id", limit=MAX_REQUESTS, **whose)
            requests.update((request.id, request) for request in found)
    grants = tx.find(Grant, principal_id=person.id, ended_at=0, account=account, order="id", limit=MAX_REQUESTS)
    enabled = enabled_devices(tx, account, call.caller.principal_id)
    views = [view_of(env, tx, request) for _, request in sorted(requests.items())]
    usable = [grant for grant in grants if not why_void(env, tx, grant, call.now)]
    pending = tx.find(AccessRequest, account=account, order="id", limit=MAX_WAITING, state=RequestState.PENDING.value)
    now = call.now
    waiting = [each.id for each in pending if each.deadline > now and can_vote(tx, env, each, person, now)]
    return OwnAccess(tuple(views), tuple(usable), enabled, tuple(waiting))


async def list_requestable_roles(
    env: Env, call: Call, after: str = "", limit: int = 100
) -> tuple[list[RequestableRoleOut], str]:
    """daypass:ListRequestableRoles: roles of the caller's account that an approval rule and policies let the caller request.

    At most `limit` roles after `after`, by name; a page may have fewer and still have a next one. Conditions of the rule
    are tested when the request is made. A Deny of the action applies. Raises DaypassError(ACCESS_DENIED).
    """
    decision = await allow_own(env, call, "ListRequestableRoles", "role")
    found, following = await heavy.read(env, call, _list_requestable, call, after, limit)
    await env.journal.commit(served(call, decision=decision, detail={"found": len(found)}))
    return found, following


def _list_requestable(scene: Scene, call: Call, after: str, limit: int) -> tuple[list[RequestableRoleOut], str]:
    roles, following = _permitted(scene, call, after, limit)
    return [_requestable(role, rule) for role, rule in roles], following


def _permitted(scene: Scene, call: Call, after: str, limit: int) -> tuple[list[tuple[Role, CompiledRule]], str]:
    """The roles that rules and policies let the person request. Policies whose conditions may hold do (such as MFA)."""
    person = person_of(scene.tx, call.caller)
    roles, following = requestable_roles(scene.tx, call.caller.account, person.names, after, limit)
    permits = requester(scene, scene.tx, person.principal_ids)
    return [each for each in roles if permits(each[0].arn)], following


def _requestable(role: Role, compiled: CompiledRule) -> RequestableRoleOut:
    rule = compiled.rule
    return RequestableRoleOut(
        arn=role.arn,
        rule=compiled.name,
        stages=[stage.name for stage in rule.stages],
        max_seconds=rule.max_seconds,
        default_seconds=rule.default_seconds or rule.max_seconds,
        ticket_required=rule.ticket is not None and rule.ticket.required,
        mfa_seconds=rule.requester_mfa_seconds or 0,
        automatic=bool(rule.automatic),
        break_glass=rule.break_glass is not None,
    )


# --- Which roles satisfy a need -----------------------------------------------------------------------------------------


class Suggestion(NamedTuple):
    """A role that satisfies the need."""

    role_arn: str
    rule: str
    conditional: bool  # it depends on conditions of its policies
    stages: int  # stages of approval that the rule has; 0: automatic or emergency access only
    # beyond: further actions that the role's policies allow, as they are written; `more`: there are more of them.
    beyond: tuple[str, ...]
    more: bool
    grant_id: str  # a grant of the caller's that can be used now, or ""


async def suggest_roles(env: Env, call: Call, action: str, resource: str, limit: int = 10) -> list[Suggestion]:
    """The roles of the caller's account that the caller may request for this need, least privileged first.

    It needs no permission, because it shows only roles that the caller may request; a Deny of daypass:SuggestRoles
    applies. Raises DaypassError: ACCESS_DENIED, VALIDATION.
    """
    decision = await allow_own(env, call, "SuggestRoles", "role")
    check_question(action, resource)
    suggestions: list[Suggestion] = await heavy.read(env, call, _suggest, call, action, resource, limit)
    detail = {"action": action[:256], "resource": resource[:2048], "found": len(suggestions)}
    await env.journal.commit(served(call, decision=decision, detail=detail))
    return suggestions


def _suggest(scene: Scene, call: Call, action: str, resource: str, limit: int) -> list[Suggestion]:
    ctx = context_in(scene, call)
    gatherer = Gatherer(ctx, blocks=True)
    asked = asked_in(ctx, gatherer, action, resource)
    person = person_of(scene.tx, call.caller)
    found: list[tuple[tuple[float, int, str], Suggestion]] = []
    for role, rule in _permitted(scene, call, "", _EXAMINED)[0]:
        holdings = gatherer.of(role)
        evaluation = decide_partially(asked.of(role, holdings))
        if evaluation.outcome is PartialOutcome.DENIED:
            continue
        actions = list(dict.fromkeys(actions_in(source.policy.document for source in holdings.identity)))
        beyond = [each for each in actions if fold(each) != fold(action)]
        suggestion = Suggestion(
            role.arn,
            rule.name,
            evaluation.outcome is PartialOutcome.ALLOWED_IF,
            len(rule.rule.stages),
            tuple(beyond[:_BEYOND]),
            len(beyond) > _BEYOND,
            _grant_for(scene, role, person, call.now),
        )
        found.append(((breadth_of(actions), len(beyond), role.arn), suggestion))
    return [suggestion for _, suggestion in sorted(found)[:limit]]


def _grant_for(scene: Scene, role: Role, person: Person, now: int) -> str:
    tx, ids = scene.tx, person.principal_ids
    grants = [
        each for each in tx.find(Grant, role_id=role.id, principal_id=person.id, ended_at=0) if is_usable(each, now)
    ]
    return next((grant.id for grant in grants if not why_void(scene, tx, grant, now, ids)), "")

"""Access requests, grants, approval rules and reviews: the functions that perform the operations."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from types import MappingProxyType
from typing import Any, Final

from daypass.api import access_requests as api
from daypass.domain.access.request import EndReason, state_of
from daypass.domain.access.terms import read_ballot
from daypass.domain.directory import AccessVote, Grant
from daypass.operations.access_requests import anomalies, create, follow, read, rules, vote
from daypass.operations.access_requests.create import NewRequest
from daypass.operations.access_requests.view import RequestView
from daypass.operations.access_requests.vote import Vote
from daypass.operations.assume.mfa_code import MfaCode
from daypass.ports import Call, Env
from daypass.wire.endpoints.endpoint import Endpoint, Over, calls, fields_of, items_as

_NONE: Final[Mapping[str, str]] = MappingProxyType({})


def _code(mfa: api.MfaIn) -> MfaCode:
    return MfaCode(mfa.serial_number, mfa.token_code)


def _vote(cast: AccessVote, view: RequestView) -> Over:
    ballot = read_ballot(cast.document)
    return Over(
        cast,
        approver=cast.approver_arn,
        principal=view.principals.get(cast.approver_id, ""),
        reason=ballot.reason,
        seconds=ballot.seconds,
        policy=ballot.policy,
        void=cast.approver_id in view.void,
        why=view.void.get(cast.approver_id, ""),
    )


def _grant(grant: Grant, now: int, refused: Mapping[str, str] = _NONE) -> Over:
    shown = {"state": state_of(grant, now), "role": grant.role_arn, "approvers": len(grant.approvers)}
    return Over(grant, **shown, refused=refused.get(grant.id, ""))


def _request(view: RequestView, now: int) -> Over:
    request, terms = view.request, view.terms
    return Over(
        Over(view, **{name: getattr(terms, name) for name in _TERMS}),
        **{name: getattr(request, name) for name in _OF_REQUEST},
        principal=view.principals.get(request.requester_id, ""),
        risk_reasons=json.loads(request.risk_reasons),
        roles=[ref.arn for ref in terms.roles],
        missing={"/".join(stage): number for stage, number in view.missing.items() if number},
        votes=[_vote(each, view) for each in view.votes],
        grants=[_grant(each, now, view.refused) for each in view.grants],
        refused=dict(view.refused),
    )


_TERMS: Final = (
    *("requester", "beneficiary", "reason", "ticket", "seconds", "policy", "starts_at", "max_uses"),
    *("break_glass", "extends"),
)
"""Members of a request that are its terms, on which approvers decide."""

_OF_REQUEST: Final = (
    *("id", "account", "state", "created_at", "deadline", "decided_at", "ended_at", "end_reason", "risk"),
)


def _shown(
    operation: Callable[[Env, Call, Any], Awaitable[RequestView]],
) -> Callable[[Env, Call, Any], Awaitable[Over]]:
    """Performs an operation and answers with the access request."""

    async def perform(env: Env, call: Call, q: Any) -> Over:
        return _request(await operation(env, call, q), call.now)

    return perform


def _create(env: Env, call: Call, q: api.CreateAccessRequestInput) -> Awaitable[RequestView]:
    return create.create_request(env, call, NewRequest(**fields_of(q, "mfa"), mfa=_code(q.mfa)))


def _approve(env: Env, call: Call, q: Any) -> Awaitable[RequestView]:
    ballot = Vote(**fields_of(q, "account", "request_id", "mfa"), approve=True, mfa=_code(q.mfa))
    return vote.vote(env, call, q.account, q.request_id, ballot)


def _deny(env: Env, call: Call, q: Any) -> Awaitable[RequestView]:
    ballot = Vote(**fields_of(q, "account", "request_id", "mfa"), approve=False, mfa=_code(q.mfa))
    return vote.vote(env, call, q.account, q.request_id, ballot)


async def _list_requests(env: Env, call: Call, q: api.ListAccessRequestsInput) -> Any:
    views, following = await read.list_requests(
        env, call, q.account, state=q.state, approvable=q.approvable, person=q.person, after=q.after, limit=q.limit
    )
    return [_request(view, call.now) for view in views], following


async def _own_access(env: Env, call: Call, _: Any) -> Over:
    found = await read.get_own_access(env, call)
    requests = [_request(view, call.now) for view in found.requests]
    return Over(found, access_requests=requests, grants=[_grant(grant, call.now) for grant in found.grants])


async def _examine(env: Env, call: Call, q: Any) -> Over:
    found = await anomalies.examine_request(env, call, q.account, q.request_id)
    history = [_request(view, call.now) for view in found.history]
    return Over(found, access_request=_request(found.view, call.now), history=history)


async def _list_grants(env: Env, call: Call, q: api.ListGrantsInput) -> Any:
    grants, following = await read.list_grants(env, call, q.account, active=q.active, after=q.after, limit=q.limit)
    refused = await read.refusals(env, call, grants)
    return [_grant(grant, call.now, refused) for grant in grants], following


async def _end_grant(env: Env, call: Call, q: Any) -> Over:
    return _grant(await follow.end_grant(env, call, q.account, q.grant_id, EndReason(q.reason)), call.now)


async def _end_for_ticket(env: Env, call: Call, q: api.EndGrantsOfTicketInput) -> Any:
    return [_grant(each, call.now) for each in await follow.end_for_ticket(env, call, q.account, q.ticket)], ""


def _review(view: read.ReviewView) -> Over:
    terms = view.terms
    roles = [ref.arn for ref in terms.roles]
    return Over(view.review, beneficiary=terms.beneficiary, roles=roles, reason=terms.reason)


ENDPOINTS: Final = (
    Endpoint(api.CREATE_ACCESS_REQUEST, _shown(_create)),
    Endpoint(api.LIST_ACCESS_REQUESTS, _list_requests),
    Endpoint(
        api.SUGGEST_ROLES,
        calls(read.suggest_roles, lambda found: [Over(suggestion, role=suggestion.role_arn) for suggestion in found]),
    ),
    Endpoint(api.GET_OWN_ACCESS, _own_access),
    Endpoint(api.LIST_REQUESTABLE_ROLES, calls(read.list_requestable_roles)),
    Endpoint(api.EXAMINE_ACCESS_REQUEST, _examine),
    Endpoint(api.GET_ACCESS_REQUEST, _shown(calls(read.get_request))),
    Endpoint(api.APPROVE_ACCESS_REQUEST, _shown(_approve)),
    Endpoint(api.DENY_ACCESS_REQUEST, _shown(_deny)),
    Endpoint(
        api.ACCEPT_ACCESS_REQUEST,
        _shown(lambda env, call, q: follow.accept_request(env, call, q.request_id, _code(q.mfa))),
    ),
    Endpoint(api.CANCEL_ACCESS_REQUEST, _shown(calls(follow.cancel_request))),
    Endpoint(api.FINISH_ACCESS_REQUEST, _shown(calls(follow.finish_request))),
    Endpoint(
        api.EXTEND_ACCESS_REQUEST,
        _shown(
            lambda env, call, q: create.extend_request(
                env, call, q.account, q.request_id, q.seconds, q.reason, _code(q.mfa)
            )
        ),
    ),
    Endpoint(api.LIST_GRANTS, _list_grants),
    Endpoint(api.END_GRANT, _end_grant),
    Endpoint(api.END_GRANTS_OF_TICKET, _end_for_ticket),
    Endpoint(api.LIST_APPROVAL_RULES, calls(rules.RULES.every)),
    Endpoint(api.GET_APPROVAL_RULE, calls(rules.RULES.get, key="name")),
    Endpoint(api.GET_ON_CALL, calls(rules.people_on_call, lambda people: {"people": people})),
    Endpoint(api.PUT_APPROVAL_RULE, calls(rules.put_rule)),
    Endpoint(api.DELETE_APPROVAL_RULE, calls(rules.RULES.delete, key="name")),
    Endpoint(api.LIST_ACCESS_REVIEWS, calls(read.list_reviews, items_as(_review))),
    Endpoint(api.CLOSE_ACCESS_REVIEW, calls(read.close_review, _review)),
)

"""The paths of access requests, grants, approval rules and reviews: from shapes to an operation and back."""

from __future__ import annotations

from typing import Annotated

from fastapi import Query

from daypass.domain.access.request import EndReason
from daypass.operations.broker import create, examine, follow, on_call, own, read, rules, suggest, vote
from daypass.wire.api import access_schemas as a
from daypass.wire.api import schemas as s
from daypass.wire.api.router import new_router

router = new_router()
_REQUESTS = "/access-requests"
_ONE = "/access-requests/{request_id}"
_RULE = "/approval-rules/{name}"
_Flag = Annotated[bool, Query()]


@router.post(_REQUESTS, name="CreateAccessRequest", tags=["access requests"], status_code=201)
async def create_access_request(env: s.EnvDep, call: s.CallDep, body: a.AccessRequestIn) -> a.AccessRequestOut:
    """Requests access to roles. An automatic rule may grant it at once."""
    return a.AccessRequestOut.of(await create.create_request(env, call, body.request()), call.now)


@router.get(_REQUESTS, name="ListAccessRequests", tags=["access requests"])
async def list_access_requests(
    env: s.EnvDep,
    call: s.CallDep,
    account: s.AccountQuery = "",
    state: Annotated[str, Query(max_length=16)] = "",
    approvable: _Flag = False,  # noqa: FBT002  # by name, in a query
    person: Annotated[str, Query(max_length=2048)] = "",
    after: s.AfterQuery = "",
    limit: s.LimitQuery = 100,
) -> a.AccessRequestsOut:
    """Access requests, newest first, but `draft` and `pending` ones oldest first; without the permission, those that concern
    you. `approvable`: those that wait for your vote. `person`: the ARN, or its last part, of who gets the access.
    """
    views, following = await read.list_requests(
        env, call, account, state=state, approvable=approvable, person=person, after=after, limit=limit
    )
    return a.AccessRequestsOut(
        access_requests=[a.AccessRequestOut.of(view, call.now) for view in views], next=following
    )


@router.get("/role-suggestions", name="SuggestRoles", tags=["access requests"])
async def suggest_roles(
    env: s.EnvDep,
    call: s.CallDep,
    action: Annotated[str, Query(min_length=3, max_length=128)],
    resource: Annotated[str, Query(min_length=1, max_length=2048, description="An ARN, or `*`.")] = "*",
    limit: Annotated[int, Query(ge=1, le=100)] = 10,
) -> a.SuggestionsOut:
    """Roles that you may request and that permit an action on a resource, least privileged first."""
    suggestions = await suggest.suggest_roles(env, call, action, resource, limit)
    return a.SuggestionsOut(suggestions=[a.SuggestionOut.of(each) for each in suggestions])


@router.get("/own-access", name="GetOwnAccess", tags=["access requests"])
async def get_own_access(env: s.EnvDep, call: s.CallDep) -> a.OwnAccessOut:
    """Your open requests and your grants that have not ended. No permission is needed."""
    return a.OwnAccessOut.of(await own.get_own_access(env, call), call.now)


@router.get("/roles/requestable", name="ListRequestableRoles", tags=["access requests"])
async def list_requestable_roles(
    env: s.EnvDep, call: s.CallDep, after: s.AfterQuery = "", limit: s.LimitQuery = 100
) -> a.RequestableRolesOut:
    """Roles of your account that you may request. A page may hold fewer than `limit` and still have a `next`."""
    requestable_roles, following = await own.list_requestable_roles(env, call, after, limit)
    return a.RequestableRolesOut(roles=[a.RequestableRoleOut.of(role) for role in requestable_roles], next=following)


@router.get(_ONE + "/examination", name="GetAccessRequest", tags=["access requests"])
async def examine_access_request(
    env: s.EnvDep, call: s.CallDep, request_id: s.IdPath, account: s.AccountQuery = ""
) -> a.ExaminationOut:
    """What an approver needs to know: the permissions that a request would add, and earlier requests like it."""
    return a.ExaminationOut.of(await examine.examine_request(env, call, account, request_id), call.now)


@router.get(_ONE, name="GetAccessRequest", tags=["access requests"])
async def get_access_request(
    env: s.EnvDep, call: s.CallDep, request_id: s.IdPath, account: s.AccountQuery = ""
) -> a.AccessRequestOut:
    """One access request, with its votes and grants. Its persons and its approvers need no permission."""
    return a.AccessRequestOut.of(await read.get_request(env, call, account, request_id), call.now)


@router.post(_ONE + "/approve", name="ApproveAccessRequest", tags=["access requests"])
async def approve_access_request(
    env: s.EnvDep, call: s.CallDep, request_id: s.IdPath, body: a.ApprovalIn, account: s.AccountQuery = ""
) -> a.AccessRequestOut:
    """Approves exactly what you have read. Nobody approves their own request, by whatever identity."""
    return a.AccessRequestOut.of(await vote.vote(env, call, account, request_id, body.vote()), call.now)


@router.post(_ONE + "/deny", name="DenyAccessRequest", tags=["access requests"])
async def deny_access_request(
    env: s.EnvDep, call: s.CallDep, request_id: s.IdPath, body: a.DenialIn, account: s.AccountQuery = ""
) -> a.AccessRequestOut:
    """Denies a request, even if others approved it. Access that it gave already ends, with its sessions."""
    return a.AccessRequestOut.of(await vote.vote(env, call, account, request_id, body.vote()), call.now)


@router.post(_ONE + "/accept", name="AcceptAccessRequest", tags=["access requests"])
async def accept_access_request(
    env: s.EnvDep, call: s.CallDep, request_id: s.IdPath, body: a.AcceptanceIn | None = None
) -> a.AccessRequestOut:
    """Accepts a request that somebody made for you. Until then nobody can approve it."""
    code = (body or a.AcceptanceIn.model_validate({})).mfa.code()
    return a.AccessRequestOut.of(await follow.accept_request(env, call, request_id, code), call.now)


@router.post(_ONE + "/cancel", name="CancelAccessRequest", tags=["access requests"])
async def cancel_access_request(env: s.EnvDep, call: s.CallDep, request_id: s.IdPath) -> a.AccessRequestOut:
    """Takes back a request of yours that has not been used."""
    return a.AccessRequestOut.of(await follow.cancel_request(env, call, request_id), call.now)


@router.post(_ONE + "/done", name="FinishAccessRequest", tags=["access requests"])
async def finish_access_request(env: s.EnvDep, call: s.CallDep, request_id: s.IdPath) -> a.AccessRequestOut:
    """You are done: the grants of your request and all their sessions end."""
    return a.AccessRequestOut.of(await follow.finish_request(env, call, request_id), call.now)


@router.post(_ONE + "/extend", name="ExtendAccessRequest", tags=["access requests"], status_code=201)
async def extend_access_request(
    env: s.EnvDep, call: s.CallDep, request_id: s.IdPath, body: a.ExtensionIn, account: s.AccountQuery = ""
) -> a.AccessRequestOut:
    """Requests more time for access that you have. The rule decides about it as about a new request."""
    view = await create.extend_request(env, call, account, request_id, body.seconds, body.reason, body.mfa.code())
    return a.AccessRequestOut.of(view, call.now)


# --- Grants


@router.get("/grants", name="ListGrants", tags=["access requests"])
async def list_grants(
    env: s.EnvDep,
    call: s.CallDep,
    account: s.AccountQuery = "",
    active: _Flag = False,  # noqa: FBT002  # by name, in a query
    after: s.AfterQuery = "",
    limit: s.LimitQuery = 100,
) -> a.GrantsOut:
    """Grants, newest first; without the permission, your own."""
    grants, following = await read.list_grants(env, call, account, active=active, after=after, limit=limit)
    refused = await read.refusals(env, call, grants)
    return a.GrantsOut(grants=[a.GrantOut.of(grant, call.now, refused) for grant in grants], next=following)


@router.post("/grants/{grant_id}/end", name="EndGrant", tags=["access requests"])
async def end_grant(
    env: s.EnvDep,
    call: s.CallDep,
    grant_id: s.IdPath,
    body: a.GrantEndIn | None = None,
    account: s.AccountQuery = "",
) -> a.GrantOut:
    """Ends a grant and its sessions, everywhere within a second."""
    reason = EndReason(body.reason if body is not None else "revoked")
    return a.GrantOut.of(await follow.end_grant(env, call, account, grant_id, reason), call.now)


@router.post("/grants/end-for-ticket", name="EndGrant", tags=["access requests"])
async def end_grants_of_ticket(
    env: s.EnvDep, call: s.CallDep, body: a.TicketIn, account: s.AccountQuery = ""
) -> a.GrantsOut:
    """Ends all grants of a ticket that has been closed, with their sessions."""
    ended = await follow.end_for_ticket(env, call, account, body.ticket)
    return a.GrantsOut(grants=[a.GrantOut.of(grant, call.now) for grant in ended], next="")


# --- Rules


@router.get("/approval-rules", name="ListApprovalRules", tags=["access requests"])
async def list_approval_rules(env: s.EnvDep, call: s.CallDep, account: s.AccountQuery = "") -> a.ApprovalRulesOut:
    """The approval rules of an account, by name."""
    rules_of_account = await rules.RULES.every(env, call, account)
    return a.ApprovalRulesOut(approval_rules=[a.ApprovalRuleOut.of(rule) for rule in rules_of_account])


@router.get(_RULE, name="GetApprovalRule", tags=["access requests"])
async def get_approval_rule(
    env: s.EnvDep, call: s.CallDep, name: s.IdPath, account: s.AccountQuery = ""
) -> a.ApprovalRuleOut:
    """One approval rule, as it was written."""
    return a.ApprovalRuleOut.of(await rules.RULES.get(env, call, name, account))


@router.get(f"{_RULE}/on-call", name="GetOnCall", tags=["access requests"])
async def get_on_call(env: s.EnvDep, call: s.CallDep, name: s.IdPath, account: s.AccountQuery = "") -> a.OnCallOut:
    """Who is on call now, by the schedule of an approval rule."""
    return a.OnCallOut(people=await on_call.people_on_call(env, call, account, name))


@router.put(_RULE, name="PutApprovalRule", tags=["access requests"])
async def put_approval_rule(
    env: s.EnvDep, call: s.CallDep, name: s.IdPath, body: a.ApprovalRuleIn, account: s.AccountQuery = ""
) -> a.ApprovalRuleOut:
    """Creates or replaces an approval rule. Approvals under the old rule become void."""
    return a.ApprovalRuleOut.of(await rules.put_rule(env, call, account, name, body.document))


@router.delete(_RULE, name="DeleteApprovalRule", tags=["access requests"], status_code=204)
async def delete_approval_rule(env: s.EnvDep, call: s.CallDep, name: s.IdPath, account: s.AccountQuery = "") -> None:
    """Deletes an approval rule. Access that was approved under it ends."""
    await rules.RULES.delete(env, call, name, account)


# --- Reviews


@router.get("/access-reviews", name="ListAccessReviews", tags=["access requests"])
async def list_access_reviews(
    env: s.EnvDep,
    call: s.CallDep,
    account: s.AccountQuery = "",
    every: _Flag = False,  # noqa: FBT002  # by name, in a query
    after: s.AfterQuery = "",
    limit: s.LimitQuery = 100,
) -> a.ReviewsOut:
    """Reviews of emergency access that are open; with `every`, the closed ones too."""
    reviews, following = await read.list_reviews(env, call, account, every=every, after=after, limit=limit)
    return a.ReviewsOut(access_reviews=[a.ReviewOut.of(review) for review in reviews], next=following)


@router.post("/access-reviews/{review_id}/close", name="CloseAccessReview", tags=["access requests"])
async def close_access_review(
    env: s.EnvDep, call: s.CallDep, review_id: s.IdPath, body: a.ReviewIn, account: s.AccountQuery = ""
) -> a.ReviewOut:
    """Closes a review with its finding. The person who had the access cannot."""
    return a.ReviewOut.of(await read.close_review(env, call, account, review_id, body.finding))

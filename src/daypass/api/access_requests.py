"""Access requests, grants, approval rules and reviews."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Any, Literal

from msgspec import Meta, field

from daypass.api.operation import (
    Command,
    Empty,
    Id,
    InAccount,
    Input,
    Millis,
    OnePage,
    Operation,
    OptionalMillis,
    Output,
    PageInput,
)


class MfaIn(Input):
    """A code of your own device, for this call."""

    serial_number: Annotated[str, Meta(max_length=256)] = ""
    token_code: Annotated[str, Meta(max_length=16)] = ""


class CreateAccessRequestInput(Input):
    roles: Annotated[
        list[Annotated[str, Meta(min_length=20, max_length=2048)]],
        Meta(min_length=1, max_length=10, description="ARNs of the roles."),
    ]
    reason: Annotated[str, Meta(min_length=1, max_length=1024)]
    ticket: Id = ""
    seconds: Annotated[
        Annotated[int, Meta(ge=60, le=604800)] | None,
        Meta(description="Duration from the first use; the rule has a default."),
    ] = None
    policy: Annotated[str, Meta(max_length=2048, description="A policy that narrows the sessions further.")] = ""
    starts_at: Annotated[Millis, Meta(description="Not before; 0: at once.")] = 0
    max_uses: Annotated[
        Annotated[int, Meta(ge=0, le=1000)] | None, Meta(description="Sessions that each grant gives; 0: any number.")
    ] = None
    beneficiary: Annotated[
        str, Meta(max_length=2048, description="ARN of the user who gets the access; empty: you.")
    ] = ""
    break_glass: Annotated[
        bool, Meta(description="Emergency access, without an approver and with a review afterwards.")
    ] = False
    confirmation: Annotated[str, Meta(max_length=64, description="For an emergency: the name of the first role.")] = ""
    client_token: Annotated[
        str, Meta(max_length=128, description="A repeated call with it returns the first request.")
    ] = ""
    reuse: Annotated[bool, Meta(description="Return an earlier request of yours whose access covers this one.")] = False
    mfa: MfaIn = field(default_factory=MfaIn)


class VoteOut(Output, kw_only=True):
    approver: str
    principal: Annotated[str, Meta(description="Whose session `approver` is; empty: it is the principal itself.")] = ""
    approve: bool
    reason: str
    at: int
    mfa_at: Annotated[OptionalMillis, Meta(description="null: without MFA.")]
    seconds: Annotated[int, Meta(description="The shorter duration that the approver gave; 0: none.")]
    policy: str
    stages: Annotated[list[list[str]], Meta(description="Rule and stage that the vote counts for.")]
    void: Annotated[bool, Meta(description="The approval does not count.")]
    why: Annotated[str, Meta(description="Why it does not count.")]


class GrantOut(Output):
    id: str
    account: str
    request_id: str
    state: Annotated[str, Meta(description="scheduled, open, claimed or ended.")]
    principal_id: str
    role: str
    seconds: int
    starts_at: int
    claim_by: int
    claimed_at: Annotated[OptionalMillis, Meta(description="The first use; null: not used yet.")]
    ends_at: Annotated[OptionalMillis, Meta(description="null: not used yet.")]
    ended_at: Annotated[OptionalMillis, Meta(description="null: it has not ended.")]
    end_reason: str
    approvers: int
    ticket: str
    risk: int
    break_glass: bool
    uses: int
    max_uses: int
    policies: list[str]
    refused: Annotated[
        str,
        Meta(
            description="Why it would be refused now although it has not ended; a sweep ends it. Empty: it would not."
        ),
    ] = ""


class AccessRequestOut(Output, kw_only=True):
    id: str
    account: str
    state: Annotated[str, Meta(description="draft, pending, approved, denied, expired, cancelled, claimed or ended.")]
    requester: str
    principal: Annotated[
        str,
        Meta(
            description="Whose session `requester` is; empty: it is the principal itself. People choose names of sessions."
        ),
    ] = ""
    beneficiary: str
    roles: list[str]
    reason: str
    ticket: str
    seconds: int
    policy: str
    starts_at: Annotated[OptionalMillis, Meta(description="Not before; null: at once.")]
    max_uses: int
    break_glass: bool
    extends: str
    created_at: int
    deadline: int
    decided_at: Annotated[OptionalMillis, Meta(description="null: undecided.")]
    ended_at: Annotated[OptionalMillis, Meta(description="null: it has not ended.")]
    end_reason: str
    risk: Annotated[int, Meta(description="0 to 100.")]
    risk_reasons: Annotated[
        list[dict[str, Any]], Meta(description="Features with weight, value and text, the largest first.")
    ]
    binding: Annotated[
        str,
        Meta(description="The digest that an approval names: pass it on. It changes with the request, role or rule."),
    ]
    missing: Annotated[dict[str, int], Meta(description="Approvals that are missing, by RULE/STAGE.")]
    obstacle: Annotated[
        str, Meta(description="Why it is not decided although no approval is missing, or cannot be approved now.")
    ] = ""
    votes: list[VoteOut]
    grants: list[GrantOut]
    refused: Annotated[
        dict[str, str],
        Meta(
            description="Why grants that have not ended would be refused now, by id. A sweep ends them: request access again."
        ),
    ]
    reused: Annotated[
        bool,
        Meta(description="It is an earlier request, whose access you have (see `reuse`), or that waits for the same."),
    ] = False
    hint: Annotated[str, Meta(description="The condition that would have approved the request at once.")] = ""


class ListAccessRequestsInput(OnePage):
    state: Annotated[str, Meta(max_length=16)] = ""
    approvable: bool = False
    person: Annotated[str, Meta(max_length=2048)] = ""


class SuggestRolesInput(Input):
    action: Annotated[str, Meta(min_length=3, max_length=128)]
    resource: Annotated[str, Meta(min_length=1, max_length=2048, description="An ARN, or `*`.")] = "*"
    limit: Annotated[int, Meta(ge=1, le=100)] = 10


class SuggestionOut(Output):
    role: str
    rule: Annotated[str, Meta(description="The approval rule that applies.")]
    conditional: Annotated[bool, Meta(description="Whether it depends on conditions of the role's policies.")]
    stages: Annotated[int, Meta(description="Stages of approval; 0: only automatic or emergency access.")]
    beyond: Annotated[
        list[str], Meta(description="Permissions beyond the need: actions as the policies of the role have them.")
    ]
    more: Annotated[bool, Meta(description="Whether it permits more than is listed.")]
    grant_id: Annotated[
        str, Meta(description="A grant of yours that you can use now instead of a request; empty: none.")
    ]


class OwnAccessOut(Output):
    access_requests: Annotated[
        list[AccessRequestOut], Meta(description="Open requests that you made or that are for you.")
    ]
    grants: Annotated[list[GrantOut], Meta(description="Your grants that have not ended and are not void.")]
    mfa_devices: Annotated[list[str], Meta(description="Serial numbers of your enabled MFA devices.")]
    waiting: Annotated[list[str], Meta(description="Ids of pending requests that you could decide.")]


class RequestableRoleOut(Output):
    arn: str
    rule: Annotated[str, Meta(description="The approval rule that applies.")]
    stages: Annotated[list[str], Meta(description="Stages of approval; empty: only automatic or emergency access.")]
    max_seconds: int
    default_seconds: int
    ticket_required: bool
    mfa_seconds: Annotated[int, Meta(description="Your MFA must be at most this old; 0: none is needed.")]
    automatic: Annotated[bool, Meta(description="Whether the rule has conditions under which no person approves.")]
    break_glass: bool


class AddedPermissionOut(Output):
    role: str
    action: str
    resources: list[str]
    policy: str
    excepted: Annotated[bool, Meta(description="The action is the exception of a NotAction.")]
    partly: Annotated[bool, Meta(description="Other policies of the role leave only a part.")]


class ExaminationOut(Output):
    access_request: AccessRequestOut
    added: Annotated[
        list[AddedPermissionOut] | None,
        Meta(description="Permissions beyond the person's own; null for roles of another account."),
    ]
    more: Annotated[bool, Meta(description="Whether there are more permissions than are listed.")]
    history: Annotated[
        list[AccessRequestOut], Meta(description="Earlier requests of the person for the roles, newest first.")
    ]
    may_vote: Annotated[bool, Meta(description="Whether you are an approver, apart from conditions and MFA.")]
    own: Annotated[bool, Meta(description="Whether you made the request, or it is for you.")]


class ApproveAccessRequestInput(InAccount):
    binding: Annotated[
        str, Meta(pattern="^([0-9a-f]{64})?$", description="`binding` of the request as you have read it.")
    ]
    reason: Annotated[str, Meta(max_length=1024)] = ""
    seconds: Annotated[int, Meta(ge=0, le=43200, description="A shorter duration; 0: as asked.")] = 0
    policy: Annotated[str, Meta(max_length=2048, description="A policy that narrows the sessions further.")] = ""
    mfa: MfaIn = field(default_factory=MfaIn)


class DenyAccessRequestInput(InAccount):
    reason: Annotated[str, Meta(min_length=1, max_length=1024)]
    binding: Annotated[str, Meta(pattern="^([0-9a-f]{64})?$")] = ""
    mfa: MfaIn = field(default_factory=MfaIn)


class AcceptAccessRequestInput(Input):
    mfa: MfaIn = field(default_factory=MfaIn)


class ExtendAccessRequestInput(InAccount):
    seconds: Annotated[int, Meta(ge=60, le=604800, description="Additional time.")]
    reason: Annotated[str, Meta(min_length=1, max_length=1024)]
    mfa: MfaIn = field(default_factory=MfaIn)


class ListGrantsInput(OnePage):
    active: bool = False


class EndGrantInput(InAccount):
    reason: Literal["revoked", "ticket_closed"] = "revoked"


class EndGrantsOfTicketInput(InAccount):
    ticket: Annotated[str, Meta(min_length=1, max_length=128)]


class ApprovalRuleOut(Output):
    name: str
    account: str
    document: str
    digest: Annotated[str, Meta(description="The digest of the content, not of the spelling.")]
    created_at: int
    updated_at: int
    updated_by: str


class OnCallOut(Output):
    people: Annotated[list[str], Meta(description="Names and addresses, in lower case, as the schedule gives them.")]


class PutApprovalRuleInput(InAccount):
    document: Annotated[str, Meta(min_length=2, max_length=16384, description="The rule, JSON.")]


class ListAccessReviewsInput(OnePage):
    every: Annotated[bool, Meta(description="Also closed reviews.")] = False


class ReviewOut(Output):
    id: Annotated[str, Meta(description="That of the access request.")]
    account: str
    beneficiary: Annotated[str, Meta(description="Who had the access.")]
    roles: list[str]
    reason: str
    opened_at: int
    closed_at: Annotated[OptionalMillis, Meta(description="null: it is open.")]
    closed_by: str
    finding: str


class CloseAccessReviewInput(InAccount):
    finding: Annotated[
        str, Meta(min_length=1, max_length=4096, description="The result of the review, for the record.")
    ]


operation = partial(Operation, section="access requests")

CREATE_ACCESS_REQUEST = operation(
    "CreateAccessRequest",
    "POST /access-requests",
    "Requests access to roles. An automatic rule may grant it at once.",
    CreateAccessRequestInput,
    AccessRequestOut,
    status=201,
)
LIST_ACCESS_REQUESTS = operation(
    "ListAccessRequests",
    "GET /access-requests",
    "Access requests, newest first, but `draft` and `pending` ones oldest first; without the permission, those that concern you. `approvable`: those that wait for your vote. `person`: the ARN, or its last part, of who gets the access.",
    ListAccessRequestsInput,
    AccessRequestOut,
    items="access_requests",
    paged=True,
)
SUGGEST_ROLES = operation(
    "SuggestRoles",
    "GET /role-suggestions",
    "Roles that you may request and that permit an action on a resource, least privileged first.",
    SuggestRolesInput,
    SuggestionOut,
    items="suggestions",
)
GET_OWN_ACCESS = operation(
    "GetOwnAccess",
    "GET /own-access",
    "Your open requests and your grants that have not ended. No permission is needed.",
    output=OwnAccessOut,
)
LIST_REQUESTABLE_ROLES = operation(
    "ListRequestableRoles",
    "GET /roles/requestable",
    "Roles of your account that you may request. A page may hold fewer than `limit` and still have a `next`.",
    PageInput,
    RequestableRoleOut,
    items="roles",
    paged=True,
    command=Command(
        "request roles",
        "List the roles that you may request, with their rules.",
        columns=(
            *("ROLE=arn", "RULE", "APPROVAL=stages|automatic", "AT MOST=max_seconds:left", "TICKET=ticket_required"),
            "EMERGENCY=break_glass",
        ),
        empty="no approval rule lets you request a role. For roles that you may assume at once: daypass roles",
    ),
)
EXAMINE_ACCESS_REQUEST = operation(
    "GetAccessRequest",
    "GET /access-requests/{request_id}/examination",
    "Facts for the approver: the permissions that a request would add, and earlier requests like it.",
    InAccount,
    ExaminationOut,
    unique="ExamineAccessRequest",
)
GET_ACCESS_REQUEST = operation(
    "GetAccessRequest",
    "GET /access-requests/{request_id}",
    "One access request, with its votes and grants. Its people and approvers need no permission.",
    InAccount,
    AccessRequestOut,
)
APPROVE_ACCESS_REQUEST = operation(
    "ApproveAccessRequest",
    "POST /access-requests/{request_id}/approve",
    "Approves exactly what you have read. Nobody approves their own request, by whatever identity.",
    ApproveAccessRequestInput,
    AccessRequestOut,
)
DENY_ACCESS_REQUEST = operation(
    "DenyAccessRequest",
    "POST /access-requests/{request_id}/deny",
    "Denies a request, even if others approved it. Access that it gave already ends, with its sessions.",
    DenyAccessRequestInput,
    AccessRequestOut,
)
ACCEPT_ACCESS_REQUEST = operation(
    "AcceptAccessRequest",
    "POST /access-requests/{request_id}/accept",
    "Accepts a request that somebody made for you. Until then nobody can approve it.",
    AcceptAccessRequestInput,
    AccessRequestOut,
)
CANCEL_ACCESS_REQUEST = operation(
    "CancelAccessRequest",
    "POST /access-requests/{request_id}/cancel",
    "Takes back a request of yours that has not been used.",
    Empty,
    AccessRequestOut,
)
FINISH_ACCESS_REQUEST = operation(
    "FinishAccessRequest",
    "POST /access-requests/{request_id}/done",
    "You are done: the grants of your request and all their sessions end.",
    Empty,
    AccessRequestOut,
)
EXTEND_ACCESS_REQUEST = operation(
    "ExtendAccessRequest",
    "POST /access-requests/{request_id}/extend",
    "Requests more time for access that you have. The rule decides about it as about a new request.",
    ExtendAccessRequestInput,
    AccessRequestOut,
    status=201,
)
LIST_GRANTS = operation(
    "ListGrants",
    "GET /grants",
    "Grants, newest first; without the permission, your own.",
    ListGrantsInput,
    GrantOut,
    items="grants",
    paged=True,
)
END_GRANT = operation(
    "EndGrant",
    "POST /grants/{grant_id}/end",
    "Ends a grant and its sessions, everywhere within a second.",
    EndGrantInput,
    GrantOut,
)
END_GRANTS_OF_TICKET = operation(
    "EndGrant",
    "POST /grants/end-for-ticket",
    "Ends all grants of a ticket that has been closed, with their sessions.",
    EndGrantsOfTicketInput,
    GrantOut,
    items="grants",
    paged=True,
    unique="EndGrantsOfTicket",
)
LIST_APPROVAL_RULES = operation(
    "ListApprovalRules",
    "GET /approval-rules",
    "The approval rules of an account, by name.",
    InAccount,
    ApprovalRuleOut,
    items="approval_rules",
)
GET_APPROVAL_RULE = operation(
    "GetApprovalRule",
    "GET /approval-rules/{name}",
    "One approval rule, as it was written.",
    InAccount,
    ApprovalRuleOut,
    command=Command("rule show NAME", "Print rule NAME, as it was written.", prints="document"),
)
GET_ON_CALL = operation(
    "GetOnCall",
    "GET /approval-rules/{name}/on-call",
    "Who is on call now, by the schedule of an approval rule.",
    InAccount,
    OnCallOut,
)
PUT_APPROVAL_RULE = operation(
    "PutApprovalRule",
    "PUT /approval-rules/{name}",
    "Creates or replaces an approval rule. Approvals under the old rule become void.",
    PutApprovalRuleInput,
    ApprovalRuleOut,
)
DELETE_APPROVAL_RULE = operation(
    "DeleteApprovalRule",
    "DELETE /approval-rules/{name}",
    "Deletes an approval rule. Access that was approved under it ends.",
    InAccount,
    status=204,
    command=Command(
        "rule rm NAME",
        "Delete rule NAME. Access that was approved under it ends.",
        says=("Deleted rule {name}.",),
        noun="rule",
        confirm="Delete rule {name}?",
        why="access that was approved under it ends",
    ),
)
LIST_ACCESS_REVIEWS = operation(
    "ListAccessReviews",
    "GET /access-reviews",
    "Reviews of emergency access that are open; with `every`, the closed ones too.",
    ListAccessReviewsInput,
    ReviewOut,
    items="access_reviews",
    paged=True,
    command=Command(
        "review ls",
        "List the reviews that are open, oldest first.",
        columns=(
            *("REQUEST=id", "OPENED=opened_at", "WHO=beneficiary:last", "ROLES=roles:last", "REASON"),
            *("CLOSED=closed_at", "BY=closed_by:last", "FINDING"),
        ),
        options={"every": "--all"},
    ),
)
CLOSE_ACCESS_REVIEW = operation(
    "CloseAccessReview",
    "POST /access-reviews/{review_id}/close",
    "Closes a review with its finding. The person who had the access cannot.",
    CloseAccessReviewInput,
    ReviewOut,
    command=Command(
        "review close REVIEW_ID",
        "Close the review of an access request. The person who had the access cannot.",
        says=("The review of {id} is closed.",),
    ),
)

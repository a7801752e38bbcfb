"""What the paths of access requests take and give. Times are milliseconds since the epoch, UTC."""

from __future__ import annotations

import json
from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Any, Literal

from pydantic import Field

from daypass.domain.access.grant import state_of
from daypass.domain.directory import AccessVote, Grant
from daypass.operations.assume.mfa_code import MfaCode
from daypass.operations.broker.create import NewRequest
from daypass.operations.broker.examine import Examination
from daypass.operations.broker.own import OwnAccess
from daypass.operations.broker.read import ReviewView
from daypass.operations.broker.suggest import Suggestion
from daypass.operations.broker.view import RequestView
from daypass.operations.broker.vote import Vote
from daypass.operations.grants.eligible import read_ballot
from daypass.wire.api import schemas as s

Arn = Annotated[str, Field(min_length=20, max_length=2048)]
Policy = Annotated[str, Field(max_length=2048)]
Seconds = Annotated[int, Field(strict=True, ge=60, le=604_800)]


class MfaIn(s.In):
    """A code of your own device, for this call."""

    serial_number: str = Field("", max_length=256)
    token_code: str = Field("", max_length=16)

    def code(self) -> MfaCode:
        return MfaCode(self.serial_number, self.token_code)


class AccessRequestIn(s.In):
    roles: list[Arn] = Field(min_length=1, max_length=10, description="ARNs of the roles.")
    reason: str = Field(min_length=1, max_length=1024)
    ticket: str = Field("", max_length=128)
    seconds: Seconds | None = Field(None, description="Duration from the first use; the rule has a default.")
    policy: Policy = Field("", description="A policy that narrows the sessions further.")
    starts_at: s.Millis = Field(0, description="Not before; 0: at once.")
    max_uses: Annotated[int, Field(strict=True, ge=0, le=1000)] | None = Field(
        None, description="Sessions that each grant gives; 0: any number."
    )
    beneficiary: str = Field("", max_length=2048, description="ARN of the user who gets the access; empty: you.")
    break_glass: bool = Field(False, description="Emergency access, without an approver and with a review afterwards.")
    confirmation: str = Field("", max_length=64, description="For an emergency: the name of the first role.")
    client_token: str = Field("", max_length=128, description="A repeated call with it returns the first request.")
    reuse: bool = Field(False, description="Return an earlier request of yours whose access covers this one.")
    mfa: MfaIn = MfaIn.model_validate({})

    def request(self) -> NewRequest:
        return NewRequest(**self.fields("mfa"), mfa=self.mfa.code())


class ExtensionIn(s.In):
    seconds: Seconds = Field(description="Additional time.")
    reason: str = Field(min_length=1, max_length=1024)
    mfa: MfaIn = MfaIn.model_validate({})


class ApprovalIn(s.In):
    binding: str = Field(pattern=r"^([0-9a-f]{64})?$", description="`binding` of the request as you have read it.")
    reason: str = Field("", max_length=1024)
    seconds: Annotated[int, Field(strict=True, ge=0, le=43_200)] = Field(
        0, description="A shorter duration; 0: as asked."
    )
    policy: Policy = Field("", description="A policy that narrows the sessions further.")
    substitutes: Annotated[dict[Arn, Arn], s.members(10)] = Field(
        default_factory=dict, max_length=10, description="Role asked for: role granted."
    )
    mfa: MfaIn = MfaIn.model_validate({})

    def vote(self) -> Vote:
        substitutes = tuple(self.substitutes.items())
        return Vote(**self.fields("substitutes", "mfa"), approve=True, substitutes=substitutes, mfa=self.mfa.code())


class DenialIn(s.In):
    reason: str = Field(min_length=1, max_length=1024)
    binding: str = Field("", pattern=r"^([0-9a-f]{64})?$")
    mfa: MfaIn = MfaIn.model_validate({})

    def vote(self) -> Vote:
        return Vote(**self.fields("mfa"), approve=False, mfa=self.mfa.code())


class AcceptanceIn(s.In):
    mfa: MfaIn = MfaIn.model_validate({})


class VoteOut(s.Out):
    approver: str
    principal: str = Field("", description="Whose session `approver` is; empty: it is the principal itself.")
    approve: bool
    reason: str
    at: int
    mfa_at: s.OptionalMillis = Field(description="null: without MFA.")
    seconds: int = Field(description="The shorter duration that the approver gave; 0: none.")
    policy: str
    stages: list[list[str]] = Field(description="Rule and stage that the vote counts for.")
    void: bool = Field(description="The approval does not count.")
    why: str = Field(description="Why it does not count.")

    @classmethod
    def of(cls, vote: AccessVote, view: RequestView) -> VoteOut:
        ballot = read_ballot(vote.document)
        return cls.copied(
            vote,
            approver=vote.approver_arn,
            principal=view.principals.get(vote.approver_id, ""),
            reason=ballot.reason,
            seconds=ballot.seconds,
            policy=ballot.policy,
            void=vote.approver_id in view.void,
            why=view.void.get(vote.approver_id, ""),
        )


class GrantOut(s.Out):
    id: str
    account: str
    request_id: str
    state: str = Field(description="scheduled, open, claimed or ended.")
    principal_id: str
    role: str
    seconds: int
    starts_at: int
    claim_by: int
    claimed_at: s.OptionalMillis = Field(description="The first use; null: not used yet.")
    ends_at: s.OptionalMillis = Field(description="null: not used yet.")
    ended_at: s.OptionalMillis = Field(description="null: it has not ended.")
    end_reason: str
    approvers: int
    ticket: str
    risk: int
    break_glass: bool
    uses: int
    max_uses: int
    policies: list[str]
    refused: str = Field(
        "", description="Why it would be refused now although it has not ended; a sweep ends it. Empty: it would not."
    )

    @classmethod
    def of(cls, grant: Grant, now: int, refused: Mapping[str, str] = MappingProxyType({})) -> GrantOut:
        return cls.copied(
            grant, state=state_of(grant, now).value, role=grant.role_arn, refused=refused.get(grant.id, "")
        )


class GrantsOut(s.Out):
    grants: list[GrantOut]
    next: str = Field("", description="`after` of the next page; empty at the end.")


class GrantEndIn(s.In):
    reason: Literal["revoked", "ticket_closed"] = "revoked"


class TicketIn(s.In):
    ticket: str = Field(min_length=1, max_length=128)


_TERMS = (
    *("requester", "beneficiary", "reason", "ticket", "seconds", "policy", "starts_at", "max_uses"),
    *("break_glass", "extends"),
)
"""Members of an access request that are its terms, on which approvers decide."""


class AccessRequestOut(s.Out):
    id: str
    account: str
    state: str = Field(description="draft, pending, approved, denied, expired, cancelled, claimed or ended.")
    requester: str
    principal: str = Field(
        "",
        description="Whose session `requester` is; empty: it is the principal itself. People choose names of sessions.",
    )
    beneficiary: str
    roles: list[str]
    substituted: list[str] = Field(description="The roles as they were requested, if an approver substituted some.")
    reason: str
    ticket: str
    seconds: int
    policy: str
    starts_at: s.OptionalMillis = Field(description="Not before; null: at once.")
    max_uses: int
    break_glass: bool
    extends: str
    created_at: int
    deadline: int
    decided_at: s.OptionalMillis = Field(description="null: undecided.")
    ended_at: s.OptionalMillis = Field(description="null: it has not ended.")
    end_reason: str
    risk: int = Field(description="0 to 100.")
    risk_reasons: list[dict[str, Any]] = Field(description="Features with weight, value and text, the largest first.")
    binding: str = Field(
        description="What an approver approves: pass it on. It changes with the request, role or rule."
    )
    missing: dict[str, int] = Field(description="Approvals that are missing, by RULE/STAGE.")
    obstacle: str = Field(
        "", description="Why it is not decided although no approval is missing, or cannot be approved now."
    )
    votes: list[VoteOut]
    grants: list[GrantOut]
    refused: dict[str, str] = Field(
        description="Why grants that have not ended would be refused now, by id. A sweep ends them: request access again."
    )
    reused: bool = Field(False, description="It is an earlier request, whose access you have: see `reuse`.")

    @classmethod
    def of(cls, view: RequestView, now: int) -> AccessRequestOut:
        request, terms = view.request, view.terms
        return cls.copied(
            request,
            **{name: getattr(terms, name) for name in _TERMS},
            principal=view.principals.get(request.requester_id, ""),
            state=request.state.value,
            risk_reasons=json.loads(request.risk_reasons),
            roles=[ref.arn for ref in terms.roles],
            substituted=list(terms.substituted),
            binding=view.binding,
            missing={"/".join(stage): number for stage, number in view.missing.items() if number},
            obstacle=view.obstacle,
            votes=[VoteOut.of(vote, view) for vote in view.votes],
            grants=[GrantOut.of(grant, now, view.refused) for grant in view.grants],
            refused=dict(view.refused),
            reused=view.reused,
        )


class AccessRequestsOut(s.Out):
    access_requests: list[AccessRequestOut]
    next: str = Field("", description="`after` of the next page; empty at the end.")


class OwnAccessOut(s.Out):
    access_requests: list[AccessRequestOut] = Field(description="Open requests that you made or that are for you.")
    grants: list[GrantOut] = Field(description="Your grants that have not ended and are not void.")
    mfa_devices: list[str] = Field(description="Serial numbers of your enabled MFA devices.")

    @classmethod
    def of(cls, found: OwnAccess, now: int) -> OwnAccessOut:
        return cls.copied(
            found,
            access_requests=[AccessRequestOut.of(view, now) for view in found.requests],
            grants=[GrantOut.of(grant, now) for grant in found.grants],
        )


class RequestableRoleOut(s.EntityOut):
    arn: str
    rule: str = Field(description="The approval rule that applies.")
    stages: list[str] = Field(description="Stages of approval; empty: only automatic or emergency access.")
    max_seconds: int
    default_seconds: int
    ticket_required: bool
    mfa_seconds: int = Field(description="Your MFA must be at most this old; 0: none is needed.")
    automatic: bool = Field(description="Whether the rule has conditions under which no person approves.")
    break_glass: bool


class RequestableRolesOut(s.Out):
    roles: list[RequestableRoleOut]
    next: str = Field("", description="`after` of the next page; empty at the end.")


class AddedPermissionOut(s.EntityOut):
    role: str
    action: str
    resources: list[str]
    policy: str
    excepted: bool = Field(description="The action is the exception of a NotAction.")
    partly: bool = Field(description="Other policies of the role leave only a part.")


class ExaminationOut(s.Out):
    access_request: AccessRequestOut
    added: list[AddedPermissionOut] | None = Field(
        description="Permissions beyond the person's own; null for roles of another account."
    )
    more: bool = Field(description="Whether there are more permissions than are listed.")
    history: list[AccessRequestOut] = Field(description="Earlier requests of the person for the roles, newest first.")
    may_vote: bool = Field(description="Whether you are an approver, apart from conditions and MFA.")
    own: bool = Field(description="Whether you made the request, or it is for you.")
    prose: str = Field(description="The risk in prose: generated text, which decides nothing; empty: none.")

    @classmethod
    def of(cls, found: Examination, now: int) -> ExaminationOut:
        return cls.copied(
            found,
            access_request=AccessRequestOut.of(found.view, now),
            added=None if found.added is None else [AddedPermissionOut.of(each) for each in found.added],
            history=[AccessRequestOut.of(view, now) for view in found.history],
        )


class SuggestionOut(s.Out):
    role: str
    rule: str = Field(description="The approval rule that applies.")
    conditional: bool = Field(description="Whether it depends on conditions of the role's policies.")
    stages: int = Field(description="Stages of approval; 0: only automatic or emergency access.")
    beyond: list[str] = Field(description="What the role permits beyond the need: actions as its policies have them.")
    more: bool = Field(description="Whether it permits more than is listed.")
    grant_id: str = Field(description="A grant of yours that you can use now instead of a request; empty: none.")

    @classmethod
    def of(cls, found: Suggestion) -> SuggestionOut:
        return cls.copied(found, role=found.role_arn)


class SuggestionsOut(s.Out):
    suggestions: list[SuggestionOut] = Field(description="Least privileged first.")


class ApprovalRuleIn(s.In):
    document: str = Field(min_length=2, max_length=16_384, description="The rule, JSON.")


class ApprovalRuleOut(s.EntityOut):
    name: str
    account: str
    document: str
    digest: str = Field(description="Of the content, not of the spelling.")
    created_at: int
    updated_at: int
    updated_by: str


class ApprovalRulesOut(s.Out):
    approval_rules: list[ApprovalRuleOut]


class OnCallOut(s.Out):
    people: list[str] = Field(description="Names and addresses, in lower case, as the schedule gives them.")


class ReviewIn(s.In):
    finding: str = Field(min_length=1, max_length=4096)


class ReviewOut(s.Out):
    id: str = Field(description="That of the access request.")
    account: str
    beneficiary: str = Field(description="Who had the access.")
    roles: list[str]
    reason: str
    opened_at: int
    closed_at: s.OptionalMillis = Field(description="null: it is open.")
    closed_by: str
    finding: str

    @classmethod
    def of(cls, view: ReviewView) -> ReviewOut:
        terms = view.terms
        roles = [ref.arn for ref in terms.roles]
        return cls.copied(view.review, beneficiary=terms.beneficiary, roles=roles, reason=terms.reason)


class ReviewsOut(s.Out):
    access_reviews: list[ReviewOut]
    next: str = Field("", description="`after` of the next page; empty at the end.")

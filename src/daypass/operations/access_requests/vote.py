"""daypass:ApproveAccessRequest and daypass:DenyAccessRequest: an approver votes on exactly what was shown.

A vote names the digest of the request, the roles' policies and the rules. If any of these has changed since the
approver read the request, the vote is refused. Votes are serialised by the transaction, so two clicks have one result.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from daypass.domain.access.request import (
    GRANTED,
    NOBODY,
    EndReason,
    TransitionRefused,
    check_undecided,
    check_voter,
    moved,
)
from daypass.domain.access.terms import MAX_REASON, Ballot, Terms, VoteTally, decode, keys_of, write_ballot
from daypass.domain.context import request_context
from daypass.domain.directory import AccessRequest, AccessVote, ReplayEntry, RequestState
from daypass.domain.errors import DaypassError, ErrorKind
from daypass.domain.events import Event, EventType
from daypass.domain.policy.model import Context, Decision
from daypass.operations.access_requests.view import (
    Approval,
    RequestView,
    chat_allowed,
    current_targets,
    grant_request,
    narrowed,
    open_targets,
    requested_targets,
    view_of,
)
from daypass.operations.assume.mfa_code import NO_CODE, MfaCode, check_mfa, mfa_context
from daypass.operations.assume.request import check_policy, consume
from daypass.operations.grants.persons import Person, person_of, persons_of, why_gone
from daypass.operations.grants.targets import Snapshot, TargetRole, binding
from daypass.operations.grants.use import end_grants, existing, grants_of, no_such_request, refused
from daypass.operations.grants.votes import StageMatch, allow_on_roles, count_votes, stages_for
from daypass.operations.management import allow
from daypass.operations.notifications import announce
from daypass.operations.outcome import served
from daypass.operations.sign_in.step_up import StepUpProof, digest_of
from daypass.operations.sign_in.step_up import check as check_step_up
from daypass.ports import Call, Env, Reader, Tx


class ChatVote(NamedTuple):
    """The chat user who voted, and the message, which is consumed with the vote."""

    user: str
    replay: ReplayEntry


@dataclass(frozen=True, slots=True)
class Vote:
    """A vote as it is sent."""

    binding: str  # what the approver has read (`RequestView.binding`)
    approve: bool
    reason: str = ""
    # seconds: a shorter duration; 0: as requested. policy: a narrower scope-down policy; "": none.
    seconds: int = 0
    policy: str = ""
    mfa: MfaCode = NO_CODE  # a code of the approver's device, for this call
    step_up: StepUpProof | None = None  # the proof of a browser for `vote_digest`; None: without one
    chat: ChatVote | None = None  # the vote comes from a chat, which the rules must allow; None: it does not


def vote_digest(account: str, request_id: str, sent: Vote) -> str:
    """The facts that a step-up for this vote confirms: the request with its roles, policies and rules, and every part of the vote."""
    action = "approve" if sent.approve else "deny"
    return digest_of(action, account, request_id, sent.binding, sent.reason, str(sent.seconds), sent.policy)


async def vote(env: Env, call: Call, account: str, request_id: str, sent: Vote) -> RequestView:
    """Raises DaypassError: ACCESS_DENIED for the requester and for persons who are not approvers, NOT_FOUND,
    CONCURRENT_MODIFICATION when something has changed since the request was read, VALIDATION.
    """
    owner = account or call.caller.account
    action = "ApproveAccessRequest" if sent.approve else "DenyAccessRequest"
    await authorize_request(env, call, action, owner, request_id)
    if len(sent.reason) > MAX_REASON or not sent.reason.isprintable():
        raise DaypassError(ErrorKind.VALIDATION, f"A reason is at most {MAX_REASON} printable characters.")
    if not sent.approve and not sent.reason.strip():
        raise DaypassError(ErrorKind.VALIDATION, "A denial has a reason.")
    if sent.policy:
        await check_policy(env, call.caller.account, sent.policy)
    if sent.step_up is not None:
        mfa_at = await check_step_up(env, call, vote_digest(owner, request_id, sent), sent.step_up)
    else:
        mfa_at = await check_mfa(env, call, sent.mfa)
    decision = await authorize_request(env, call, action, owner, request_id)  # the proofs took their time (attack A617)
    context = {**request_context(call.caller, call.facts, call.now), **mfa_context(mfa_at)}
    casting = _Casting(env, call, owner, request_id, sent, decision, mfa_at, context)
    return await env.journal.write(casting.change, account=call.caller.account)


async def authorize_request(env: Env, call: Call, action: str, account: str, request_id: str) -> Decision:
    """Authorizes `daypass:ACTION` on `access-request/ROLE` for each role of a request, and returns the last decision.

    Raises DaypassError: ACCESS_DENIED, NOT_FOUND for callers with the permission on `access-request/ID`.
    """
    found = await env.directory.read(lambda tx: tx.get(AccessRequest, id=request_id), account=call.caller.account)
    if found is None or found.account != account:
        await allow(env, call, action, "access-request", request_id, account)
        raise no_such_request(request_id)
    return await allow_on_roles(env, call, [action], [ref.arn for ref in decode(found.document).roles], account)


@dataclass(frozen=True, slots=True)
class _Casting:
    """One vote. `change` runs in the transaction."""

    env: Env
    call: Call
    account: str
    request_id: str
    sent: Vote
    decision: Decision
    mfa_at: int
    context: Context

    def change(self, tx: Tx) -> tuple[RequestView, Event]:
        now, sent = self.call.now, self.sent
        if sent.chat is not None:
            consume(tx, sent.chat.replay)
        request = existing(tx, self.account, self.request_id)
        request = replace(request, persons=persons_of(tx, request))
        person = person_of(tx, self.call.caller, self.mfa_at)
        if not sent.approve and request.state in GRANTED:
            return self._withdraw(tx, request, person)
        try:
            check_undecided(request, now)
            check_voter(request, person.identifiers)
        except TransitionRefused as error:
            raise self._refused(error, request) from None
        terms = decode(request.document)
        targets, bound_to = self._targets(tx, request, terms)
        if sent.binding != bound_to:
            raise DaypassError(
                ErrorKind.CONCURRENT_MODIFICATION,
                "The request, its role or its approval rule has changed since you read it. Read it again.",
            )
        match = self._eligible(tx, request, targets, person)
        self._cast(tx, request, targets, person, match, terms)
        return self._count(tx, request, terms, targets)

    def _targets(self, tx: Reader, request: AccessRequest, terms: Terms) -> tuple[Sequence[TargetRole], str]:
        """The roles, and what the vote must name. A request that nobody can approve can be denied (attack A375)."""
        try:
            targets = current_targets(self.env, tx, request, terms)
        except DaypassError:
            if self.sent.approve:
                raise
            return requested_targets(tx, self.env.builtin, request), ""
        return targets, binding(request.digest, targets)

    def _refused(self, error: TransitionRefused, request: AccessRequest) -> DaypassError:
        if request.state is not RequestState.PENDING or self.call.now >= request.deadline:
            return refused(error)
        return DaypassError(
            ErrorKind.ACCESS_DENIED,
            str(error),
            private={"reason": "own request", "request": request.id},
            explanation={"allowed": False, "reason": "the approver is the requester or the beneficiary"},
        )

    def _eligible(
        self, tx: Reader, request: AccessRequest, targets: Sequence[TargetRole], person: Person
    ) -> StageMatch:
        now = self.call.now
        if gone := why_gone(tx, person.principal_ids, person.identifiers, now, now):
            raise DaypassError(  # such a vote would count when that ends (attack A254)
                ErrorKind.ACCESS_DENIED,
                f"The person behind this session {gone}.",
                private={"reason": "blocked or disabled", "request": request.id},
                explanation={"allowed": False, "reason": "the approver is blocked or disabled"},
            )
        if self.sent.chat is not None and not chat_allowed(request, targets):
            raise DaypassError(
                ErrorKind.ACCESS_DENIED,
                "This request cannot be approved in a chat. Open it in Daypass.",
                private={"reason": "chat", "request": request.id, "risk": request.risk},
            )
        keys = {**self.context, **keys_of(decode(request.document), request.risk)}
        match = stages_for(
            request,
            [target.rule for target in targets],
            person.names,
            now,
            context=keys,
            mfa_at=person.mfa_at,
            stepped_up=bool(self.mfa_at),
        )
        if not match.stages or not person.id:
            raise DaypassError(
                ErrorKind.ACCESS_DENIED,
                match.unmet or ("You are not an approver of this request." if person.id else NOBODY),
                private={"reason": "not an approver", "request": request.id},
                explanation={
                    "allowed": False,
                    "reason": match.unmet or "no stage of the approval rule includes the caller",
                },
            )
        return match

    def _cast(
        self,
        tx: Tx,
        request: AccessRequest,
        targets: Sequence[TargetRole],
        person: Person,
        match: StageMatch,
        terms: Terms,
    ) -> None:
        sent = self.sent
        if sent.seconds and not 60 <= sent.seconds <= terms.seconds:
            raise DaypassError(
                ErrorKind.VALIDATION, f"An approver can shorten access to 60 to {terms.seconds} seconds."
            )
        ballot = Ballot(sent.reason, sent.seconds, sent.policy, self._step_up(), self._chat())
        cast = AccessVote(
            request_id=request.id,
            approver_id=person.id,
            account=request.account,
            approver_arn=person.arn,
            approve=sent.approve,
            binding=binding(request.digest, targets),
            stages=match.stages,
            persons=person.identifiers,
            principal_ids=tuple(hop.principal_id for hop in self.call.caller.hops),
            mfa_at=person.mfa_at,
            at=self.call.now,
            document=write_ballot(ballot),
        )
        if tx.get(AccessVote, request_id=request.id, approver_id=person.id) is None:
            tx.insert(cast)
        else:
            tx.replace(cast)

    def _step_up(self) -> str:
        """How the person confirmed this vote, for the record: "passkey", "code" or ""."""
        if self.sent.step_up is not None and self.sent.step_up.assertion:
            return "passkey"
        return "code" if self.mfa_at else ""

    def _chat(self) -> str:
        return self.sent.chat.user if self.sent.chat is not None else ""

    def _count(
        self, tx: Tx, request: AccessRequest, terms: Terms, targets: Sequence[TargetRole]
    ) -> tuple[RequestView, Event]:
        now = self.call.now
        if not self.sent.approve:
            request = moved(request, RequestState.DENIED, now, EndReason.DENIED.value)
            tx.replace(request)
            view = view_of(self.env, tx, request)
            return view, announce(self.env, tx, self._event(view, None))
        count = count_votes(self.env, Snapshot(tx), request, targets, now)
        narrowed(terms, count.approvals)  # too many policies are refused with the vote that brings one too many
        if count.tally.complete:
            request, _ = grant_request(
                self.env, tx, request, terms, targets, Approval(count.approvals, count.tally.counted), now
            )
        else:
            tx.replace(request)  # so that votes at the same time follow one another
        view = view_of(self.env, tx, request, count)
        return view, announce(self.env, tx, self._event(view, count.tally))

    def _event(self, view: RequestView, count: VoteTally | None) -> Event:
        request, sent = view.request, self.sent
        detail: dict[str, Any] = {
            "request": request.id,
            "state": request.state.value,
            "binding": sent.binding,
            "requester": view.terms.requester,
            "roles": [ref.arn for ref in view.terms.roles],
            "reason": sent.reason,
            "waited_ms": self.call.now - request.created_at,
            "mfa": bool(self.mfa_at or self.call.caller.mfa_at),
        }
        if count is not None:
            detail["missing"] = {"/".join(stage): number for stage, number in count.missing.items() if number}
        if view.void:
            detail["void"] = dict(view.void)
        optional: Mapping[str, Any] = {
            "step_up": self._step_up(),
            "chat_user": self._chat(),
            "step_up_digest": vote_digest(self.account, self.request_id, sent) if sent.step_up is not None else "",
            "seconds": sent.seconds,
            "policy": sent.policy,
            "grants": [grant.id for grant in view.grants],
        }
        detail.update({name: value for name, value in optional.items() if value})
        kind = EventType.ACCESS_APPROVED if sent.approve else EventType.ACCESS_DENIED
        return served(self.call, kind=kind, account=self.account, decision=self.decision, detail=detail)

    def _withdraw(self, tx: Tx, request: AccessRequest, person: Person) -> tuple[RequestView, Event]:
        """A denial after the approval: it overrides the approval and ends the access."""
        terms = decode(request.document)
        targets = open_targets(tx, self.env.builtin, request)
        match = self._eligible(tx, request, targets, person)
        self._cast(tx, request, targets, person, match, terms)
        request = end_grants(
            self.env, tx, request, grants_of(tx, request.id), EndReason.DENIED, self.call.now, self.call.caller.arn
        )
        view = view_of(self.env, tx, request)
        return view, announce(self.env, tx, self._event(view, None))

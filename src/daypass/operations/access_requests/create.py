"""daypass:CreateAccessRequest: a person asks for roles, for itself or for somebody else who accepts.

The request is checked against the rule of each role. It may be granted at once: by an automatic rule, or as an
emergency (break-glass). Neither counts as an approval by a person.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from msgspec.structs import replace

from daypass.domain.access.request import GRANTED, NOBODY, UNDECIDED, is_usable, latest_end
from daypass.domain.access.rule import CompiledRule, LimitExceeded, check_mfa_age, check_request, duration, uses
from daypass.domain.access.terms import MAX_ROLES, RoleRef, Terms, decode, digest, encode
from daypass.domain.context import request_context
from daypass.domain.directory import AccessRequest, Grant, RequestState, Role, User
from daypass.domain.errors import DaypassError, ErrorKind
from daypass.domain.events import Event, EventType
from daypass.domain.policy.model import Decision
from daypass.operations.access_requests.prepare import PreparedRequest, prepare
from daypass.operations.access_requests.view import (
    RequestView,
    automatic_approval,
    grant_request,
    needs_mfa,
    request_detail,
    view_of,
)
from daypass.operations.assume.mfa_code import NO_CODE, MfaCode, check_mfa, mfa_context
from daypass.operations.assume.request import check_policy, requested_role
from daypass.operations.grants.persons import Person, person_of, person_of_user
from daypass.operations.grants.targets import Circumstances, Snapshot, TargetRole, local_time, targets_of
from daypass.operations.grants.use import existing, no_such_request
from daypass.operations.grants.void import why_void
from daypass.operations.grants.votes import allow_on_roles
from daypass.operations.management import allow_own
from daypass.operations.notifications import announce
from daypass.operations.outcome import served
from daypass.operations.principals import find_by_arn
from daypass.ports import Call, Env, Reader, Tx

MAX_OPEN: Final = 50  # undecided requests of one requester
MAX_GRANTS: Final = 500  # open grants of one person: they all end in one transaction when the person leaves
_LEAST_REUSED: Final = 300  # seconds that access must last for a request without a duration
_LATEST_START_MS: Final = 30 * 86_400_000


@dataclass(frozen=True, slots=True)
class NewRequest:
    """The requested access. Empty fields: the rule's default, or none."""

    # roles: ARNs. seconds: the duration. starts_at: ms.
    roles: tuple[str, ...]
    reason: str
    ticket: str = ""
    seconds: int | None = None
    policy: str = ""
    starts_at: int = 0
    max_uses: int | None = None  # sessions; None: as many as the rule allows
    beneficiary: str = ""  # ARN of a user of the account who gets the access; "": the caller
    break_glass: bool = False
    confirmation: str = ""  # for an emergency, the name of the first role, so that it is not requested by mistake
    client_token: str = ""  # a repeated call with the same token returns the first request
    extends: str = ""  # id of an earlier request of the caller for the same roles, whose access is to last longer
    mfa: MfaCode = NO_CODE
    reuse: bool = False  # return an earlier request of the caller's whose access covers this one, if there is one


async def create_request(env: Env, call: Call, new: NewRequest) -> RequestView:
    """daypass:CreateAccessRequest on `access-request/ROLE` for each role; for an emergency also daypass:BreakGlass.

    Raises DaypassError: ACCESS_DENIED, VALIDATION, NOT_FOUND, LIMIT_EXCEEDED, ALREADY_EXISTS when the client token was
    used for another request.
    """
    account = _account_of(new)
    await _authorize(env, call, new, account)
    _check(call, new)
    if new.policy:
        await check_policy(env, call.caller.account, new.policy)
    mfa_at = await check_mfa(env, call, new.mfa)
    context = {**request_context(call.caller, call.facts, call.now), **mfa_context(mfa_at)}
    prepared = await prepare(env, call, account, new.roles, new.ticket, emergency=new.break_glass)
    decision = await _authorize(env, call, new, account)  # other systems may have answered late (attack A617)
    asked = Circumstances({**context, **prepared.keys}, prepared.on_call)
    creation = _Creation(env, call, new, account, decision, mfa_at, asked, prepared)
    return await env.journal.write(creation.change, account=call.caller.account, urgent=new.break_glass)


async def extend_request(
    env: Env, call: Call, account: str, request_id: str, seconds: int, reason: str, mfa: MfaCode = NO_CODE
) -> RequestView:
    """Requests more time for the roles of an earlier request of the caller's own. See `create_request` for errors."""
    await allow_own(env, call, "ExtendAccessRequest", "access-request", request_id)
    owner = account or call.caller.account

    def query(tx: Reader) -> Terms:
        earlier, person = existing(tx, owner, request_id), person_of(tx, call.caller)
        if not person.id or person.id not in (earlier.requester_id, earlier.beneficiary_id):
            raise no_such_request(request_id)
        return decode(earlier.document)

    terms = await env.directory.read(query, account=call.caller.account)
    roles = tuple(ref.arn for ref in terms.roles)
    new = NewRequest(roles, reason, terms.ticket, seconds, extends=request_id, mfa=mfa)
    return await create_request(env, call, new)


def invalid(error: LimitExceeded) -> DaypassError:
    """A request outside the limits of its rule, as an error of an operation."""
    return DaypassError(ErrorKind.VALIDATION, str(error))


def _account_of(new: NewRequest) -> str:
    if not 1 <= len(new.roles) <= MAX_ROLES or len(set(new.roles)) != len(new.roles):
        raise DaypassError(ErrorKind.VALIDATION, f"A request has 1 to {MAX_ROLES} different roles.")
    accounts = {requested_role(arn).account for arn in new.roles}
    if len(accounts) != 1:
        raise DaypassError(ErrorKind.VALIDATION, "All roles of a request belong to the same account.")
    return accounts.pop()


async def _authorize(env: Env, call: Call, new: NewRequest, account: str) -> Decision:
    actions = ("CreateAccessRequest", *(("BreakGlass",) if new.break_glass else ()))
    return await allow_on_roles(env, call, actions, new.roles, account)


def _check(call: Call, new: NewRequest) -> None:
    if new.starts_at and not call.now <= new.starts_at <= call.now + _LATEST_START_MS:
        raise DaypassError(ErrorKind.VALIDATION, "starts_at is in the next 30 days.")
    if new.break_glass and (new.beneficiary or new.starts_at or new.extends):
        raise DaypassError(ErrorKind.VALIDATION, "Emergency access is for the caller, new, and starts at once.")
    if new.break_glass and new.confirmation != requested_role(new.roles[0]).name:
        raise DaypassError(ErrorKind.VALIDATION, "Confirm emergency access with the name of the first role.")


_WITH_MFA: Final = "It waits for an approver. With MFA used just now, the rule approves it at once: send the same request again with MFA."


@dataclass(frozen=True, slots=True)
class _Creation:
    """One creation. `change` runs in the transaction."""

    env: Env
    call: Call
    new: NewRequest
    account: str
    decision: Decision
    mfa_at: int
    asked: Circumstances
    prepared: PreparedRequest

    def change(self, tx: Tx) -> tuple[RequestView, Event]:
        env, call, new = self.env, self.call, self.new
        requester = person_of(tx, call.caller, self.mfa_at)
        if not requester.id:
            raise DaypassError(ErrorKind.ACCESS_DENIED, f"This session cannot request access. {NOBODY}")
        repeated = self._repeated(tx, requester)
        if repeated is not None:
            return repeated, self._event(repeated, {"repeated": True})
        covering = self._covering(tx, requester)
        if covering is not None:
            view = replace(view_of(env, tx, covering), reused=True)
            return view, self._event(view, {"repeated": True, "reused": True})
        beneficiary = self._beneficiary(tx, requester)
        self._check_extended(tx, requester)
        refs = [RoleRef(arn, "") for arn in new.roles]
        targets = targets_of(tx, env.builtin, refs, requester.names, self.asked)
        if beneficiary is not requester:
            targets = self._for_another(tx, refs, beneficiary, targets)
        try:
            terms = self._terms(requester, beneficiary, targets)
        except LimitExceeded as error:
            raise invalid(error) from None
        waiting = self._waiting(tx, requester, terms)
        request = waiting or self._insert(tx, requester, beneficiary, terms, targets)
        made: list[Grant] = []
        hint = ""
        if request.state is RequestState.PENDING:
            approval = automatic_approval(terms, targets, self.asked, requester.mfa_at, call.now)
            if approval is not None:
                request, made = grant_request(env, tx, request, terms, targets, approval, call.now)
            elif needs_mfa(terms, targets, self.asked, requester.mfa_at, call.now):
                hint = _WITH_MFA
        view = replace(view_of(env, tx, request), reused=waiting is not None, hint=hint)
        if waiting is not None and not made:
            return view, self._event(view, {"repeated": True, "reused": True})
        return view, announce(env, tx, self._event(view, {"automatic": bool(made) and not terms.break_glass}))

    def _waiting(self, tx: Reader, requester: Person, terms: Terms) -> AccessRequest | None:
        """The undecided request of the same person with the same terms, which approvers have before them already and can
        approve.
        """
        for state in UNDECIDED:
            found = tx.find(
                AccessRequest, account=self.account, requester_id=requester.id, state=state.value, order="id"
            )
            for request in found:
                same = request.deadline > self.call.now and decode(request.document) == terms
                if same and view_of(self.env, tx, request).binding:
                    return request
        return None

    def _repeated(self, tx: Reader, requester: Person) -> RequestView | None:
        if not self.new.client_token:
            return None
        found = tx.get(
            AccessRequest, account=self.account, requester_id=requester.id, client_token=self.new.client_token
        )
        if found is None:
            return None
        terms = decode(found.document)
        new = self.new
        roles = [ref.arn for ref in terms.roles]
        first = (roles, terms.beneficiary, terms.ticket, terms.policy, terms.starts_at)
        beneficiary = terms.requester if self._is_for(requester) else new.beneficiary
        again = (list(new.roles), beneficiary, new.ticket, new.policy, new.starts_at)
        kind = (terms.break_glass, terms.extends) == (new.break_glass, new.extends)
        if first != again or not kind or new.max_uses not in (None, terms.max_uses):
            raise DaypassError(ErrorKind.ALREADY_EXISTS, "The client token was used for another request.")
        return view_of(self.env, tx, found)

    def _covering(self, tx: Reader, requester: Person) -> AccessRequest | None:
        """The earlier request whose grants cover this one for as long; only for plain requests that ask for it."""
        new, now = self.new, self.call.now
        special = new.break_glass or new.starts_at or new.policy or new.beneficiary or new.extends or new.max_uses
        if not new.reuse or special:
            return None
        least = now + (new.seconds or _LEAST_REUSED) * 1000
        covering: list[dict[str, Grant]] = []  # of each role, by request
        for arn in new.roles:
            role = find_by_arn(tx, Role, arn)
            held = tx.find(Grant, role_id=role.id, principal_id=requester.id, ended_at=0) if role is not None else []
            covering.append({grant.request_id: grant for grant in held if _covers(grant, now, least)})
        snapshot, ids = Snapshot(tx), requester.principal_ids
        for request_id in sorted(set.intersection(*map(set, covering))):  # to check a grant is slow (attack A356)
            if not any(why_void(self.env, snapshot, grants[request_id], now, ids) for grants in covering):
                return tx.get(AccessRequest, id=request_id)
        return None

    def _is_for(self, requester: Person) -> bool:
        return not self.new.beneficiary or self.new.beneficiary in requester.names[:1]

    def _beneficiary(self, tx: Reader, requester: Person) -> Person:
        if self._is_for(requester):
            return requester
        arn = self.new.beneficiary
        user = find_by_arn(tx, User, arn)
        if user is None or user.account not in (self.account, self.call.caller.account):
            raise DaypassError(ErrorKind.NOT_FOUND, f"The user {arn} cannot be found.")
        return person_of_user(tx, user)

    def _for_another(
        self, tx: Reader, refs: Sequence[RoleRef], beneficiary: Person, own: Sequence[TargetRole]
    ) -> tuple[TargetRole, ...]:
        """The rules are those of the beneficiary; both must be allowed to request, and each rule must allow this."""
        targets = targets_of(tx, self.env.builtin, refs, beneficiary.names, None)
        if not all(target.rule.rule.on_behalf for target in (*targets, *own)):
            raise DaypassError(ErrorKind.ACCESS_DENIED, "The approval rule does not allow requests for another person.")
        return targets

    def _terms(self, requester: Person, beneficiary: Person, targets: Sequence[TargetRole]) -> Terms:
        """Raises LimitExceeded, DaypassError."""
        new, now = self.new, self.call.now
        rules = [target.rule.rule for target in targets]
        if new.break_glass:
            seconds = self._emergency([target.rule for target in targets], requester)
        else:
            seconds = duration(new.seconds, rules)
        terms = Terms(
            requester=requester.arn,
            beneficiary=beneficiary.arn,
            roles=tuple(RoleRef(target.role.arn, target.role.id) for target in targets),
            reason=new.reason,
            seconds=seconds,
            ticket=new.ticket,
            policy=new.policy,
            starts_at=new.starts_at,
            max_uses=uses(new.max_uses, rules),
            break_glass=new.break_glass,
            extends=new.extends,
            rules=tuple(target.rule.name for target in targets),
            rule_digests=tuple(target.rule.digest for target in targets),
        )
        for rule in rules:
            check_request(terms, rule, requester.mfa_at, now, local_time(now))
        return terms

    def _emergency(self, rules: Sequence[CompiledRule], requester: Person) -> int:
        caps = []
        for rule in rules:
            glass = rule.rule.break_glass
            people, context = rule.break_glass, self.asked.under(rule.rule)
            if glass is None or people is None or not people.include(requester.names, context):
                raise DaypassError(
                    ErrorKind.ACCESS_DENIED,
                    "The approval rule does not allow you emergency access.",
                    private={"reason": "break glass", "rule": rule.name},
                )
            check_mfa_age(requester.mfa_at, glass.mfa_seconds, self.call.now)
            caps.append(glass.seconds)
        return min(caps) if self.new.seconds is None else min(self.new.seconds, *caps)

    def _check_extended(self, tx: Reader, requester: Person) -> None:
        """An extension is a new request, which names the one whose access is to last longer."""
        if not self.new.extends:
            return
        earlier = existing(tx, self.account, self.new.extends)
        if earlier.state not in GRANTED:
            raise DaypassError(
                ErrorKind.CONCURRENT_MODIFICATION,
                f"There is no access to be extended: the access request is {earlier.state.value}.",
            )
        roles = {ref.arn for ref in decode(earlier.document).roles}
        if earlier.beneficiary_id != requester.id or not self._is_for(requester) or roles != {*self.new.roles}:
            raise DaypassError(ErrorKind.VALIDATION, "An extension is for all roles of a request of your own.")

    def _insert(
        self, tx: Tx, requester: Person, beneficiary: Person, terms: Terms, targets: Sequence[TargetRole]
    ) -> AccessRequest:
        now, request_id = self.call.now, self.env.ids.session()
        undecided = sum(
            tx.count(AccessRequest, account=self.account, requester_id=requester.id, state=state.value)
            for state in UNDECIDED
        )
        if undecided >= MAX_OPEN:
            raise DaypassError(ErrorKind.LIMIT_EXCEEDED, f"You have {MAX_OPEN} undecided requests, which is the quota.")
        held = tx.count(Grant, account=self.account, principal_id=beneficiary.id, ended_at=0)
        if held >= MAX_GRANTS and not self.new.break_glass:
            raise DaypassError(ErrorKind.LIMIT_EXCEEDED, f"The person has {MAX_GRANTS} open grants: end some.")
        document = encode(terms)
        persons = {*requester.identifiers, *beneficiary.identifiers}
        roles = {f"role:{each}" for each in beneficiary.principal_ids if each.startswith("AROA")}
        request = AccessRequest(
            id=request_id,
            account=self.account,
            state=RequestState.PENDING if beneficiary is requester else RequestState.DRAFT,
            requester_id=requester.id,
            beneficiary_id=beneficiary.id,
            client_token=self.new.client_token or request_id,
            document=document,
            digest=digest(document),
            persons=tuple(sorted(persons | roles)),
            created_at=now,
            deadline=max(now, terms.starts_at) + min(target.rule.rule.pending_seconds for target in targets) * 1000,
            risk=self.prepared.risk,
            risk_reasons=self.prepared.stored_reasons,
        )
        tx.insert(request)
        return request

    def _event(self, view: RequestView, more: Mapping[str, Any]) -> Event:
        kind = EventType.ACCESS_EMERGENCY if view.terms.break_glass else EventType.ACCESS_REQUESTED
        return served(
            self.call,
            kind=EventType.REQUEST_ALLOWED if more.get("repeated") else kind,
            account=self.account,
            decision=self.decision,
            detail={**request_detail(view), **more},
        )


def _covers(grant: Grant, now: int, least: int) -> bool:
    """Whether the grant gives unlimited sessions until `least` (ms) at least."""
    unlimited = not grant.max_uses and not grant.policies
    return unlimited and is_usable(grant, now) and latest_end(grant, now) >= least

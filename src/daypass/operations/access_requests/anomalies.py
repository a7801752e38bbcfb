"""Unusual sessions, and the examination of an access request: its risk, with reasons, from the same features."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from msgspec import Struct

from daypass.api.access_requests import AddedPermissionOut
from daypass.domain.access.baseline import BROAD, SURE, THRESHOLD, deviation
from daypass.domain.access.risk import Reason, RiskFacts, breadth_of
from daypass.domain.access.terms import decode
from daypass.domain.directory import AccessRequest
from daypass.domain.errors import DaypassError, ErrorKind
from daypass.domain.events import Event, EventType
from daypass.domain.policy.cover import Budget, all_covered, covers
from daypass.domain.policy.pattern import fold
from daypass.operations import heavy
from daypass.operations.access.what_can import AllowedAction, Extent, grants_of_principal
from daypass.operations.access_requests.read import allow_request, can_vote
from daypass.operations.access_requests.view import RequestView, view_of
from daypass.operations.grants.persons import person_of
from daypass.operations.grants.use import no_such_request
from daypass.operations.iam.builtin import allowed_actions
from daypass.operations.management import allow_reading
from daypass.operations.outcome import served
from daypass.operations.record.explore import pages_of, place_of
from daypass.ports import Call, Env, Reader, RecordFilter, RecordView, Scene, SessionFilter, Viewer

_DAY_MS: Final = 86_400_000
_HISTORY_MS: Final = 90 * _DAY_MS
_SEEN: Final = 200  # sessions that are looked at
_BATCH: Final = 200


class Anomaly(Struct, frozen=True):
    """An anomaly on the record. `score`: 0 to 100. `why`: the reasons, the largest contribution first."""

    at: int
    severity: str
    score: int
    principal: str
    role: str
    source_ip: str
    session_id: str
    why: str

    @property
    def who(self) -> str:
        """The principal without its account."""
        return self.principal.rpartition(":")[2]

    @property
    def role_name(self) -> str:
        """The role without its account."""
        return self.role.rpartition("/")[2]


def principal_of(actor: Mapping[str, Any]) -> str:
    """The id of the original principal of an actor; "" when it has none."""
    origin = actor.get("origin") or actor
    return str(origin.get("principal_id") or actor.get("arn", ""))


async def judge(env: Env, event: Event, denials: int) -> str:
    """Compares an issued session with the record, and records an anomaly. Returns its severity, or "".

    Raises DaypassError(UNAVAILABLE).
    """
    score, reasons = deviation(await _facts(env, event, denials))
    if score < THRESHOLD:
        return ""
    broad = await _breadth(env, event.account, str(event.detail.get("principal_id", ""))) >= BROAD
    severity = "high" if score >= SURE or broad or event.grant_id else "low"
    detail = {
        "score": score,
        "severity": severity,
        "reasons": [reason._asdict() for reason in reasons],
        "principal": str(event.actor.get("arn", "")) or principal_of(event.actor),
        "role": event.detail.get("principal", ""),
        "high_privilege": broad or bool(event.grant_id),
    }
    found = Event(
        EventType.ANOMALY, env.clock.now(), event.account, event.actor, event.source, session_id=event.session_id,
        detail=detail,
    )  # fmt: skip
    await env.journal.commit(found)
    return severity


async def _facts(env: Env, event: Event, denials: int) -> RiskFacts:
    viewer, since = Viewer(event.account), event.at - _HISTORY_MS
    principal, role = principal_of(event.actor), str(event.detail.get("principal_id", ""))
    own = SessionFilter(account=event.account, root_principal_id=principal, since=since, limit=_SEEN)
    habits = (await env.records.sessions(viewer, replace(own, before=(event.at - _DAY_MS, ""))))[0]
    of_role = SessionFilter(account=event.account, principal_id=role, since=since, limit=_SEEN)
    peers = [
        view
        for view in (await env.records.sessions(viewer, of_role))[0]
        if view.claims.hops[0].principal_id != principal
    ]
    return RiskFacts(
        at=event.at,
        role_ids=(role,),
        used_role_ids=frozenset(hop.principal_id for view in habits for hop in view.claims.hops),
        session_times=tuple(view.claims.issued_at for view in habits),
        source_ip=str(event.source.get("ip", "")),
        known_ips=frozenset(view.source_ip for view in habits if view.source_ip),
        denials=denials,
        key_created_at=0,
        breadth=0.0,
        break_glass=False,
        peer_times=tuple(view.claims.issued_at for view in peers),
        peer_ips=frozenset(view.source_ip for view in peers if view.source_ip),
    )


async def _breadth(env: Env, account: str, role_id: str) -> float:
    def read(tx: Any) -> float:
        return breadth_of(allowed_actions(tx, env, role_id))

    return await env.directory.read(read, account=account)


async def list_anomalies(
    env: Env, call: Call, account: str, before: tuple[int, str, int] | None, limit: int
) -> tuple[list[Anomaly], tuple[int, str, int] | None]:
    """daypass:ReadAudit: anomalies, newest first, and where the next page begins."""
    scope = await allow_reading(env, call, "ReadAudit", "audit", account)
    query = RecordFilter(
        account=scope.account if scope.viewer.operator else "",
        type=EventType.ANOMALY.value,
        before=before,
        limit=min(limit + 1, _BATCH),
    )
    records: list[RecordView] = []
    async for page in pages_of(env, scope.viewer, query):
        records += page
        if len(records) > limit:
            break
    await env.journal.commit(served(call, decision=scope.decision, detail={"anomalies": len(records)}))
    shown = records[:limit]
    return [_anomaly(view) for view in shown], place_of(shown[-1]) if len(records) > limit else None


def _anomaly(view: RecordView) -> Anomaly:
    body: Mapping[str, Any] = view.body or {}
    detail = body.get("detail") or {}  # absent for those who may not see it
    reasons = [Reason(**each) for each in detail.get("reasons", ())]
    return Anomaly(
        at=view.at,
        severity=str(detail.get("severity", "")),
        score=int(detail.get("score", 0)),
        principal=str(detail.get("principal", "")),
        role=str(detail.get("role", "")),
        source_ip=str((body.get("source") or {}).get("ip", "")),
        session_id=str(body.get("session_id", "")),
        why=" ".join(reason.text for reason in reasons),
    )


# --- Information for an approver: the permissions that a request would add, and earlier requests like it


MAX_ADDED: Final = 2_000
"""Maximum number of permissions that are shown."""
_MAX_HISTORY: Final = 10
_LOOKED_AT: Final = 1_000
_STEPS: Final = 200_000  # of the comparisons of patterns


class Examination(Struct, frozen=True):
    """A request with what an approver needs to know."""

    view: RequestView
    # Permissions that the role has beyond the person's own; None when they cannot be read: the roles belong to another
    # account than the caller's, or the caller requests for somebody else.
    added: tuple[AddedPermissionOut, ...] | None
    more: bool  # there are more than are shown
    history: tuple[RequestView, ...]  # earlier requests of the same person for one of these roles, the newest first
    may_vote: bool  # the caller is an approver of the request, apart from conditions and MFA
    own: bool  # the caller is the requester or the beneficiary


class _View(Struct, frozen=True):
    view: RequestView
    history: tuple[RequestView, ...]
    may_vote: bool
    own: bool
    beneficiary: bool


async def examine_request(env: Env, call: Call, account: str, request_id: str) -> Examination:
    """daypass:GetAccessRequest on `access-request/ID`, as `read.get_request`.

    Raises DaypassError: ACCESS_DENIED, NOT_FOUND.
    """
    owner = account or call.caller.account
    seen = await env.directory.read(
        lambda tx: _read_view(tx, env, call, owner, request_id), account=call.caller.account
    )
    concerned = seen is not None and (seen.own or seen.may_vote)
    decision, permitted = await allow_request(env, call, request_id, owner, concerned=concerned)
    if seen is None:
        raise no_such_request(request_id)
    added: tuple[AddedPermissionOut, ...] | None = None
    more = False
    # who asks for somebody else is not shown what that person asked for before and may do (attack A214)
    whole = permitted or seen.may_vote or seen.beneficiary
    if whole and owner == call.caller.account:
        terms = seen.view.terms
        roles = tuple(ref.arn for ref in terms.roles)
        added, more = await heavy.read(env, call, _added, call, roles, terms.beneficiary)
    event = served(call, account=owner, decision=decision, detail={"request": request_id, "examined": True})
    await env.journal.commit(event)
    return Examination(seen.view, added, more, seen.history if whole else (), seen.may_vote, seen.own)


def _read_view(tx: Reader, env: Env, call: Call, owner: str, request_id: str) -> _View | None:
    request = tx.get(AccessRequest, id=request_id)
    if request is None or request.account != owner:
        return None
    person = person_of(tx, call.caller)
    own = bool(person.id) and person.id in (request.requester_id, request.beneficiary_id)
    history = tuple(view_of(env, tx, earlier) for earlier in _history(tx, request))
    may_vote = can_vote(tx, env, request, person, call.now)
    beneficiary = person.id == request.beneficiary_id
    return _View(view_of(env, tx, request), history, may_vote, own, beneficiary)


def _history(tx: Reader, request: AccessRequest) -> list[AccessRequest]:
    roles = {ref.arn for ref in decode(request.document).roles}
    requests = tx.find(
        AccessRequest, account=request.account, beneficiary_id=request.beneficiary_id, order="-id", limit=_LOOKED_AT
    )
    alike = [
        other
        for other in requests
        if other.id != request.id and roles & {ref.arn for ref in decode(other.document).roles}
    ]
    return alike[:_MAX_HISTORY]


# --- The difference in permissions -------------------------------------------------------------------------------------


def _added(
    scene: Scene, call: Call, roles: Sequence[str], beneficiary: str
) -> tuple[tuple[AddedPermissionOut, ...] | None, bool]:
    """The permissions of the roles beyond those of the beneficiary, in the caller's account."""
    own = _grants(scene, call, beneficiary)
    budget = Budget(_STEPS)
    added_permissions: list[AddedPermissionOut] = []
    for role in roles:
        for grant in _grants(scene, call, role):
            if grant.extent is Extent.DENIED or any(_covers(each, grant, budget) for each in own):
                continue
            partly = grant.extent is Extent.PARTLY
            added_permissions.append(
                AddedPermissionOut(role, grant.action, list(grant.resources), grant.policy, grant.not_action, partly)
            )
    return tuple(added_permissions[:MAX_ADDED]), len(added_permissions) > MAX_ADDED


def _grants(scene: Scene, call: Call, arn: str) -> Sequence[AllowedAction]:
    """The grants of a user or role; () for a principal without policies, such as a subject of a provider."""
    try:
        return grants_of_principal(scene, call, arn)[0]
    except DaypassError as error:
        if error.kind in (ErrorKind.NOT_FOUND, ErrorKind.VALIDATION):
            return ()
        raise


def _covers(own: AllowedAction, other: AllowedAction, budget: Budget) -> bool:
    """Whether the person's own grant includes all of the role's. False when this is not certain."""
    if own.extent is not Extent.ALLOWED or own.not_action or own.not_resource or other.not_resource:
        return False
    wanted = "*" if other.not_action else fold(other.action)
    return covers(fold(own.action), wanted, budget) and all_covered(own.resources, other.resources, budget)

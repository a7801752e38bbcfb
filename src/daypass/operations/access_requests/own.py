"""The caller's own access: open requests, grants that have not ended, roles that could be requested, and which of these
satisfy a need.

It needs no permission, because it shows only what concerns the caller.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from msgspec import Struct

from daypass.domain.access.grant import is_usable
from daypass.domain.access.request import OPEN
from daypass.domain.access.risk import breadth_of
from daypass.domain.access.rule import CompiledRule
from daypass.domain.directory import AccessRequest, Grant, RequestState, Role
from daypass.domain.policy.model import Effect
from daypass.domain.policy.partial_evaluation import Outcome
from daypass.domain.policy.pattern import fold
from daypass.domain.question import decide_partially
from daypass.operations import heavy
from daypass.operations.access.snapshot import asked_in, check_question, context_in
from daypass.operations.access_requests.read import can_vote
from daypass.operations.access_requests.view import RequestView, view_of
from daypass.operations.grants.persons import Person, person_of
from daypass.operations.grants.snapshot import Snapshot
from daypass.operations.grants.targets import requestable_roles
from daypass.operations.grants.void import why_void
from daypass.operations.iam.holdings import Gatherer, Holdings
from daypass.operations.iam.user_devices import enabled_devices
from daypass.operations.management import allow_own
from daypass.operations.outcome import served
from daypass.ports import Call, Env, Reader, Scene

_EXAMINED: Final = 1_000  # roles that the caller may request
_BEYOND: Final = 50
MAX_REQUESTS: Final = 100
"""Maximum number of requests in one state and of grants that are returned."""


MAX_WAITING: Final = 200
"""Pending requests of the account, the oldest, of which those that the caller could decide are counted."""


class OwnAccess(Struct, frozen=True):
    """What the caller has and waits for, oldest first.

    Attributes:
        requests: open requests of which the caller is the requester or the beneficiary.
        grants: the caller's grants that have not ended and are not void.
        mfa_devices: serial numbers of the caller's enabled MFA devices.
        waiting: ids of pending requests that the caller could decide.
    """

    requests: tuple[RequestView, ...]
    grants: tuple[Grant, ...]
    mfa_devices: tuple[str, ...]
    waiting: tuple[str, ...] = ()


class RequestableRole(Struct, frozen=True):
    """A role that the caller may request, with the terms of the approval rule that applies.

    `stages`: the names of the stages of approval; () for automatic or emergency access only. Times in seconds.
    """

    arn: str
    rule: str
    stages: tuple[str, ...]
    max_seconds: int
    default_seconds: int
    ticket_required: bool
    mfa_seconds: int
    automatic: bool
    break_glass: bool


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
) -> tuple[list[RequestableRole], str]:
    """daypass:ListRequestableRoles: roles of the caller's account that an approval rule lets the caller request.

    At most `limit` roles after `after`, by name; a page may have fewer and still have a next one. Conditions of the rule
    are tested when the request is made. A Deny of the action applies. Raises DaypassError(ACCESS_DENIED).
    """
    decision = await allow_own(env, call, "ListRequestableRoles", "role")

    def query(tx: Reader) -> tuple[list[RequestableRole], str]:
        names = person_of(tx, call.caller).names
        roles, following = requestable_roles(tx, call.caller.account, names, after, limit)
        return [_requestable(role, rule) for role, rule in roles], following

    found, following = await env.directory.read(query, account=call.caller.account)
    await env.journal.commit(served(call, decision=decision, detail={"found": len(found)}))
    return found, following


def _requestable(role: Role, compiled: CompiledRule) -> RequestableRole:
    rule = compiled.rule
    return RequestableRole(
        arn=role.arn,
        rule=compiled.name,
        stages=tuple(stage.name for stage in rule.stages),
        max_seconds=rule.max_seconds,
        default_seconds=rule.default_seconds or rule.max_seconds,
        ticket_required=rule.ticket is not None and rule.ticket.required,
        mfa_seconds=rule.requester_mfa_seconds or 0,
        automatic=bool(rule.automatic),
        break_glass=rule.break_glass is not None,
    )


# --- Which roles satisfy a need -----------------------------------------------------------------------------------------


class Suggestion(NamedTuple):
    """A role that satisfies the need.

    Attributes:
        conditional: it depends on conditions of its policies.
        stages: stages of approval that the rule has; 0: automatic or emergency access only.
        beyond: further actions that the role's policies allow, as they are written; `more`: there are more of them.
        grant_id: a grant of the caller's that can be used now, or "".
    """

    role_arn: str
    rule: str
    conditional: bool
    stages: int
    beyond: tuple[str, ...]
    more: bool
    grant_id: str


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
    for role, rule in requestable_roles(scene.tx, ctx.account, person.names, "", _EXAMINED)[0]:
        holdings = gatherer.of(role)
        evaluation = decide_partially(asked.of(role, holdings))
        if evaluation.outcome is Outcome.DENIED:
            continue
        actions = _actions(holdings)
        beyond = [each for each in actions if fold(each) != fold(action)]
        suggestion = Suggestion(
            role.arn,
            rule.name,
            evaluation.outcome is Outcome.ALLOWED_IF,
            len(rule.rule.stages),
            tuple(beyond[:_BEYOND]),
            len(beyond) > _BEYOND,
            _grant_for(scene, role, person, call.now),
        )
        found.append(((breadth_of(actions), len(beyond), role.arn), suggestion))
    return [suggestion for _, suggestion in sorted(found)[:limit]]


def _actions(holdings: Holdings) -> list[str]:
    """The actions that the role's policies allow, as they are written."""
    actions: dict[str, None] = {}
    for source in holdings.identity:
        for statement in source.policy.document.statements:
            if statement.effect is Effect.ALLOW:
                written = ("*",) if statement.not_action else statement.written["Action"]
                actions.update(dict.fromkeys(written))
    return list(actions)


def _grant_for(scene: Scene, role: Role, person: Person, now: int) -> str:
    tx, ids = scene.tx, person.principal_ids
    grants = [
        each for each in tx.find(Grant, role_id=role.id, principal_id=person.id, ended_at=0) if is_usable(each, now)
    ]
    return next((grant.id for grant in grants if not why_void(scene, tx, grant, now, ids)), "")

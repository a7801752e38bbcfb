"""Recorded sessions, and the roles that the caller could assume now.

A session of another account is treated as missing.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence
from typing import Final

from msgspec.structs import replace

from daypass.domain.claims import PrincipalKind
from daypass.domain.context import principal_facts, request_context
from daypass.domain.directory import Role, User
from daypass.domain.errors import DaypassError, ErrorKind
from daypass.operations.assume.applicant import parent_of, target_of
from daypass.operations.assume.assume import inherit
from daypass.operations.assume.request import SessionRequest
from daypass.operations.authorize import admission_of, layers_for
from daypass.operations.blocks import in_force
from daypass.operations.grants.use import candidates
from daypass.operations.management import Scope, allow, allow_own, allow_reading, is_operator, read_page
from daypass.operations.outcome import served
from daypass.ports import Call, Env, Reader, SessionFilter, SessionView, Viewer

SLICE: Final = 16
"""Roles that are decided on the event loop before other requests have their turn."""

_ID: Final = re.compile(r"(?:AROA|AIDA)[A-Z2-7]{17}|[0-9]{12}(?::.+)?|arn:[^/]+(?:-provider|:trust-anchor)/.+")
"""Ids of principals: of users and roles, of a root and its sessions, and of subjects of providers and trust anchors."""


async def list_sessions(env: Env, call: Call, query: SessionFilter) -> tuple[list[SessionView], tuple[int, str] | None]:
    """daypass:ListSessions. `query.account`: "" is the caller's, "*" every account. Also returns the `before` of the next page.

    Principals are named by id; users and roles of the account (with "*": of the caller's) also by name or ARN.
    """
    scope = await allow_reading(env, call, "ListSessions", "session", query.account)
    query = await _by_ids(env, call, query)
    page = await env.records.sessions(scope.viewer, dataclasses.replace(query, account=scope.account))
    await _record(env, call, scope, query)
    return page


async def session_hours(env: Env, call: Call, query: SessionFilter, limit: int) -> list[tuple[int, int]]:
    """daypass:ListSessions, as `list_sessions`: the hours (since 1970) in which the newest `limit` of them were issued, and how
    many in each.
    """
    scope = await allow_reading(env, call, "ListSessions", "session", query.account)
    query = await _by_ids(env, call, query)
    hours = await env.records.session_hours(scope.viewer, dataclasses.replace(query, account=scope.account), limit)
    await _record(env, call, scope, query)
    return hours


async def _record(env: Env, call: Call, scope: Scope, query: SessionFilter) -> None:
    detail = {"account": query.account, "principal_id": query.principal_id, "root": query.root_principal_id}
    await env.journal.commit(served(call, account=scope.account, decision=scope.decision, detail=detail))


async def _by_ids(env: Env, call: Call, query: SessionFilter) -> SessionFilter:
    """The query with the ids of the users and roles that it names. A name that is not found stays as it is and matches nothing."""
    principal, root = query.principal_id, query.root_principal_id
    if all(not name or _ID.fullmatch(name) for name in (principal, root)):
        return query
    account = call.caller.account if query.account in ("", "*") else query.account
    principal, root = await env.directory.read(
        lambda tx: (_id_of(tx, (Role, User), account, principal), _id_of(tx, (User, Role), account, root)),
        account=call.caller.account,
    )
    return dataclasses.replace(query, principal_id=principal, root_principal_id=root)


def _id_of(tx: Reader, kinds: Sequence[type[User | Role]], account: str, name: str) -> str:
    for kind in kinds if name and not _ID.fullmatch(name) else ():
        found = tx.get(kind, account=account, name=name.rpartition("/")[2])
        if found is not None and name in (found.name, found.arn):
            return found.id
    return name


async def get_session(env: Env, call: Call, session_id: str) -> SessionView:
    """daypass:GetSession. Raises DaypassError: ACCESS_DENIED, NOT_FOUND."""
    session = await find_session(env, call, session_id)
    owner = session.claims.account if session is not None else call.caller.account
    decision = await allow(env, call, "GetSession", "session", session_id, owner)
    if session is None:
        raise no_such_session(session_id)
    await env.journal.commit(served(call, account=owner, session_id=session_id, decision=decision))
    return session


async def find_session(env: Env, call: Call, session_id: str) -> SessionView | None:
    """The session, if it belongs to the caller's account or the caller to the operator account. It is not authorized yet."""
    viewer = Viewer(call.caller.account, operator=await is_operator(env, call.caller))
    sessions, _ = await env.records.sessions(viewer, SessionFilter(session_id=session_id, limit=1))
    return sessions[0] if sessions else None


def no_such_session(session_id: str) -> DaypassError:
    """The one refusal for missing sessions and for sessions of others."""
    return DaypassError(ErrorKind.NOT_FOUND, f"The session with id {session_id} cannot be found.")


async def list_assumable_roles(env: Env, call: Call, after: str = "", limit: int = 100) -> tuple[list[Role], str]:
    """The roles of the caller's account that it could assume now, with no tags but those of its chain, by its access grants
    too.

    It needs no permission, because it reveals only what trying each role would reveal. A Deny of
    daypass:ListAssumableRoles applies. Covers `limit` roles after `after`, by name; a page may have fewer and still
    have a next one.
    """
    caller = call.caller
    decision = await allow_own(env, call, "ListAssumableRoles", "role")
    roles, following = await env.directory.read(
        lambda tx: read_page(tx, Role, "name", after, limit, account=caller.account), account=caller.account
    )
    admitted: list[Role] = []
    if caller.kind is not PrincipalKind.ROOT:  # roots may not assume roles at all
        who, policies = principal_facts(caller), await layers_for(env, caller)
        assumption = inherit(parent_of(caller), SessionRequest(caller.name))
        keys = request_context(caller, call.facts, call.now)
        for number, role in enumerate(roles):
            if number and number % SLICE == 0:
                await env.slices.turn(caller.account)
            view = await env.directory.role(caller.account, role.name)
            if view is None or in_force(env, call.now, view.role):
                continue
            target = target_of(view.role.arn, caller.account, view)
            # Without a grant first, as a request to assume the role is decided.
            granted = [replace(assumption, grant=grant) for grant in candidates(view, caller.hops, call.now)]
            for wanted in (assumption, *granted):
                context = {**keys, **wanted.keys()}
                admission = await admission_of(
                    env, caller.account, who, policies, target, assumption.actions(), context
                )
                if admission.decision.allowed:
                    admitted.append(view.role)
                    break
    await env.journal.commit(served(call, decision=decision, detail={"found": len(admitted)}))
    return admitted, following

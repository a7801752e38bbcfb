"""Sessions as the record has them, and the roles that the caller could take on now.

A session of another account is not told from one that does not exist.
"""

from __future__ import annotations

from dataclasses import replace

from daypass.domain.claims import PrincipalKind
from daypass.domain.context import assumption_context, merged, principal_facts, request_context
from daypass.domain.directory import Role
from daypass.domain.errors import DaypassError, ErrorKind
from daypass.domain.trust import Target, actions_for, admit
from daypass.operations.authorize import layers_for
from daypass.operations.management import allow, allow_reading, is_operator, records_of
from daypass.operations.outcome import served
from daypass.ports import Call, Env, SessionFilter, SessionView, Viewer


async def list_sessions(env: Env, call: Call, query: SessionFilter) -> tuple[list[SessionView], tuple[int, str] | None]:
    """daypass:ListSessions. `query.account`: "" is the caller's, "*" every one. Also the `before` of the next page."""
    scope = await allow_reading(env, call, "ListSessions", "session", query.account)
    page = await records_of(env).sessions(scope.viewer, replace(query, account=scope.account))
    detail = {"account": query.account, "principal_id": query.principal_id, "root": query.root_principal_id}
    await env.journal.commit(served(call, account=scope.account, decision=scope.decision, detail=detail))
    return page


async def get_session(env: Env, call: Call, session_id: str) -> SessionView:
    """daypass:GetSession. Raises DaypassError: ACCESS_DENIED, NOT_FOUND."""
    found = await find_session(env, call, session_id)
    owner = found.claims.account if found is not None else call.caller.account
    decision = await allow(env, call, "GetSession", "session", session_id, owner)
    if found is None:
        raise no_such_session(session_id)
    await env.journal.commit(served(call, account=owner, session_id=session_id, decision=decision))
    return found


async def find_session(env: Env, call: Call, session_id: str) -> SessionView | None:
    """The session, if it is the caller's account's, or the caller the operator's. It is not authorized yet."""
    viewer = Viewer(call.caller.account, operator=await is_operator(env, call.caller))
    found, _ = await records_of(env).sessions(viewer, SessionFilter(session_id=session_id, limit=1))
    return found[0] if found else None


def no_such_session(session_id: str) -> DaypassError:
    """The one refusal for sessions that are not there and those that are not yours."""
    return DaypassError(ErrorKind.NOT_FOUND, f"The session with id {session_id} cannot be found.")


async def list_assumable_roles(env: Env, call: Call, after: str = "", limit: int = 100) -> tuple[list[Role], str]:
    """daypass:ListAssumableRoles: the roles of the caller's account that it could assume now, without tags.

    Looks at `limit` roles by name, those behind `after`; a page may hold fewer, and still have a next one.
    """
    caller = call.caller
    decision = await allow(env, call, "ListAssumableRoles", "role", "*")
    looked_at = await env.directory.read(
        lambda tx: tx.find(Role, account=caller.account, order="name", after=after, limit=limit + 1)
    )
    admitted: list[Role] = []
    if caller.kind is not PrincipalKind.ROOT:  # roots may not assume roles at all
        who, policies = principal_facts(caller), await layers_for(env, caller)
        source_identity = caller.session.source_identity if caller.session is not None else ""
        asked = assumption_context(session_name=caller.name, source_identity=source_identity)
        context = merged(request_context(caller, call.facts, call.now), asked)
        actions = actions_for((), source_identity)
        for role in looked_at[:limit]:
            view = await env.directory.role(caller.account, role.name)
            if view is None:
                continue
            target = Target(view.role.arn, caller.account, view.trust, view.bindings, view.role.tags)
            if admit(who, policies, target, actions, context).decision.allowed:
                admitted.append(view.role)
    await env.journal.commit(served(call, decision=decision, detail={"found": len(admitted)}))
    return admitted, looked_at[limit - 1].name if len(looked_at) > limit else ""

"""The paths of the management API, one function each: from shapes to an operation and back. They decide nothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Final

from fastapi import Query
from fastapi.responses import JSONResponse, Response

from daypass.operations.accounts import create_account as accounts
from daypass.operations.accounts import guardrails
from daypass.operations.record import explain_request as explaining
from daypass.operations.record import explore as record_explore
from daypass.operations.record import read as record_read
from daypass.operations.record import summarize as record_summarize
from daypass.operations.record.explore import EventFilter
from daypass.operations.record.pages import RecordPage
from daypass.operations.sessions import caller as callers
from daypass.operations.sessions import list_sessions as sessions
from daypass.ports import Call, Env, RecordFilter, RecordView, SessionFilter
from daypass.wire.api import schemas as s
from daypass.wire.api.router import new_router
from daypass.wire.cursors import cursor, record_cursor, session_cursor

router = new_router()

MAX_SESSIONS: Final = 250
"""In one page: the event loop took 50 ms to show a thousand (attack A311)."""

# --- Accounts


@router.post("/accounts", name="CreateAccount", tags=["accounts"], status_code=201)
async def create_account(env: s.EnvDep, call: s.CallDep, body: s.AccountIn) -> s.NewAccountOut:
    """Creates an account. Only the operator's principals may do this."""
    new_account = await accounts.create_account(env, call, body.name, body.id, root_key=body.root_key)
    key = None
    if new_account.access_key_id:
        key = s.RootKeyOut(access_key_id=new_account.access_key_id, secret_access_key=new_account.secret)
    return s.NewAccountOut(**s.AccountOut.of(new_account.account).model_dump(), root_key=key)


@router.get("/accounts", name="ListAccounts", tags=["accounts"])
async def list_accounts(
    env: s.EnvDep, call: s.CallDep, after: s.AfterQuery = "", limit: s.LimitQuery = 100
) -> s.AccountsOut:
    """Accounts by id. Only the operator's principals may list them."""
    page, following = await accounts.list_accounts(env, call, after, limit)
    return s.AccountsOut(accounts=[s.AccountOut.of(account) for account in page], next=following)


# --- Sessions


@router.get("/sessions", name="ListSessions", tags=["sessions"])
async def list_sessions(env: s.EnvDep, call: s.CallDep, query: Annotated[s.SessionQuery, Query()]) -> s.SessionsOut:
    """Sessions, newest first. A page may hold fewer than `limit` and still have a `next`."""
    limit, named = min(query.limit, MAX_SESSIONS), query.model_dump(exclude={"after", "limit"})
    wanted = SessionFilter(**named, limit=limit, before=session_cursor(query.after))
    views, following = await sessions.list_sessions(env, call, wanted)
    return s.SessionsOut(
        sessions=[s.SessionOut.of(view) for view in views], next=cursor(*following) if following else ""
    )


@router.get("/sessions/{session_id}", name="GetSession", tags=["sessions"])
async def get_session(env: s.EnvDep, call: s.CallDep, session_id: s.IdPath) -> s.SessionOut:
    """One session, with its chain of custody."""
    return s.SessionOut.of(await sessions.get_session(env, call, session_id))


@router.get("/session", name="GetCallerSession", tags=["sessions"])
async def get_caller_session(env: s.EnvDep, call: s.CallDep) -> s.CallerSessionOut:
    """The session that signed this request, with its chain. No permission is needed."""
    return s.CallerSessionOut.of(await callers.get_caller_session(env, call))


@router.get("/roles/assumable", name="ListAssumableRoles", tags=["sessions"])
async def list_assumable_roles(
    env: s.EnvDep, call: s.CallDep, after: s.AfterQuery = "", limit: s.LimitQuery = 1000
) -> s.RolesOut:
    """Roles of your account that you could assume now. A page may hold fewer than `limit` and still have a `next`."""
    roles, following = await sessions.list_assumable_roles(env, call, after, limit)
    return s.RolesOut(roles=[s.RoleOut.of(role) for role in roles], next=following)


# --- Guardrails


_OF_ACCOUNT = "/accounts/{account_id}/guardrails"


@router.get(_OF_ACCOUNT, name="ListGuardrails", tags=["guardrails"])
async def list_guardrails(env: s.EnvDep, call: s.CallDep, account_id: s.AccountPath) -> s.GuardrailsOut:
    """The guardrails of one account."""
    found = await guardrails.GUARDRAILS.every(env, call, account_id)
    return s.GuardrailsOut(guardrails=[s.GuardrailOut.of(guardrail) for guardrail in found])


@router.get(_OF_ACCOUNT + "/{name}", name="GetGuardrail", tags=["guardrails"])
async def get_guardrail(env: s.EnvDep, call: s.CallDep, account_id: s.AccountPath, name: s.IdPath) -> s.GuardrailOut:
    """One guardrail, with its text as written."""
    return s.GuardrailOut.of(await guardrails.GUARDRAILS.get(env, call, name, account_id))


@router.put(_OF_ACCOUNT + "/{name}", name="PutGuardrail", tags=["guardrails"])
async def put_guardrail(
    env: s.EnvDep, call: s.CallDep, account_id: s.AccountPath, name: s.IdPath, body: s.GuardrailIn
) -> s.GuardrailOut:
    """Creates a guardrail or replaces its text. Only the operator's principals may do this."""
    return s.GuardrailOut.of(await guardrails.put_guardrail(env, call, account_id, name, body.document))


@router.delete(_OF_ACCOUNT + "/{name}", name="DeleteGuardrail", tags=["guardrails"], status_code=204)
async def delete_guardrail(env: s.EnvDep, call: s.CallDep, account_id: s.AccountPath, name: s.IdPath) -> None:
    """Deletes a guardrail. Only the operator's principals may do this."""
    await guardrails.delete_guardrail(env, call, account_id, name)


# --- The record


@router.get("/explanations/{request_id}", name="ExplainRequest", tags=["audit"])
async def explain_request(env: s.EnvDep, call: s.CallDep, request_id: s.IdPath) -> s.ExplanationOut:
    """Why a request was denied, by its id: as sts:DecodeAuthorizationMessage returns it, with the same permission."""
    return s.ExplanationOut(explanation=dict(await explaining.explain_request(env, call, request_id)))


@router.get("/audit/records", name="ReadAudit", tags=["audit"], response_model=s.RecordsOut)
async def search_records(env: s.EnvDep, call: s.CallDep, query: Annotated[s.RecordQuery, Query()]) -> Response:
    """Records that you may see, newest first. A page may hold fewer than `limit` and still have a `next`."""
    wanted = RecordFilter(**query.model_dump(exclude={"after"}), before=record_cursor(query.after))
    return await _page(env, call, await record_read.search(env, call, wanted))


async def _page(env: Env, call: Call, page: RecordPage) -> Response:
    following = cursor(*page.before) if page.before is not None else ""
    return await _records(env, call, s.RecordOut, page.records, next=following)


async def _records(
    env: Env, call: Call, kind: type[s.RecordOut | s.LeafOut], views: Sequence[RecordView], **more: Any
) -> Response:
    """The answer, in a turn of the account and without the models, by which a thousand records took the event loop three
    times as long (attack A395).
    """
    await env.slices.turn(call.caller.account)
    return JSONResponse({"records": [kind.members_of(view) for view in views], **more})


@router.get("/audit/events", name="ReadAudit", tags=["audit"], response_model=s.RecordsOut)
async def explore_records(env: s.EnvDep, call: s.CallDep, query: Annotated[s.EventQuery, Query()]) -> Response:
    """Records by person, role, chain, source or decision, newest first. A page may hold fewer than `limit` and still have
    a `next`.
    """
    named = EventFilter(**{name: getattr(query, name) for name in EventFilter.__struct_fields__})
    wanted = RecordFilter(
        **query.model_dump(exclude={"after", *EventFilter.__struct_fields__}), before=record_cursor(query.after)
    )
    return await _page(env, call, await record_explore.explore(env, call, wanted, named))


@router.get("/audit/summary", name="ReadAudit", tags=["audit"])
async def summarize_records(env: s.EnvDep, call: s.CallDep, since: s.TimeQuery, until: s.TimeQuery) -> s.SummaryOut:
    """Figures about a period: sessions, refusals and access requests, by time and by cause."""
    return s.SummaryOut.of(await record_summarize.summarize(env, call, since, until))


@router.get("/audit/records/{log}/{seq}", name="ReadAudit", tags=["audit"])
async def get_record(
    env: s.EnvDep, call: s.CallDep, log: s.IdPath, seq: s.SeqPath, account: s.AccountQuery = ""
) -> s.RecordOut:
    """One record by its position."""
    view = await record_read.get_record(env, call, account, log, seq)
    return s.RecordOut(**s.RecordOut.members_of(view))


@router.post("/audit/tail", name="ReadAudit", tags=["audit"], response_model=s.TailOut)
async def follow_records(env: s.EnvDep, call: s.CallDep, body: s.TailIn) -> Response:
    """The records since the cursor of the last response, without calls that read the record."""
    tail = await record_read.tail(env, call, body.account, body.cursor, limit=body.limit, wait=body.wait)
    return await _records(env, call, s.RecordOut, tail.records, cursor=dict(tail.cursor))


@router.get("/audit/logs", name="VerifyAudit", tags=["audit"])
async def list_logs(env: s.EnvDep, call: s.CallDep, account: s.AccountQuery = "") -> s.LogsOut:
    """Every log with its head, oldest first."""
    logs = await record_read.list_logs(env, call, account)
    return s.LogsOut(logs=[s.LogOut.of(view) for view in logs])


@router.get("/audit/logs/{log}/records", name="VerifyAudit", tags=["audit"], response_model=s.LeavesOut)
async def export_log(
    env: s.EnvDep,
    call: s.CallDep,
    log: s.IdPath,
    account: s.AccountQuery = "",
    after: Annotated[int, Query(ge=-1, le=2**63 - 1, description="Sequence number of the last record you have.")] = -1,
    limit: s.LimitQuery = 1000,
) -> Response:
    """A log's records without a gap, to verify the chain yourself. Events of other accounts are returned as leaves.

    A page of large events holds fewer than `limit`: the log has been read when a page is empty.
    """
    records = await record_read.export_log(env, call, account, log, after, limit)
    return await _records(env, call, s.LeafOut, records)

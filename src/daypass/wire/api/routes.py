"""The paths of the management API, one function each: from shapes to an operation and back. They decide nothing."""

from __future__ import annotations

from typing import Annotated

from fastapi import Query

from daypass.operations import accounts, guardrails, record_read, revoke, sessions
from daypass.ports import RecordFilter, SessionFilter
from daypass.wire.api import shapes as s
from daypass.wire.api.places import place, record_place, session_place
from daypass.wire.api.router import new_router

router = new_router()

# --- Accounts


@router.post("/accounts", name="CreateAccount", tags=["accounts"], status_code=201)
async def create_account(env: s.EnvDep, call: s.CallDep, body: s.AccountIn) -> s.NewAccountOut:
    """Makes an account; the operator's principals alone may."""
    made = await accounts.create_account(env, call, body.name, body.id, root_key=body.root_key)
    key = None
    if made.access_key_id:
        key = s.RootKeyOut(access_key_id=made.access_key_id, secret_access_key=made.secret)
    return s.NewAccountOut(**s.AccountOut.of(made.account).model_dump(), root_key=key)


@router.get("/accounts", name="ListAccounts", tags=["accounts"])
async def list_accounts(
    env: s.EnvDep, call: s.CallDep, after: s.AfterQuery = "", limit: s.LimitQuery = 100
) -> s.AccountsOut:
    """Accounts by id; the operator's principals alone may."""
    found, following = await accounts.list_accounts(env, call, after, limit)
    return s.AccountsOut(accounts=[s.AccountOut.of(account) for account in found], next=following)


# --- Sessions


@router.get("/sessions", name="ListSessions", tags=["sessions"])
async def list_sessions(env: s.EnvDep, call: s.CallDep, query: Annotated[s.SessionQuery, Query()]) -> s.SessionsOut:
    """Sessions, newest first. A page may hold fewer than `limit` and still have a `next`."""
    wanted = SessionFilter(**query.model_dump(exclude={"after"}), before=session_place(query.after))
    found, following = await sessions.list_sessions(env, call, wanted)
    return s.SessionsOut(
        sessions=[s.SessionOut.of(view) for view in found], next=place(*following) if following else ""
    )


@router.get("/sessions/{session_id}", name="GetSession", tags=["sessions"])
async def get_session(env: s.EnvDep, call: s.CallDep, session_id: s.IdPath) -> s.SessionOut:
    """One session, with its chain of custody."""
    return s.SessionOut.of(await sessions.get_session(env, call, session_id))


@router.post("/revocations", name="RevokeSession", tags=["sessions"], status_code=201)
async def revoke_session(env: s.EnvDep, call: s.CallDep, body: s.RevocationIn) -> s.RevocationOut:
    """Ends sessions, everywhere within a second; with `block`, none may begin either. It cannot be taken back."""
    request = revoke.RevocationRequest(
        subject=body.subject,
        value=body.value,
        account=body.account,
        block=body.block,
        block_until=body.block_until,
        reason=body.reason,
    )
    return s.RevocationOut.of(await revoke.revoke(env, call, request))


@router.get("/revocations", name="ListRevocations", tags=["sessions"])
async def list_revocations(
    env: s.EnvDep,
    call: s.CallDep,
    account: s.AccountQuery = "",
    after: s.AfterQuery = "",
    limit: s.LimitQuery = 100,
) -> s.RevocationsOut:
    """Revocations of one account, oldest first."""
    found, following = await revoke.list_revocations(env, call, account, after, limit)
    return s.RevocationsOut(revocations=[s.RevocationOut.of(made) for made in found], next=following)


@router.get("/roles/assumable", name="ListAssumableRoles", tags=["sessions"])
async def list_assumable_roles(
    env: s.EnvDep, call: s.CallDep, after: s.AfterQuery = "", limit: s.LimitQuery = 1000
) -> s.RolesOut:
    """Roles of your account that you could assume now. A page may hold fewer than `limit` and still have a `next`."""
    found, following = await sessions.list_assumable_roles(env, call, after, limit)
    return s.RolesOut(roles=[s.RoleOut.of(role) for role in found], next=following)


# --- Guardrails


_OF_ACCOUNT = "/accounts/{account_id}/guardrails"


@router.get(_OF_ACCOUNT, name="ListGuardrails", tags=["guardrails"])
async def list_guardrails(env: s.EnvDep, call: s.CallDep, account_id: s.AccountPath) -> s.GuardrailsOut:
    """The guardrails of one account."""
    found = await guardrails.list_guardrails(env, call, account_id)
    return s.GuardrailsOut(guardrails=[s.GuardrailOut.of(guardrail) for guardrail in found])


@router.get(_OF_ACCOUNT + "/{name}", name="GetGuardrail", tags=["guardrails"])
async def get_guardrail(env: s.EnvDep, call: s.CallDep, account_id: s.AccountPath, name: s.IdPath) -> s.GuardrailOut:
    """One guardrail, with its text as it was written."""
    return s.GuardrailOut.of(await guardrails.get_guardrail(env, call, account_id, name))


@router.put(_OF_ACCOUNT + "/{name}", name="PutGuardrail", tags=["guardrails"])
async def put_guardrail(
    env: s.EnvDep, call: s.CallDep, account_id: s.AccountPath, name: s.IdPath, body: s.GuardrailIn
) -> s.GuardrailOut:
    """Makes a guardrail or gives it a new text; the operator's principals alone may."""
    return s.GuardrailOut.of(await guardrails.put_guardrail(env, call, account_id, name, body.document))


@router.delete(_OF_ACCOUNT + "/{name}", name="DeleteGuardrail", tags=["guardrails"], status_code=204)
async def delete_guardrail(env: s.EnvDep, call: s.CallDep, account_id: s.AccountPath, name: s.IdPath) -> None:
    """Takes a guardrail away; the operator's principals alone may."""
    await guardrails.delete_guardrail(env, call, account_id, name)


# --- The record


@router.get("/audit/records", name="ReadAudit", tags=["audit"])
async def search_records(env: s.EnvDep, call: s.CallDep, query: Annotated[s.RecordQuery, Query()]) -> s.RecordsOut:
    """Records that you may see, newest first."""
    wanted = RecordFilter(**query.model_dump(exclude={"after"}), before=record_place(query.after))
    found = await record_read.search(env, call, wanted)
    last = found[-1] if len(found) == query.limit else None
    following = place(last.at, last.log, last.seq) if last else ""
    return s.RecordsOut(records=[s.RecordOut.of(view) for view in found], next=following)


@router.get("/audit/records/{log}/{seq}", name="ReadAudit", tags=["audit"])
async def get_record(
    env: s.EnvDep, call: s.CallDep, log: s.IdPath, seq: s.SeqPath, account: s.AccountQuery = ""
) -> s.RecordOut:
    """One record by its place."""
    return s.RecordOut.of(await record_read.get_record(env, call, account, log, seq))


@router.post("/audit/tail", name="ReadAudit", tags=["audit"])
async def follow_records(env: s.EnvDep, call: s.CallDep, body: s.TailIn) -> s.TailOut:
    """What came since the cursor of the last answer. Calls that read the record are left out."""
    found = await record_read.tail(env, call, body.account, body.cursor, limit=body.limit, wait=body.wait)
    return s.TailOut(records=[s.RecordOut.of(view) for view in found.records], cursor=dict(found.cursor))


@router.get("/audit/logs", name="VerifyAudit", tags=["audit"])
async def list_logs(env: s.EnvDep, call: s.CallDep, account: s.AccountQuery = "") -> s.LogsOut:
    """Every log with its head, oldest first."""
    found = await record_read.list_logs(env, call, account)
    return s.LogsOut(logs=[s.LogOut.of(view) for view in found])


@router.get("/audit/logs/{log}/records", name="VerifyAudit", tags=["audit"], response_model_exclude_none=True)
async def export_log(
    env: s.EnvDep,
    call: s.CallDep,
    log: s.IdPath,
    account: s.AccountQuery = "",
    after: Annotated[int, Query(ge=-1, le=2**63 - 1, description="Sequence number of the last record you have.")] = -1,
    limit: s.LimitQuery = 1000,
) -> s.LeavesOut:
    """A log's records without a gap, to verify the chain yourself. Foreign events are leaves alone."""
    found = await record_read.export_log(env, call, account, log, after, limit)
    return s.LeavesOut(records=[s.LeafOut.of(view) for view in found])

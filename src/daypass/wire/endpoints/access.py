"""Sessions, revocations, the record, questions about permissions: the functions that perform the operations."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from daypass.api import access as access_api
from daypass.api import certificates as certificate_api
from daypass.api import policies as policy_api
from daypass.api import record as record_api
from daypass.api import sessions as session_api
from daypass.api.operation import OnePage
from daypass.domain.assumption import Assumption
from daypass.domain.policy.pattern import fold
from daypass.operations import offboarding
from daypass.operations.access import lint
from daypass.operations.access.find import find
from daypass.operations.access.key_inventory import list_long_lived_keys
from daypass.operations.access.policy_bundle import PolicyBundles
from daypass.operations.access.simulate import SimulationRequest, simulate
from daypass.operations.access.snapshot import ResultPage
from daypass.operations.access.trust_test import try_token
from daypass.operations.access.what_can import AllowedAction, CanPage, what_can
from daypass.operations.access.who_can import Access, who_can
from daypass.operations.access_requests.anomalies import list_anomalies
from daypass.operations.oauth.web_identity_token import WebIdentityRequest, get_jwt_bundle, get_web_identity_token
from daypass.operations.record import explore as record_explore
from daypass.operations.record import read as record_read
from daypass.operations.record.explore import EventFilter, RecordPage
from daypass.operations.record.summarize import summarize
from daypass.operations.sessions import list_sessions, own, revoke
from daypass.operations.sessions.certificates import CertificateLists, issue_certificate
from daypass.operations.sign_in import browser_session
from daypass.ports import Call, Env, RecordFilter, RecordView, SessionFilter, SessionView
from daypass.wire.content import cursor, record_cursor, session_cursor
from daypass.wire.endpoints.endpoint import Endpoint, Over, calls, fields_of, items_as

MAX_SESSIONS: Final = 250
"""The most sessions in one page: the event loop took 50 ms to show a thousand (attack A311)."""

# --- Sessions and revocations


def _session(view: SessionView) -> Over:
    claims = view.claims
    return Over(
        claims,
        state="active" if view.active else "revoked" if view.revoked_by is not None else "expired",
        access_key_id=claims.hops[-1].access_key_id,
        depth=view.depth,
        revoked_by=view.revoked_by.id if view.revoked_by is not None else "",
        log=view.log,
        seq=view.seq,
    )


async def _list_sessions(env: Env, call: Call, q: session_api.ListSessionsInput) -> Any:
    wanted = SessionFilter(
        **{**fields_of(q, "after"), "limit": min(q.limit, MAX_SESSIONS)}, before=session_cursor(q.after)
    )
    views, following = await list_sessions.list_sessions(env, call, wanted)
    return [_session(view) for view in views], cursor(*following) if following else ""


def _ended(ended: Any) -> dict[str, Any]:
    """How many sessions a revocation ends. `ended`: None when they could not be counted."""
    return {
        "sessions_ended": ended.sessions if ended is not None else None,
        "sessions_complete": ended is not None and ended.complete,
        "last_expiry": (ended.last_expiry or None) if ended is not None else None,
    }


async def _revoke(env: Env, call: Call, q: session_api.RevokeSessionInput) -> Over:
    revoked = await revoke.revoke(env, call, q)
    return Over(revoked.revocation, **_ended(revoked.ended), dry_run=q.dry_run)


async def _offboard(env: Env, call: Call, q: session_api.OffboardInput) -> Any:
    report = await offboarding.offboard(env, call, q)
    removed, outstanding = report.removed, report.outstanding
    return {
        "account": report.account,
        "user": report.user.arn if report.user is not None else "",
        "keys_disabled": removed.keys,
        "password_removed": removed.password,
        "mfa_devices_deactivated": removed.devices,
        "passkeys_removed": removed.passkeys,
        "access_requests_cancelled": removed.requests,
        "grants_ended": removed.grants,
        "scim_tokens_deleted": removed.scim_tokens,
        "consents_removed": removed.consents,
        "chat_users_unlinked": removed.chat_users,
        "revocations": report.made,
        "already_blocked": report.already_blocked,
        **_ended(report.ended),
        "outstanding_tokens": None if outstanding is None else outstanding.tokens,
        "outstanding_complete": outstanding is not None and outstanding.complete,
        "dry_run": q.dry_run,
    }


_SESSIONS: Final = (
    Endpoint(session_api.LIST_SESSIONS, _list_sessions),
    Endpoint(session_api.GET_SESSION, calls(list_sessions.get_session, _session)),
    Endpoint(session_api.GET_CALLER_SESSION, calls(own.get_caller_session)),
    Endpoint(session_api.LIST_ASSUMABLE_ROLES, calls(list_sessions.list_assumable_roles)),
    Endpoint(session_api.REVOKE_SESSION, _revoke),
    Endpoint(session_api.LIST_REVOCATIONS, calls(revoke.list_revocations)),
    Endpoint(session_api.LIFT_BLOCK, calls(revoke.lift_block)),
    Endpoint(session_api.OFFBOARD, _offboard),
    Endpoint(session_api.LIST_BROWSER_SESSIONS, calls(browser_session.list_own)),
    Endpoint(session_api.SIGN_OUT, calls(browser_session.end_own)),
)

# --- The record


def _record(view: RecordView) -> dict[str, Any]:
    event = dict(view.body) if isinstance(view.body, Mapping) else None
    at = {"log": view.log, "seq": view.seq, "at": view.at}
    return {**at, "leaf": view.leaf, "chain": view.chain, "event": event}


def _leaf(view: RecordView) -> dict[str, Any]:
    leaf = {"log": view.log, "seq": view.seq, "leaf": view.leaf, "chain": view.chain}
    return leaf if view.bytes is None else {**leaf, "bytes": base64.b64encode(view.bytes).decode("ascii")}


def _page(page: RecordPage) -> Any:
    return [_record(view) for view in page.records], cursor(*page.before) if page.before is not None else ""


async def _search(env: Env, call: Call, q: record_api.SearchRecordsInput) -> Any:
    wanted = RecordFilter(**fields_of(q, "after"), before=record_cursor(q.after))
    return _page(await record_read.search(env, call, wanted))


async def _explore(env: Env, call: Call, q: record_api.ExploreRecordsInput) -> Any:
    about = EventFilter.__struct_fields__
    wanted = RecordFilter(**fields_of(q, "after", *about), before=record_cursor(q.after))
    named = EventFilter(**{name: getattr(q, name) for name in about})
    return _page(await record_explore.explore(env, call, wanted, named))


async def _follow(env: Env, call: Call, q: record_api.FollowRecordsInput) -> Any:
    tail = await record_read.tail(env, call, q.account, q.cursor, limit=q.limit, wait=q.wait)
    await env.slices.turn(call.caller.account)
    return {"records": [_record(view) for view in tail.records], "cursor": dict(tail.cursor)}


async def _list_anomalies(env: Env, call: Call, q: OnePage) -> Any:
    found, before = await list_anomalies(env, call, q.account, record_cursor(q.after), q.limit)
    return found, cursor(*before) if before is not None else ""


_RECORD: Final = (
    Endpoint(
        record_api.EXPLAIN_REQUEST, calls(record_read.explain_request, lambda found: {"explanation": dict(found)})
    ),
    Endpoint(record_api.SEARCH_RECORDS, _search),
    Endpoint(record_api.EXPLORE_RECORDS, _explore),
    Endpoint(record_api.SUMMARIZE_RECORDS, calls(summarize)),
    Endpoint(record_api.GET_RECORD, calls(record_read.get_record, _record)),
    Endpoint(record_api.FOLLOW_RECORDS, _follow),
    Endpoint(record_api.LIST_ANOMALIES, _list_anomalies),
    Endpoint(record_api.LIST_LOGS, calls(record_read.list_logs)),
    Endpoint(record_api.EXPORT_LOG, calls(record_read.export_log, lambda views: [_leaf(view) for view in views])),
)

# --- Questions about permissions


async def _simulate(env: Env, call: Call, q: access_api.SimulateAccessInput) -> Any:
    asked = q.assumption or access_api.AssumptionIn()
    request = SimulationRequest(
        **fields_of(q, "context", "assumption"),
        context={fold(key): tuple(value) if isinstance(value, list) else value for key, value in q.context.items()},
        assumption=Assumption(**fields_of(asked, "tags"), tags=tuple(asked.tags.items())),
    )
    answers = await simulate(env, call, request)
    # An explanation is JSON already, so that the event loop has nothing to render.
    return [Over(each, explanation=msgspec.Raw(each.explanation) if each.explanation else None) for each in answers]


def _access(entry: Access) -> Over:
    evaluation, best = entry.evaluation, entry.evaluation.best
    denials = dict.fromkeys(found.policy for found in best.determining if best.explicit)
    conditions = [each.to_json() for each in evaluation.provisos]
    return Over(entry, outcome=evaluation.outcome, conditions=conditions, because=[*denials])


def _grant(grant: AllowedAction) -> Over:
    return Over(grant, conditions=[each.to_json() for each in grant.provisos])


def _who_can(page: ResultPage[Access]) -> Any:
    access = [_access(entry) for entry in page.entries]
    return {"access": access, "looked_at": page.looked_at, "next": page.following}


def _what_can(page: CanPage) -> Over:
    grants, roles = [_grant(each) for each in page.grants], [_access(each) for each in page.roles]
    return Over(page, grants=grants, roles=roles, next=page.following)


async def _lint(env: Env, call: Call, q: policy_api.LintDocumentInput) -> Any:
    findings = await lint.lint_document(env, call, q.document, q.kind, q.role)
    return [each.to_json() for each in findings]


def _linted(found: lint.Linted) -> Over:
    return Over(found, findings=[finding.to_json() for finding in found.findings])


_QUESTIONS: Final = (
    Endpoint(access_api.LIST_LONG_LIVED_KEYS, calls(list_long_lived_keys)),
    Endpoint(access_api.SIMULATE_ACCESS, _simulate),
    Endpoint(access_api.WHO_CAN_ACCESS, calls(who_can, _who_can)),
    Endpoint(access_api.WHAT_CAN_ACCESS, calls(what_can, _what_can)),
    Endpoint(access_api.FIND, calls(find)),
    Endpoint(policy_api.LINT_DOCUMENT, _lint),
    Endpoint(policy_api.LINT_ACCOUNT, calls(lint.lint_account, items_as(_linted))),
    Endpoint(policy_api.TEST_TRUST, calls(try_token, role_name="role", unverified_token="token")),
)


async def _issue_jwt_svid(env: Env, call: Call, q: certificate_api.IssueJwtSvidInput) -> Any:
    made = await get_web_identity_token(
        env, call, WebIdentityRequest(tuple(q.audiences), seconds=q.seconds, spiffe=True)
    )
    return {"svid": made.text, "spiffe_id": made.subject, "expires_at": made.expires_at}


def endpoints() -> tuple[Endpoint, ...]:
    """The rows of these operations."""
    bundles = PolicyBundles()
    lists = CertificateLists()
    own = (
        Endpoint(access_api.GET_POLICY_BUNDLE, calls(bundles.get)),
        Endpoint(certificate_api.ISSUE_CERTIFICATE, issue_certificate),
        Endpoint(certificate_api.GET_CERTIFICATE_AUTHORITIES, calls(lists.get)),
        Endpoint(certificate_api.ISSUE_JWT_SVID, _issue_jwt_svid),
        Endpoint(certificate_api.GET_JWT_BUNDLE, calls(get_jwt_bundle)),
    )
    return (*_SESSIONS, *_RECORD, *_QUESTIONS, *own)

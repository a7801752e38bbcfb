"""Sessions that deviate from what is usual: judged by the record, recorded, and listed for an account."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from msgspec import Struct

from daypass.domain.access.baseline import BROAD, SURE, THRESHOLD, deviation
from daypass.domain.access.risk import Reason, RiskFacts, breadth_of
from daypass.domain.events import Event, EventType
from daypass.operations.iam.builtin import allowed_actions
from daypass.operations.management import allow_reading
from daypass.operations.outcome import served
from daypass.operations.record.explore import pages_of, place_of
from daypass.ports import Call, Env, RecordFilter, RecordView, SessionFilter, Viewer

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

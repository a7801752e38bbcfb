"""Figures about a period from the record: sessions, refusals and access requests, by time and by cause.

It reads the newest records of the period, up to a limit, so its cost does not grow with the record: some tenths of a second,
on threads. Readers of the same figures share them for some seconds.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Coroutine, Hashable, Mapping, Sequence
from functools import partial
from itertools import islice
from statistics import median
from typing import Any, Final

from msgspec import Struct
from msgspec.structs import replace

from daypass.domain.events import EventType
from daypass.domain.session import SessionKind
from daypass.observability.totals import NO_CAUSE, AssumeAttempt, attempt_in
from daypass.operations.management import allow_reading
from daypass.operations.outcome import served
from daypass.operations.record.explore import pages_of
from daypass.ports import Call, Env, RecordFilter, RecordView, Viewer

MAX_RECORDS: Final = 5_000
"""Maximum number of records that are read."""
FRESH_MS: Final = 8_000
"""How long a summary is fresh: less than the pages wait before they ask again."""
BUCKETS: Final = 48
_BATCH: Final = 1_000
_TOP: Final = 10
_RECENT: Final = 20
_PAIRS: Final = 40
_BUDGET: Final = 0.001  # of the attempts may fail by the fault of the service (M1)
HIGH_RISK: Final = 60
"""Requests with at least this risk count as high risk."""

_OF_CALLERS: Final = ("request", "throttled")
_OF_SERVICE: Final = ("unavailable", "issuer")
_PROOFS: Final = ("key", "session", "token", "saml", "certificate")
_DENIALS: Final = ("trust_policy", "caller_policy", "blocked", "revoked")
SERIES: Final = ("issued", "refused", "requested", "approved", "high_risk", *_PROOFS, *_DENIALS, "elevated")
_OF_TYPE: Final[Mapping[str, str]] = {
    EventType.SESSION_ISSUED.value: "issued",
    EventType.ACCESS_REQUESTED.value: "requested",
    EventType.ACCESS_EMERGENCY.value: "requested",
    EventType.ACCESS_APPROVED.value: "approved",
}


class Cause(Struct, frozen=True):
    """A cause of refusals, or a caller, with their number."""

    name: str
    count: int


class Assumed(Struct, frozen=True):
    """How often somebody has assumed a role; both are ARNs."""

    who: str
    role: str
    count: int


class Summary(Struct, frozen=True):
    """Figures from `since` to `until` (ms).

    Attributes:
        complete: all records of the period were read; otherwise only those after `since`, which is later than asked.
        times: the beginnings (ms) of the buckets. series: numbers by name of `SERIES`, one for each bucket: what happened,
            attempts by proof, and denials by layer.
        approval_ms: median time from a request to the vote on it; 0: no vote.
        failures: refusals by operation and error. callers: refused callers. operations: by number of records.
        durations: sessions by their length in minutes, as text.
        recent: the newest refusals.
        roles: who assumed which role, the most frequent first.
        causes: refusals by cause class, as metrics name them. attempts: to get a session, and other refusals, by labels.
        anomalies: those of high severity. regions: that the requests named. read: the number of records.
    """

    since: int
    until: int
    complete: bool
    times: tuple[int, ...]
    series: Mapping[str, tuple[int, ...]]
    approval_ms: int
    failures: tuple[Cause, ...]
    callers: tuple[Cause, ...]
    operations: tuple[Cause, ...]
    durations: tuple[Cause, ...]
    recent: tuple[RecordView, ...]
    roles: tuple[Assumed, ...] = ()
    causes: tuple[Cause, ...] = ()
    attempts: Mapping[AssumeAttempt, int] = {}
    anomalies: int = 0
    regions: tuple[str, ...] = ()
    read: int = 0

    def attempted(self, **labels: str) -> int:
        """The number of attempts to get a session with these labels."""
        return sum(
            number
            for attempt, number in self.attempts.items()
            if attempt.outcome and all(getattr(attempt, name) == value for name, value in labels.items())
        )

    @property
    def budget_left(self) -> float | None:
        """The share of the error budget of this period that is left, below 0 if it is overspent; None without attempts."""
        failed = sum(self.attempted(cause=cause) for cause in _OF_SERVICE)
        return 1 - failed / (_BUDGET * total) if (total := self.attempted()) else None

    @property
    def success(self) -> float | None:
        """The share of attempts to get a session that succeeded (M1): without those that policies deny, or whose request is
        wrong or too frequent. None without any.
        """
        counted = [
            each for each in self.attempts if each.outcome not in ("", "denied") and each.cause not in _OF_CALLERS
        ]
        total = sum(self.attempts[each] for each in counted)
        return self.attempted(outcome="issued") / total if total else None


class Summaries:
    """The summaries of the last seconds. Use it from one event loop."""

    def __init__(self) -> None:
        self._made: dict[Hashable, tuple[int, asyncio.Task[Summary]]] = {}

    async def get(self, key: Hashable, now: int, make: Callable[[], Coroutine[Any, Any, Summary]]) -> Summary:
        """The summary of this key, made anew if it is older than `FRESH_MS`. One that failed is not kept."""
        self._made = {each: made for each, made in self._made.items() if 0 <= now - made[0] < FRESH_MS}
        if key not in self._made:
            self._made[key] = now, asyncio.ensure_future(make())
        task = self._made[key][1]
        try:
            return await asyncio.shield(task)  # others may wait for it, too
        finally:
            if task.done() and (task.cancelled() or task.exception()):
                self._made.pop(key, None)


async def may_summarize(env: Env, call: Call, account: str = "") -> None:
    """daypass:ReadAudit, for a page that asks for the figures afterwards."""
    scope = await allow_reading(env, call, "ReadAudit", "audit", account)
    await env.journal.commit(served(call, account=scope.account, decision=scope.decision, detail={"summarized": 0}))


async def summarize(
    env: Env, call: Call, since: int, until: int, account: str = "", region: str = "", kept: Summaries | None = None
) -> Summary:
    """daypass:ReadAudit of an account, by default the caller's, and of requests that named a region, by default any.
    `kept`: from which a summary of a period of the same length up to now may be taken.

    Raises DaypassError: ACCESS_DENIED, UNAVAILABLE.
    """
    scope = await allow_reading(env, call, "ReadAudit", "audit", account)
    owner = scope.account if scope.viewer.operator else ""
    query = RecordFilter(account=owner, since=since, until=until, limit=_BATCH)
    make = partial(_summary, env, scope.viewer, query, region)
    key = scope.viewer, owner, until - since, region
    found = await (kept.get(key, call.now, make) if kept is not None else make())
    detail = {"summarized": found.read}
    await env.journal.commit(served(call, account=scope.account, decision=scope.decision, detail=detail))
    return found


async def _summary(env: Env, viewer: Viewer, query: RecordFilter, region: str) -> Summary:
    since, until = query.since or 0, query.until or 0
    records: list[RecordView] = []
    async for page in pages_of(env, viewer, query):
        records += page
        if len(records) >= MAX_RECORDS:
            break
    complete = len(records) < MAX_RECORDS
    covered = since if complete or not records else records[-1].at
    by_region = Counter(_region(record) for record in records)
    wanted = [record for record in records if region in ("", _region(record))]
    found = await asyncio.to_thread(summary_of, wanted, covered, until, complete=complete)  # 25 ms for 5,000 refusals
    regions = tuple(name for name, _ in by_region.most_common(_TOP) if name)
    return replace(found, regions=regions, read=len(records))


def _region(record: RecordView) -> str:
    source = (record.body or {}).get("source")
    return str(source.get("region", "")) if isinstance(source, Mapping) else ""


def summary_of(records: list[RecordView], since: int, until: int, *, complete: bool) -> Summary:
    """The figures of these records, newest first."""
    width = max(1, (until - since) // BUCKETS)
    series = {name: [0] * BUCKETS for name in SERIES}
    failures, callers, operations, durations = (Counter[str]() for _ in range(4))
    roles = Counter[tuple[str, str]]()
    for record in records:
        body, detail, number = _read(record)
        bucket = _bucket(record, since, width)
        operation, error = str(body.get("operation", "")), str(body.get("error", ""))
        if operation:
            operations[operation] += number
        name = "refused" if error else _OF_TYPE.get(str(body.get("type", "")))
        if name is not None:
            series[name][bucket] += number
        if error:
            failures[f"{operation or 'unknown operation'}: {error}"] += number
            callers[_actor(body)] += number
        elif name == "issued":
            durations[_length(detail, record.at)] += 1
            if detail.get("kind") == SessionKind.ROLE.value:
                roles[_actor(body), str(detail.get("principal", ""))] += 1
        elif name == "requested":
            series["high_risk"][bucket] += _number(detail.get("risk"), 0) >= HIGH_RISK
            series["approved"][bucket] += detail.get("automatic") is True  # by a rule, at once
    attempts = _attempts(records, series, since, width)
    return Summary(
        since=since,
        until=until,
        complete=complete,
        times=tuple(since + number * width for number in range(BUCKETS)),
        series={name: tuple(numbers) for name, numbers in series.items()},
        approval_ms=_approval_ms(records),
        failures=_top(failures),
        callers=_top(callers),
        operations=_top(operations),
        durations=_top(durations),
        recent=tuple(islice((each for each in records if (each.body or {}).get("error")), _RECENT)),
        roles=tuple(Assumed(*pair, count) for pair, count in roles.most_common(_PAIRS)),
        causes=_causes(attempts),
        attempts=attempts,
        anomalies=sum(_is_anomaly(record.body or {}) for record in records),
    )


def _approval_ms(records: Sequence[RecordView]) -> int:
    """The median time from a request to the vote on it; 0: no vote."""
    read = [_read(record) for record in records]
    approved = EventType.ACCESS_APPROVED.value
    waited = [
        _number(detail.get("waited_ms"), 0)
        for body, detail, _ in read
        if body.get("type") == approved and not body.get("error")
    ]
    return int(median(waited)) if waited else 0


def _bucket(record: RecordView, since: int, width: int) -> int:
    return min(BUCKETS - 1, max(0, (record.at - since) // width))


def _attempts(
    records: Sequence[RecordView], series: Mapping[str, list[int]], since: int, width: int
) -> Counter[AssumeAttempt]:
    """Attempts to get a session, and other refusals, by their labels. Adds those with a proof or layer to its series."""
    attempts = Counter[AssumeAttempt]()
    for record in records:
        body, _, number = _read(record)
        if body.get("error") or body.get("type") == EventType.SESSION_ISSUED.value:
            attempt = attempt_in(body)
            attempts[attempt] += number
            for label in {attempt.proof, attempt.cause, attempt.role_class} & series.keys():
                series[label][_bucket(record, since, width)] += number
    return attempts


def _is_anomaly(body: Mapping[str, Any]) -> bool:
    """Whether an event reports an anomaly of high severity."""
    return body.get("type") == EventType.ANOMALY.value and body["detail"].get("severity") == "high"


def _causes(attempts: Mapping[AssumeAttempt, int]) -> tuple[Cause, ...]:
    causes = Counter[str]()
    for attempt, number in attempts.items():
        if attempt.cause not in ("", NO_CAUSE):
            causes[attempt.cause] += number
    return _top(causes)


def _read(record: RecordView) -> tuple[Mapping[str, Any], Mapping[str, Any], int]:
    """The event, its detail, and how many requests it stands for."""
    body = record.body or {}
    found = body.get("detail")
    detail = found if isinstance(found, Mapping) else {}
    repeated = body.get("type") == EventType.REQUEST_REPEATED.value
    return body, detail, _number(detail.get("count"), 1) if repeated else 1


def _actor(body: Mapping[str, Any]) -> str:
    actor, source = body.get("actor"), body.get("source")
    if isinstance(actor, Mapping) and actor.get("arn"):
        return str(actor["arn"])
    return f"nobody, from {source.get('ip', 'an unknown address') if isinstance(source, Mapping) else 'an unknown address'}"


def _length(detail: Mapping[str, Any], at: int) -> str:
    session = detail.get("session")
    expires = _number(session.get("expires_at") if isinstance(session, Mapping) else detail.get("expires_at"), at)
    minutes = max(0, expires - at) // 60_000
    for most, text in ((15, "up to 15 min"), (60, "up to 1 h"), (240, "up to 4 h"), (720, "up to 12 h")):
        if minutes <= most:
            return text
    return "longer"


def _number(value: object, default: int) -> int:
    return value if type(value) is int else default


def _top(counter: Counter[str]) -> tuple[Cause, ...]:
    return tuple(Cause(name, count) for name, count in counter.most_common(_TOP))

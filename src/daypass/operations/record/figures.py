"""Figures about a period: sessions, refusals and access requests, by time and by cause. Records are counted one by one and
removed again, so that a later summary counts only what arrived since. No I/O.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from heapq import nsmallest
from statistics import median
from typing import Any, Final, TypeAlias

from msgspec import Struct

from daypass.domain.events import EventType
from daypass.domain.session import SessionKind
from daypass.observability.totals import NO_CAUSE, AssumeAttempt, attempt_in
from daypass.operations.record.explore import place_of
from daypass.ports import RecordView

MAX_RECORDS: Final = 5_000
"""Maximum number of records that are counted: the newest."""
BUCKETS: Final = 48
HIGH_RISK: Final = 60
"""Requests with at least this risk count as high risk."""
_TOP: Final = 10
_RECENT: Final = 20
_PAIRS: Final = 40
_BUDGET: Final = 0.001  # of the attempts may fail by the fault of the service (M1)

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
_Place: TypeAlias = tuple[int, str, int]
_Label: TypeAlias = tuple[str, Any]
"""A figure and what is counted in it: ("failures", "sts:AssumeRole: access_denied")."""


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
    """Figures from `since` to `until` (ms)."""

    since: int
    until: int
    complete: bool  # all records of the period were read; otherwise only those after `since`, which is later than asked
    # times: the beginnings (ms) of the buckets. series: numbers by name of `SERIES`, one for each bucket: what
    # happened, attempts by proof, and denials by layer.
    times: tuple[int, ...]
    series: Mapping[str, tuple[int, ...]]
    approval_ms: int  # median time from a request to the vote on it; 0: no vote
    # failures: refusals by operation and error. callers: refused callers. operations: by number of records.
    failures: tuple[Cause, ...]
    callers: tuple[Cause, ...]
    operations: tuple[Cause, ...]
    durations: tuple[Cause, ...]  # sessions by their length in minutes, as text
    recent: tuple[RecordView, ...]  # the newest refusals
    roles: tuple[Assumed, ...] = ()  # who assumed which role, the most frequent first
    # causes: refusals by cause class, as metrics name them. attempts: to get a session, and other refusals, by labels.
    causes: tuple[Cause, ...] = ()
    attempts: Mapping[AssumeAttempt, int] = {}
    # anomalies: those of high severity. regions: that the requests named. read: the number of records. counting: there
    # are more records to count.
    anomalies: int = 0
    regions: tuple[str, ...] = ()
    read: int = 0
    counting: bool = False

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


class _Fact(Struct, frozen=True):
    """What a record adds to the figures. `number`: of requests that it stands for. `waited`: of the request that it approved
    (ms); None for other records.
    """

    at: int
    number: int
    labels: tuple[_Label, ...]
    waited: int | None


class Figures:
    """Counted records of a period. `region`: only of requests that named it; "" for any."""

    def __init__(self, region: str = "") -> None:
        self._region = region
        self._facts: dict[_Place, _Fact] = {}
        self._counts: defaultdict[str, Counter[Any]] = defaultdict(Counter)
        self._recent: dict[_Place, RecordView] = {}

    def __len__(self) -> int:
        return len(self._facts)

    def add(self, records: Iterable[RecordView]) -> None:
        """Counts records; one that is counted already is left out."""
        for record in records:
            place = place_of(record)
            if place in self._facts:
                continue
            own = _region(record)
            wanted = self._region in ("", own)
            fact = self._facts[place] = _fact(record, own, wanted=wanted)
            self._count(fact, 1)
            if wanted and (record.body or {}).get("error"):
                self._recent[place] = record
        self._recent = {place: self._recent[place] for place in sorted(self._recent, reverse=True)[:_RECENT]}

    def keep(self, since: int) -> None:
        """Removes what happened before, and the oldest records above `MAX_RECORDS`."""
        places = sorted(self._facts, reverse=True)
        for number, place in enumerate(places):
            if number >= MAX_RECORDS or place[0] < since:
                self._count(self._facts.pop(place), -1)
                self._recent.pop(place, None)

    def _count(self, fact: _Fact, sign: int) -> None:
        for figure, key in fact.labels:
            counter = self._counts[figure]
            counter[key] += sign * fact.number
            if not counter[key]:
                del counter[key]

    def summary(self, since: int, until: int, *, complete: bool) -> Summary:
        """The figures now. `complete`: these are all records since then."""
        if not complete and self._facts:
            since = min(self._facts)[0]
        width = max(1, (until - since) // BUCKETS)
        attempts = Counter[AssumeAttempt](self._counts["attempts"])
        waited = [fact.waited for fact in self._facts.values() if fact.waited is not None]
        return Summary(
            since=since,
            until=until,
            complete=complete,
            times=tuple(since + number * width for number in range(BUCKETS)),
            series=self._series(since, width),
            approval_ms=int(median(waited)) if waited else 0,
            failures=self._top("failures"),
            callers=self._top("callers"),
            operations=self._top("operations"),
            durations=self._top("durations"),
            recent=tuple(self._recent.values()),
            roles=tuple(Assumed(who, role, count) for (who, role), count in _most(self._counts["roles"], _PAIRS)),
            causes=_causes(attempts),
            attempts=attempts,
            anomalies=self._counts["anomalies"].total(),
            regions=tuple(name for name, _ in _most(self._counts["regions"], _TOP) if name),
            read=len(self._facts),
        )

    def _series(self, since: int, width: int) -> dict[str, tuple[int, ...]]:
        series = {name: [0] * BUCKETS for name in SERIES}
        for fact in self._facts.values():
            bucket = min(BUCKETS - 1, max(0, (fact.at - since) // width))
            for figure, name in fact.labels:
                if figure == "series":
                    series[name][bucket] += fact.number
        return {name: tuple(numbers) for name, numbers in series.items()}

    def _top(self, figure: str) -> tuple[Cause, ...]:
        return tuple(Cause(name, count) for name, count in _most(self._counts[figure], _TOP))


def _most(counter: Mapping[Any, int], limit: int) -> list[tuple[Any, int]]:
    """The most frequent, in the order of their names if they are equally so."""
    return nsmallest(limit, counter.items(), key=lambda item: (-item[1], item[0]))


def _fact(record: RecordView, region: str, *, wanted: bool) -> _Fact:
    """`region`: of the request. `wanted`: its events are counted, too."""
    if not wanted:
        return _Fact(record.at, 1, _shared((("regions", region),)), None)
    body = record.body or {}
    found = body.get("detail")
    detail = found if isinstance(found, Mapping) else {}
    labels = ("regions", region), *_labels(body, detail, record.at)
    repeated = body.get("type") == EventType.REQUEST_REPEATED.value
    approved = body.get("type") == EventType.ACCESS_APPROVED.value and not body.get("error")
    return _Fact(
        record.at,
        _number(detail.get("count"), 1) if repeated else 1,
        _shared(labels),
        _number(detail.get("waited_ms"), 0) if approved else None,
    )


@lru_cache(maxsize=4096)
def _shared(labels: tuple[_Label, ...]) -> tuple[_Label, ...]:
    """The same tuple for equal ones: most records are alike."""
    return labels


def _labels(body: Mapping[str, Any], detail: Mapping[str, Any], at: int) -> Iterator[_Label]:
    operation, error, kind = str(body.get("operation", "")), str(body.get("error", "")), str(body.get("type", ""))
    name = "refused" if error else _OF_TYPE.get(kind)
    if operation:
        yield "operations", operation
    if name is not None:
        yield "series", name
    if error:
        yield "failures", f"{operation or 'unknown operation'}: {error}"
        yield "callers", _actor(body)
    elif name == "issued":
        yield "durations", _length(detail, at)
        if detail.get("kind") == SessionKind.ROLE.value:
            yield "roles", (_actor(body), str(detail.get("principal", "")))
    elif name == "requested":
        yield from (("series", each) for each in _of_request(detail))
    elif kind == EventType.ANOMALY.value and detail.get("severity") == "high":
        yield "anomalies", kind
    if error or name == "issued":
        attempt = attempt_in(body)
        yield "attempts", attempt
        yield from (("series", each) for each in (attempt.proof, attempt.cause, attempt.role_class) if each in SERIES)


def _of_request(detail: Mapping[str, Any]) -> Iterator[str]:
    if _number(detail.get("risk"), 0) >= HIGH_RISK:
        yield "high_risk"
    if detail.get("automatic") is True:  # by a rule, at once
        yield "approved"


def _region(record: RecordView) -> str:
    source = (record.body or {}).get("source")
    return str(source.get("region", "")) if isinstance(source, Mapping) else ""


def _causes(attempts: Mapping[AssumeAttempt, int]) -> tuple[Cause, ...]:
    causes = Counter[str]()
    for attempt, number in attempts.items():
        if attempt.cause not in ("", NO_CAUSE):
            causes[attempt.cause] += number
    return tuple(Cause(name, count) for name, count in _most(causes, _TOP))


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

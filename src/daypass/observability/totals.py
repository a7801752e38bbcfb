"""Totals of the metrics about requests: numbers that only grow, so that two of them give the figures of the time
between.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from msgspec import Struct

from daypass.domain.errors import ErrorKind, Family
from daypass.domain.events import Event, EventType
from daypass.monitoring.alerts import FAULTS


class Totals(Struct, frozen=True):
    """Since the start of the server."""

    # By operation, the number of requests in each bucket of `metrics.SECONDS`, and in the one above them.
    latency: Mapping[str, tuple[int, ...]] = {}
    # codes: refused requests by the code of the answer. causes: refusals by cause class, without those that synthetic
    # checks want.
    codes: Mapping[str, int] = {}
    causes: Mapping[str, int] = {}
    checks: Mapping[str, tuple[int, ...]] = {}  # by name of a synthetic check, how often it passed and failed
    # By the name of a metric of `HISTOGRAMS`, the number of values in each of its buckets.
    buckets: Mapping[str, tuple[int, ...]] = {}
    # The values of the metrics without labels, by name. They are current values, also in a difference.
    plain: Mapping[str, float] = {}

    @property
    def requests(self) -> int:
        """All answered requests."""
        return sum(map(sum, self.latency.values()))

    @property
    def refused(self) -> int:
        """Requests refused."""
        return sum(self.codes.values())

    @property
    def faults(self) -> int:
        """Refused requests that were the fault of the server."""
        return sum(number for code, number in self.codes.items() if code in FAULTS)


HISTOGRAMS: Final = frozenset({"daypass_token_skew_seconds", "daypass_journal_commit_seconds"})
_LATENCY: Final = "daypass_request_seconds"


def totals_of(families: Iterable[Any]) -> Totals:
    """Reads the metric families of a registry."""
    buckets: dict[tuple[str, str], Counter[float]] = defaultdict(Counter)
    codes, causes = Counter[str](), Counter[str]()
    checks: dict[str, list[int]] = {}
    plain: dict[str, float] = {}
    for sample in (sample for family in families for sample in family.samples):
        name, labels, value = sample.name, sample.labels, sample.value
        metric = name.removesuffix("_bucket")
        if metric == _LATENCY or metric in HISTOGRAMS:
            if "le" in labels:
                buckets[metric, labels.get("operation", "")][float(labels["le"])] += value
        elif name == "daypass_requests_total" and labels["code"] != "OK":
            codes[labels["code"]] += int(value)
        elif name == "daypass_refused_total":
            causes[labels["cause"]] += int(value)
        elif name == "daypass_checks_total":
            passed = labels["outcome"] == "passed"
            checks.setdefault(labels["check"], [0, 0])[not passed] += int(value)
            causes[labels["cause"]] -= int(value) if passed and labels["expects"] == "refusal" else 0
        elif not labels:
            plain[name] = value
    separate = {key: _separate(sorted(found.items())) for key, found in buckets.items()}
    return Totals(
        {operation: numbers for (metric, operation), numbers in separate.items() if metric == _LATENCY},
        codes,
        causes,
        {name: (each[0], each[1]) for name, each in checks.items()},
        {metric: numbers for (metric, _), numbers in separate.items() if metric in HISTOGRAMS},
        plain,
    )


def _separate(cumulative: Sequence[tuple[float, float]]) -> tuple[int, ...]:
    """Numbers of single buckets from those up to a bound."""
    numbers = [int(value) for _, value in cumulative]
    return tuple(here - before for before, here in zip([0, *numbers], numbers, strict=False))


def between(earlier: Totals, later: Totals) -> Totals:
    """The difference between two moments."""
    return Totals(
        {name: numbers for name, numbers in _added(earlier.latency, later.latency).items() if any(numbers)},
        _counted(earlier.codes, later.codes),
        _counted(earlier.causes, later.causes),
        _added(earlier.checks, later.checks),
        _added(earlier.buckets, later.buckets),
        later.plain,
    )


def _added(earlier: Mapping[str, tuple[int, ...]], later: Mapping[str, tuple[int, ...]]) -> dict[str, tuple[int, ...]]:
    """The increase of each number."""
    return {
        name: tuple(
            max(0, here - there) for here, there in zip(found, earlier.get(name, (0,) * len(found)), strict=True)
        )
        for name, found in later.items()
    }


def _counted(earlier: Mapping[str, int], later: Mapping[str, int]) -> dict[str, int]:
    return {name: number - earlier.get(name, 0) for name, number in later.items() if number > earlier.get(name, 0)}


class Measurement(Struct, frozen=True):
    """One interval (ms), with what all worker processes of this server did in it."""

    since: int
    until: int
    figures: Totals


class CheckResult(Struct, frozen=True):
    """The last run of a synthetic check. `why`: what was wrong; "" when it passed. `forbidden`: it must be refused.
    `accepted`: it was served all the same.
    """

    name: str
    at: int
    seconds: float
    why: str
    forbidden: bool = False
    accepted: bool = False


# --- Request figures, summed up between the times at which they can be read


class RequestTally:
    """Requests of one kind: how many, and how long they took.

    Args:
        counters: incremented by the number of requests.
        histograms: of the same buckets; they get each request's seconds.
        bounds: the upper bounds of these buckets, the infinite one left out.
    """

    __slots__ = ("_bounds", "_buckets", "_counters", "_histograms", "_seconds")

    def __init__(self, counters: Sequence[Any], histograms: Sequence[Any], bounds: Sequence[float]) -> None:
        self._counters = counters
        self._histograms = histograms
        self._bounds = bounds
        self._buckets = [0] * (len(bounds) + 1)
        self._seconds = 0.0

    def add(self, seconds: float) -> None:
        """One request."""
        self._buckets[bisect_left(self._bounds, seconds)] += 1
        self._seconds += seconds

    def publish(self) -> None:
        """Adds the collected figures to the instruments."""
        count = sum(self._buckets)
        if not count:
            return
        for counter in self._counters:
            counter.inc(count)
        for histogram in self._histograms:
            # The library can only observe one value at a time; these are the two things that this does.
            histogram._sum.inc(self._seconds)  # noqa: SLF001
            for bucket, number in zip(histogram._buckets, self._buckets, strict=True):  # noqa: SLF001
                if number:
                    bucket.inc(number)
        self._buckets = [0] * len(self._buckets)
        self._seconds = 0.0


# --- Attempts


ISSUING: Final = frozenset(
    {
        "sts:AssumeRole",
        "sts:AssumeRoleWithSAML",
        "sts:AssumeRoleWithWebIdentity",
        "sts:GetSessionToken",
        "sts:GetFederationToken",
        "sts:GetScopedCredentials",
        "rolesanywhere:CreateSession",
        "daypass:ExchangeToken",
    }
)
"""Operations that issue sessions."""

ATTEMPTS: Final = ISSUING | {"daypass:SignInWithSAML"}  # a response that is refused ends a login
_PROOFS: Final = {
    "sts:AssumeRoleWithSAML": "saml",
    "daypass:SignInWithSAML": "saml",
    "sts:AssumeRoleWithWebIdentity": "token",
    "daypass:ExchangeToken": "token",
    "rolesanywhere:CreateSession": "certificate",
}
NO_CAUSE: Final = "none"
UNAVAILABLE: Final = "unavailable"
_CAUSES: Final[Mapping[Family, str]] = {
    Family.REQUEST: "request",
    Family.CONTENT: "request",
    Family.ABSENT: "request",
    Family.CONFLICT: "request",
    Family.CREDENTIALS: "credentials",
    Family.PROOF: "proof",
    Family.DENIED: "caller_policy",
    Family.UPSTREAM: "issuer",
    Family.THROTTLED: "throttled",
    Family.UNAVAILABLE: UNAVAILABLE,
}
_EXPIRED: Final = frozenset({ErrorKind.EXPIRED_CREDENTIALS, ErrorKind.EXPIRED_IDENTITY_TOKEN})
CAUSES: Final = frozenset({*_CAUSES.values(), NO_CAUSE, "trust_policy", "blocked", "expired", "revoked"})
"""Every cause class."""

_DENIALS: Final = frozenset({"trust_policy", "caller_policy", "blocked"})
_REFUSALS: Final = frozenset(
    {EventType.REQUEST_DENIED, EventType.REQUEST_FAILED, EventType.REQUEST_UNAUTHENTICATED, EventType.REQUEST_MALFORMED}
)
_ISSUED: Final = EventType.SESSION_ISSUED
_REPEATED: Final = EventType.REQUEST_REPEATED


class AssumeAttempt(NamedTuple):
    """The labels of `daypass_assume`. `outcome` is "" for events other than attempts to get a session."""

    operation: str = ""
    proof: str = ""
    outcome: str = ""
    cause: str = ""
    role_class: str = ""
    account: str = ""


_NO_ATTEMPT: Final = AssumeAttempt()


def attempt_of(event: Event, account: str = "") -> AssumeAttempt:
    """An event as an attempt, with this label of its account. A refusal that is none has its cause alone.

    An issued session counts for any operation; a refusal counts if its operation issues sessions.
    """
    if event.type is _ISSUED:
        role_class = "elevated" if event.grant_id else "standard"
        return AssumeAttempt(event.operation, _proof_of(event), "issued", NO_CAUSE, role_class, account)
    if not event.error:
        return _NO_ATTEMPT
    kind: EventType = event.type
    if kind is _REPEATED:
        counted = str(event.detail.get("type", ""))
        if not counted:  # refusals of several kinds, counted together
            return _NO_ATTEMPT
        kind = EventType(counted)
    cause = _cause_of(event)
    if event.operation not in ATTEMPTS or kind not in _REFUSALS:
        return AssumeAttempt(cause=cause, account=account)
    return AssumeAttempt(event.operation, _proof_of(event), outcome_of(cause), cause, "standard", account)


def attempt_in(body: Mapping[str, Any]) -> AssumeAttempt:
    """An event of the record as an attempt."""
    given = {
        name: body[name] for name in ("operation", "error", "actor", "decision", "detail", "grant_id") if name in body
    }
    return attempt_of(Event(EventType(str(body.get("type", ""))), 0, **given))


def outcome_of(cause: str) -> str:
    """The outcome of a refused attempt."""
    if cause == UNAVAILABLE:
        return UNAVAILABLE
    return "denied" if cause in _DENIALS else "failed"


def number_of(event: Event) -> int:
    """How many refusals an event stands for."""
    count = event.detail.get("count") if event.type is _REPEATED else 1
    return count if isinstance(count, int) else 1


def _proof_of(event: Event) -> str:
    """A caller with a session makes a chain, so `session` marks chained attempts."""
    known = _PROOFS.get(event.operation)
    return known or ("session" if "session_id" in event.actor else "key")


def _cause_of(event: Event) -> str:
    kind = ErrorKind(event.error)
    if kind in _EXPIRED:  # revoked sessions are refused with the same error
        private = event.detail.get("private")
        reason = private.get("reason") if isinstance(private, Mapping) else _repeated_reason(event)
        return "revoked" if reason == "revoked" else "expired"
    if kind is ErrorKind.ACCESS_DENIED:
        decision = event.decision or {}
        blocked_by = "block" if "revocation" in decision else decision.get("blocked_by")
        return {"resource": "trust_policy", "block": "blocked"}.get(str(blocked_by), "caller_policy")
    return _CAUSES[kind.family]


def _repeated_reason(event: Event) -> str:
    """The reason of refusals that were counted together, if they had only one."""
    values = event.detail.get("values")
    reasons = values.get("detail.private.reason") if isinstance(values, Mapping) else None
    return next(iter(reasons)) if isinstance(reasons, Mapping) and len(reasons) == 1 else ""

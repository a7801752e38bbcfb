"""Exemplars: the id of a trace beside figures that it is an example of. An id is never a label, so that series stay few.

Only OpenMetrics has exemplars. A process knows its own ones; whichever process answers a scrape adds them to the totals.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from math import inf
from typing import Any, Final, TypeAlias

from prometheus_client import CollectorRegistry
from prometheus_client.openmetrics.exposition import generate_latest
from prometheus_client.samples import Exemplar
from prometheus_client.utils import floatToGoString

from daypass.observability.totals import AssumeAttempt

_HAVE: Final = frozenset(
    {
        "daypass_request_seconds_bucket",
        "daypass_issuance_seconds_bucket",
        "daypass_requests_total",
        "daypass_assume_total",
        "daypass_refused_total",
    }
)
"""Samples that have exemplars."""

_WAITING: Final = 1_000  # attempts whose request is not answered yet

_Key: TypeAlias = "tuple[str, frozenset[tuple[str, str]]]"


class Exemplars:
    """The last trace of each sample, which are closed sets. `bounds`: of the buckets."""

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = bounds
        self._names: list[str] = [floatToGoString(bound) for bound in (*bounds, inf)]  # type: ignore[no-untyped-call]  # of the library
        self._kept: dict[_Key, Exemplar] = {}
        self._attempts: dict[str, AssumeAttempt] = {}  # of traces that may turn out not to be exported

    def note(self, operation: str, code: str, seconds: float, trace_id: str, *, issued: bool) -> None:
        """One answered request. `code`: "" when it was served. `issued`: it issued a session."""
        example, bucket = Exemplar({"trace_id": trace_id}, seconds), self._names[bisect_left(self._bounds, seconds)]
        self._keep(example, "daypass_request_seconds_bucket", operation=operation, le=bucket)
        self._keep(example, "daypass_requests_total", operation=operation, code=code or "OK")
        if issued:
            self._keep(example, "daypass_issuance_seconds_bucket", operation=operation, le=bucket)
        attempt = self._attempts.pop(trace_id, None)
        if attempt is None:
            return
        one = Exemplar({"trace_id": trace_id}, 1.0)
        if attempt.outcome:
            self._keep(one, "daypass_assume_total", **attempt._asdict())
        if attempt.outcome != "issued":
            self._keep(one, "daypass_refused_total", cause=attempt.cause, account=attempt.account)

    def note_attempt(self, attempt: AssumeAttempt, trace_id: str) -> None:
        """One attempt to get a session, or another refusal. It is an example once its request is noted: the caller may have
        chosen the trace, and only `note` knows that it is exported (attack A585).
        """
        self._attempts[trace_id] = attempt
        if len(self._attempts) > _WAITING:
            del self._attempts[next(iter(self._attempts))]

    def _keep(self, example: Exemplar, name: str, **labels: str) -> None:
        self._kept[name, frozenset(labels.items())] = example

    def render(self, registry: CollectorRegistry) -> bytes:
        """The metrics in OpenMetrics 1.0, without the times at which counters began: they would double the series."""
        text: bytes = generate_latest(_Collected(registry, self._kept))  # type: ignore[no-untyped-call]  # of the library
        return text


class _Collected:
    def __init__(self, registry: CollectorRegistry, kept: Mapping[_Key, Exemplar]) -> None:
        self._registry = registry
        self._kept = kept

    def collect(self) -> Iterator[Any]:
        for family in self._registry.collect():
            family.samples = [self._with(each) for each in family.samples if not each.name.endswith("_created")]
            yield family

    def _with(self, sample: Any) -> Any:
        if sample.name not in _HAVE:
            return sample
        found = self._kept.get((sample.name, frozenset(sample.labels.items())))
        return sample._replace(exemplar=found) if found else sample

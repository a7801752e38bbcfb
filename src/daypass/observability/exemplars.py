"""Exemplars: the id of a trace beside figures that it is an example of. An id is never a label, so that series stay few.

Only OpenMetrics has exemplars. A process knows its own ones; whichever process answers a scrape adds them to the totals.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from math import inf
from typing import Any, Final

from prometheus_client import CollectorRegistry
from prometheus_client.openmetrics.exposition import generate_latest
from prometheus_client.samples import Exemplar
from prometheus_client.utils import floatToGoString

_SECOND_LABEL: Final = {
    "daypass_request_seconds_bucket": "le",
    "daypass_issuance_seconds_bucket": "le",
    "daypass_requests_total": "code",
}
"""Samples that have exemplars, by their label beside `operation`."""


class Exemplars:
    """The last trace of each bucket and code of an operation, all of which are closed sets. `bounds`: of the buckets."""

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = bounds
        self._names: list[str] = [floatToGoString(bound) for bound in (*bounds, inf)]  # type: ignore[no-untyped-call]  # of the library
        self._kept: dict[tuple[str, str, str], Exemplar] = {}

    def note(self, operation: str, code: str, seconds: float, trace_id: str, *, issued: bool) -> None:
        """One answered request. `code`: "" when it was served. `issued`: it issued a session."""
        example, bucket = Exemplar({"trace_id": trace_id}, seconds), self._names[bisect_left(self._bounds, seconds)]
        self._kept["daypass_request_seconds_bucket", operation, bucket] = example
        self._kept["daypass_requests_total", operation, code or "OK"] = example
        if issued:
            self._kept["daypass_issuance_seconds_bucket", operation, bucket] = example

    def render(self, registry: CollectorRegistry) -> bytes:
        """The metrics in OpenMetrics 1.0, without the times at which counters began: they would double the series."""
        text: bytes = generate_latest(_Collected(registry, self._kept))  # type: ignore[no-untyped-call]  # of the library
        return text


class _Collected:
    def __init__(self, registry: CollectorRegistry, kept: dict[tuple[str, str, str], Exemplar]) -> None:
        self._registry = registry
        self._kept = kept

    def collect(self) -> Iterator[Any]:
        for family in self._registry.collect():
            family.samples = [self._with(each) for each in family.samples if not each.name.endswith("_created")]
            yield family

    def _with(self, sample: Any) -> Any:
        second = _SECOND_LABEL.get(sample.name)
        found = self._kept.get((sample.name, sample.labels["operation"], sample.labels[second])) if second else None
        return sample._replace(exemplar=found) if found else sample

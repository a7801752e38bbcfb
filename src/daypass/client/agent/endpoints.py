"""Several endpoints of one installation: a call goes to the first that works, and one that keeps failing is left alone.

Every call ends by its deadline and says why it failed. It must never send a call to a second endpoint after the first has
decided about it.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

from daypass.client.errors import ClientError
from daypass.client.http import Connection, _Call
from daypass.client.transport import ClientResponse

T = TypeVar("T")

_FAILURES = 3  # in a row, after which an endpoint is not called for a while
_FIRST_REST, _LONGEST_REST = 10.0, 300.0  # seconds; each rest lasts twice as long as the one before


@dataclass(slots=True)
class _Endpoint:
    url: str
    failures: int = 0
    rests_until: float = 0.0
    why: str = ""


class Endpoints:
    """The endpoints in the order of preference. Safe to share between threads."""

    def __init__(
        self,
        urls: Sequence[str],
        *,
        monotonic: Callable[[], float] = time.monotonic,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._all = [_Endpoint(url) for url in urls]
        self._monotonic, self._jitter = monotonic, jitter
        self._mutex = threading.Lock()

    @property
    def first(self) -> str:
        return self._all[0].url

    def report(self) -> list[tuple[str, bool, str]]:
        """Each endpoint: its URL, whether it is called now, and why its last call failed ("" if it did not)."""
        now = self._monotonic()
        return [(each.url, each.rests_until <= now, each.why) for each in self._all]

    def call(self, attempt: Callable[[str, float], T], seconds: float) -> T:
        """The answer of the first endpoint that gives one. `attempt` takes an endpoint and its seconds. Raises ClientError."""
        ends = self._monotonic() + seconds
        chosen = [each for each in self._all if each.rests_until <= self._monotonic()]
        if not chosen:
            reasons = "; ".join(f"{each.url}: {each.why}" for each in self._all)
            raise ClientError("", f"no endpoint is called for now, because each failed repeatedly ({reasons})")
        failure: ClientError | None = None
        for index, endpoint in enumerate(chosen):
            left = ends - self._monotonic()
            if failure and left <= 0:
                break
            try:
                answer = attempt(endpoint.url, left / (len(chosen) - index))
            except ClientError as error:
                if error.code and not error.unavailable:
                    self._note(endpoint)
                    raise
                self._note(endpoint, error)
                failure = error
            else:
                self._note(endpoint)
                return answer
        assert failure is not None
        raise failure

    def _note(self, endpoint: _Endpoint, error: ClientError | None = None) -> None:
        with self._mutex:
            endpoint.why = error.message[:200] if error else ""
            endpoint.failures = endpoint.failures + 1 if error else 0
            if endpoint.failures >= _FAILURES:
                rest = min(_LONGEST_REST, _FIRST_REST * 2 ** min(10, endpoint.failures - _FAILURES))
                endpoint.rests_until = self._monotonic() + rest * (0.75 + self._jitter() / 4)


@dataclass(slots=True)
class FailoverConnection(Connection):
    """A connection that calls the first endpoint that works."""

    endpoints: Endpoints = field(kw_only=True)

    def _call(self, call: _Call) -> ClientResponse:
        usual = self.deadline

        def attempt(endpoint: str, seconds: float) -> ClientResponse:
            self.profile, self.deadline = replace(self.profile, endpoint=endpoint), seconds
            return Connection._call(self, call)  # noqa: SLF001  # `super()` does not work in a dataclass with slots

        try:
            return self.endpoints.call(attempt, usual)
        finally:
            self.deadline = usual

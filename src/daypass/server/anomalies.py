"""Looks for sessions that deviate from what is usual, beside the requests: a request never waits for it.

Events are taken from each commit into a bounded queue. The baselines in memory say which sessions deviate; those are
judged by the record. After a start, the baselines begin with the newest sessions on the record.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from typing import Any, Final

from daypass.domain.access.baseline import THRESHOLD, Baselines, seen_of
from daypass.domain.errors import DaypassError
from daypass.domain.events import Event, EventType
from daypass.domain.session import SessionKind
from daypass.observability import logs
from daypass.observability.metrics import OTHER, Metrics
from daypass.operations.access_requests.anomalies import judge, principal_of
from daypass.ports import Env, RecordFilter, Viewer

_SECONDS: Final = 1.0
_WAITING: Final = 20_000  # events; of more, the oldest are forgotten
_ROUND: Final = 5_000  # events of one second
_SLICE: Final = 50  # events between two turns of the event loop: at most 2 ms
_JUDGED: Final = 10  # sessions that are judged in one round: each takes some look-ups in the database
_REPORTED: Final = 10_000  # principals; after as many, one may be reported twice on a day
_REMEMBERED: Final = 10  # pages of the record at the start
_PAGE: Final = 1_000
_DAY_MS: Final = 86_400_000
_ISSUED, _DENIED = EventType.SESSION_ISSUED, EventType.REQUEST_DENIED


def _is_of_role(event: Event) -> bool:
    """Whether a session of a role was issued. A sign-in of a person is none."""
    return event.type is _ISSUED and event.detail.get("kind") == SessionKind.ROLE


class AnomalyWatch:
    """The detection of one process."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._baselines = Baselines()
        self._waiting: deque[Event] = deque(maxlen=_WAITING)
        self._reported: set[str] = set()  # principals, today
        self._day = 0

    def take(self, events: Sequence[Event]) -> None:
        """The events of a commit. It only keeps those that matter."""
        self._waiting.extend(event for event in events if event.type is _DENIED or _is_of_role(event))

    async def run(self, env: Env) -> None:
        """Learns from the record, then looks at what comes, until it is cancelled."""
        try:
            await self._remember(env)
        except DaypassError as error:
            logs.get().warning("anomalies.not_remembered", **error.private)
        while True:
            await asyncio.sleep(_SECONDS)
            try:
                await self._look(env)
            except DaypassError as error:
                logs.get().warning("anomalies.failed", **error.private)
            except Exception:  # noqa: BLE001  # the loop must continue; what was not judged is in the record
                logs.get().error("anomalies.broken", exc_info=True)

    async def _remember(self, env: Env) -> None:
        query = RecordFilter(type=_ISSUED.value, limit=_PAGE)
        for _ in range(_REMEMBERED):
            found = await env.records.search(Viewer("", operator=True), query)
            for view in found:
                body: Any = view.body or {}
                self._note(body.get("actor", {}), body.get("source", {}), body.get("detail", {}), view.at)
            if len(found) < _PAGE:
                return
            last = found[-1]
            query = RecordFilter(type=_ISSUED.value, limit=_PAGE, before=(last.at, last.log, last.seq))

    def _note(self, actor: Any, source: Any, detail: Any, at: int) -> int:
        """Learns from a session. Returns how far it deviates from what was seen before."""
        seen = seen_of(principal_of(actor), str(detail.get("principal_id", "")), str(source.get("ip", "")), at)
        return self._baselines.learn(seen)

    async def _look(self, env: Env) -> None:
        day = env.clock.now() // _DAY_MS
        if day != self._day:
            self._day = day
            self._reported.clear()
            self._baselines.forget_denials()
        judged = 0
        for number in range(min(len(self._waiting), _ROUND)):
            event = self._waiting.popleft()
            if self._is_suspect(event):
                if judged < _JUDGED:
                    await self._judge(env, event)
                else:
                    self._metrics["daypass_anomalies"].labels("unjudged", OTHER).inc()
                judged += 1
            if number % _SLICE == _SLICE - 1:
                await asyncio.sleep(0)

    def _is_suspect(self, event: Event) -> bool:
        """Learns from an event. Whether it deviates, and is of a principal that is not reported yet."""
        principal = principal_of(event.actor)
        if not principal:
            return False
        if event.type is _DENIED:
            self._baselines.note_denial(principal)
            return False
        estimate = self._note(event.actor, event.source, event.detail, event.at)
        return estimate >= THRESHOLD and principal not in self._reported

    async def _judge(self, env: Env, event: Event) -> None:
        principal = principal_of(event.actor)
        if await judge(env, event, self._baselines.denials_of(principal)):
            if len(self._reported) >= _REPORTED:
                self._reported.clear()
            self._reported.add(principal)

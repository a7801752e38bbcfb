"""Takes down who came with which certificate, behind the requests' backs: once a second, all that were seen in one write.

What comes faster than it can be written is lost beyond a bound, and so is what a crash interrupts: sessions themselves are
on the record. It must never hold up a request.
"""

from __future__ import annotations

import asyncio

from daypass.domain.errors import DaypassError, ErrorKind
from daypass.domain.events import Event, EventType
from daypass.observability import logs
from daypass.operations.rolesanywhere.subjects import take_down
from daypass.ports import Clock, Journal, Sighting, Tx

_SECONDS = 1.0
_WAITING = 1_000  # subjects
_OPERATION = "rolesanywhere:CreateSession"


class SubjectSightings:
    """`ports.Sightings`. `run` it in a task; `flush` what is left when the process stops.

    Of one certificate seen several times before it is written the last time counts.
    """

    def __init__(self, journal: Journal, clock: Clock) -> None:
        self._journal = journal
        self._clock = clock
        self._waiting: dict[tuple[str, str], Sighting] = {}
        self.lost = 0

    def note(self, sighting: Sighting) -> None:
        """Never waits and never fails."""
        key = (sighting.subject_id, sighting.certificate.fingerprint)
        if key not in self._waiting and len(self._waiting) >= _WAITING:
            self.lost += 1
            return
        self._waiting[key] = sighting

    async def run(self) -> None:
        """Writes until it is cancelled."""
        while True:
            await asyncio.sleep(_SECONDS)
            try:
                await self.flush()
            except Exception:  # noqa: BLE001  # the next second has others to take down
                logs.get().error("sightings.broken", exc_info=True)

    async def flush(self) -> None:
        """Writes what waits, one account after the other. What the database cannot take is lost, and logged."""
        waiting, self._waiting = self._waiting, {}
        by_account: dict[str, list[Sighting]] = {}
        for sighting in waiting.values():
            by_account.setdefault(sighting.account, []).append(sighting)
        for account, seen in by_account.items():
            await self._keep(account, seen)

    async def _keep(self, account: str, seen: list[Sighting]) -> None:
        try:
            await self._write(account, seen)
        except DaypassError as error:
            if error.kind is ErrorKind.INVALID_INPUT and len(seen) > 1:  # one that cannot be stored hides no other
                for each in seen:
                    await self._keep(account, [each])
                return
            logs.get().warning("sightings.lost", account=account, count=len(seen), error=error.kind.value)

    async def _write(self, account: str, seen: list[Sighting]) -> None:
        subjects = sorted({sighting.subject_id for sighting in seen})
        event = Event(
            EventType.DIRECTORY_CHANGED,
            self._clock.now(),
            account=account,
            operation=_OPERATION,
            detail={"subjects_seen": subjects},
        )

        def change(tx: Tx) -> tuple[None, Event]:
            take_down(tx, seen)
            return None, event

        try:
            await self._journal.write(change)
        except DaypassError as error:  # another process has seen one of them first in this very moment
            if error.kind is not ErrorKind.ALREADY_EXISTS:
                raise
            await self._journal.write(change)

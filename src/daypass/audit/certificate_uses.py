"""Records in the background which certificates were used: once a second, all uses in one write.

Uses beyond a limit are lost if they arrive faster than they can be written, and so are those that a crash interrupts.
Sessions themselves are on the record. It must never delay a request.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from daypass.audit.journal import Journal
from daypass.domain.errors import DaypassError, ErrorKind
from daypass.domain.events import Event, EventType
from daypass.observability import logs
from daypass.ports.clock import Clock
from daypass.ports.directory import Tx
from daypass.ports.record import CertificateUse

_SECONDS = 1.0
_WAITING = 1_000  # subjects
_OPERATION = "rolesanywhere:CreateSession"


class CertificateUses:
    """Records certificate uses off the request's path. `run` it in a task; `flush` what is left when the process stops.

    If one certificate is used several times before it is written, the last use counts.
    """

    def __init__(self, journal: Journal, clock: Clock, store: Callable[[Tx, Sequence[CertificateUse]], None]) -> None:
        self._journal = journal
        self._clock = clock
        self._store = store
        self._waiting: dict[tuple[str, str], CertificateUse] = {}
        self._writing = asyncio.Lock()
        self.lost = 0

    def note(self, use: CertificateUse) -> None:
        """Never waits and never fails."""
        key = (use.subject_id, use.certificate.fingerprint)
        if key not in self._waiting and len(self._waiting) >= _WAITING:
            self.lost += 1
            return
        self._waiting[key] = use

    async def run(self) -> None:
        """Writes until it is cancelled."""
        while True:
            await asyncio.sleep(_SECONDS)
            try:
                await self.flush()
            except Exception:  # noqa: BLE001  # the loop must continue: the next second has other uses
                logs.get().error("certificate_uses.broken", exc_info=True)

    async def flush(self) -> None:
        """Writes the waiting uses, one account after the other; afterwards all earlier uses are written. Uses that the
        database does not accept are lost and logged.
        """
        async with self._writing:
            await self._flush()

    async def _flush(self) -> None:
        waiting, self._waiting = self._waiting, {}
        by_account: dict[str, list[CertificateUse]] = {}
        for use in waiting.values():
            by_account.setdefault(use.account, []).append(use)
        for account, seen in by_account.items():
            await self._keep(account, seen)

    async def _keep(self, account: str, seen: list[CertificateUse]) -> None:
        try:
            await self._write(account, seen)
        except DaypassError as error:
            if error.kind is ErrorKind.INVALID_INPUT and len(seen) > 1:  # store the others one by one
                for each in seen:
                    await self._keep(account, [each])
                return
            logs.get().warning("certificate_uses.lost", account=account, count=len(seen), error=error.kind.value)

    async def _write(self, account: str, seen: list[CertificateUse]) -> None:
        subjects = sorted({use.subject_id for use in seen})
        event = Event(
            EventType.DIRECTORY_CHANGED,
            self._clock.now(),
            account=account,
            operation=_OPERATION,
            detail={"subjects_seen": subjects},
        )

        def change(tx: Tx) -> tuple[None, Event]:
            self._store(tx, seen)
            return None, event

        try:
            await self._journal.write(change)
        except DaypassError as error:  # another process has just inserted one of them
            if error.kind is not ErrorKind.ALREADY_EXISTS:
                raise
            await self._journal.write(change)

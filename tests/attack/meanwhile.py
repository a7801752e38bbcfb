"""What happens while a decision waits for its turn: an entity changes, a key is disabled, a provider is deleted."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeAlias

import pytest
from tests.attack.installation import ALPHA, Installation

from daypass.domain.events import Event, EventType
from daypass.ports import Tx

EXPENSIVE: Mapping[str, Any] = {"Condition": {"StringNotLike": {"aws:UserAgent": "*?never?*"}}}
"""With it, a statement takes steps enough to be decided as heavy work."""
Meanwhile: TypeAlias = Callable[[], Awaitable[Any]]


async def change(site: Installation, work: Callable[[Tx], Any]) -> None:
    event = Event(EventType.DIRECTORY_CHANGED, site.now(), ALPHA)
    await site.runtime.env.journal.write(lambda tx: (work(tx), event), account=ALPHA)


def slowly(site: Installation, monkeypatch: pytest.MonkeyPatch, named: str, act: Meanwhile) -> None:
    """`act` happens once, while the work of this name waits for its turn as heavy work."""
    heavy = site.runtime.env.heavy
    monkeypatch.setattr("daypass.operations.authorize.INLINE", 0)

    def waiting(real: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        async def waited(account: str, work: Any, *args: Any, **more: Any) -> Any:
            result = await real(account, work, *args, **more)
            if work.__name__ == named:
                monkeypatch.undo()
                await act()
            return result

        return waited

    for name in ("compute", "read"):
        monkeypatch.setattr(heavy, name, waiting(getattr(heavy, name)))

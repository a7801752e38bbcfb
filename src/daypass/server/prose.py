"""`ports.Prose`: a risk in prose, by the chat completions of an OpenAI-compatible API.

Off unless the operator names one. It must never send more than the score and its reasons, which Daypass has written: no
names, no text that people write, nothing that is secret. Answers are kept, because the same reasons need no other prose;
that there was none is kept for a minute.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Sequence
from math import inf
from typing import Final

from daypass.config import AccessSettings
from daypass.domain.strict_json import read_json
from daypass.ports import Outbound, OutboundFailed

_TASK: Final = (
    "Say in at most three plain sentences, for the person who decides about a request for temporary access, what these "
    "reasons of its risk score mean together. Do not recommend a decision. Do not add facts."
)
_SECONDS: Final = 8.0
_PAUSE: Final = 60.0  # seconds
_MAX_KEPT: Final = 500
_MAX_TEXT: Final = 1_000  # characters


class FetchedProse:
    """The prose of one API. `settings`: its address, model and key."""

    def __init__(self, settings: AccessSettings, outbound: Outbound) -> None:
        self._settings = settings
        self._outbound = outbound
        self._kept: dict[tuple[int, tuple[str, ...]], tuple[float, str]] = {}

    async def of(self, score: int, reasons: Sequence[str], *, owner: str) -> str:
        """See `ports.Prose`."""
        if not self._settings.prose_url or not reasons:
            return ""
        key = score, tuple(reasons)
        until, text = self._kept.get(key, (0.0, ""))
        if time.monotonic() >= until:
            text = await self._asked(score, reasons, owner)
            if len(self._kept) >= _MAX_KEPT:
                self._kept.clear()
            self._kept[key] = (inf if text else time.monotonic() + _PAUSE), text
        return text

    async def _asked(self, score: int, reasons: Sequence[str], owner: str) -> str:
        facts = "\n".join((f"Risk score: {score} of 100.", *reasons))
        messages = [{"role": "system", "content": _TASK}, {"role": "user", "content": facts}]
        body = json.dumps({"model": self._settings.prose_model, "messages": messages}).encode()
        headers = {"content-type": "application/json"}
        if key := self._settings.prose_key.get_secret_value():
            headers["authorization"] = f"Bearer {key}"
        try:
            async with asyncio.timeout(_SECONDS):
                answer = read_json(await self._outbound.post(self._settings.prose_url, body, headers, owner=owner))
            text = answer["choices"][0]["message"]["content"]
        except (OutboundFailed, TimeoutError, ValueError, LookupError, TypeError):
            return ""
        return text.strip()[:_MAX_TEXT] if isinstance(text, str) else ""

"""Fetches client ID metadata documents, for client_ids that the allow-list of an account names. It parses nothing.

A document is cached by its URL alone, for the time that its host announces and at most an hour; a failure is remembered
for ten seconds. Nothing is used beyond its time.
Source: draft-ietf-oauth-client-id-metadata-document, 5.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

from daypass.domain.errors import DaypassError, ErrorKind
from daypass.domain.oauth.client_document import MAX_DOCUMENT
from daypass.federation.fetch import Fetcher, FetchError, Order

_LONGEST_MS: Final = 3_600_000
_USUAL_MS: Final = 300_000
_SHORTEST_MS: Final = 10_000
_MAX_CACHED: Final = 1_000


class FetchedClientDocuments:
    """`ports.ClientDocuments` over the shared fetcher. `allow_private`: documents may come from private addresses."""

    def __init__(self, fetcher: Fetcher, *, allow_private: bool = False) -> None:
        self._fetcher = fetcher
        self._allow_private = allow_private
        self._cache: OrderedDict[str, tuple[int, bytes | FetchError]] = OrderedDict()

    async def fetch(self, client_id: str, account: str, now: int) -> bytes:
        cached = self._cache.get(client_id)
        if cached is None or now >= cached[0]:
            cached = await self._fetched(client_id, account, now)
            self._cache[client_id] = cached
            self._cache.move_to_end(client_id)
            if len(self._cache) > _MAX_CACHED:
                self._cache.popitem(last=False)
        if isinstance(cached[1], FetchError):
            raise DaypassError(
                ErrorKind.IDP_COMMUNICATION,
                "The application's metadata document could not be fetched.",
                private={"client_id": client_id, "document": str(cached[1])},
            )
        return cached[1]

    async def _fetched(self, client_id: str, account: str, now: int) -> tuple[int, bytes | FetchError]:
        order = Order(client_id, allow_private=self._allow_private, owner=f"{account}/clients")
        try:
            answer = await self._fetcher.fetch(order)
        except FetchError as error:
            return now + _SHORTEST_MS, error
        lifetime = _USUAL_MS if answer.max_age is None else max(min(answer.max_age * 1000, _LONGEST_MS), _SHORTEST_MS)
        return now + lifetime, answer.body[: MAX_DOCUMENT + 1]

"""A key cache over a network, a database and a clock in memory; its fetches are counted."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.fake_network import FakeNetwork, http
from tests.issuer import Issuer

from daypass.domain.directory import IssuerKeySet, OidcProvider
from daypass.domain.errors import DaypassError, ErrorKind
from daypass.domain.events import Event
from daypass.federation.fetch import Bounds, Fetcher
from daypass.federation.keys import IssuerKeys, KeyRules
from daypass.federation.sources import Getter

ACCOUNT = "111122223333"
NOW = 1_800_000_000_000
HOUR = 3_600_000
URL = "ci.example.com"
DISCOVERY = f"https://{URL}/.well-known/openid-configuration"
JWKS = f"https://{URL}/jwks"


class Rows:
    """Database and journal: rows by their source, and the events of writes."""

    def __init__(self) -> None:
        self.rows: dict[str, IssuerKeySet] = {}
        self.events: list[Event] = []
        self.away = False
        self.reads = 0

    async def read(self, query: Callable[[Any], Any], **_: Any) -> Any:
        self.reads += 1
        if self.away:
            raise DaypassError(ErrorKind.UNAVAILABLE, "The database is away.")
        return query(self)

    async def write(self, change: Callable[[Any], Any], **_: Any) -> Any:
        if self.away:
            raise DaypassError(ErrorKind.UNAVAILABLE, "The record cannot be kept.")
        result, event = change(self)
        self.events.append(event)
        return result

    def get(self, kind: type[Any], *, source: str) -> IssuerKeySet | None:
        assert kind is IssuerKeySet
        return self.rows.get(source)

    def find(self, kind: type[Any], *, account: str, url: str) -> list[IssuerKeySet]:
        assert kind is IssuerKeySet
        return [row for row in self.rows.values() if (row.account, row.url) == (account, url)]

    def insert(self, row: IssuerKeySet) -> None:
        assert row.source not in self.rows
        self.rows[row.source] = row

    def replace(self, row: IssuerKeySet) -> None:
        assert row.source in self.rows
        self.rows[row.source] = row

    def delete(self, row: IssuerKeySet) -> None:
        del self.rows[row.source]


@dataclass
class Clock:
    time: int = NOW

    def now(self) -> int:
        return self.time

    def wall(self) -> int:
        return self.time


class PlainSealer:
    def open_secret(self, sealed: bytes, account: str, owner_id: str) -> bytes:
        prefix = f"{account}|{owner_id}|".encode()
        if not sealed.startswith(prefix):
            raise ValueError("sealed for another owner")
        return sealed.removeprefix(prefix)


@dataclass
class KeyWorld:
    issuer: Issuer = field(default_factory=lambda: Issuer(URL, alg="ES256"))
    network: FakeNetwork = field(default_factory=FakeNetwork)
    rows: Rows = field(default_factory=Rows)
    clock: Clock = field(default_factory=Clock)
    files: Path | None = None
    outcomes: list[str] = field(default_factory=list)
    seconds: float = 10  # nothing here is slow but a busy machine
    processes: list[IssuerKeys] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.publish()
        self.keys = self.process()

    def process(self, **rules: Any) -> IssuerKeys:
        """A key cache as another process, or this one after a restart, has it."""
        fetcher = Fetcher(Bounds(seconds=self.seconds), self.network)
        getter = Getter(fetcher, PlainSealer(), self.files)
        rows: Any = self.rows
        made = IssuerKeys(getter, rows, rows, self.clock, KeyRules(**rules), self.outcomes.append)
        self.processes.append(made)
        return made

    def publish(self, jwks: Any = None, **headers: str) -> None:
        """Discovery document and keys, as the issuer has them now."""
        self.network.pages[DISCOVERY] = http(self.issuer.discovery())
        self.network.pages[JWKS] = http(self.issuer.jwks() if jwks is None else jwks, **headers)

    def away(self) -> None:
        self.network.pages = {f"https://{URL}": ConnectionRefusedError()}

    @property
    def fetches(self) -> int:
        """How often the keys themselves were asked for, or a connection for them was made and failed."""
        return len([address for address, _, _ in self.network.connected if address]) - self.network.asked.count(
            DISCOVERY
        )

    async def kids(
        self, kid: str = "", keys: IssuerKeys | None = None, provider: OidcProvider | None = None
    ) -> list[str]:
        found = await (keys or self.keys).keys(provider or oidc(), kid, self.clock.now())
        return [key["kid"] for key in json.loads(found.jwks)["keys"]]

    async def settle(self) -> None:
        """Lets what runs in the background end."""
        for _ in range(20):
            await asyncio.sleep(0)
        while any(e.flight for p in self.processes for e in p._entries.values()):  # noqa: ASYNC110  # threads are in it
            await asyncio.sleep(0.001)
        for _ in range(20):
            await asyncio.sleep(0)


def oidc(url: str = URL, account: str = ACCOUNT, **settings: Any) -> OidcProvider:
    return OidcProvider(account, url, NOW, ("daypass",), settings=json.dumps(settings))

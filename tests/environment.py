"""An `Env` for unit tests: the ports that a test is about, and for all others what fails the test that uses them."""

from __future__ import annotations

from typing import Any, Final

from daypass.audit.journal import Journal
from daypass.crypto.ids import Ids
from daypass.crypto.seal import Sealer
from daypass.data import BuiltinPolicies
from daypass.domain.errors import DaypassError, ErrorKind
from daypass.domain.events import Event
from daypass.ports import NO_OAUTH, CertificateUse, Env, Limits, Scene
from daypass.ports.clock import Clock
from daypass.scheduling.buckets import RequestRates
from daypass.server.heavy import HeavyOnThreads
from daypass.stores.directory import Directory

_UNLIMITED: Final = (0.0, 0.0)


class Unused:
    """A port that the test does not expect to be used."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, attribute: str) -> Any:
        raise AssertionError(f"this test has no {self._name}: {attribute} was used")


class UnavailableRecords(Unused):
    """A record that cannot be read now."""

    def __getattr__(self, attribute: str) -> Any:
        raise DaypassError(ErrorKind.UNAVAILABLE, "The record cannot be read.")


class RecordedRefusals:
    """Every anonymous refusal goes into the journal by itself."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self.counted: list[Event] = []

    async def record(self, event: Event) -> None:
        await self._journal.commit(event)

    def count(self, event: Event) -> None:
        self.counted.append(event)


class NotedSightings(list[CertificateUse]):
    """Keeps what was noted."""

    def note(self, use: CertificateUse) -> None:
        self.append(use)


def environment(
    clock: Clock,
    ids: Ids,
    directory: Directory,
    journal: Journal,
    sealer: Sealer,
    limits: Limits | None = None,
    **ports: Any,
) -> Env:
    """The ports of a test. `ports`: further ones by their names in `Env`."""
    builtin = BuiltinPolicies()
    metadata = ports.get("saml_metadata", Unused("saml_metadata"))
    others = {name: Unused(name) for name in ("saml_metadata", "tokens", "issuers", "certificates", "saml")}
    given: dict[str, Any] = {
        **others,
        "records": UnavailableRecords("records"),
        "builtin": builtin,
        "certificate_uses": NotedSightings(),
        "refusals": RecordedRefusals(journal),
        "rates": RequestRates(_UNLIMITED, _UNLIMITED, _UNLIMITED),
        "heavy": HeavyOnThreads(directory, lambda tx: Scene(tx, ids, builtin, metadata, given["certificates"])),
        "oauth": NO_OAUTH,
        "revocations": Unused("revocations"),
        "statuses": Unused("statuses"),
        "authorities": Unused("authorities"),
        "nodes": Unused("nodes"),
        "outbound": Unused("outbound"),
        "mail": Unused("mail"),
        "measurements": Unused("measurements"),
        "schedules": Unused("schedules"),
        "sign_in": Unused("sign_in"),
        **ports,
    }
    return Env(clock, ids, directory, journal, sealer, limits or Limits(), **given)

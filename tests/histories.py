"""Generated histories of sessions with planted incidents, to judge the detection of anomalies."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterator
from typing import Final, NamedTuple

from daypass.domain.access.risk import RiskFacts

HOUR: Final = 3_600_000
DAY: Final = 24 * HOUR
_ROLES: Final = 40
_PLANTED_FROM: Final = 30  # day from which there are incidents, when habits are known


class Use(NamedTuple):
    """One session, or a refusal. `incident`: its number, or -1."""

    at: int
    principal: str
    role: str
    ip: str
    denied: bool = False
    incident: int = -1


class _Person(NamedTuple):
    name: str
    service: bool
    start: int
    ips: tuple[str, ...]
    roles: list[str]


def history(seed: int, principals: int = 200, days: int = 60, incidents: int = 40) -> list[Use]:
    """Sessions of people and services over some weeks, in the order of time.

    People work late sometimes, travel, and get new roles; that is not an incident. Incidents are a stolen key that is used
    from elsewhere, a search for roles, and an insider who takes a new role at night.
    """
    chance = random.Random(seed)
    people = [_person(chance, number, service=number % 3 == 0) for number in range(principals)]
    uses = [use for person in people for day in range(days) for use in _day(chance, person, day)]
    for number in range(incidents):
        uses += _incident(chance, chance.choice(people), chance.randrange(_PLANTED_FROM, days), number)
    return sorted(uses)


def _person(chance: random.Random, number: int, *, service: bool) -> _Person:
    ips = tuple(f"10.{number % 250}.{chance.randrange(250)}.7" for _ in range(1 if service else 2))
    roles = [f"role-{chance.randrange(_ROLES)}" for _ in range(chance.randrange(1, 4))]
    return _Person(f"principal-{number}", service, chance.randrange(5, 11), (*ips, "192.0.2.9"), roles)


def _day(chance: random.Random, person: _Person, day: int) -> Iterator[Use]:
    if person.service:
        for hour in range(0, 24, 2):
            yield Use(day * DAY + hour * HOUR + chance.randrange(HOUR), person.name, person.roles[0], person.ips[0])
        return
    if day % 7 >= 5 and chance.random() < 0.95:
        return
    if chance.random() < 0.004:
        person.roles.append(f"role-{chance.randrange(_ROLES)}")
    away = f"198.51.{chance.randrange(100)}.1" if chance.random() < 0.01 else ""
    late = chance.random() < 0.02
    shift = chance.choice((-6, 6)) if away and chance.random() < 0.3 else 0
    for _ in range(chance.randrange(2, 6)):
        hour = (person.start + chance.randrange(9) + shift + (6 if late else 0)) % 24
        at = day * DAY + hour * HOUR + chance.randrange(HOUR)
        yield Use(at, person.name, chance.choice(person.roles), away or chance.choice(person.ips))


def _incident(chance: random.Random, person: _Person, day: int, number: int) -> Iterator[Use]:
    begins = day * DAY + chance.randrange(DAY)
    elsewhere = f"203.0.{chance.randrange(100)}.66"
    kind = number % 4
    if kind in (0, 1):  # a stolen key
        for use in range(3):
            yield Use(begins + use * HOUR, person.name, chance.choice(person.roles), elsewhere, incident=number)
    elif kind == 2:  # a search for roles
        for attempt in range(6):
            yield Use(begins + attempt, person.name, f"role-{attempt}", elsewhere, denied=True, incident=number)
        yield Use(begins + 60_000, person.name, f"role-{chance.randrange(_ROLES)}", elsewhere, incident=number)
    else:  # an insider
        night = day * DAY + ((person.start + 16) % 24) * HOUR
        yield Use(night, person.name, f"admin-{chance.randrange(4)}", person.ips[0], incident=number)


class Record:
    """Facts about the next session from the record so far."""

    def __init__(self) -> None:
        self._own: dict[str, list[Use]] = defaultdict(list)
        self._of_role: dict[str, list[Use]] = defaultdict(list)
        self._denied: dict[str, list[int]] = defaultdict(list)

    def add(self, use: Use) -> None:
        if use.denied:
            self._denied[use.principal].append(use.at)
            return
        self._own[use.principal].append(use)
        self._of_role[use.role].append(use)

    def facts(self, use: Use) -> RiskFacts:
        habits = [each for each in self._own[use.principal][-400:] if each.at < use.at - DAY]
        peers = [each for each in self._of_role[use.role][-200:] if each.principal != use.principal]
        return RiskFacts(
            at=use.at,
            role_ids=(use.role,),
            used_role_ids=frozenset(each.role for each in habits),
            session_times=tuple(each.at for each in habits[-200:]),
            source_ip=use.ip,
            known_ips=frozenset(each.ip for each in habits),
            denials=sum(at > use.at - DAY for at in self._denied[use.principal]),
            key_created_at=0,
            breadth=0.0,
            break_glass=False,
            peer_times=tuple(each.at for each in peers),
            peer_ips=frozenset(each.ip for each in peers),
        )

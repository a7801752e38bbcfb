"""Baselines of principals, roles, networks and hours in bounded memory, and the deviation of a session from them.

Baselines are sets of hashes (Bloom filters) of a fixed size, whatever the number of principals. They can take something
for usual that is not, once in some hundred times, but not the reverse. A session that deviates by them is compared with the
record itself (`deviation`), so that a process that has seen little raises no false alarm.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from typing import Final, NamedTuple

from daypass.domain.access.risk import FEATURES, Reason, RiskFacts, network_of

BEHAVIOUR: Final = (
    "first_time",
    "unusual_hour",
    "new_network",
    "recent_denials",
    "unusual_hour_for_peers",
    "new_network_for_peers",
)
"""The features of the risk that are about behaviour. A deviation has their weights, as a share of 100."""

THRESHOLD: Final = 33
"""A session with at least this deviation is an anomaly."""

SURE: Final = 40
"""At least this deviation is of high severity; with a role of high privilege, THRESHOLD is."""

BROAD: Final = 0.5
"""A role of at least this breadth is of high privilege; so is a session that rests on an access grant."""

_STEADY: Final = "steady_network"
_STEADY_WEIGHT: Final = 15
_WEIGHT: Final = sum(FEATURES[name][0] for name in BEHAVIOUR) + _STEADY_WEIGHT
_STEADY_SESSIONS: Final = 20  # after which a principal with few networks is steady
_FEW: Final = 2
_ENOUGH: Final = 5  # sessions after which a principal or role has habits
_HASHES: Final = 4
_BITS_EACH: Final = 10  # of a filter for each member, when it is full
_DENYING: Final = 4_096  # principals whose refusals are counted
_MANY_DENIALS: Final = 5
_HOURS: Final = 24
_USUAL: Final = 20_000


class Seen(NamedTuple):
    """One session. `hour`: of the day, UTC."""

    principal: str
    role: str
    network: str
    hour: int


def seen_of(principal: str, role: str, source_ip: str, at: int) -> Seen:
    """`at`: ms."""
    return Seen(principal, role, network_of(source_ip), at // 3_600_000 % _HOURS)


def deviation(facts: RiskFacts) -> tuple[int, tuple[Reason, ...]]:
    """How far a session deviates from what the record has, 0 to 100, and why, the largest contribution first."""
    reasons = []
    for feature in BEHAVIOUR:
        weight, measure = FEATURES[feature]
        value, text = measure(facts)
        if value:
            reasons.append(Reason(feature, weight, round(value, 2), text))
    networks = {network_of(each) for each in facts.known_ips}
    if network_of(facts.source_ip) not in networks and len(facts.session_times) >= _STEADY_SESSIONS:
        value = _steadiness(len(networks))
        used = "one network" if len(networks) == 1 else f"{len(networks)} networks"
        text = f"The person has used {used} in {len(facts.session_times)} sessions."
        reasons += [Reason(_STEADY, _STEADY_WEIGHT, value, text)] if value else []
    reasons.sort(key=lambda reason: (-reason.weight * reason.value, reason.feature))
    return round(100 * sum(reason.weight * reason.value for reason in reasons) / _WEIGHT), tuple(reasons)


def _steadiness(networks: int) -> float:
    """How surprising a new network is for a principal that has used so many."""
    return 1 / networks if 0 < networks <= _FEW else 0.0


class _Filter:
    """A Bloom filter. Hashes of texts are salted in each process, so nobody can choose what collides."""

    def __init__(self, bits: int) -> None:
        self._bits = bytearray(bits // 8)
        self._size = bits
        self.members = 0

    @property
    def full(self) -> bool:
        return self.members * _BITS_EACH >= self._size

    def __contains__(self, key: Hashable) -> bool:
        code, bits, size = hash(key), self._bits, self._size
        step = (code >> 32) | 1
        for number in range(_HASHES):  # a generator takes three times as long
            place = (code + number * step) % size
            if not bits[place >> 3] >> (place & 7) & 1:
                return False
        return True

    def add(self, key: Hashable) -> None:
        code = hash(key)
        step = (code >> 32) | 1
        for number in range(_HASHES):
            place = (code + number * step) % self._size
            self._bits[place >> 3] |= 1 << (place & 7)
        self.members += 1


class Baselines:
    """Seen values, in two generations: when one is full, the older one is forgotten.

    Args:
        bits: of each generation; 2**25 take 4 MB, and hold three million facts.
    """

    def __init__(self, bits: int = 1 << 25) -> None:
        self._size = bits
        self._new, self._old = _Filter(bits), _Filter(0)
        self._denied: OrderedDict[str, int] = OrderedDict()
        self._usual: set[Seen] = set()  # sessions that deviate in nothing and add nothing to the newer filter

    @property
    def bytes(self) -> int:
        """The memory of the filters, in bytes."""
        return (self._new._size + self._old._size) // 8  # noqa: SLF001  # of the same module

    def learn(self, seen: Seen) -> int:
        """`estimate` of a session by what was seen before; then notes it. Most sessions repeat earlier ones, at a 20th of
        the cost.
        """
        if seen in self._usual and seen.principal not in self._denied:
            return 0
        estimate, newer, members = self.estimate(seen), self._new, self._new.members
        self.note(seen)
        if not estimate and newer is self._new and members == newer.members:
            if len(self._usual) >= _USUAL:
                self._usual.clear()
            self._usual.add(seen)
        return estimate

    def note(self, seen: Seen) -> None:
        """A session."""
        principal, role, network, hour = seen
        if (principal, "network", network) not in self:
            self._count(principal, "networks", _FEW + 1)
        for key in (
            (principal, "role", role),
            (principal, "network", network),
            (principal, "hour", hour),
            (role, "network", network),
            (role, "hour", hour),
            (principal, "any"),
        ):
            self._add(key)
        self._count(principal, "sessions", _STEADY_SESSIONS)
        self._count(role, "sessions", _ENOUGH)

    def note_denial(self, principal: str) -> None:
        """A refusal of a principal."""
        self._denied[principal] = self._denied.pop(principal, 0) + 1
        if len(self._denied) > _DENYING:
            self._denied.popitem(last=False)

    def denials_of(self, principal: str) -> int:
        """The refusals of a principal today."""
        return self._denied.get(principal, 0)

    def forget_denials(self) -> None:
        """Refusals count for a day."""
        self._denied.clear()

    def estimate(self, seen: Seen) -> int:
        """The deviation of a session by what was seen. It is rarely less than `deviation`: see the module."""
        principal, role, network, hour = seen
        new_network = (principal, "any") in self and (principal, "network", network) not in self
        steady = 0.0
        if new_network and (principal, "sessions", _STEADY_SESSIONS - 1) in self:
            steady = _steadiness(sum((principal, "networks", number) in self for number in range(_FEW + 1)))
        values = {
            "first_time": (principal, "role", role) not in self,
            "unusual_hour": (principal, "sessions", _ENOUGH - 1) in self and not self._near(principal, hour),
            "new_network": new_network,
            "recent_denials": min(1.0, self._denied.get(principal, 0) / _MANY_DENIALS),
            "unusual_hour_for_peers": (role, "sessions", _ENOUGH - 1) in self and not self._near(role, hour),
            "new_network_for_peers": (role, "network", network) not in self,
        }
        total = sum(FEATURES[name][0] * value for name, value in values.items()) + _STEADY_WEIGHT * steady
        return round(100 * total / _WEIGHT)

    def _count(self, owner: str, what: str, most: int) -> None:
        """Counts up to `most`, by members (owner, what, 0) to (owner, what, most - 1)."""
        if (owner, what, most - 1) in self:
            return
        number = next((n for n in range(most) if (owner, what, n) not in self), None)
        if number is not None:
            self._add((owner, what, number))

    def _near(self, owner: str, hour: int) -> bool:
        return any((owner, "hour", (hour + by) % _HOURS) in self for by in (-1, 0, 1))

    def __contains__(self, key: Hashable) -> bool:
        return key in self._new or (self._old.members > 0 and key in self._old)

    def _add(self, key: Hashable) -> None:
        if key in self._new:
            return
        if self._new.full:
            self._new, self._old = _Filter(self._size), self._new
            self._usual.clear()  # what is noted again must reach the newer filter
        self._new.add(key)

"""The risk of an access request: a score from 0 to 100 with its reasons. The same facts always give the same score.

Each feature has a fixed weight and a value between 0 and 1. The score is the sum of the products. It informs
approvers and conditions (daypass:RiskScore); it never decides by itself.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from ipaddress import ip_address, ip_network
from typing import Final, NamedTuple

from msgspec import Struct

_DAY_MS: Final = 86_400_000
_ENOUGH: Final = 5  # past sessions that are enough to know habits
_NEW_DAYS: Final = 7  # that a key or device counts as new
_MANY_DENIALS: Final = 5


class RiskFacts(Struct, frozen=True):
    """Facts from the record and the directory."""

    at: int  # when the request is made (ms)
    # role_ids: the requested roles; `used_role_ids`: roles of the person's earlier sessions.
    role_ids: tuple[str, ...]
    used_role_ids: frozenset[str]
    session_times: tuple[int, ...]  # ms; when the person's earlier sessions were issued
    # source_ip: of the request; `known_ips`: of the person's earlier requests.
    source_ip: str
    known_ips: frozenset[str]
    denials: int  # refusals of the person within a day. Refused reads hardly count
    key_created_at: int  # ms; when the long-term key was made; 0: none
    breadth: float  # of the broadest role: 0 (narrow) to 1 (everything)
    break_glass: bool  # the request is an emergency
    device_created_at: int = 0  # ms; when the newest of the person's MFA devices and passkeys was registered; 0: none
    alerts: int = 0  # open alerts about the person: copied passkeys, and reviews of emergency access that are open
    # peer_times: ms; when other persons' sessions of the roles were issued; `peer_ips`: from where.
    peer_times: tuple[int, ...] = ()
    peer_ips: frozenset[str] = frozenset()


class Reason(NamedTuple):
    """One feature: its weight, its value, and what it says."""

    feature: str
    weight: int
    value: float
    text: str


MAX_SCORE: Final = 100
UNKNOWN: Final = Reason("unknown", MAX_SCORE, 1.0, "The risk is not known: the record could not be read in time.")
"""The only reason of a score that could not be computed, which is the highest."""


def score(facts: RiskFacts) -> tuple[int, tuple[Reason, ...]]:
    """The score and the features that contribute to it, the largest contribution first."""
    reasons = []
    for feature, (weight, measure) in FEATURES.items():
        value, text = measure(facts)
        if value:
            reasons.append(Reason(feature, weight, round(value, 2), text))
    reasons.sort(key=lambda reason: (-reason.weight * reason.value, reason.feature))
    return min(MAX_SCORE, round(sum(reason.weight * reason.value for reason in reasons))), tuple(reasons)


def _first_time(facts: RiskFacts) -> tuple[float, str]:
    new = [role for role in facts.role_ids if role not in facts.used_role_ids]
    return len(new) / len(facts.role_ids), "The person has not used this role before."


def _hour(facts: RiskFacts) -> tuple[float, str]:
    unusual = _is_unusual(facts.at, facts.session_times)
    return float(unusual), f"The person has had no session around {_hour_of(facts.at):02}:00 UTC."


def _peer_hour(facts: RiskFacts) -> tuple[float, str]:
    unusual = _is_unusual(facts.at, facts.peer_times)
    return float(unusual), f"Others have had no session of the role around {_hour_of(facts.at):02}:00 UTC."


def _is_unusual(at: int, times: Sequence[int]) -> bool:
    """Whether none of enough times is within an hour of the time of day."""
    hour = _hour_of(at)
    near = (t for t in times if min((_hour_of(t) - hour) % 24, (hour - _hour_of(t)) % 24) <= 1)
    return len(times) >= _ENOUGH and not any(True for _ in near)


def _hour_of(at: int) -> int:
    """The hour of the day, UTC. `at`: ms."""
    return at // 3_600_000 % 24


def _network(facts: RiskFacts) -> tuple[float, str]:
    return float(_is_new(facts.source_ip, facts.known_ips)), "The network is new for the person."


def _peer_network(facts: RiskFacts) -> tuple[float, str]:
    return float(_is_new(facts.source_ip, facts.peer_ips)), "Nobody else has used the role from this network."


def _is_new(address: str, known: frozenset[str]) -> bool:
    return bool(known and address) and network_of(address) not in {network_of(each) for each in known}


@lru_cache(4_096)
def network_of(address: str) -> str:
    """The network of an address: /24 of IPv4, /48 of IPv6; the text itself if it is not an address."""
    try:
        version = ip_address(address).version
    except ValueError:
        return address
    return str(ip_network(f"{address}/{24 if version == 4 else 48}", strict=False))


def _breadth(facts: RiskFacts) -> tuple[float, str]:
    return facts.breadth, "The role permits all actions." if facts.breadth == 1 else "The role permits whole services."


def _denials(facts: RiskFacts) -> tuple[float, str]:
    return min(
        1.0, facts.denials / _MANY_DENIALS
    ), f"Requests of the person that were refused within a day: {facts.denials}."


def _key(facts: RiskFacts) -> tuple[float, str]:
    return _newness(facts.at, facts.key_created_at, "The key")


def _device(facts: RiskFacts) -> tuple[float, str]:
    return _newness(facts.at, facts.device_created_at, "The newest MFA device")


def _newness(at: int, created_at: int, what: str) -> tuple[float, str]:
    if not created_at:
        return 0.0, ""
    days = max(0, at - created_at) // _DAY_MS
    return max(0.0, 1 - days / _NEW_DAYS), f"{what} is {days} days old."


def _alerts(facts: RiskFacts) -> tuple[float, str]:
    return float(facts.alerts > 0), f"{facts.alerts} alerts about the person are open."


def _emergency(facts: RiskFacts) -> tuple[float, str]:
    return float(facts.break_glass), "Emergency access, without an approver."


FEATURES: Final[dict[str, tuple[int, Callable[[RiskFacts], tuple[float, str]]]]] = {
    "first_time": (20, _first_time),
    "breadth": (15, _breadth),
    "unusual_hour": (10, _hour),
    "new_network": (10, _network),
    "recent_denials": (10, _denials),
    "open_alerts": (10, _alerts),
    "unusual_hour_for_peers": (5, _peer_hour),
    "new_network_for_peers": (5, _peer_network),
    "new_key": (5, _key),
    "new_device": (5, _device),
    "emergency": (5, _emergency),
}
"""Feature: weight and measure. The weights add up to 100."""


def breadth_of(actions: Sequence[str]) -> float:
    """How broad a role is, by the actions that its policies allow: 1 for "*", up to 0.7 for whole services."""
    if any(action in ("*", "*:*") for action in actions):
        return 1.0
    whole = {action for action in actions if action.endswith(":*")}
    return min(0.7, 0.2 * len(whole))

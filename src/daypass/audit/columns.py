"""The searchable columns of the record and of sessions, derived from the bytes of an event. Standard library only.

The journal stores them. Readers use them to find records, but show only the bytes. `audit verify` compares each column
with the bytes. All three use this definition.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

_SHORT = 256
_LONG = 2048
_INSTEAD = "\N{REPLACEMENT CHARACTER}"
LARGEST = 2**63 - 1
HOUR_MS = 3_600_000  # of `audit_hours`
READ = "request.allowed"
USUAL_TYPES = ("session.issued", READ)  # as `stores.records.USUAL`, which is not for readers without a database
USUAL_OPERATIONS = ("sts:AssumeRole", "sts:GetCallerIdentity")
CHANGES = "changes"
UNLISTED = "unlisted"  # instead of a column, if rows of `audit_hours` are missing: their name
VALUED = ("type", "account", "actor_account", "operation")
MAX_AHEAD_MS = 300_000  # how far the clock of a process may be ahead: `clock.MAX_JUMP_MS`
_KEY_DIGITS = 16
_HEX = frozenset("0123456789abcdef")


@lru_cache(maxsize=4096)
def usual_values(kind: str, account: str, actor: str, operation: str) -> tuple[str, ...]:
    """The values of `audit_hours` by which searches find a record of this type, besides its access key: of its accounts,
    and of all for the operator.
    """
    names = [kind] if kind in USUAL_TYPES else []
    if operation in USUAL_OPERATIONS:
        names.append(operation)
    if kind != READ:
        names.append(CHANGES)
    return tuple(usual_value(each, name) for each in {account, actor, ""} for name in names)


def usual_value(account: str, name: str) -> str:
    """`account`: "" for all. `name`: a usual value, or CHANGES."""
    return f"{account} {name}"


def searchable(value: object, limit: int = _SHORT) -> str:
    """A copy that is safe to store in any database and to print on any terminal: at most `limit` printable
    characters.
    """
    text = value if type(value) is str else str(value)
    if len(text) <= limit and text.isprintable():
        return text
    return "".join(c if c.isprintable() else _INSTEAD for c in text[:limit])


def bounded(number: int) -> int:
    """`number` limited to the range from 0 to the maximum that both databases can store."""
    return number if 0 <= number <= LARGEST else min(max(number, 0), LARGEST)


def _time(value: object) -> int | None:
    """A time as its column has it; None, which no column has, for a value of another type."""
    return bounded(value) if type(value) is int else None


def id_key(text: str) -> int | None:
    """63 bits of an id, used as a search key. For ids that begin with the time, these are the leading bits, so that an
    index on the key grows at its end.

    Two ids may have the same key. None for "".
    """
    if not text:
        return None
    digits = text[: _KEY_DIGITS + 4].replace("-", "")[:_KEY_DIGITS]
    if len(digits) == _KEY_DIGITS and _HEX.issuperset(digits):
        return int(digits, 16) >> 1
    return int.from_bytes(hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()[:8], "big") >> 1


def record_columns(body: Mapping[str, Any]) -> dict[str, Any]:
    """The values of the searchable columns of a record, from the body of its event."""
    actor = body.get("actor")
    actor = actor if isinstance(actor, dict) else {}
    return {
        "at": _time(body.get("at")) or 0,
        "type": searchable(body.get("type", "")),
        "account": searchable(body.get("account", "")),
        "actor_account": searchable(actor.get("account", "")),
        "operation": searchable(body.get("operation", "")),
        "access_key_id": searchable(actor.get("access_key_id", "")),
        "error": searchable(body.get("error", "")),
        "request_key": id_key(searchable(body.get("request_id", ""))),
        "session_key": id_key(searchable(body.get("session_id", ""))),
    }


def altered_column(stored: Mapping[str, Any], body: Mapping[str, Any]) -> str:
    """The name of the first column of a record that does not match its event, or "" when all match."""
    return _first_difference(stored, record_columns(body)) or str(stored.get(UNLISTED, ""))


def _first_difference(stored: Mapping[str, Any], expected: Mapping[str, Any]) -> str:
    return next((name for name, value in expected.items() if stored.get(name) != value), "")


def altered_log_column(stored: Mapping[str, Any], opening: Mapping[str, Any], named: int) -> str:
    """The name of the first column of a log's row that does not match its opening event, or "" when all match.

    `named`: the newest head of this log that another log's opening names; -1 when there is none.
    """
    detail, at = opening.get("detail"), opening.get("at")
    detail = detail if isinstance(detail, dict) else {}
    opened_at = _time(at) or 0
    expected = {
        "installation": detail.get("installation"),
        "node": detail.get("node"),
        "opened_at": opened_at,
        "named_seq": named,
        "continues": detail.get("continues"),
    }
    altered = _first_difference(stored, expected)
    return altered or ("" if _can_be_recorded_until(stored, opened_at) else "recorded_until")


def _can_be_recorded_until(stored: Mapping[str, Any], opened_at: int) -> bool:
    """Whether `recorded_until` can be true: only the first log of a process has it, and it only grows, by the clock of the
    database. That of the process, which opened the log, may have been ahead (attack A343).

    No event contains it, so a value in between cannot be checked.
    """
    until = stored.get("recorded_until")
    return until is None or (
        stored.get("continues") is None and type(until) is int and until >= opened_at - MAX_AHEAD_MS
    )


def session_columns(body: Mapping[str, Any]) -> dict[str, Any] | None:
    """The column values of a session's row, from the event that issued it, without `log` and `seq`. None if the event
    issued no session.
    """
    if body.get("type") != "session.issued":
        return None
    session = body.get("session")
    session = session if isinstance(session, dict) else {}
    hops = session.get("hops")
    if not isinstance(hops, list) or not hops or not all(map(_is_hop, hops)):
        return {"session_id": None}
    first, last = hops[0], hops[-1]
    texts = {
        "session_id": last[0],
        "account": last[1],
        "kind": session.get("kind"),
        "principal_id": last[2],
        "root_principal_id": first[2],
    }
    return {
        **{name: searchable(text, _LONG) for name, text in texts.items()},
        "issued_at": _time(session.get("issued_at", 0)),
        "expires_at": _time(session.get("expires_at", 0)),
        "depth": sum(1 for hop in hops if str(hop[2]).startswith("AROA")),
    }


def _is_hop(value: object) -> bool:
    """Whether a hop has the types of `domain.session.Hop`: texts, a time, and a position of the feed."""
    if not isinstance(value, list) or not 7 <= len(value) <= 9:
        return False
    *texts, issued_at, seen = (value[at] for at in (*range(3), *range(5, len(value)), 3, 4))
    position = isinstance(seen, list) and [type(part) for part in seen] == [str, int]
    return position and type(issued_at) is int and all(isinstance(text, str) for text in texts)


def altered_session_column(stored: Mapping[str, Any], body: Mapping[str, Any]) -> str:
    """The name of the first column of a session's row that does not match the event that issued it, or ""."""
    expected = session_columns(body)
    if expected is None:
        return "seq"  # the record did not issue a session
    return _first_difference(stored, expected)

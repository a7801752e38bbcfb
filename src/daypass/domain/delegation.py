"""Delegation in tokens: who acts for the subject (`act`) and who may act for it (`may_act`). Pure and strict.

An ambiguous claim makes the whole token unusable, so that delegation is never ignored.
Source: RFC 8693, 4.1 and 4.4.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

MAX_DEPTH: Final = 4
"""The maximum depth of nested `act` claims (attack A64)."""

_MAX_TEXT: Final = 255
_NAMES: Final = frozenset({"sub", "iss", "act"})


class Party(NamedTuple):
    """A party named in a token. `issuer` defines the namespace of `subject`."""

    issuer: str
    subject: str


def actors(claims: Mapping[str, Any], issuer: str) -> tuple[Party, ...]:
    """The parties that act for the subject, newest first. Raises ValueError with the reason when they are not valid."""
    parties: list[Party] = []
    inner = claims.get("act")
    while inner is not None:
        if len(parties) >= MAX_DEPTH:
            raise ValueError(f"its act claim is nested more than {MAX_DEPTH} times")
        parties.append(_party(inner, issuer, "act"))
        inner = inner.get("act")
    return tuple(parties)


def may_act(claims: Mapping[str, Any], issuer: str) -> Party | None:
    """The party that may act for the subject; None when the token names none. Raises ValueError."""
    named = claims.get("may_act")
    if named is None:
        return None
    party = _party(named, issuer, "may_act")
    if "act" in named:
        raise ValueError("its may_act claim has members that are not understood")
    return party


def _party(value: Any, issuer: str, claim: str) -> Party:
    if not isinstance(value, Mapping):
        raise ValueError(f"its {claim} claim is not an object")  # noqa: TRY004  # the token is bad, not the caller's types
    if not value.keys() <= _NAMES:
        raise ValueError(f"its {claim} claim has members that are not understood")
    named: tuple[Any, Any] = value.get("iss", issuer), value.get("sub")
    for text in named:
        if not isinstance(text, str) or not 0 < len(text) <= _MAX_TEXT or not text.isprintable():
            raise ValueError(f"its {claim} claim does not name a party by sub and iss")
    return Party(*named)

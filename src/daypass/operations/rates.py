"""Limits request rates: by principal, by account and, when no identity is proven, by source.

A source is charged only for requests that fail before they prove an identity, and for those that store something without
proving one. A thousand hosts behind one address are therefore not throttled for requests with valid credentials.
"""

from __future__ import annotations

from typing import Final

from daypass.domain.arn import Source
from daypass.domain.claims import Caller, RequestFacts
from daypass.domain.errors import DaypassError, ErrorKind, Family
from daypass.ports import Env

MESSAGE: Final = "Rate exceeded"
RETRY_SECONDS: Final = 1
"""The value of `Retry-After`."""

_SOURCE: Final = "source"
_WRITE: Final = 20.0
"""Tokens of a network for an unsigned request that stores something: it costs the database a transaction, and lasts."""
_UNPROVEN: Final = frozenset(
    {Family.REQUEST, Family.CREDENTIALS, Family.PROOF, Family.DENIED, Family.CONTENT, Family.ABSENT}
)


def charge(env: Env, caller: Caller, tokens: float) -> None:
    """Charges a request to its caller. Raises DaypassError(THROTTLED)."""
    if exceeded := env.rates.charge(Source(account=caller.account, principal=caller.principal_id), tokens):
        private = {"rate": exceeded, "principal": caller.principal_id}
        raise DaypassError(ErrorKind.THROTTLED, MESSAGE, private=private)


def charge_client(env: Env, source: Source, client_id: str) -> None:
    """Charges a request of an OAuth client. Raises DaypassError(THROTTLED)."""
    if exceeded := env.rates.charge(source, 1.0):
        private = {"rate": exceeded, "client_id": client_id}
        raise DaypassError(ErrorKind.THROTTLED, MESSAGE, private=private)


def check_source(env: Env, facts: RequestFacts) -> None:
    """Call it before processing an unsigned request. Raises DaypassError(THROTTLED)."""
    if env.rates.is_network_exhausted(facts.source):
        raise _from_source()


def charge_write(env: Env, facts: RequestFacts) -> None:
    """Charges an unsigned request that stores something to its network. Raises DaypassError(THROTTLED)."""
    if env.rates.charge_network(facts.source, _WRITE):
        raise _from_source()


def refusal_of(
    env: Env, facts: RequestFacts, caller: Caller | None, error: DaypassError, *, stores: bool = False
) -> DaypassError:
    """The error to return for a request refused with `error`. A request that proved no identity is charged to its source.
    `stores`: the refusal stores a one-time proof, which anybody can make.
    """
    unproven = caller is None and error.kind.family in _UNPROVEN
    if unproven and env.rates.charge_network(facts.source, _WRITE if stores else 1.0):
        return _from_source()
    return error


def is_of_source(error: DaypassError) -> bool:
    """Whether a request was refused because its source is over its rate. Its client must wait for `RETRY_SECONDS`."""
    return error.kind is ErrorKind.THROTTLED and error.private.get("rate") == _SOURCE


def _from_source() -> DaypassError:
    return DaypassError(ErrorKind.THROTTLED, MESSAGE, private={"rate": _SOURCE})

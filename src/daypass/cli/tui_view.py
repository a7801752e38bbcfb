"""The views of `daypass tui`: the caller's access, requests and sessions. It changes nothing."""

from __future__ import annotations

import shlex
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from daypass.cli import output
from daypass.cli.access_request import last_part, state_of
from daypass.cli.options import PAGE, pages
from daypass.cli.profile import cached_sessions
from daypass.client.credentials import identity
from daypass.client.errors import ClientError

if TYPE_CHECKING:
    from daypass.client.http import Connection

_NO_TIME: Final = 0.0


class TuiRow(NamedTuple):
    """A line: its cells, when it ends (seconds, by the server's clock; 0: it does not), and a command about it."""

    cells: tuple[str, ...]
    ends: float
    command: str


@dataclass(frozen=True, slots=True)
class View:
    """Everything that is shown. `offset`: the server's clock beyond ours, in seconds."""

    who: str = ""
    offset: float = 0.0
    access: list[TuiRow] = field(default_factory=list)
    requests: list[TuiRow] = field(default_factory=list)
    sessions: list[TuiRow] = field(default_factory=list)
    waiting: int = 0
    local: bool = False  # the sessions are those of this machine's cache


def view_of(connection: Connection) -> View:
    """The caller's access, requests and sessions. Raises ClientError."""
    who = identity(connection)
    own = connection.api("GET", "/own-access")
    sessions = _sessions(connection, str(who["UserId"]).partition(":")[0])
    return View(
        output.safe(who["Arn"]),
        connection.offset,
        [_access(each) for each in own["grants"]],
        [_request(each) for each in own["access_requests"]],
        _cached() if sessions is None else sessions,
        len(own.get("waiting") or ()),
        sessions is None,
    )


def _sessions(connection: Connection, principal_id: str) -> list[TuiRow] | None:
    """The active sessions that the caller began; None if it may not list sessions."""
    query = {"root_principal_id": principal_id, "active": "true"}
    try:
        found = pages(connection, "/sessions", "sessions", query, PAGE)
    except ClientError as error:
        if error.status != 403:
            raise
        return None
    return [
        TuiRow(
            (output.safe(last_part(each["arn"])), output.safe(each["state"]), output.safe(each["name"])),
            each["expires_at"] / 1000,
            f"daypass sessions show {each['session_id']}",
        )
        for each in found
    ]


def _cached() -> list[TuiRow]:
    return [
        TuiRow(
            (output.safe(last_part(each.role)), "cached", output.safe(each.endpoint)),
            each.expiration - each.offset,
            f"daypass exec {shlex.quote(each.role)}",
        )
        for _, each in cached_sessions()
    ]


def _access(grant: dict[str, Any]) -> TuiRow:
    return TuiRow(
        (output.safe(last_part(grant["role"])), output.safe(state_of(grant)), grant["request_id"]),
        (grant["ends_at"] or 0) / 1000,
        f"daypass exec {shlex.quote(grant['role'])}",
    )


def _request(request: dict[str, Any]) -> TuiRow:
    return TuiRow(
        (
            output.safe(", ".join(map(last_part, request["roles"]))),
            output.safe(state_of(request)),
            output.safe(request["reason"]),
        ),
        request["deadline"] / 1000 if request["state"] in ("draft", "pending") else _NO_TIME,
        f"daypass request show {request['id']}",
    )

"""Tickets: opened in Jira or ServiceNow when access is granted, closed when it ends.

They are notifications of a channel, so they are retried and visible like any other. A ticket is found again by the id of
its request (a label in Jira, the correlation id in ServiceNow): nothing is stored about it, and a repeated delivery opens
no second one. Text of people is never markup there.
Source: Jira REST API 2, "Issues", "Issue search"; ServiceNow Table API.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeVar
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

from msgspec import Struct

from daypass.domain.access.message import Message, email_of
from daypass.domain.access.request import GRANTED
from daypass.domain.strict_json import struct_reader
from daypass.ports import OutboundFailed

if TYPE_CHECKING:
    from daypass.ports import Outbound

A = TypeVar("A")

JIRA: Final = "jira"
SERVICENOW: Final = "servicenow"
KINDS: Final = (JIRA, SERVICENOW)
OPENING: Final = frozenset({"access.approved", "access.requested", "access.accepted", "access.emergency"})
_ENDED: Final = "access.ended"
CLOSING: Final = frozenset({_ENDED, "access.denied", "access.cancelled"})
EVENTS: Final = tuple(sorted(OPENING | CLOSING))
"""The events of a ticket channel. Only those that create grants open a ticket, and only the end of the last grant closes it."""
_GRANTED: Final = tuple(state.value for state in GRANTED)
_CLOSED_STATE: Final = "7"  # ServiceNow, incident: Closed


class System(NamedTuple):
    """A ticket system. `base`: its URL without a path. `options`: of the channel's target."""

    outbound: Outbound
    base: str
    options: Mapping[str, str]
    headers: Mapping[str, str]
    owner: str

    async def get(self, path: str) -> bytes:
        """Raises OutboundFailed."""
        return await self.outbound.get(self.base + path, self.headers, owner=self.owner)

    async def read(self, path: str, reader: Callable[[bytes], A]) -> A:
        """The decoded answer to a GET. Raises OutboundFailed, also for an answer of another form."""
        try:
            return reader(await self.get(path))
        except ValueError:
            raise OutboundFailed("the ticket system's answer cannot be read") from None

    async def send(self, path: str, body: Mapping[str, Any], method: str = "POST") -> None:
        """Raises OutboundFailed."""
        encoded = json.dumps(body).encode()
        await self.outbound.post(self.base + path, encoded, self.headers, owner=self.owner, method=method)


def check_target(kind: str, target: str) -> None:
    """Raises ValueError unless the target names what the system needs: `https://HOST?project=KEY&type=Task`, or
    `https://HOST?table=incident`.
    """
    parts = urlsplit(target)
    options = dict(parse_qsl(parts.query))
    if parts.path not in ("", "/") or parts.fragment or not parts.hostname:
        raise ValueError("The target is https://HOST with parameters.")
    if kind == JIRA and not options.get("project", "").isalnum():
        raise ValueError("The target of a Jira channel names a project: https://HOST?project=KEY&type=Task.")
    if kind == SERVICENOW and not options.get("table", "incident").replace("_", "").isalnum():
        raise ValueError("The target of a ServiceNow channel names a table: https://HOST?table=incident.")


def system_of(outbound: Outbound, target: str, secret: str, owner: str) -> System:
    """The system of a channel. `secret`: "USER:TOKEN" for Basic, otherwise a bearer token."""
    parts = urlsplit(target)
    given = f"Basic {base64.b64encode(secret.encode()).decode()}" if ":" in secret else f"Bearer {secret}"
    headers = {"content-type": "application/json", "authorization": given}
    return System(outbound, f"{parts.scheme}://{parts.netloc}", dict(parse_qsl(parts.query)), headers, owner)


async def deliver(system: System, kind: str, document: Mapping[str, Any], message: Message) -> None:
    """Opens or closes the ticket of a notification. Raises OutboundFailed."""
    work, detail = _SYSTEMS[kind], document["detail"]
    request = str(detail.get("request", ""))
    if not request:  # the test of the channel
        await work.probe(system)
        return
    if document["type"] in OPENING:
        if detail.get("grants") and not await work.find(system, request):
            await work.open(system, request, message)
        return
    if detail.get("grants") and detail.get("state") not in _GRANTED:
        found = await work.find(system, request)
        if not found:
            raise OutboundFailed("the ticket of the request is not there (yet)")
        reason = detail["reason"] if document["type"] == _ENDED else document["type"].removeprefix("access.")
        await work.close(system, found, reason)


class _Work(NamedTuple):
    """How one kind of system is used. A ticket is named by what its paths take."""

    probe: Callable[..., Any]
    find: Callable[..., Any]
    open: Callable[..., Any]
    close: Callable[..., Any]


# --- Answers -----------------------------------------------------------------------------------------------------------


class _Issue(Struct, frozen=True):
    key: str


class _Issues(Struct, frozen=True):
    issues: list[_Issue]


class _Category(Struct, frozen=True):
    key: str = ""


class _Status(Struct, frozen=True):
    statusCategory: _Category = _Category()  # noqa: N815  # Jira's name


class _Transition(Struct, frozen=True):
    id: str
    to: _Status = _Status()


class _Transitions(Struct, frozen=True):
    transitions: list[_Transition]


class _Row(Struct, frozen=True):
    sys_id: str


class _Rows(Struct, frozen=True):
    result: list[_Row]


_read_issues = struct_reader(_Issues)
_read_transitions = struct_reader(_Transitions)
_read_rows = struct_reader(_Rows)


# --- Jira --------------------------------------------------------------------------------------------------------------


async def _jira_probe(system: System) -> None:
    await system.get("/rest/api/2/myself")


async def _jira_find(system: System, request: str) -> str:
    query = quote(f'project = "{system.options["project"]}" AND labels = "{_label(request)}"')
    issues = await system.read(f"/rest/api/2/search?jql={query}&fields=key&maxResults=1", _read_issues)
    return issues.issues[0].key if issues.issues else ""


async def _jira_open(system: System, request: str, message: Message) -> None:
    subject, text = email_of(message)
    plain = text.replace("{", "(").replace("}", ")")  # so that no text ends the block without markup
    fields = {
        "project": {"key": system.options["project"]},
        "issuetype": {"name": system.options.get("type", "Task")},
        "summary": subject[:250],
        "description": f"{{noformat}}\n{plain}\n{{noformat}}",
        "labels": ["daypass", _label(request)],
    }
    await system.send("/rest/api/2/issue", {"fields": fields})


async def _jira_close(system: System, key: str, reason: str) -> None:
    path = f"/rest/api/2/issue/{quote(key, safe='')}/transitions"
    possible = (await system.read(path, _read_transitions)).transitions
    done = [each for each in possible if each.to.statusCategory.key == "done"]
    if not done:  # it is closed already, or its workflow has no way to close it from here
        return
    comment = {"comment": [{"add": {"body": f"Access has ended: {{{{{reason}}}}}"}}]}
    await system.send(path, {"transition": {"id": done[0].id}, "update": comment})


def _label(request: str) -> str:
    return f"daypass-{request}"


# --- ServiceNow --------------------------------------------------------------------------------------------------------


def _table(system: System) -> str:
    return f"/api/now/table/{system.options.get('table', 'incident')}"


async def _servicenow_probe(system: System) -> None:
    await system.get(f"{_table(system)}?sysparm_limit=1&sysparm_fields=sys_id")


async def _servicenow_find(system: System, request: str) -> str:
    query = {"sysparm_query": f"correlation_id={_label(request)}", "sysparm_limit": "1", "sysparm_fields": "sys_id"}
    rows = await system.read(f"{_table(system)}?{urlencode(query)}", _read_rows)
    return rows.result[0].sys_id if rows.result else ""


async def _servicenow_open(system: System, request: str, message: Message) -> None:
    subject, text = email_of(message)
    row = {"short_description": subject[:160], "description": text, "correlation_id": _label(request)}
    await system.send(_table(system), row)


async def _servicenow_close(system: System, sys_id: str, reason: str) -> None:
    row = {"state": _CLOSED_STATE, "close_code": "Solved (Permanently)", "close_notes": f"Access has ended: {reason}"}
    await system.send(f"{_table(system)}/{quote(sys_id, safe='')}", row, "PATCH")


_SYSTEMS: Final[Mapping[str, _Work]] = {
    JIRA: _Work(_jira_probe, _jira_find, _jira_open, _jira_close),
    SERVICENOW: _Work(_servicenow_probe, _servicenow_find, _servicenow_open, _servicenow_close),
}

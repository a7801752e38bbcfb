"""`daypass simulate` and `daypass access`: what would be decided, and who can do what."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, TextIO

import click

from daypass.cli import exits, output
from daypass.cli.access_request import state_of
from daypass.cli.explain import show
from daypass.cli.files import text_of
from daypass.cli.options import PAGE, CommandGroup, CommandResult, Connect, Part, Table, WholeNumber, server_command
from daypass.client.credentials import identity
from daypass.client.http import Connection

_file = click.File(encoding="utf-8")
_DECISIONS = {"allowed": "allowed", "explicit_deny": "DENIED", "implicit_deny": "not allowed"}
_OUTCOMES = {"allowed": "allowed", "allowed_if": "depends", "partly": "partly", "denied": "DENIED"}


# --- Simulate


@click.command()
@click.argument("principal", default="", required=False)
@click.option("--action", "actions", multiple=True, required=True, metavar="SERVICE:NAME", help="Repeatable.")
@click.option("--resource", "resources", multiple=True, default=["*"], metavar="ARN", help="Repeatable; * by default.")
@click.option("--context", multiple=True, metavar="KEY=VALUE", help="Repeatable; a key given twice has several values.")
@click.option(
    "--policy", "policies", multiple=True, type=_file, metavar="FILE", help="Policy to add to the principal's own."
)
@click.option("--boundary", type=_file, metavar="FILE", help="Permissions boundary to use instead of the principal's.")
@click.option("--session-policy", "session_policies", multiple=True, type=_file, metavar="FILE", help="Repeatable.")
@click.option("--resource-policy", type=_file, metavar="FILE", help="The policy of each resource.")
@click.option("--resource-account", default="", metavar="ID", help="Owner of resources whose ARN names none.")
@click.option("--session-name", default="", metavar="NAME", help="For a role: the name of the session.")
@click.option("--external-id", default="", metavar="ID", help="For sts:AssumeRole.")
@click.option("--source-identity", default="", metavar="NAME", help="For sts:AssumeRole.")
@click.option("--tag", "tags", multiple=True, metavar="KEY=VALUE", help="For sts:AssumeRole; repeatable.")
@server_command
def simulate(principal: str, connect: Connect, **given: Any) -> CommandResult:
    """Test a request safely; nothing changes. PRINCIPAL is user/NAME, role/NAME or an ARN; without it, only the given
    policies decide. For sts:AssumeRole, the role's trust policy is evaluated too.

    Exits with 1 when anything is not allowed. Needs daypass:SimulateAccess.
    """
    connection = connect()
    answer = connection.api("POST", "/simulate", body=_simulation(connection, principal, given))
    results = answer["results"]
    allowed = all(result["decision"] == "allowed" for result in results)
    notes = dict.fromkeys(output.safe(result["note"]) for result in results if result.get("note"))
    return CommandResult(
        results, *_decisions(results), *_open(results), *notes, status=exits.OK if allowed else exits.FINDING
    )


def _decisions(found: list[dict[str, Any]]) -> list[Part]:
    """One decision with its explanation, or a table of several."""
    if len(found) == 1 and found[0]["explanation"]:
        return [lambda: show(found[0]["explanation"])]
    rows = [(r["action"], r["resource"], _DECISIONS.get(r["decision"], r["decision"]), _because(r)) for r in found]
    return [Table(("ACTION", "RESOURCE", "DECISION", "BECAUSE"), rows)]


def _simulation(connection: Connection, principal: str, given: dict[str, Any]) -> dict[str, Any]:
    context = {key: values if len(values) > 1 else values[0] for key, values in _pairs(given["context"], "--context")}
    asked = {
        "external_id": given["external_id"],
        "source_identity": given["source_identity"],
        "tags": {key: values[-1] for key, values in _pairs(given["tags"], "--tag")},
        **({"session_name": given["session_name"]} if given["session_name"] else {}),
    }
    return {
        "principal": _arn(connection, principal) if principal else "",
        "actions": list(given["actions"]),
        "resources": list(given["resources"]),
        "policies": [text_of(file) for file in given["policies"]],
        "boundary": _text(given["boundary"]),
        "session_policies": [text_of(file) for file in given["session_policies"]],
        "resource_policy": _text(given["resource_policy"]),
        "resource_account": given["resource_account"],
        "session_name": given["session_name"],
        "context": context,
        "assumption": asked,
    }


def _text(file: TextIO | None) -> str:
    return text_of(file) if file is not None else ""


def _pairs(texts: tuple[str, ...], option: str) -> list[tuple[str, list[str]]]:
    """Each key with all its values, in order."""
    found: dict[str, list[str]] = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not key or not equals:
            raise click.UsageError(f"{option} takes KEY=VALUE, not {text!r}.")
        found.setdefault(key, []).append(value)
    return list(found.items())


def _arn(connection: Connection, principal: str) -> str:
    """An ARN unchanged; user/NAME and role/NAME in the caller's account."""
    if principal.startswith("arn:"):
        return principal
    word, slash, name = principal.partition("/")
    if word not in ("user", "role") or not slash or not name:
        raise click.UsageError(f"PRINCIPAL is user/NAME, role/NAME or an ARN, not {principal!r}.")
    return f"arn:aws:iam::{identity(connection)['Account']}:{principal}"


def _because(result: dict[str, Any]) -> str:
    explanation = result["explanation"] or {}
    for sentence in explanation.get("would_have_to_be_true") or ():
        return str(sentence)
    found = [f"{d['policy']} line {d['line']}" for d in explanation.get("determining") or ()]
    return ", ".join(dict.fromkeys(found))


def _open(found: list[dict[str, Any]]) -> Iterator[Part]:
    for account in dict.fromkeys(result["open_with"] for result in found if result["open_with"]):
        yield from ("", f"Account {account} must allow it too; its policies are not yours to see.")


# --- Who can, what can


@click.group(cls=CommandGroup)
def access() -> None:
    """Who can do what."""


@access.command("who-can")
@click.argument("action")
@click.argument("resource", default="*")
@click.option("--denied", is_flag=True, help="Also show denied principals.")
@click.option(
    "--limit", type=WholeNumber(1, 100_000), default=1000, show_default=True, help="Stop after this many results."
)
@click.option(
    "--look-at", type=WholeNumber(1), default=None, help="Stop after this many principals; by default look at all."
)
@click.option("--after", default="", metavar="PLACE", help="Continue where an earlier search stopped.")
@server_command
def who_can(action: str, resource: str, connect: Connect, **given: Any) -> CommandResult:
    """List who in your account can do ACTION on RESOURCE (an ARN; default: *), for sts:AssumeRole also those whom the trust
    policy admits from outside.

    Exits with 1 when nobody can. Needs daypass:WhoCanAccess.
    """
    query = {"action": action, "resource": resource, "denied": "true" if given["denied"] else ""}
    query |= {"after": given["after"]} if given["after"] else {}
    search = _Search(connect(), query)
    search.run(given["limit"], given["look_at"])
    found = search.found[: given["limit"]]
    return CommandResult(
        found,
        Table(("PRINCIPAL", "KIND", "CAN", "IF"), [_access_row(entry) for entry in found]),
        status=exits.OK if any(entry["outcome"] != "denied" for entry in found) else exits.FINDING,
    )


class _Search:
    """Searches page by page and shows its progress."""

    def __init__(self, connection: Connection, query: dict[str, str]) -> None:
        self._connection = connection
        self._query = query
        self._following = ""
        self._looked_at = 0
        self.found: list[dict[str, Any]] = []

    def run(self, limit: int, look_at: int | None) -> None:
        """Until `limit` are found or `look_at` looked at. Says on stderr when there are more."""
        more = True
        with output.working("searching", lambda: f"{self._looked_at:,} looked at, {len(self.found):,} found"):
            while more and len(self.found) < limit and (look_at is None or self._looked_at < look_at):
                more = self._page(PAGE if look_at is None else min(PAGE, look_at - self._looked_at))
        if len(self.found) >= limit:
            more = False
            if len(self.found) > limit or self._following:
                output.message(f"stopped with {limit:,} found; there may be more: raise --limit")
        if more:
            place = output.safe(self._following)
            output.message(f"stopped after {self._looked_at:,} principals; continue with --after {place}")

    def _page(self, size: int) -> bool:
        """One page; whether there is another one."""
        answer = self._connection.api("GET", "/access/who-can", {**self._query, "limit": str(size)})
        self.found += answer["access"]
        self._looked_at += max(1, answer.get("looked_at", 0))
        self._following = answer["next"]
        moved = self._following not in ("", self._query.get("after"))  # else it would be asked for ever
        self._query = {**self._query, "after": self._following}
        return moved


@access.command("what-can")
@click.argument("principal")
@server_command
def what_can(principal: str, connect: Connect) -> CommandResult:
    """List what PRINCIPAL (user/NAME, role/NAME or an ARN) can do: each grant with the limits of its other policies, and
    the roles of your account that it can assume.

    Exits with 1 when it can do nothing. Needs daypass:WhatCanAccess.
    """
    connection = connect()
    query = {"principal": _arn(connection, principal), "limit": str(PAGE)}
    whole = connection.api("GET", "/access/what-can", query)
    following = whole["next"]
    while following:
        page = connection.api("GET", "/access/what-can", {**query, "after": following})
        whole["roles"] += page["roles"]
        following = page["next"] if page["next"] != following else ""
    del whole["next"]
    note = output.safe(whole.get("note", ""))
    useful = whole["roles"] or any(grant["extent"] != "denied" for grant in whole["grants"])
    return CommandResult(
        whole, *_grants(whole), *([note] if note else []), status=exits.OK if useful else exits.FINDING
    )


def _grants(whole: dict[str, Any]) -> Iterator[Part]:
    yield Table(
        ("ACTION", "RESOURCE", "CAN", "BY", "BUT"),
        [
            (
                f"all but {g['action']}" if g["not_action"] else g["action"],
                ("all but " if g["not_resource"] else "") + ", ".join(g["resources"]),
                _OUTCOMES.get(g["extent"], g["extent"]),
                f"{g['policy']} line {g['line']}",
                "; ".join([*map(_condition, g["conditions"]), *g["limits"]]),
            )
            for g in whole["grants"]
        ],
    )
    if whole["more_grants"]:
        yield "There are more grants than one answer shows."
    if whole["roles"]:
        yield ""
        yield Table(("ROLE", "KIND", "CAN ASSUME", "IF"), [_access_row(entry) for entry in whole["roles"]])


def _access_row(entry: dict[str, Any]) -> tuple[str, ...]:
    notes = [_condition(condition) for condition in entry["conditions"]]
    if entry["open_with"]:
        notes.append(f"{entry['open_with']} allows it too")
    notes += entry.get("because") or []
    notes += [entry["note"]] if entry.get("note") else []
    if entry["kind"] == "provider":
        notes.insert(0, entry["action"])
    return entry["principal"], entry["kind"], _OUTCOMES.get(entry["outcome"], entry["outcome"]), "; ".join(notes)


def _condition(proviso: dict[str, Any]) -> str:
    """Conditions that must hold (of an Allow) or must not (of a Deny)."""
    tests = [f"{c['operator']} {c['key']} [{', '.join(c['values'])}]" for c in proviso["conditions"]]
    text = " and ".join(tests)
    return f"unless {text}" if proviso["effect"] == "Deny" else text


# --- `daypass access own`: what a person has and may request


@access.command("own")
@server_command
def own_access(connect: Connect) -> CommandResult:
    """Show your grants and your open requests."""
    answer = connect().api("GET", "/own-access")
    grants = [(g["role"], g["state"], output.moment(g["ends_at"]), g["request_id"]) for g in answer["grants"]]
    listed = {g["request_id"] for g in answer["grants"]}
    requests = [
        (", ".join(r["roles"]), state_of(r), "", r["id"]) for r in answer["access_requests"] if r["id"] not in listed
    ]
    empty = "you have no granted access and no open request. For roles that you may request: daypass request roles"
    return CommandResult(
        answer, Table(("ROLE", "STATE", "UNTIL", "REQUEST"), [*grants, *requests], empty), *waiting(answer)
    )


def waiting(own: dict[str, Any]) -> list[Part]:
    """The note for an approver about own access."""
    number = len(own.get("waiting") or ())
    return ["", f"{output.counted(number, 'request')} for your decision: daypass request ls --inbox"] if number else []

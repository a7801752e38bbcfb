"""`daypass explain`: an encoded authorization message, or a whole pasted denial, turned into the reason."""

from __future__ import annotations

import json
import re
import shlex
from typing import Any

import click

from daypass.cli import output
from daypass.cli.files import text_at
from daypass.cli.options import CommandResult, Connect, Part, server_command
from daypass.client.errors import ClientError, Members
from daypass.client.http import Connection, segment

_MAX_TEXT = 1024 * 1024  # characters of standard input
_MESSAGE = re.compile(r"[A-Za-z0-9_-]{60,}={0,2}")
_REQUEST_ID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_DENIAL = re.compile(r"User: (\S{1,2048}) is not authorized to perform: (\S{1,160})")
_NEWEST = 100  # denials that are looked through
_OPTIONS = {
    "aws:multifactorauthpresent": "--mfa-serial ARN",
    "aws:multifactorauthage": "--mfa-serial ARN",
    "sts:externalid": "--external-id ID",
    "sts:sourceidentity": "--source-identity NAME",
    "sts:rolesessionname": "--session-name NAME",
}
"""Options of `exec` that set the values of condition keys, in lower case."""
_LAYERS = {
    "block": ("Blocks", "a block", "no block"),
    "guardrail": ("Guardrails", "a guardrail", "no guardrail"),
    "resource": ("Trust policy", "the trust policy", "no trust policy"),
    "identity": ("Identity-based policies", "an identity-based policy", "no identity-based policy"),
    "boundary": ("Permissions boundary", "the permissions boundary", "no permissions boundary"),
    "session": ("Session policies", "a session policy", "no session policy"),
}
_VERDICTS = {
    "allow": "allowed",
    "explicit_deny": "DENIED",
    "implicit_deny": "not allowed",
    "not_required": "not needed",
}
_REASONS = {
    "no rule": "no approval rule lets the person who would get the access request this role; daypass request roles lists "
    "those that a person may request",
    "break glass": "the approval rule does not allow this person emergency access",
    "conditions of the rule": "the approval rule has changed and tests conditions that only a new request can meet",
    "chat": "this request cannot be approved in a chat, only in Daypass",
    "ticket webhook": "the ticket system did not confirm that the ticket is open",
}
"""The record's short reasons for refusals of access requests, in words."""
_STEPS = {
    "action": "another action",
    "resource": "another resource",
    "administration": "does not grant daypass: actions",
    "principal": "another principal",
    "condition": "a condition does not hold",
}


@click.command()
@click.argument("message")
@server_command
def explain(message: str, connect: Connect) -> CommandResult:
    """Show why a request was denied. MESSAGE is a request id, the encoded message, or a pasted denial; - reads it from standard
    input. A denial without either is looked up in the record: the newest one of this principal and action.

    Needs sts:DecodeAuthorizationMessage in the account that decided; to search the record, daypass:ReadAudit.
    """
    text = (text_at("-")[:_MAX_TEXT] if message == "-" else message).strip()
    connection = connect()
    candidates, requests = _MESSAGE.findall(text), _REQUEST_ID.findall(text)
    if candidates:
        explanation = _decoded(connection, max(candidates, key=len))
    elif requests:
        explanation = _of_request(connection, requests[0])
    elif denial := _DENIAL.search(text):
        explanation = _newest(connection, denial[1], denial[2])
    else:
        raise click.UsageError(
            "There is neither an encoded authorization message, nor a request id, nor a denial in this text."
        )
    return CommandResult(explanation, lambda: show(explanation), *_helping(explanation))


def _helping(explanation: dict[str, Any]) -> list[Part]:
    """The command that would help: an access request, or an option that fulfils a condition of the trust policy."""
    if explanation.get("role"):  # there is none of this ARN
        return ["", "The roles that you may assume: daypass roles"]
    if explanation.get("allowed") or not explanation.get("layers"):
        return []
    statements = [each for layer in explanation["layers"] for each in layer["statements"]]
    missing = {c["key"].lower() for each in statements for c in each["conditions"] if not c["held"]}
    action, resource = (shlex.quote(output.safe(explanation.get(name, ""))) for name in ("action", "resource"))
    if "daypass:approved" in missing:
        return ["", f"An approved access request would help: daypass request create {resource} --reason TEXT"]
    if explanation.get("blocked_by") == "block":
        return ["", "The blocks in force: daypass revocations ls"]
    if explanation.get("explicit"):
        return []
    options = dict.fromkeys(option for key, option in _OPTIONS.items() if key in missing)
    if options and action == "sts:AssumeRole":
        return ["", f"This may help: daypass exec {resource} {' '.join(options)}"]
    return ["", f"Roles that allow it, if you may request any: daypass request suggest {action} {resource}"]


def _of_request(connection: Connection, request_id: str) -> dict[str, Any]:
    """The explanation of a denied request; of another refusal, or without that permission, what the record says."""
    try:
        explanation: dict[str, Any] = connection.api("GET", f"/explanations/{segment(request_id)}")["explanation"]
        return explanation
    except ClientError as refused:
        if refused.status not in (403, 404):
            raise
        try:
            return _recorded(connection, request_id)
        except ClientError as error:
            raise (refused if refused.status == 403 and error.code == "AccessDenied" else error) from None


def _recorded(connection: Connection, request_id: str) -> dict[str, Any]:
    """The explanation that the record keeps of a request; of one that no policy was asked about, why it was refused."""
    records = connection.api("GET", "/audit/records", {"request_id": request_id})["records"]
    events = [record["event"] for record in records if record["event"]]
    for event in events:
        if isinstance(event.get("decision"), dict):
            return dict(event["decision"])
    for event in events:
        if event.get("error"):
            request = dict(event.get("detail") or {})
            kept = {name: event.get(name) for name in ("error", "operation", "actor")}
            return {**kept, "private": request.pop("private", {}), "request": request}
    raise ClientError("NoSuchEntity", "The record has no refusal of this request, or you may not see it.", 404)


def _newest(connection: Connection, principal: str, action: str) -> dict[str, Any]:
    """The explanation that the record keeps of the newest denial of `action` to `principal`."""
    query = {"error": "access_denied", "limit": str(_NEWEST)}
    # Mostly the operation has the name of the action that was denied: AssumeRole may have lacked sts:TagSession.
    for narrower in ({"operation": action}, {}):
        for record in connection.api("GET", "/audit/records", {**query, **narrower})["records"]:
            event = record["event"] or {}
            decision = event.get("decision")
            if isinstance(decision, dict) and (decision.get("principal"), decision.get("action")) == (
                principal,
                action,
            ):
                found = f"request {output.safe(event.get('request_id'))}, {output.moment(record['at'])}"
                output.message(f"the newest such denial in the record is {found}")
                return dict(decision)
    raise ClientError("NoSuchEntity", "The newest records that you may see have no such denial.", 404)


def _decoded(connection: Connection, message: str) -> dict[str, Any]:
    answer = connection.sts("DecodeAuthorizationMessage", EncodedMessage=message)
    try:
        explanation = json.loads(answer.findtext("DecodedMessage") or "", object_hook=Members)["explanation"]
    except (ValueError, TypeError, RecursionError):
        explanation = None
    if not isinstance(explanation, dict):
        raise ClientError("", "the server's answer holds no explanation")
    return explanation


def show(explanation: dict[str, Any], *, every: bool = False) -> None:
    """Prints an explanation for people: verdict, request, layers with their statements, and what is missing.

    `every`: also the conditions that hold.
    """
    if "error" in explanation:
        _show_refusal(explanation)
        return
    click.echo(_verdict(explanation))
    click.echo()
    output.fields({f"  {name}": explanation.get(name) for name in ("principal", "action", "resource", "role")})
    for found in explanation.get("layers", ()):
        _show_layer(found, every=every)
    needed = explanation.get("would_have_to_be_true") or ()
    if needed:
        click.echo("\nFor it to be allowed, this would have to be true:")
        for sentence in needed:
            output.prose(f"  - {output.safe(sentence)}")


def _show_refusal(refusal: dict[str, Any]) -> None:
    """Prints a request that was refused before any policy was evaluated: its facts, and the details of the record."""
    click.echo(f"Refused: {output.safe(refusal['error'])}. No policy was asked.\n")
    who = (refusal["actor"] or {}).get("arn")
    output.fields({"  operation": refusal["operation"], "  principal": who})
    why = dict(refusal["private"])
    if why.get("reason") in _REASONS:
        why["reason"] = _REASONS[why["reason"]]
    for title, found in (("The request:", refusal["request"]), ("Why:", why)):
        if found:
            click.echo(f"\n{title}")
            output.fields({f"  {name}": _plain(value) for name, value in found.items()})


def _plain(value: object) -> object:
    return json.dumps(value) if isinstance(value, (dict, list)) else value


def _verdict(explanation: dict[str, Any]) -> str:
    if explanation.get("allowed"):
        return "Allowed."
    blocking = explanation.get("blocked_by")
    if not blocking:
        reason = explanation.get("reason")  # of a decision without policies, for example about a vote
        return f"Denied: {output.safe(reason)}." if reason else "Denied."
    _, one, none = _LAYERS.get(
        blocking, ("", f"the layer {output.safe(blocking)}", f"nothing in {output.safe(blocking)}")
    )
    return f"Denied: {one} denies it." if explanation.get("explicit") else f"Denied: {none} allows it."


def _show_layer(found: dict[str, Any], *, every: bool) -> None:
    title = _LAYERS.get(found["layer"], (output.safe(found["layer"]),))[0]
    level = f", level {found['level'] + 1}" if found["level"] else ""
    click.echo(f"\n{title}{level}: {output.safe(_VERDICTS.get(found['verdict'], found['verdict']))}")
    for statement in found["statements"]:
        sid = f" '{statement['sid']}'" if statement["sid"] else ""
        place = f"{statement['effect']} {statement['policy']}{sid}, line {statement['line']}"
        state = "applies" if statement["matched"] else _STEPS.get(statement["failed_at"], statement["failed_at"])
        output.prose(f"  {output.safe(place)}: {output.safe(state)}")
        for condition in statement["conditions"]:
            if every or not condition["held"]:
                _show_condition(condition, every=every)
    if not found["policies"]:
        click.echo("  No policy applies here.")
    elif found["omitted"]:
        number, names = found["omitted"], ", ".join(found["policies"])
        which = "1 statement" if number == 1 else f"{output.safe(number)} statements"
        output.prose(f"  Not shown: {which}, about other actions or over the limit. Policies: {output.safe(names)}")


def _show_condition(condition: dict[str, Any], *, every: bool) -> None:
    found = condition["found"]
    shown = "absent" if found is None else ", ".join(found) if isinstance(found, list) else found
    wanted = ", ".join(condition["wanted"])
    verdict = (": holds" if condition["held"] else ": does not hold") if every else ""
    click.echo(f"      {output.safe(condition['operator'])} {output.safe(condition['key'])}{verdict}")
    output.prose(f"        wanted  {output.safe(wanted)}", indent=16)
    output.prose(f"        found   {output.safe(shown)}", indent=16)

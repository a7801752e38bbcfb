"""`daypass explain`: an encoded authorization message, or a whole pasted denial, turned into the reason."""

from __future__ import annotations

import json
import re
import sys
from typing import Any

import click

from daypass.cli import output
from daypass.cli.options import connect, output_option, server_options
from daypass.client.http import ClientError, Connection

_MESSAGE = re.compile(r"[A-Za-z0-9_-]{60,}={0,2}")
_REQUEST_ID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_VERDICTS = {
    "allow": "allows",
    "explicit_deny": "DENIES",
    "implicit_deny": "allows nothing here",
    "not_required": "need not allow",
}


@click.command()
@click.argument("message")
@server_options
@output_option
def explain(message: str, profile: str, endpoint: str, form: str) -> None:
    """Why a request was denied. MESSAGE is the encoded message, a pasted denial that holds one, - for stdin, or a
    request id, which is looked up in the record.

    Needs the permission sts:DecodeAuthorizationMessage in the account that decided, for a request id daypass:ReadAudit.
    """
    text = sys.stdin.read() if message == "-" else message
    connection = connect(profile, endpoint)
    explanation = _recorded(connection, text) if _REQUEST_ID.fullmatch(text) else _decoded(connection, text)
    if form == "json":
        output.data(explanation)
    else:
        show(explanation)


def _recorded(connection: Connection, request_id: str) -> dict[str, Any]:
    """The explanation that the record keeps of a request."""
    for record in connection.api("GET", "/audit/records", {"request_id": request_id})["records"]:
        decision = (record["event"] or {}).get("decision")
        if isinstance(decision, dict):
            return decision
    raise ClientError("NoSuchEntity", "No decision is on record for this request, or you may not see it.", 404)


def _decoded(connection: Connection, text: str) -> dict[str, Any]:
    candidates = _MESSAGE.findall(text)
    if not candidates:
        raise click.UsageError("There is no encoded authorization message in this text.")
    answer = connection.sts("DecodeAuthorizationMessage", EncodedMessage=max(candidates, key=len))
    decoded = json.loads(answer.findtext("DecodedMessage") or "{}")
    return decoded.get("explanation") or {}


def show(explanation: dict[str, Any]) -> None:
    """Prints an explanation for people."""
    verdict = "Allowed" if explanation.get("allowed") else "Denied"
    how = "explicitly, by a" if explanation.get("explicit") else "because nothing allows it in a"
    layer = explanation.get("blocked_by")
    click.echo(f"{verdict}{f' {how} policy of the layer: {output.safe(layer)}' if layer else ''}")
    output.fields({name: explanation.get(name) for name in ("principal", "action", "resource")})
    for found in explanation.get("layers", ()):
        _show_layer(found)
    needed = explanation.get("would_have_to_be_true") or ()
    if needed:
        click.echo("\nFor it to be allowed, this would have to be true:")
        for sentence in needed:
            click.echo(f"  - {output.safe(sentence)}")


def _show_layer(found: dict[str, Any]) -> None:
    verdict = _VERDICTS.get(found["verdict"], found["verdict"])
    click.echo(f"\n{output.safe(found['layer'])}: {output.safe(verdict)}")
    for statement in found["statements"]:
        name = f"{statement['policy']} statement {statement['statement']}"
        sid = f" ({statement['sid']})" if statement["sid"] else ""
        where = f"line {statement['line']}"
        state = "applies" if statement["matched"] else f"does not apply: {statement['failed_at']}"
        click.echo(f"  {statement['effect']:5} {output.safe(name + sid)}, {where}: {state}")
        for condition in statement["conditions"]:
            if not condition["held"]:
                value = "absent" if condition["found"] is None else condition["found"]
                wanted = ", ".join(condition["wanted"])
                click.echo(
                    f"        {output.safe(condition['operator'])} {output.safe(condition['key'])}: "
                    f"wanted {output.safe(wanted)}, found {output.safe(value)}"
                )
    if not found["statements"] and not found["policies"]:
        click.echo("  there is no policy in this layer")

"""`daypass doctor` and `daypass support-bundle`: what is wrong with a server, and what to send to those who can help."""

from __future__ import annotations

import io
import json
import os
import platform
import tarfile
import time
from pathlib import Path
from typing import Any

import click

from daypass import __version__
from daypass.cli import exits
from daypass.cli.options import CommandResult, Connect, Table, server_command
from daypass.client.doctor import CRITICAL, WARNING, Doctor
from daypass.client.errors import ClientError
from daypass.client.http import Connection

_token = click.option(
    "--metrics-token", envvar="DAYPASS_METRICS_TOKEN", default="", metavar="TEXT", help="The server's metrics token."
)
_ORDER = (CRITICAL, WARNING)


@click.command("doctor")
@_token
@server_command
def doctor(metrics_token: str, connect: Connect) -> CommandResult:
    """Check a server: clock, keys, certificate, database, replication, disk, spool, record, providers, policies.

    Each finding has its runbook. The exit status is 1 when something is wrong.
    """
    connection = connect()
    found = list(Doctor(connection, metrics_token).findings())
    found.sort(key=lambda each: _ORDER.index(each.state) if each.state in _ORDER else len(_ORDER))
    rows = [(each.subject, each.state, each.text, each.runbook) for each in found]
    return CommandResult(
        [each._asdict() for each in found],
        Table(("SUBJECT", "STATE", "WHAT", "RUNBOOK"), rows),
        *(
            [f"Runbooks: {connection.profile.endpoint.rstrip('/')}/help/runbooks"]
            if any(row[3] for row in rows)
            else []
        ),
        status=exits.FINDING if any(each.state in _ORDER for each in found) else exits.OK,
    )


_DAY_MS = 86_400_000


@click.command("support-bundle")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@_token
@server_command
def support_bundle(file: Path, metrics_token: str, connect: Connect) -> CommandResult:
    """Write findings, settings, metrics and figures of the last day into the new FILE (.tar.gz).

    It holds no secret, event or policy, but names of hosts, roles and callers.
    """
    connection = connect()
    look = Doctor(connection, metrics_token)
    findings = [each._asdict() for each in look.findings()]
    metrics = look.gathered.pop("metrics", "")
    until = int(connection.clock() * 1000)
    period = {"since": str(until - _DAY_MS), "until": str(until)}
    parts: dict[str, Any] = {
        "version.json": {"daypass": __version__, "python": platform.python_version(), "system": platform.platform()},
        "findings.json": findings,
        "readyz.json": look.gathered.get("readyz"),
        "settings.json": _asked(connection, "/settings"),
        "summary.json": _asked(connection, "/audit/summary", period),
        "measurements.json": _asked(connection, "/measurements", period),
    }
    texts = {name: json.dumps(value, indent=1) + "\n" for name, value in parts.items()} | {"metrics.txt": metrics}
    own = (connection.profile.secret_access_key, connection.profile.session_token, metrics_token)
    with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as out:
        _write(out, {name: _without(text, own) for name, text in texts.items()})
    return CommandResult({"file": str(file), "parts": [*texts]}, f"Wrote {file}: {', '.join(texts)}.")


def _asked(connection: Connection, path: str, query: dict[str, str] | None = None) -> Any:
    """The answer, or why there is none: a part that may not be read does not end the others."""
    try:
        return connection.api("GET", path, query)
    except ClientError as error:
        return {"refused": error.code or error.message}


def _without(text: str, secrets: tuple[str, ...]) -> str:
    """Removes the secret of the request from the server's answer."""
    for secret in filter(None, secrets):
        text = text.replace(secret, "***")
    return text


def _write(out: Any, texts: dict[str, str]) -> None:
    with tarfile.open(fileobj=out, mode="w:gz") as bundle:
        for name, text in texts.items():
            data = text.encode()
            member = tarfile.TarInfo(f"daypass-support/{name}")
            member.size, member.mode, member.mtime = len(data), 0o600, int(time.time())
            bundle.addfile(member, io.BytesIO(data))

"""`daypass elevate`: request access to a role, wait for it, run a command with it, and end it."""

from __future__ import annotations

import secrets
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from types import FrameType
from typing import TYPE_CHECKING, Any

import click

from daypass.cli import output, shell
from daypass.cli.access_request import missing, new_request_options, wanted
from daypass.cli.durations import left
from daypass.cli.environment import of_role, process_form
from daypass.cli.exec import PassedOn
from daypass.cli.exits import DENIED
from daypass.cli.options import Connect, complete_roles, server_connection
from daypass.client.credentials import AssumeRole, assume_role
from daypass.client.errors import ClientError
from daypass.client.http import segment

if TYPE_CHECKING:
    from daypass.client.credentials import Credentials
    from daypass.client.http import Connection

_PATH = "/access-requests"
_ENDINGS = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name))
_WARNING = 300.0  # seconds before the end of the access
_PAUSE = 1.0  # seconds between two looks at a request that waits


@click.command("elevate", cls=PassedOn)
@click.argument("role", shell_complete=complete_roles)
@new_request_options
@server_connection
@click.pass_obj
def elevate(command: tuple[str, ...] | None, /, role: str, connect: Connect, **given: Any) -> int:
    """Get ROLE for one COMMAND: daypass elevate ROLE --reason "..." -- kubectl get pods

    Requests access, waits until it is approved, runs the command, or a shell, with the role's credentials, and ends the
    access. Ctrl-C, SIGTERM and a closed terminal cancel the request, or end the command and the access. Options of daypass
    stand before the command.
    """
    if not (command[0] if command else output.interactive()):
        raise click.UsageError(
            "Name a command: daypass elevate ROLE --reason TEXT -- COMMAND. A shell needs a terminal."
        )
    connection = connect()
    body = {**wanted(connection, (role,), given), "client_token": f"elevate-{secrets.token_hex(16)}", "reuse": True}
    with _handlers():
        return _elevated(connection, body, tuple(command or ()))


def _elevated(connection: Connection, body: Mapping[str, Any], command: tuple[str, ...]) -> int:
    made: Mapping[str, Any] | None = None
    try:
        made = connection.api("POST", _PATH, body=body)
        made = _await_decision(connection, _path(made), made)
    except KeyboardInterrupt:
        # If its answer was not awaited, the request with the same client token identifies it.
        return _cancelled(connection, made or connection.api("POST", _PATH, body=body))
    if made["state"] not in ("approved", "claimed"):
        why = "; ".join(vote["reason"] for vote in made["votes"] if not vote["approve"] and vote["reason"])
        output.message(f"the request is {output.safe(made['state'])}{output.safe(f': {why}') if why else ''}")
        return DENIED
    reused = made.get("reused", False)
    if reused:
        output.message(f"you have this access already, by request {output.safe(made['id'])}")
    try:
        return _run(connection, body["roles"][0] if reused else made["roles"][0], command)
    finally:
        if not reused:  # who has requested it, ends it
            _finish(connection, _path(made))


def _path(made: Mapping[str, Any]) -> str:
    return f"{_PATH}/{segment(made['id'])}"


@contextmanager
def _handlers() -> Iterator[None]:
    """A closed terminal and SIGTERM are Ctrl-C, unless they are ignored, as under nohup."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, *_ENDINGS)}
    _handle(signal.default_int_handler)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _handle(handler: Callable[[int, FrameType | None], Any]) -> None:
    for number in _ENDINGS:
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, handler)


def _cancelled(connection: Connection, made: Mapping[str, Any]) -> int:
    if not made.get("reused"):
        connection.api("POST", f"{_path(made)}/cancel")
        output.message("the request is cancelled")
    return 130


def _await_decision(
    connection: Connection, path: str, made: Mapping[str, Any], sleep: Callable[[float], None] = time.sleep
) -> Mapping[str, Any]:
    """The request once it is decided. Shows what it waits for, on one line of a terminal."""
    began, shown = time.monotonic(), ""
    live = sys.stderr.isatty()
    try:
        while made["state"] in ("draft", "pending"):
            text = f"daypass: request {made['id']} waits for {missing(made) or 'a decision'}"
            if live:
                sys.stderr.write(f"\r\x1b[K{output.safe(text)} ({left(time.monotonic() - began + 1)})")
                sys.stderr.flush()
            elif text != shown:
                click.echo(output.safe(text), err=True)
            shown = text
            sleep(_PAUSE)
            made = connection.api("GET", path)
    finally:  # after Ctrl-C, too
        if live and shown:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()
    return made


def _run(connection: Connection, role: str, command: tuple[str, ...]) -> int:
    """Runs the command with the role's credentials; its exit status."""
    issued = assume_role(connection, AssumeRole(role, session_name="elevate"), connection.clock())
    output.message(f"you have {output.safe(role)} until {issued.expiration_text()}")
    environment = of_role(process_form(asdict(issued)), asdict(connection.profile), role)
    program = shell.marked(role, environment) if not command else shell.Program(command, environment)
    sys.stdout.flush()
    received: list[int] = []  # while the command starts: it gets these signals, too
    _handle(lambda number, _: received.append(number))
    try:
        process = subprocess.Popen(program.arguments, env=dict(program.environment))  # noqa: S603  # the user's own
    except OSError as error:
        output.message(f"{output.safe(program.arguments[0])}: {error.strerror}")
        return 127 if isinstance(error, FileNotFoundError) else 126
    _handle(lambda number, _: process.send_signal(number))
    for number in received:
        process.send_signal(number)
    with _warning(issued, connection.clock()):
        while True:
            try:
                status = process.wait()
            except KeyboardInterrupt:  # the command gets the signal too, and decides
                continue
            return 128 - status if status < 0 else status


@contextmanager
def _warning(issued: Credentials, now: float) -> Iterator[None]:
    """Says meanwhile that the access is about to end, unless it was as short from the beginning."""
    seconds = issued.expiration - issued.offset - now - _WARNING
    timer = threading.Timer(seconds, output.message, [f"the access ends at {issued.expiration_text()}"])
    timer.daemon = True
    if 0 < seconds < threading.TIMEOUT_MAX:
        timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _finish(connection: Connection, path: str) -> None:
    """Ends the access. Nothing interrupts that: who closes a terminal does not want to keep it."""
    for number in (signal.SIGINT, *_ENDINGS):
        signal.signal(number, signal.SIG_IGN)
    try:
        connection.api("POST", f"{path}/done")
    except ClientError as error:
        if error.code != "ConcurrentModification":  # it has ended by itself
            output.message(f"the access could not be ended: {output.safe(error)}")
            return
    output.message("the access has ended")

"""`daypass agent`: run the agent, ask it for its state, and for credentials over its Unix socket."""

from __future__ import annotations

import http.client
import json
import socket
import struct
from pathlib import Path
from typing import Any

import click

from daypass.cli import exits, output
from daypass.cli.options import CommandGroup, CommandResult, Table, output_option
from daypass.client import state
from daypass.client.agent.config import load, uid_of
from daypass.client.errors import ClientError
from daypass.client.profiles import LocalStateError

_SECONDS = 5.0
_MAX_ANSWER = 1 << 20
_PEER = struct.Struct("3i")


@click.group(cls=CommandGroup)
def agent() -> None:
    """Keep credentials valid for the programs of this machine."""


config_option = click.option(
    "--config",
    "file",
    default="/etc/daypass/agent.toml",
    metavar="FILE",
    help="The configuration (TOML).",
    show_default=True,
)
socket_option = click.option("--socket", "path", default="", metavar="PATH", help="The socket of the agent.")
user_option = click.option(
    "--agent-user", "user", default="", metavar="USER", help="Who runs the agent, if not you or root."
)


@agent.command("run")
@config_option
@click.option("--check", is_flag=True, help="Check the configuration, and do not run.")
def run(file: str, check: bool) -> None:
    """Run the agent until it gets SIGTERM. Programs of this machine get credentials from it by the standard environment of
    AWS SDKs, and files that it writes.
    """
    config = load(file)
    if check:
        output.message(f"{file} is valid: {output.counted(len(config.roles), 'role')}")
        return
    from daypass.client.agent.run import Agent  # it loads the event loop

    Agent(config).run(lambda address: output.message(f"serving {address}"))


@agent.command("status")
@config_option
@socket_option
@user_option
@output_option
def status(file: str, path: str, user: str) -> CommandResult:
    """Show your roles, until when their sessions last, and what is wrong.

    The agent's own user and root also see its endpoints. The exit status is 1 when something is wrong.
    """
    found = _ask(path or load(file).socket_path, "/status", user)
    rows = [
        (
            each["role"],
            "valid" if each["valid"] else "none",
            each["expires"],
            each["problem"] or _problem_of_files(each),
        )
        for each in found["roles"]
    ]
    rows += [
        (each["endpoint"], "called" if each["called"] else "left alone", "", each["problem"])
        for each in found.get("endpoints", ())
    ]
    if found.get("cache", "sealed") != "sealed":
        output.message(output.safe(found["cache"]))
    ill = any(not each["valid"] or _problem_of_files(each) for each in found["roles"])
    return CommandResult(
        found,
        Table(("ROLE OR ENDPOINT", "STATE", "EXPIRES", "PROBLEM"), rows),
        status=exits.FINDING if ill else exits.OK,
    )


def _problem_of_files(role: dict[str, Any]) -> str:
    return next((why for why in role["files"].values() if why), "")


@agent.command("credentials")
@click.argument("role")
@config_option
@socket_option
@user_option
def credentials(role: str, file: str, path: str, user: str) -> None:
    """Print the credentials of ROLE, a name of the configuration, for an AWS SDK. The agent gives them
    to the users that the configuration names.
    """
    found = _ask(path or load(file).socket_path, f"/roles/{role}", user)
    form = {"Version": 1, "SessionToken": found.pop("Token"), **found}
    click.echo(json.dumps(form))


def _ask(path: str, target: str, user: str) -> dict[str, Any]:
    """The agent's answer. Raises LocalStateError, also for a socket of another user, who could give out sessions of theirs."""
    connection = _UnixConnection(path, state.owners() | ({uid_of(user)} if user else set()))
    try:
        connection.request("GET", target)
        with connection.getresponse() as response:
            body = json.loads(response.read(_MAX_ANSWER))
            status = response.status
    except (FileNotFoundError, ConnectionRefusedError):
        raise LocalStateError(f"No agent runs at {path}. To start one: daypass agent run") from None
    except OSError as error:
        raise LocalStateError(f"The agent at {path} does not answer: {error.strerror or error}.") from None
    except (http.client.HTTPException, ValueError, RecursionError):
        raise LocalStateError(f"The program that answers at {path} is not an agent.") from None
    finally:
        connection.close()
    if status != 200 or not isinstance(body, dict):
        raise ClientError("AccessDenied" if status == 403 else "", str(body.get("message", "it refuses")), status)
    return body


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str, trusted: set[int]) -> None:
        super().__init__("agent", timeout=_SECONDS)
        self._path, self._trusted = path, trusted

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(_SECONDS)
        self.sock.connect(str(Path(self._path)))
        _, uid, _ = _PEER.unpack(self.sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size))
        if uid not in self._trusted:
            raise LocalStateError(f"The agent at {self._path} is run by another user, {uid}: give --agent-user.")

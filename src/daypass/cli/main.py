"""The entry point: finds the command, runs it, and turns every failure into one line and an exit status."""

from __future__ import annotations

import importlib
import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import click

from daypass import __version__

# name → (module, attribute). A command's module is imported when it is called, or for help.
COMMANDS: dict[str, tuple[str, str]] = {
    "login": ("daypass.cli.login", "login"),
    "whoami": ("daypass.cli.borrow", "whoami"),
    "roles": ("daypass.cli.borrow", "roles"),
    "assume": ("daypass.cli.borrow", "assume"),
    "exec": ("daypass.cli.borrow", "exec_"),
    "credential-process": ("daypass.cli.borrow", "credential_process"),
    "explain": ("daypass.cli.explain", "explain"),
    "lint": ("daypass.cli.lint", "lint"),
    "trust": ("daypass.cli.trust", "trust"),
    "provider": ("daypass.cli.provider", "provider"),
    "simulate": ("daypass.cli.access", "simulate"),
    "access": ("daypass.cli.access", "access"),
    "role": ("daypass.cli.role", "role"),
    "sessions": ("daypass.cli.operate", "sessions"),
    "revoke": ("daypass.cli.operate", "revoke"),
    "revocations": ("daypass.cli.operate", "revocations"),
    "audit": ("daypass.cli.audit", "audit"),
    "account": ("daypass.cli.operate", "account"),
    "guardrail": ("daypass.cli.operate", "guardrail"),
    "serve": ("daypass.cli.serve", "serve"),
}

_SUMMARIES = {
    "login": "Store a server and a key as a profile.",
    "whoami": "Who this profile's key belongs to.",
    "roles": "The roles that you may assume.",
    "assume": "Borrow a role and print its credentials.",
    "exec": "Run a command with a role's credentials in its environment.",
    "credential-process": "Print a role's credentials as AWS SDKs read them.",
    "explain": "Why a request was denied, from its encoded message.",
    "lint": "What policies probably say against your will.",
    "trust": "Trust policies for tokens of identity providers.",
    "provider": "Issuers of tokens that an account takes.",
    "simulate": "What would be decided, and why.",
    "access": "Who can do what.",
    "role": "What Daypass adds to a role.",
    "sessions": "Sessions that were issued.",
    "revoke": "Cut sessions off, at once.",
    "revocations": "Revocations in force.",
    "audit": "Read and verify the record.",
    "account": "Accounts of this installation.",
    "guardrail": "Policies that bound everyone in an account.",
    "serve": "Run the server.",
}


class _PipeClosed(Exception):
    """Whoever read our output has gone."""


@contextmanager
def _pipe_watched() -> Iterator[None]:
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError:  # click would exit with a status that means something else here
        raise _PipeClosed from None


class _Lazy(click.Group):
    def make_context(self, *given: Any, **more: Any) -> click.Context:
        with _pipe_watched():  # help is printed here
            return super().make_context(*given, **more)

    def invoke(self, ctx: click.Context) -> Any:
        with _pipe_watched():
            return super().invoke(ctx)

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002  # click's signature
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in COMMANDS:
            return None
        module, attribute = COMMANDS[cmd_name]
        command = getattr(importlib.import_module(module), attribute)
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """Without importing a command: `daypass --help` is as fast as the rest."""
        with formatter.section("Commands"):
            formatter.write_dl(list(_SUMMARIES.items()))


@click.group(cls=_Lazy, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="daypass")
def cli() -> None:
    """Borrow a role for a short time, with a complete record."""


def main() -> None:
    """Runs the command line and exits with a documented status (see `daypass.cli.exits`)."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a name that the terminal's encoding lacks is no failure
    sys.exit(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """Runs one command; its exit status."""
    try:
        result: Any = cli.main(arguments, prog_name="daypass", standalone_mode=False)
    except click.exceptions.Abort:
        return 130
    except click.exceptions.Exit as stop:
        return stop.exit_code
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except KeyboardInterrupt:
        return 130
    except _PipeClosed:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or the interpreter complains at exit
        return 141
    except Exception as error:  # noqa: BLE001  # a traceback is no answer to a person
        return _failed(error)
    return result if isinstance(result, int) else 0


def _failed(error: Exception) -> int:
    from daypass.cli import exits  # noqa: PLC0415  # only a failure needs these
    from daypass.cli.output import safe  # noqa: PLC0415
    from daypass.client.http import ClientError  # noqa: PLC0415
    from daypass.client.profiles import LocalStateError  # noqa: PLC0415

    if isinstance(error, ClientError):
        about = f" (request {safe(error.request_id)})" if error.request_id else ""
        code = f"{safe(error.code)}: " if error.code else ""
        click.echo(f"daypass: {code}{safe(error.message)}{about}", err=True)
        if error.encoded:
            click.echo(f"daypass: to see why: daypass explain {safe(error.encoded)}", err=True)
        return exits.status_of(error)
    if isinstance(error, LocalStateError):
        click.echo(f"daypass: {safe(error)}", err=True)
        return exits.LOCAL
    if type(error).__name__ in ("ConfigError", "UnusableDatabase", "RingError"):  # server modules are not imported here
        click.echo(f"daypass: {safe(error)}", err=True)
        return exits.USAGE
    if isinstance(error, OSError):
        click.echo(f"daypass: {safe(error.filename or 'output')}: {safe(error.strerror or error)}", err=True)
        return exits.LOCAL
    if os.environ.get("DAYPASS_DEBUG"):
        raise error
    click.echo(
        f"daypass: internal error: {type(error).__name__}: {safe(error)} (DAYPASS_DEBUG=1 shows where)", err=True
    )
    return exits.LOCAL


if __name__ == "__main__":
    main()

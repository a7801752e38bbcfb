"""The command group: finds a command, imports it, and suggests the nearest one when there is none of that name."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import click

from daypass import __version__
from daypass.cli.commands import COMMANDS, GROUPS


class PipeClosed(Exception):
    """The reader of our output has closed the pipe."""


@contextmanager
def _pipe_watched() -> Iterator[None]:
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError:  # click would exit with a status that means something else here
        raise PipeClosed from None


def found_command(name: str) -> click.Command:
    """A command of `COMMANDS`. Its module is imported now."""
    place = COMMANDS[name]
    _, _, api = place.module.partition(":")
    if api:
        from daypass.cli.described import command_or_group  # the descriptions take time to import

        return command_or_group(name, place.summary, importlib.import_module(f"daypass.api.{api}"))
    command = getattr(importlib.import_module(f"daypass.cli.{place.module}"), place.attribute)
    assert isinstance(command, click.Command)
    return command


class _Lazy(click.Group):
    def make_context(self, *given: Any, **more: Any) -> click.Context:
        if os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
            more = {"color": False, **more}
        with _pipe_watched():  # help is printed here
            return super().make_context(*given, **more)

    def invoke(self, ctx: click.Context) -> Any:
        with _pipe_watched():
            try:
                return super().invoke(ctx)
            except Exception as error:
                if getattr(error, "code", "") == "NoSuchEntity":
                    from daypass.cli.nearest import add_suggestion  # for a mistake alone

                    add_suggestion(error, ctx)
                raise

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002  # click's signature
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002  # as click calls it
        return found_command(cmd_name) if cmd_name in COMMANDS else None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002  # as click calls it
        """Without importing a command: `daypass --help` is as fast as the rest."""
        for title, names in GROUPS.items():
            with formatter.section(title):
                formatter.write_dl([(name, COMMANDS[name].summary) for name in names])


@click.group(cls=_Lazy, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="daypass", message="%(prog)s, version %(version)s")
def cli() -> None:
    """Assume a role for a short time, with a complete audit record."""

"""Choose a role on the terminal: a numbered list with a filter. Without a terminal, the role must be named."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from daypass.cli import output
from daypass.cli.names import remember_roles

if TYPE_CHECKING:
    from daypass.client.http import Connection

_SHOWN = 20


def role_or_picked(role: str, connection: Connection) -> str:
    """`role`, or the one that is chosen among those that may be assumed. Raises UsageError where nobody can choose."""
    if role:
        return role
    if not output.interactive():
        raise click.UsageError("Name the role: its ARN, ACCOUNT/NAME, or a NAME of your own account.")
    from daypass.cli.options import pages

    arns = [str(found["arn"]) for found in pages(connection, "/roles/assumable", "roles", {}, 10_000)]
    remember_roles(connection.profile, arns)
    if not arns:
        raise click.UsageError("You may not assume any role of your account. Name one of another account.")
    return picked("Role", arns)


def picked(what: str, choices: Sequence[str]) -> str:
    """The choice of a person: a number chooses, other text filters, an empty line shows all. Raises Abort."""
    shown = list(choices)
    while True:
        for number, choice in enumerate(shown[:_SHOWN], 1):
            click.echo(f"{number:3}  {output.safe(choice)}", err=True)
        if len(shown) > _SHOWN:
            click.echo(f"     … and {len(shown) - _SHOWN} more: type a part of the name", err=True)
        answer = str(
            click.prompt(f"{what} (number, or text to filter)", default="", show_default=False, err=True)
        ).strip()
        if answer.isascii() and answer.isdigit() and 0 < int(answer) <= min(len(shown), _SHOWN):
            return shown[int(answer) - 1]
        fitting = [choice for choice in choices if answer.casefold() in choice.casefold()]
        if len(fitting) == 1 and answer:
            return fitting[0]
        if not fitting:
            click.echo(f"Nothing matches {output.safe(answer)!r}.", err=True)
        shown = fitting or list(choices)

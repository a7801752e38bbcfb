"""`daypass exec`: run a command, or a shell with a marked prompt, that has a role's credentials and no others."""

from __future__ import annotations

import os
import sys
from dataclasses import asdict
from typing import Any

import click

from daypass.cli import output, shell
from daypass.cli.argv import own
from daypass.cli.environment import of_role, process_form
from daypass.cli.options import complete_roles, open_connection
from daypass.cli.pick import role_or_picked
from daypass.cli.process import fresh_option, issued_for
from daypass.cli.request import request_of, request_options, suggesting
from daypass.client.profiles import known
from daypass.client.usable import with_secret


class PassedOn(click.Command):
    """All arguments after the role belong to the command. Options of daypass go before it, or before a `--`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        valued = {
            name
            for param in self.params
            if isinstance(param, click.Option) and not param.is_flag
            for name in (*param.opts, *param.secondary_opts)
        }
        count = own(args, valued)
        rest = args[count:]
        ctx.obj = tuple(rest[1:] if rest[:1] == ["--"] else rest)
        return super().parse_args(ctx, args[:count])

    def collect_usage_pieces(self, ctx: click.Context) -> list[str]:
        return [*super().collect_usage_pieces(ctx), "[--] [COMMAND]..."]


@click.command("exec", cls=PassedOn)
@click.argument("role", default="", shell_complete=complete_roles)
@request_options
@fresh_option
@click.pass_obj
def exec_(
    command: tuple[str, ...] | None,
    /,
    role: str,
    profile: str,
    endpoint: str,
    fresh: bool,
    **given: Any,
) -> int:
    """Run COMMAND with ROLE's credentials: daypass exec ROLE aws sts get-caller-identity

    Without COMMAND, starts a shell whose prompt shows the role. The exit status is that of COMMAND. Options of daypass
    stand before it.
    """
    found = known(profile, endpoint)
    if not (command[0] if command else output.interactive()):
        raise click.UsageError("Name a command: daypass exec ROLE COMMAND. A shell needs a terminal.")
    if not role and command:
        raise click.UsageError("Name the role before the command: daypass exec ROLE COMMAND")
    role = role or role_or_picked(role, open_connection(with_secret(found)))
    with suggesting(role, found):
        issued = issued_for(found, request_of(role, found, given), given["mfa_code"], fresh=fresh)
    environment = of_role(process_form(asdict(issued)), asdict(found), role)
    program = shell.marked(role, environment) if not command else shell.Program(tuple(command), environment)
    if not command:
        output.message(f"this shell has role {output.safe(role)} until {issued.expiration_text()}")
    sys.stdout.flush()
    return _replaced_by(program)


def _replaced_by(program: shell.Program) -> int:
    """Does not return, unless the program cannot be run."""
    try:
        os.execvpe(program.arguments[0], list(program.arguments), program.environment)  # noqa: S606  # the user's own
    except OSError as error:
        output.message(f"{output.safe(program.arguments[0])}: {error.strerror}")
        return 127 if isinstance(error, FileNotFoundError) else 126

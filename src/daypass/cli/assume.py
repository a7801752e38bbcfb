"""`daypass assume`: a role's credentials for a shell or a tool."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from functools import partial
from typing import Any

import click

from daypass.cli import hot
from daypass.cli.environment import DROPPED, FORGET, FORMS, QUOTES, SET, process_form, variables
from daypass.cli.options import (
    CommandResult,
    Connect,
    Part,
    complete_roles,
    open_connection,
    output_option,
    server_command,
)
from daypass.cli.pick import role_or_picked
from daypass.cli.request import code_source, request_of, request_options, suggesting
from daypass.cli.shell import syntax_of_caller
from daypass.client.credentials import assume_role, role_arn
from daypass.client.usable import resolve


@click.command()
@click.argument("role", default="", shell_complete=complete_roles)
@request_options
@click.option(
    "--shell", type=click.Choice(["sh", "fish", "powershell"]), help="Syntax. Default: that of the shell that calls."
)
@click.option("--unset", is_flag=True, help="Print the commands that remove the credentials from the shell.")
@output_option
def assume(role: str, profile: str, endpoint: str, shell: str | None, unset: bool, **given: Any) -> CommandResult:
    """Assume ROLE (an ARN, ACCOUNT/NAME, or a NAME of your own account) and print its credentials.

    For a shell: eval "$(daypass assume ROLE)". To remove them again: eval "$(daypass assume --unset)". In PowerShell:
    daypass assume ROLE | Out-String | Invoke-Expression.
    """
    shell = shell or syntax_of_caller()
    if unset:
        names = sorted({*SET, "DAYPASS_ROLE", *(n for n in (*DROPPED, "AWS_CA_BUNDLE") if n in os.environ)})
        if shell == "powershell":  # it fails on a variable that is not there
            names = [name for name in names if name in os.environ]
        return CommandResult({"unset": names}, *_script(FORGET[shell].format(name=name) for name in names))
    connection = open_connection(resolve(profile, endpoint))
    request = request_of(role_or_picked(role, connection), connection.profile, given)
    code = code_source(request, given["mfa_code"])() if request.serial_number else ""
    with suggesting(request.role, connection.profile):
        issued = assume_role(connection, request, connection.clock(), code)
    credentials = process_form(asdict(issued))
    values = {**variables(credentials, asdict(connection.profile)), "DAYPASS_ROLE": request.role}
    dropped = [FORGET[shell].format(name=name) for name in DROPPED if name in os.environ and name not in values]
    made = [FORMS[shell].format(name=name, value=QUOTES[shell](value)) for name, value in values.items()]
    return CommandResult(credentials, *_script([*dropped, *made]))


@click.command()
def prompt() -> None:
    """Print the role in use and the time left, for a shell's prompt; nothing without a session.

    It reads the environment that `exec` and `assume` set, or else the cached session of the profile that was used last.
    No server is asked.

    \b
    bash  PS1='$(daypass prompt)> '
    zsh   setopt PROMPT_SUBST; PROMPT='$(daypass prompt) %# '
    fish  function fish_prompt; echo (daypass prompt)' > '; end
    """  # noqa: D301  # click reads the control character
    if shown := hot.prompt():
        click.echo(shown)


def _script(commands: Iterable[str]) -> Iterator[Part]:
    """Commands for a shell, which must be printed exactly."""
    for command in commands:
        yield partial(click.echo, command)


# --- `daypass token`: an access token of this identity for an API, as services and `curl` need it


@click.command()
@click.option("--audience", required=True, metavar="URI", help="The identifier of the API: https://orders.example.")
@click.option("--scope", "scopes", multiple=True, metavar="NAME", help="Repeatable. Default: that of the API.")
@click.option(
    "--role", default="", metavar="ROLE", shell_complete=complete_roles, help="As this role. Default: as you are."
)
@server_command
def token(audience: str, scopes: tuple[str, ...], role: str, connect: Connect) -> CommandResult:
    """Print an access token for an API (RFC 8693), for example for curl -H "Authorization: Bearer $(daypass token
    --audience https://orders.example)". It ends with your session, that of a key after an hour.

    Needs daypass:GetAccessToken on the resource server if the audience is registered.
    """
    from daypass.client.loopback import access_token

    connection = connect()
    wanted: dict[str, Any] = {"audience": audience, "scope": " ".join(scopes)}
    wanted["role"] = role_arn(connection, role) if role else ""
    answer = access_token(connection, {name: value for name, value in wanted.items() if value})
    return CommandResult(answer, str(answer["access_token"]))

"""Credential helpers of git and Docker: an access token for the host that is asked about, as password.

They keep nothing: `store` and `erase` do nothing. A token goes only to a host that the user has named.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from typing import Final
from urllib.parse import urlsplit

import click

from daypass.cli import output
from daypass.cli.options import CommandGroup, complete_roles, server_options
from daypass.client.errors import ClientError
from daypass.client.package_hosts import USER, ExpiringToken, token_for, token_of_host
from daypass.client.profiles import LocalStateError

_MAX_BYTES: Final = 65_536
_LOOPBACK: Final = frozenset({"127.0.0.1", "localhost", "::1"})
_ACTIONS: Final = click.Choice(["get", "store", "erase", "list"])


@click.group("credential-helper", cls=CommandGroup)
def credential_helper() -> None:
    """Access tokens as passwords for git and container registries."""


@credential_helper.command("git")
@click.argument("action", metavar="get")
@click.option("--audience", default="", metavar="URI", help="Audience of the tokens. Default: https:// and the host.")
@click.option(
    "--role", default="", metavar="ROLE", shell_complete=complete_roles, help="As this role. Default: as you are."
)
@server_options
def git(action: str, audience: str, role: str, profile: str, endpoint: str) -> None:
    """Answer git as a credential helper: a Bearer token where git knows them (2.46), else a password.

    \b
    git config --global credential.https://git.example.com.helper '!daypass credential-helper git --role developer'
    """  # noqa: D301  # click reads the control character
    if action != "get":
        return
    pairs = [line.partition("=") for line in sys.stdin.read(_MAX_BYTES).splitlines()]
    asked = {name: value for name, _, value in pairs}
    host = asked.get("host", "")
    secure = asked.get("protocol") == "https" or urlsplit(f"//{host}").hostname in _LOOPBACK
    if not host or not secure:
        return  # git asks the next helper, or a person
    token = token_for(audience or f"https://{host}", role, profile, endpoint)
    knows = ("capability[]", "=", "authtype") in pairs
    for name, value in _answer_of_git(token, bearer=knows).items():
        click.echo(f"{name}={value}")


def _answer_of_git(token: ExpiringToken, *, bearer: bool) -> Mapping[str, str]:
    ends = {"password_expiry_utc": str(int(token.expires_at))}
    if bearer:
        shown = {"capability[]": "authtype", "authtype": "Bearer", "credential": token.text, "ephemeral": "1"}
        return {**shown, **ends}
    return {"username": USER, "password": token.text, **ends}


@credential_helper.command("docker")
@click.argument("action", type=_ACTIONS)
def docker(action: str) -> int:
    """Answer Docker and Podman as docker-credential-daypass, for the hosts in DAYPASS_CREDENTIAL_HOSTS."""
    given = sys.stdin.read(_MAX_BYTES).strip() if action != "list" else ""
    if action == "list":
        click.echo("{}")
    if action != "get":
        return 0
    try:
        token = token_of_host(given)
    except (ClientError, LocalStateError) as error:
        click.echo(output.safe(str(error)))  # the protocol has failures on standard output
        return 1
    if token is None:
        click.echo("credentials not found in native keychain")  # the protocol's words for an unknown host
        return 1
    click.echo(json.dumps({"ServerURL": given, "Username": USER, "Secret": token.text}))
    return 0


def docker_main() -> None:
    """The program `docker-credential-daypass`."""
    from daypass.cli.main import run

    sys.exit(run(["credential-helper", "docker", *sys.argv[1:]]))

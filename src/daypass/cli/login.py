"""`daypass login`: store a server and a key as a profile; the key is one's own, or a session's that SAML gives."""

from __future__ import annotations

import sys
import webbrowser
from typing import Any, TextIO

import click

from daypass.cli import output
from daypass.client.credentials import Credentials, identity
from daypass.client.http import Connection
from daypass.client.profiles import LocalStateError, Profile, save
from daypass.client.saml import BrowserLogin, Server, assume_role_with_saml, read_assertion, roles_offered
from daypass.client.transport import endpoint_of

_LOOPBACK = ("127.0.0.1", "::1", "localhost")
_WAIT_SECONDS = 300.0


@click.command()
@click.option("--profile", default="default", show_default=True, metavar="NAME", help="Name to store it under.")
@click.option("--endpoint", prompt="Server", metavar="URL", help="For example http://127.0.0.1:8700.")
@click.option("--access-key-id", default="", metavar="ID")
@click.option(
    "--secret-access-key", metavar="SECRET", help="Seen by all who list processes. Left out: it is asked for."
)
@click.option("--secret-stdin", is_flag=True, help="Read the secret from standard input: for scripts.")
@click.option("--session-token", default="", metavar="TOKEN", help="If the key is a session's.")
@click.option("--region", default="us-east-1", show_default=True)
@click.option(
    "--ca-bundle",
    type=click.Path(exists=True, dir_okay=False, resolve_path=True),
    metavar="FILE",
    help="PEM file that vouches for the server.",
)
@click.option("--saml", is_flag=True, help="Log in with your identity provider; the profile is the role's session.")
@click.option("--provider", default="", metavar="ARN", help="With --saml: the SAML provider.")
@click.option(
    "--assertion-file", type=click.File(encoding="utf-8"), help="With --saml: a SAML response, instead of a browser."
)
@click.option("--role", default="", metavar="ARN", help="With --assertion-file: the role, if it offers several.")
@click.option("--duration", type=int, default=0, metavar="SECONDS", help="With --assertion-file: of the session.")
@click.option("--no-browser", is_flag=True, help="With --saml: print the address in place of opening it.")
def login(profile: str, endpoint: str, region: str, ca_bundle: str | None, **given: Any) -> None:
    """Store a server and a key as a profile, after trying it."""
    endpoint = endpoint.strip().rstrip("/")
    endpoint_of(endpoint)
    if given["saml"]:
        issued = _by_saml(Server(endpoint, ca_bundle or ""), given)
        key = (issued.access_key_id, issued.secret_access_key, issued.session_token)
    elif given["provider"] or given["assertion_file"] or given["role"] or given["duration"] or given["no_browser"]:
        raise click.UsageError("--provider, --assertion-file, --role, --duration and --no-browser go with --saml.")
    else:
        key = _by_key(given)
    found = Profile(endpoint, *key, region, ca_bundle or "")
    who = identity(Connection(found))
    path = save(profile, found)
    click.echo(f"Logged in as {output.safe(who['Arn'])}. Profile '{output.safe(profile)}' is in {output.safe(path)}.")
    if endpoint_of(found.endpoint).scheme == "http" and endpoint_of(found.endpoint).hostname not in _LOOPBACK:
        click.echo(
            "daypass: this server is not reached by TLS: whoever is on the way can read sessions' keys.", err=True
        )


def _by_key(given: dict[str, Any]) -> tuple[str, str, str]:
    access_key_id = given["access_key_id"] or click.prompt("Access key id")
    if given["secret_stdin"]:
        secret = sys.stdin.readline(1024)
    else:
        secret = given["secret_access_key"] or click.prompt("Secret access key", hide_input=True)
    if not secret.strip():
        raise click.UsageError("The secret access key is empty.")
    return access_key_id.strip(), secret.strip(), given["session_token"].strip()


def _by_saml(server: Server, given: dict[str, Any]) -> Credentials:
    if given["access_key_id"] or given["secret_access_key"] or given["secret_stdin"] or given["session_token"]:
        raise click.UsageError("With --saml the identity provider vouches for you: give no key.")
    if given["assertion_file"] is not None:
        return _by_assertion(server, given["assertion_file"], given)
    if given["role"] or given["duration"]:
        raise click.UsageError(
            "--role and --duration go with --assertion-file; in the browser you choose the role there."
        )
    if not given["provider"]:
        raise click.UsageError("Which identity provider? --provider arn:aws:iam::ACCOUNT:saml-provider/NAME")
    with BrowserLogin(server, given["provider"]) as waiting:
        if given["no_browser"] or not webbrowser.open(waiting.url):
            click.echo(f"Open this address in a browser on this computer:\n\n  {waiting.url}\n", err=True)
        else:
            click.echo("Log in with the browser that has opened.", err=True)
        role, issued = waiting.wait(_WAIT_SECONDS)
    click.echo(f"Role {output.safe(role)}, until {issued.expiration_text()}.", err=True)
    return issued


def _by_assertion(server: Server, file: TextIO, given: dict[str, Any]) -> Credentials:
    assertion = read_assertion(output.read_text(file))
    role, provider = _wanted(roles_offered(assertion), given["role"], given["provider"])
    return assume_role_with_saml(server, assertion, role, provider, given["duration"])


def _wanted(pairs: list[tuple[str, str]], role: str, provider: str) -> tuple[str, str]:
    """The one pair that fits what was asked for; an encrypted response shows none, so both must be given then."""
    if role and provider:
        return role, provider
    fitting = [p for p in pairs if role in ("", p[0]) and provider in ("", p[1])]
    if len(fitting) == 1:
        return fitting[0]
    if not fitting:
        raise LocalStateError("The response shows no such role. Give both --role and --provider, or another response.")
    listed = "\n".join(f"  {output.safe(r)}" for r, _ in fitting)
    raise LocalStateError(f"The response offers several roles; choose one with --role:\n{listed}")

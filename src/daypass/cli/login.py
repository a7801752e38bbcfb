"""`daypass login`: store a server and a key as a profile; the key is one's own, or that of a session."""

from __future__ import annotations

import os
import secrets
import sys
import webbrowser
from collections.abc import Mapping
from typing import Any, NamedTuple, TextIO

import click

from daypass.cli import aws_config, options, output
from daypass.cli.files import text_of
from daypass.cli.options import CommandResult, Duration, output_option
from daypass.cli.profile import secret_store
from daypass.client import keyring
from daypass.client.credentials import Credentials, assume_role_with_web_identity, identity
from daypass.client.loopback import AuthorizationLogin, DeviceLogin
from daypass.client.profiles import DEFAULT, LocalStateError, Profile, forget_secret, in_keyring, save
from daypass.client.saml import BrowserLogin, assume_role_with_saml, read_assertion, roles_offered
from daypass.client.state import default_session_name
from daypass.client.transport import LoginServer, endpoint_of

_LOOPBACK = ("127.0.0.1", "::1", "localhost")
_WAIT_SECONDS = 300.0
_WAITING = "waiting for the browser"


@click.command()
@click.option("--profile", default=DEFAULT, show_default=True, metavar="NAME", help="Name to store it under.")
@click.option(
    "--endpoint", default="", metavar="URL", help="For example http://127.0.0.1:8700. Default: AWS_ENDPOINT_URL."
)
@click.option(
    "--access-key-id", default="", metavar="ID", help="Default: AWS_ACCESS_KEY_ID, with its secret and token."
)
@click.option(
    "--secret-access-key",
    metavar="SECRET",
    help="Other users can see it in the process list. Default: asked for.",
)
@click.option("--secret-stdin", is_flag=True, help="Read the secret from standard input: for scripts.")
@click.option("--session-token", default="", metavar="TOKEN", help="The session token, if the key is temporary.")
@click.option("--region", default="", metavar="NAME", help="Default: AWS_REGION, or us-east-1.")
@click.option(
    "--ca-bundle",
    type=click.Path(exists=True, dir_okay=False, resolve_path=True),
    metavar="FILE",
    help="PEM file of the authority that issued the server's certificate. Default: AWS_CA_BUNDLE.",
)
@click.option("--mfa-serial", default="", metavar="ARN", help="MFA device whose code is asked for with each role.")
@click.option("--aws-profile", default="", metavar="NAME", help="Also write an AWS profile that uses this profile.")
@click.option("--saml", is_flag=True, help="Log in with your identity provider; the profile is the role's session.")
@click.option("--provider", default="", metavar="ARN", help="With --saml: the SAML provider.")
@click.option(
    "--assertion-file",
    type=click.File(encoding="utf-8"),
    help="With --saml: a file with a SAML response, instead of a browser.",
)
@click.option(
    "--web-identity-token",
    type=click.File(encoding="utf-8"),
    metavar="FILE",
    help="A file with an OpenID Connect token, such as a CI job's.",
)
@click.option(
    "--role", default="", metavar="ARN", help="The role: with a token, or if the SAML response offers several."
)
@click.option("--session-name", default="", metavar="NAME", help="With --web-identity-token. Default: your login name.")
@click.option(
    "--duration", type=Duration(), default=0, metavar="TIME", help="Duration of the session: 3600, 90m or 1h30m."
)
@click.option(
    "--secret-store",
    type=click.Choice(["auto", "keyring", "file"]),
    default="auto",
    show_default=True,
    help="Store of the secret. auto: in the system keyring if there is one, else in the profile file.",
)
@click.option("--no-browser", is_flag=True, help="With --saml or --browser: print the address instead of opening it.")
@click.option("--browser", is_flag=True, help="Sign in with a browser on this computer: password and MFA.")
@click.option("--device", is_flag=True, help="Sign in with a browser on any device, for a shell over SSH.")
@output_option
def login(profile: str, endpoint: str, region: str, ca_bundle: str | None, **given: Any) -> CommandResult:
    """Store a server and a key as a profile, after testing the key.

    The key is your own, or temporary: from SAML, from a token, or from the AWS_… variables of your environment.
    """
    endpoint = _endpoint(endpoint)
    ca_bundle = ca_bundle or os.environ.get("AWS_CA_BUNDLE", "")
    key = _key(LoginServer(endpoint, ca_bundle), given)
    found = Profile(
        endpoint,
        key.access_key_id,
        key.secret_access_key,
        key.session_token,
        region=region or os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or "us-east-1",
        ca_bundle=ca_bundle,
        mfa_serial=given["mfa_serial"],
        expiration=key.expiration,
        refresh_token=key.refresh_token,
        login=secrets.token_hex(16) if key.refresh_token else "",
    )
    who = identity(options.open_connection(found))
    found = _with_store(found, given["secret_store"])
    try:
        path = save(profile, found)
    except LocalStateError:
        forget_secret(found)
        raise
    text = [f"Logged in as {who['Arn']}. Profile '{profile}' is in {path}."]
    if found.keyring_entry:
        text.append(f"Its secret is in the system keyring ({keyring.name()}).")
    if given["aws_profile"]:
        aws_config.write(aws_config.config_file(), aws_config.sections(given["aws_profile"], profile, found))
        text.append(f"AWS profile '{given['aws_profile']}' is in {aws_config.config_file()}.")
    if endpoint_of(found.endpoint).scheme == "http" and endpoint_of(found.endpoint).hostname not in _LOOPBACK:
        output.message("the connection is not encrypted: anyone on the network path can read session keys.")
    stored = {"profile": profile, "file": str(path), "secret_store": secret_store(found)}
    return CommandResult({**who, **stored, "expiration": found.expiration or None}, *text)


def _with_store(profile: Profile, store: str) -> Profile:
    """The profile, with its secret where `--secret-store` says."""
    if store == "keyring":
        return in_keyring(profile)
    if store == "file" or not keyring.name():
        return profile
    try:
        return in_keyring(profile)
    except LocalStateError as error:  # it is there, but refuses: locked, for example
        output.message(f"{output.safe(error)} The secret is in the profile file.")
        return profile


def _endpoint(given: str) -> str:
    known = given or os.environ.get("AWS_ENDPOINT_URL_STS") or os.environ.get("AWS_ENDPOINT_URL") or ""
    endpoint = (known or _typed("Server", "--endpoint")).strip().rstrip("/")
    endpoint_of(endpoint)
    return endpoint


def _typed(what: str, option: str, *, hidden: bool = False) -> str:
    """Reads a line from the terminal. Raises UsageError without one."""
    if not output.interactive():
        raise click.UsageError(f"Give {option}; this is not a terminal on which to ask for it.")
    return str(click.prompt(what, hide_input=hidden, err=True))


class _Key(NamedTuple):
    """A key of one's own, or of a session, which has an expiration; with a refresh token, of a login by browser."""

    access_key_id: str
    secret_access_key: str
    session_token: str
    expiration: str = ""
    refresh_token: str = ""

    @classmethod
    def of(cls, issued: Credentials, refresh_token: str = "") -> _Key:
        return cls(
            issued.access_key_id,
            issued.secret_access_key,
            issued.session_token,
            issued.expiration_text(),
            refresh_token,
        )


_OPTIONS = {
    "": ("access_key_id", "secret_access_key", "secret_stdin", "session_token"),
    "browser": ("no_browser",),
    "device": ("no_browser",),
    "saml": ("no_browser", "provider", "assertion_file", "role", "duration"),
    "web_identity_token": ("role", "session_name", "duration"),
}
"""The ways to get a key, each with the options that it has; "" is a key of one's own."""


def _option(name: str) -> str:
    return "--" + name.replace("_", "-")


def _way(given: Mapping[str, Any]) -> str:
    """The way of _OPTIONS that the options choose. Raises UsageError for two ways, or an option of another one."""
    chosen = [way for way in _OPTIONS if way and given[way]]
    if len(chosen) > 1:
        raise click.UsageError(f"Give only one of {', '.join(map(_option, chosen))}.")
    way = chosen[0] if chosen else ""
    for name in dict.fromkeys(name for names in _OPTIONS.values() for name in names):
        if given[name] and name not in _OPTIONS[way]:
            ways = " or ".join(_option(other) for other, names in _OPTIONS.items() if other and name in names)
            fault = f"{_option(name)} does not go with {_option(way)}." if way else f"{_option(name)} needs {ways}."
            raise click.UsageError(fault)
    return way


def _key(server: LoginServer, given: Mapping[str, Any]) -> _Key:
    """The key to store, obtained in the way that the options choose. Raises UsageError."""
    match _way(given):
        case "browser":
            return _by_browser(server, no_browser=given["no_browser"])
        case "device":
            return _by_device(server)
        case "saml":
            return _Key.of(_by_saml(server, given))
        case "web_identity_token":
            return _Key.of(_by_web_identity(server, given["web_identity_token"], given))
        case _:
            return _by_key(given)


def _by_browser(server: LoginServer, *, no_browser: bool) -> _Key:
    """The person's own session, of a sign-in with a browser on this computer."""
    with AuthorizationLogin(server) as waiting:
        _open(waiting.url, "Sign in", no_browser=no_browser)
        with output.working(_WAITING):
            session = waiting.wait(_WAIT_SECONDS)
    return _Key.of(session.credentials, session.refresh_token)


def _by_device(server: LoginServer) -> _Key:
    """The person's own session, of a sign-in with a browser on any device."""
    device = DeviceLogin.begin(server)
    click.echo(
        f"Open this address in a browser on any device, and allow only the code {output.safe(device.user_code)}:\n\n"
        f"  {output.safe(device.address)}\n",
        err=True,
    )
    output.qr_code(device.address)
    with output.working(_WAITING):
        session = device.wait()
    return _Key.of(session.credentials, session.refresh_token)


def _open(url: str, action: str, *, no_browser: bool) -> None:
    """Opens an address in the browser, or prints it where that is not wanted or not possible."""
    if no_browser or not webbrowser.open(url):
        click.echo(f"Open this address in a browser on this computer:\n\n  {output.safe(url)}\n", err=True)
    else:
        click.echo(f"{action} with the browser that has opened.", err=True)


def _by_web_identity(server: LoginServer, file: TextIO, given: Mapping[str, Any]) -> Credentials:
    role = given["role"] or os.environ.get("AWS_ROLE_ARN", "")
    if not role.startswith("arn:"):
        raise click.UsageError("Name the role: --role arn:aws:iam::ACCOUNT:role/NAME")
    name = given["session_name"] or os.environ.get("AWS_ROLE_SESSION_NAME") or default_session_name()
    return assume_role_with_web_identity(server, text_of(file).strip(), role, name, given["duration"])


def _by_key(given: Mapping[str, Any]) -> _Key:
    """The key of the options, of the AWS_… variables, or what a person types."""
    environ = os.environ
    secret_given = given["secret_access_key"] or given["secret_stdin"] or given["session_token"]
    if not given["access_key_id"] and not secret_given and environ.get("AWS_SECRET_ACCESS_KEY"):
        names = ("ACCESS_KEY_ID", "SECRET_ACCESS_KEY", "SESSION_TOKEN", "CREDENTIAL_EXPIRATION")
        return _Key(*(environ.get(f"AWS_{name}", "") for name in names))
    access_key_id = given["access_key_id"] or _typed("Access key id", "--access-key-id")
    if given["secret_stdin"]:
        secret = sys.stdin.readline(1024)
    else:
        secret = given["secret_access_key"] or _typed("Secret access key", "--secret-stdin", hidden=True)
    if not secret.strip():
        raise click.UsageError("The secret access key is empty.")
    return _Key(access_key_id.strip(), secret.strip(), given["session_token"].strip())


def _by_saml(server: LoginServer, given: Mapping[str, Any]) -> Credentials:
    if given["assertion_file"] is not None:
        return _by_assertion(server, given["assertion_file"], given)
    if given["role"] or given["duration"]:
        raise click.UsageError(
            "--role and --duration go with --assertion-file; in the browser you choose the role there."
        )
    if not given["provider"]:
        raise click.UsageError("Which identity provider? --provider arn:aws:iam::ACCOUNT:saml-provider/NAME")
    with BrowserLogin(server, given["provider"]) as waiting:
        _open(waiting.url, "Log in", no_browser=given["no_browser"])
        with output.working(_WAITING):
            role, issued = waiting.wait(_WAIT_SECONDS)
    output.prose(f"Role {output.safe(role)}, until {issued.expiration_text()}.", err=True)
    return issued


def _by_assertion(server: LoginServer, file: TextIO, given: Mapping[str, Any]) -> Credentials:
    assertion = read_assertion(text_of(file))
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
    listed = ", ".join(r for r, _ in fitting)
    raise LocalStateError(f"The response offers several roles; choose one with --role: {listed}")

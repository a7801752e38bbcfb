"""`daypass certificate` and `daypass ssh`: short-lived certificates by role for OpenSSH and databases."""

from __future__ import annotations

import getpass
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from daypass.api.certificates import EXTENSIONS
from daypass.cli import exits, output
from daypass.cli.options import (
    CommandGroup,
    CommandResult,
    Connect,
    Duration,
    complete_roles,
    done,
    open_connection,
    server_command,
)
from daypass.cli.process import issued_for
from daypass.cli.request import request_of, request_options, suggesting
from daypass.client.credentials import session_profile
from daypass.client.profiles import LocalStateError, known
from daypass.client.usable import resolve

if TYPE_CHECKING:
    from daypass.client.http import Connection

_KNOWN_HOSTS: Final = "/etc/ssh/ssh_known_hosts"
_allow = click.option(
    "--allow", multiple=True, type=click.Choice(EXTENSIONS), help="Permission for sshd; repeatable. Default: pty."
)


@click.group(cls=CommandGroup)
def certificate() -> None:
    """Certificates of OpenSSH and databases, for the session of a role."""


@certificate.command("issue")
@click.argument("kind", type=click.Choice(["ssh-user", "ssh-host", "database"]))
@click.argument("names", nargs=-1, required=True)
@click.option("--key", required=True, metavar="FILE", help="The private key, with its .pub file; made if missing.")
@click.option("--duration", type=Duration(), default=0, metavar="TIME", help="Default: 1h, or until the session ends.")
@_allow
@click.option("--force-command", default="", metavar="COMMAND", help="The only command that sshd runs.")
@click.option("--source", multiple=True, metavar="NETWORK", help="Network from which it is valid; repeatable.")
@server_command
def issue(kind: str, names: tuple[str, ...], connect: Connect, **given: Any) -> CommandResult:
    """Get a certificate for NAMES: principals of ssh-user, host names of ssh-host, one user of a database. It stands beside
    the key: FILE-cert.pub for OpenSSH, FILE.crt for a database.

    \b
    daypass certificate issue ssh-host web1.example.com --key /etc/ssh/ssh_host_ed25519_key
    """  # noqa: D301  # click reads the control character
    from daypass.client.certificates import certify

    extensions = list(given["allow"] or ("pty",)) if kind == "ssh-user" else []
    made = certify(
        connect(),
        Path(given["key"]),
        kind,
        names,
        seconds=given["duration"],
        extensions=extensions,
        force_command=given["force_command"],
        source_addresses=list(given["source"]),
    )
    return done("issued", str(made), certificate=str(made))


@certificate.command("fetch")
@click.option("--ssh-user-ca", default="", metavar="FILE", help="For TrustedUserCAKeys of sshd.")
@click.option("--known-hosts", default="", metavar="FILE", help="For GlobalKnownHostsFile of ssh.")
@click.option("--database-ca", default="", metavar="FILE", help="For ssl_ca_file of PostgreSQL.")
@click.option("--krl", default="", metavar="FILE", help="Revoked: for RevokedKeys of sshd, RevokedHostKeys of ssh.")
@click.option("--crl", default="", metavar="FILE", help="Revoked: for ssl_crl_file of PostgreSQL.")
@server_command
def fetch(connect: Connect, **files: str) -> CommandResult:
    """Write the certificate authorities of your account, and the lists of revoked certificates. Run it every minute: authorities
    change as keys are rotated. A list never replaces a newer one.

    \b
    daypass certificate fetch --ssh-user-ca /etc/ssh/daypass_ca.pub --krl /etc/ssh/daypass.krl
    """  # noqa: D301  # click reads the control character
    from daypass.client.certificates import contents, store

    if not any(files.values()):
        raise click.UsageError("Name at least one file.")
    found = contents(connect().api("GET", "/certificate-authorities"))
    written = {option: path for option, path in files.items() if path}
    for option, path in written.items():
        store(Path(path), found[option])
    return done("fetched", files=written)


class _OwnFirst(click.Command):
    """Options of daypass come first; ssh gets the rest as it is."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        own = {name: param for param in self.get_params(ctx) for name in param.opts if name.startswith("-")}
        at = 0
        while at < len(args) and (name := args[at].partition("=")[0]) in own:
            alone = "=" in args[at] or getattr(own[name], "is_flag", False)
            at += 1 if alone else 2
        rest = args[at:]
        ctx.obj = tuple(rest[1:] if rest[:1] == ["--"] else rest)
        return super().parse_args(ctx, args[:at])

    def collect_usage_pieces(self, ctx: click.Context) -> list[str]:
        return [*super().collect_usage_pieces(ctx), "HOST [ARGUMENTS OF SSH]..."]


@click.command("ssh", cls=_OwnFirst)
@click.option(
    "--role", default="", metavar="ROLE", shell_complete=complete_roles, help="As this role. Default: as you are."
)
@click.option("--principal", default="", metavar="NAME", help="Default: the user that ssh logs in as.")
@_allow
@request_options
@click.pass_obj
def ssh(arguments: tuple[str, ...], /, role: str, principal: str, allow: tuple[str, ...], **given: Any) -> int:
    """Run ssh to HOST with a new key and a certificate of an hour at most, which ends with the session.
    Hosts with a certificate of your account are known, unless it was revoked.

    \b
    daypass ssh --role operator web1.example.com uptime
    """  # noqa: D301  # click reads the control character
    from daypass.client.certificates import certify, contents, store

    if not arguments:
        raise click.UsageError("Name a host: daypass ssh HOST.")
    name = principal or _login(arguments)
    connection = _connection(role, given)
    with tempfile.TemporaryDirectory(prefix="daypass-ssh-") as folder:  # mode 0700
        place = Path(folder)
        key = place / "key"
        certify(connection, key, "ssh-user", [name], extensions=list(allow or ("pty",)))
        found = contents(connection.api("GET", "/certificate-authorities"))
        for file in ("known_hosts", "krl"):
            store(place / file, found[file])
        options = {
            "IdentityFile": key,
            "IdentitiesOnly": "yes",
            "GlobalKnownHostsFile": f"{_KNOWN_HOSTS} {place / 'known_hosts'}",
            "RevokedHostKeys": place / "krl",
        }
        sys.stdout.flush()
        command = ["ssh", *(f"-o{option}={value}" for option, value in options.items()), *arguments]
        return _exit_status(command)


def _connection(role: str, given: dict[str, Any]) -> Connection:
    profile, endpoint = given.pop("profile"), given.pop("endpoint")
    if not role:
        return open_connection(resolve(profile, endpoint))
    found = known(profile, endpoint)
    with suggesting(role, found):
        issued = issued_for(found, request_of(role, found, given), given["mfa_code"], fresh=False)
    return open_connection(session_profile(found, issued))


def _login(arguments: tuple[str, ...]) -> str:
    """The user that ssh would log in as, by its own reading of the arguments and its configuration."""
    try:
        asked = ["ssh", "-G", *arguments]
        shown = subprocess.run(asked, capture_output=True, text=True, check=True).stdout  # noqa: S603  # the user's own
    except FileNotFoundError:
        raise LocalStateError("ssh is not installed.") from None
    except subprocess.CalledProcessError as error:
        raise click.UsageError(f"ssh: {output.safe(error.stderr.strip())}") from None
    users = [line.removeprefix("user ") for line in shown.splitlines() if line.startswith("user ")]
    return users[0] if users else getpass.getuser()


def _exit_status(command: list[str]) -> int:
    """Runs a program on this terminal. Its key must be deleted after it, so it does not replace this process."""
    with subprocess.Popen(command) as process:  # noqa: S603  # the user's own
        while True:
            try:
                return process.wait()
            except KeyboardInterrupt:  # ssh has got it too, and decides
                continue


def _database_options(command: Callable[..., Any]) -> Callable[..., Any]:
    for option in (
        click.option("--ca-bundle", default="", metavar="FILE", help="The authorities of Daypass's TLS."),
        click.option(
            "--audience", required=True, metavar="URI", help="The database's resource server: https://HOST:PORT."
        ),
        click.option("--endpoint", required=True, metavar="URL", help="Daypass, as the database's host reaches it."),
    ):
        command = option(command)
    return command


@click.command()
@_database_options
@click.option("--listen", default="127.0.0.1:3890", metavar="HOST:PORT", show_default=True, help="A loopback address.")
def ldap(endpoint: str, audience: str, listen: str, ca_bundle: str) -> None:
    """Let a database check passwords that a role has presigned, as `aws rds generate-db-auth-token` does. It
    answers the simple bind of LDAP, at a loopback address.

    \b
    daypass ldap --endpoint https://daypass.example.com --audience https://db.example.com:5432
    """  # noqa: D301  # click reads the control character
    from daypass.client.ldap import LdapServer, Tokens
    from daypass.client.proxy import host_and_port

    place = host_and_port(listen)
    if place[0] not in ("127.0.0.1", "::1", "localhost"):
        raise click.UsageError("Passwords are sent unencrypted, so --listen must be a loopback address.")
    tokens = Tokens(endpoint, audience, ca_bundle)
    try:
        server = LdapServer(place, tokens.check)
    except OSError as error:
        raise LocalStateError(f"{listen} cannot be used: {error.strerror}.") from None
    with server:
        output.message(f"serving ldap://{place[0]}:{server.server_address[1]}")
        server.serve_forever()


@click.command()
@_database_options
def pam(endpoint: str, audience: str, ca_bundle: str) -> int:
    """Check one password for PAM: a presigned request of a role, as those of `aws rds generate-db-auth-token`. pam_script gives
    user and password in PAM_USER and PAM_AUTHTOK.

    \b
    daypass pam --endpoint https://daypass.example.com --audience https://db.example.com:5432
    """  # noqa: D301  # click reads the control character
    from daypass.client.ldap import ResultCode, Tokens

    user = os.environ.get("PAM_USER", "")
    outcome = Tokens(endpoint, audience, ca_bundle).check(user, os.environ.pop("PAM_AUTHTOK", ""))
    if outcome is ResultCode.SUCCESS:
        return exits.OK
    output.message(f"{output.safe(user)}: {outcome.name.lower().replace('_', ' ')}")
    return exits.UNREACHABLE if outcome is ResultCode.UNAVAILABLE else exits.FINDING

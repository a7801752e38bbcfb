"""`daypass profile` and `daypass logout`: the stored profiles, and the AWS configuration made of them."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from daypass.cli import aws_config, output
from daypass.cli.durations import left
from daypass.cli.names import remember_roles
from daypass.cli.options import (
    CommandGroup,
    CommandResult,
    Connect,
    Fields,
    Part,
    Table,
    complete_profiles,
    confirmed,
    done,
    listing,
    output_option,
    pages,
    server_command,
    yes_option,
)
from daypass.cli.pick import picked
from daypass.client import state
from daypass.client.credentials import Credentials, identity, seconds_of_time
from daypass.client.errors import ClientError
from daypass.client.loopback import revoke
from daypass.client.profiles import (
    DEFAULT,
    LocalStateError,
    Profile,
    current,
    forget_secret,
    from_keyring,
    home,
    load_all,
    remove,
    use,
)
from daypass.client.transport import LoginServer

if TYPE_CHECKING:
    from daypass.client.http import Connection


def time_left(profile: Profile) -> str:
    """How long a profile's own session lasts, for people; "" for a key, which does not expire."""
    return left(seconds_of_time(profile.expiration) - time.time()) if profile.expiration else ""


def secret_store(profile: Profile) -> str:
    """The store of a profile's secret: "keyring" or "file"."""
    return "keyring" if profile.keyring_entry else "file"


def described(name: str, profile: Profile) -> dict[str, object]:
    """A profile as data, without its secrets."""
    return {
        "name": name,
        "endpoint": profile.endpoint,
        "access_key_id": profile.access_key_id,
        "expiration": profile.expiration,
        "secret_store": secret_store(profile),
    }


@click.group(cls=CommandGroup)
def profile() -> None:
    """Stored profiles: a server and a key each."""


@profile.command("ls")
@output_option
def list_profiles() -> CommandResult:
    """List the profiles. The one with * is used when none is named."""
    stored, chosen = load_all(), current()
    rows = [
        ("*" if n == chosen else "", n, p.endpoint, p.access_key_id, secret_store(p), time_left(p))
        for n, p in stored.items()
    ]
    return CommandResult(
        [{**described(name, found), "current": name == chosen} for name, found in stored.items()],
        Table(("", "PROFILE", "SERVER", "ACCESS KEY", "SECRET", "LEFT"), rows),
    )


@profile.command("use")
@click.argument("name", default="", shell_complete=complete_profiles)
@output_option
def use_profile(name: str) -> CommandResult:
    """Use profile NAME when a command names none."""
    name = _named(name)
    use(name)
    if current() != name:
        output.message("in this shell, DAYPASS_PROFILE or AWS_ACCESS_KEY_ID takes precedence over it")
    return done("used", f"Profile '{name}' is used from now on.", profile=name)


@profile.command("rm")
@click.argument("name", default="", shell_complete=complete_profiles)
@yes_option
@output_option
def remove_profile(name: str, yes: bool) -> CommandResult:
    """Remove profile NAME and its cached sessions. The sessions stay valid until they expire."""
    name = _named(name)
    confirmed(f"Remove profile {output.safe(name)}?", yes=yes, why="its key is deleted")
    return _forgotten([name])


@profile.command("export")
@click.argument("name", default="", shell_complete=complete_profiles)
@click.option(
    "--profile",
    "as_option",
    default="",
    metavar="NAME",
    help="The same as NAME, as for other commands.",
    shell_complete=complete_profiles,
)
@click.option("--role", default="", metavar="ROLE", help="The role to assume. Default: the profile's own key.")
@click.option(
    "--aws-profile", default="", metavar="NAME", help="Name in the AWS file. Default: the role's, or the profile's."
)
@click.option("--write", is_flag=True, help="Add it to ~/.aws/config instead of printing it.")
@output_option
def export(name: str, as_option: str, role: str, aws_profile: str, write: bool) -> CommandResult:
    """Print an AWS configuration for profile NAME that works in every AWS SDK: region, endpoints, credentials.

    \b
    daypass profile export --role deployer --write
    aws --profile deployer sts get-caller-identity
    """  # noqa: D301  # click reads the control character
    if name and as_option:
        raise click.UsageError("Give the profile once.")
    name = name or as_option or current() or DEFAULT
    stored = load_all()
    if name not in stored:
        raise LocalStateError(f"Profile '{name}' does not exist. Make one with: daypass login --profile {name}")
    shown = aws_profile or (role.rpartition("/")[2] if role else f"daypass-{name}")
    text = aws_config.sections(shown, name, stored[name], role)
    if not write:
        return CommandResult({"aws_profile": shown, "config": text, "file": None}, partial(click.echo, text, nl=False))
    path = aws_config.config_file()
    aws_config.write(path, text)
    found = {"aws_profile": shown, "config": text, "file": str(path)}
    return CommandResult(found, f"Wrote AWS profile '{shown}' to {path}.")


@click.command()
@click.argument("name", default="", shell_complete=complete_profiles)
@click.option("--all", "every", is_flag=True, help="Remove all profiles.")
@output_option
def logout(name: str, every: bool) -> CommandResult:
    """Remove profile NAME, or the one in use, and its cached sessions. The sessions stay valid until they expire,
    but those of a login by browser end.
    """
    if every and name:
        raise click.UsageError("Give a name, or --all.")
    return _forgotten(list(load_all()) if every else [name or current() or DEFAULT])


def _forgotten(names: list[str]) -> CommandResult:
    """Removes profiles."""
    removed = [(name, *_forget(name)) for name in names]
    found = [{"profile": name, "cached_sessions": count, "login_ended": ended} for name, count, ended in removed]
    return CommandResult(found, *(line for name, count, ended in removed for line in _farewell(name, count, ended)))


def _farewell(name: str, count: int, ended: bool) -> Iterator[str]:
    if ended:
        yield "The login and its sessions have ended."
    sessions = f" and {output.counted(count, 'cached session')}" if count else ""
    yield f"Removed profile '{name}'{sessions}."


def _forget(name: str) -> tuple[int, bool]:
    """Removes a profile; how many cached sessions it had, and whether its login by browser was ended."""
    found = remove(name)
    ended = bool(found.login) and _ended_login(found)
    left_behind = forget_secret(found)
    count = forget(found)
    if left_behind:
        entry = output.safe(found.keyring_entry)
        output.message(f"its secret is still in the system keyring, entry {entry}: {output.safe(left_behind)}")
    return count, ended


def _ended_login(found: Profile) -> bool:
    """Revokes the refresh token of a login by browser, and with it every session that it has given."""
    try:
        held = from_keyring(found)
        revoke(LoginServer(found.endpoint, found.ca_bundle), held.refresh_token)
    except (ClientError, LocalStateError) as error:
        output.message(f"the login is still valid at {output.safe(found.endpoint)}: {output.safe(error)}")
        return False
    return True


def _named(name: str) -> str:
    if name:
        return name
    if not output.interactive():
        raise click.UsageError("Name the profile.")
    stored: dict[str, Any] = dict(load_all())
    if not stored:
        raise LocalStateError("No profile is stored. Make one with: daypass login")
    return picked("Profile", list(stored))


# --- `daypass status`: all profiles and cached sessions of this user, with the time left


@click.command()
@output_option
def status() -> CommandResult:
    """Show all profiles and cached sessions, with the time left. It reads local files only."""
    chosen, stored = current(), load_all()
    names = {(found.endpoint, found.access_key_id): name for name, found in stored.items()}
    sessions = [(found, names.get((found.endpoint, found.source_key), "")) for _, found in cached_sessions()]
    return CommandResult(_as_data(chosen, stored, sessions), *_text(chosen, stored, sessions))


def _text(
    chosen: str, stored: Mapping[str, Profile], cached_sessions: Sequence[tuple[Credentials, str]]
) -> Iterator[Part]:
    if not chosen:
        yield from (_environment(), "")
    if stored:
        yield Table(
            ("", "PROFILE", "SERVER", "SECRET", "LEFT"),
            [("*" if n == chosen else "", n, p.endpoint, secret_store(p), time_left(p)) for n, p in stored.items()],
        )
    else:
        yield "No profile is stored. To store one: daypass login"
    if cached_sessions:
        yield ""
        now = time.time()
        yield Table(
            ("CACHED ROLE", "PROFILE", "EXPIRES", "LEFT"),
            [(s.role, name, s.expiration_text(), left(s.expiration - now - s.offset)) for s, name in cached_sessions],
        )
    if stored or cached_sessions:
        yield from ("", "These are local files. No server was asked whether a key or session is still valid.")


def _environment() -> str:
    """Says which key of the environment goes before the profiles, and how long it lasts."""
    server = os.environ.get("AWS_ENDPOINT_URL", "")
    at = f" at {output.safe(server)}" if server else ", without the address of a server"
    ends = os.environ.get("AWS_CREDENTIAL_EXPIRATION", "")
    lasts = f" (time left: {left(seconds_of_time(ends) - time.time())})" if ends else ""
    key = output.safe(os.environ.get("AWS_ACCESS_KEY_ID", ""))
    return f"In use: key {key}{at}, from the AWS_… variables{lasts}. They go before every profile."


def _as_data(
    chosen: str, stored: Mapping[str, Profile], cached_sessions: Sequence[tuple[Credentials, str]]
) -> dict[str, object]:
    return {
        "profile": chosen,
        "profiles": [described(name, found) for name, found in stored.items()],
        "sessions": [
            {
                "role": found.role,
                "profile": name,
                "access_key_id": found.access_key_id,
                "expiration": found.expiration_text(),
            }
            for found, name in cached_sessions
        ],
    }


# --- `daypass whoami` and `daypass roles`: the identity of a profile, and the roles that it may assume


@click.command()
@server_command
def whoami(connect: Connect) -> CommandResult:
    """Show the identity of this profile; for a session also its expiry and its chain of sessions."""
    connection = connect()
    who = identity(connection)
    session = _session(connection) if connection.profile.session_token else None
    shown: dict[str, object] = {"arn": who["Arn"], "account": who["Account"], "user id": who["UserId"]}
    if session:
        shown["session"] = session["session_id"]
        shown["expires"] = output.moment_left(session["expires_at"], connection.clock() + connection.offset)
        shown["source identity"] = session["source_identity"]
    shown["server"] = connection.profile.endpoint
    if session and len(session["hops"]) > 1:
        chain: list[Part] = ["", "Chain:", partial(output.hops, session["hops"])]
    else:
        chain = []
    return CommandResult({**who, "session": session} if session else who, Fields(shown), *chain, *_waiting(connection))


def _waiting(connection: Connection) -> list[Part]:
    """Requests that wait for the caller's decision; none without the permission."""
    try:
        from daypass.cli.access import waiting  # it imports more than most commands of this module need

        return waiting(connection.api("GET", "/own-access"))
    except ClientError:
        return []


def _session(connection: Connection) -> dict[str, Any] | None:
    """The caller's own session; None on a server that does not tell."""
    try:
        session: dict[str, Any] = connection.api("GET", "/session")
    except ClientError as error:
        if error.status == 404:
            return None
        raise
    return session


@click.command()
@server_command
def roles(connect: Connect) -> CommandResult:
    """List the roles of your account that you may assume now."""
    connection = connect()
    found = pages(connection, "/roles/assumable", "roles", {}, 10_000)
    remember_roles(connection.profile, (str(role["arn"]) for role in found))
    if found:
        return listing(
            found,
            ("ROLE", "LONGEST SESSION", "DESCRIPTION"),
            lambda r: (r["arn"], left(r["max_session_seconds"]), r.get("description") or ""),
        )
    if identity(connection)["Arn"].endswith(":root"):
        return CommandResult(found, "The root may not assume roles. Log in as a user.")
    return CommandResult(
        found, "You may assume no role of your account. Roles of other accounts are not listed: give their ARN."
    )


# --- The sessions in the cache of the client: what `status` shows and `logout` removes


def cached_sessions() -> Iterator[tuple[Path, Credentials]]:
    """Every cached session with its file; unreadable files are left out."""
    for path in sorted((home() / "cache").glob("*.json")):
        try:
            content: dict[str, Any] = json.loads(state.read_own(str(path)))
            yield path, Credentials(**content)
        except (OSError, ValueError, TypeError, RecursionError):
            continue


def forget(profile: Profile) -> int:
    """Removes the cached sessions that this key made; how many they were."""
    removed = 0
    for path, credentials in cached_sessions():
        if credentials.source_key == profile.access_key_id and credentials.endpoint == profile.endpoint:
            path.unlink(missing_ok=True)
            removed += 1
    return removed

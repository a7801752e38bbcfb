"""`daypass profile` and `daypass logout`: the stored profiles, and the AWS configuration made of them."""

from __future__ import annotations

import time
from collections.abc import Iterator
from functools import partial
from typing import Any

import click

from daypass.cli import aws_config, cached, output
from daypass.cli.durations import left
from daypass.cli.options import Group, complete_profiles, confirmed, output_option, yes_option
from daypass.cli.pick import picked
from daypass.cli.results import Result, Table, done
from daypass.client.browser_login import revoke
from daypass.client.credentials import seconds_of_time
from daypass.client.errors import ClientError
from daypass.client.profiles import (
    DEFAULT,
    LocalStateError,
    Profile,
    current,
    forget_secret,
    from_keyring,
    load_all,
    remove,
    use,
)
from daypass.client.transport import Server


def time_left(profile: Profile) -> str:
    """How long a profile's own session lasts, for people; "" for a key, which does not expire."""
    return left(seconds_of_time(profile.expiration) - time.time()) if profile.expiration else ""


def secret_store(profile: Profile) -> str:
    """Where the secret of a profile is: "keyring" or "file"."""
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


@click.group(cls=Group)
def profile() -> None:
    """Stored profiles: a server and a key each."""


@profile.command("ls")
@output_option
def list_profiles() -> Result:
    """List the profiles. The one with * is used when none is named."""
    stored, chosen = load_all(), current()
    rows = [
        ("*" if n == chosen else "", n, p.endpoint, p.access_key_id, secret_store(p), time_left(p))
        for n, p in stored.items()
    ]
    return Result(
        [{**described(name, found), "current": name == chosen} for name, found in stored.items()],
        Table(("", "PROFILE", "SERVER", "ACCESS KEY", "SECRET", "LEFT"), rows),
    )


@profile.command("use")
@click.argument("name", default="", shell_complete=complete_profiles)
@output_option
def use_profile(name: str) -> Result:
    """Use profile NAME when a command names none."""
    name = _named(name)
    use(name)
    if current() != name:
        output.message("in this shell DAYPASS_PROFILE or AWS_ACCESS_KEY_ID go before it")
    return done("used", f"Profile '{name}' is used from now on.", profile=name)


@profile.command("rm")
@click.argument("name", default="", shell_complete=complete_profiles)
@yes_option
@output_option
def remove_profile(name: str, yes: bool) -> Result:
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
def export(name: str, as_option: str, role: str, aws_profile: str, write: bool) -> Result:
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
        return Result({"aws_profile": shown, "config": text, "file": None}, partial(click.echo, text, nl=False))
    path = aws_config.config_file()
    aws_config.write(path, text)
    found = {"aws_profile": shown, "config": text, "file": str(path)}
    return Result(found, f"Wrote AWS profile '{shown}' to {path}.")


@click.command()
@click.argument("name", default="", shell_complete=complete_profiles)
@click.option("--all", "every", is_flag=True, help="Remove all profiles.")
@output_option
def logout(name: str, every: bool) -> Result:
    """Remove profile NAME, or the one in use, and its cached sessions. The sessions stay valid until they expire,
    but those of a login by browser end.
    """
    if every and name:
        raise click.UsageError("Give a name, or --all.")
    return _forgotten(list(load_all()) if every else [name or current() or DEFAULT])


def _forgotten(names: list[str]) -> Result:
    """Removes profiles."""
    removed = [(name, *_forget(name)) for name in names]
    found = [{"profile": name, "cached_sessions": count, "login_ended": ended} for name, count, ended in removed]
    return Result(found, *(line for name, count, ended in removed for line in _farewell(name, count, ended)))


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
    count = cached.remove(found)
    if left_behind:
        entry = output.safe(found.keyring_entry)
        output.message(f"its secret is still in the system keyring, entry {entry}: {output.safe(left_behind)}")
    return count, ended


def _ended_login(found: Profile) -> bool:
    """Revokes the refresh token of a login by browser, and with it every session that it has given."""
    try:
        held = from_keyring(found)
        revoke(Server(found.endpoint, found.ca_bundle), held.refresh_token)
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

"""Parameters of a request to assume a role: the options of `assume`, `exec` and `credential-process`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import click

from daypass.cli import output
from daypass.cli.argv import ROLE_TEXTS
from daypass.cli.files import text_of
from daypass.cli.names import roles_of
from daypass.cli.options import PAGE, Duration, open_connection, pages, server_options
from daypass.client.credentials import AssumeRole
from daypass.client.errors import ClientError
from daypass.client.profiles import LocalStateError, Profile
from daypass.client.usable import with_secret

_SHORTEST, _LONGEST = 900, 43_200  # seconds; of AssumeRole


class _SessionTime(Duration):
    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        seconds = super().convert(value, param, ctx)
        if seconds and not _SHORTEST <= seconds <= _LONGEST:
            self.fail("A session lasts from 15m to 12h.", param, ctx)
        return seconds


def request_options(command: Any) -> Any:
    """The parameters of AssumeRole, --profile and --endpoint."""
    options = (
        *_texts("--session-name"),
        click.option(
            "--duration", type=_SessionTime(), default=0, metavar="TIME", help="3600, 90m or 1h30m. Default: 1h."
        ),
        click.option(
            "--policy", type=click.File(encoding="utf-8"), help="File with a session policy; it can only narrow."
        ),
        click.option("--policy-arn", multiple=True, metavar="ARN", help="Managed session policy; repeatable."),
        click.option("--tag", multiple=True, metavar="KEY=VALUE", help="Session tag; repeatable."),
        click.option(
            "--transitive", multiple=True, metavar="KEY", help="Tag key that the whole chain keeps; repeatable."
        ),
        *_texts("--external-id", "--source-identity", "--mfa-serial", "--mfa-code"),
    )
    command = server_options(command)
    for option in reversed(options):  # decorators apply from the last to the first
        command = option(command)
    return command


def _texts(*names: str) -> list[Callable[[Any], Any]]:
    return [
        click.option(name, default="", metavar=metavar, help=text)
        for name in names
        for metavar, text in (ROLE_TEXTS[name],)
    ]


def request_of(role: str, profile: Profile, given: dict[str, Any]) -> AssumeRole:
    """The request that the options make. Raises UsageError."""
    tags = []
    for tag in given["tag"]:
        key, equals, value = tag.partition("=")
        if not equals:
            raise click.UsageError(f"--tag takes KEY=VALUE, not {tag!r}.")
        tags.append((key, value))
    serial = mfa_device(profile, given["mfa_serial"], given["mfa_code"])
    return AssumeRole(
        role=role,
        session_name=given["session_name"],
        duration=given["duration"],
        policy=text_of(given["policy"]) if given["policy"] else "",
        policy_arns=given["policy_arn"],
        tags=tuple(tags),
        transitive_keys=given["transitive"],
        external_id=given["external_id"],
        source_identity=given["source_identity"],
        serial_number=serial,
    )


@contextmanager
def suggesting(role: str, profile: Profile) -> Iterator[None]:
    """Adds to the denial of a role that it can be requested, or the nearest role that `daypass roles` has shown."""
    try:
        yield
    except ClientError as error:
        name, known = role.rpartition("/")[2], roles_of(profile)
        exists = " because " in error.message  # the server names a reason only then
        if error.code == "AccessDenied" and output.interactive() and _is_requestable(role, profile):
            error.add_note(f"you may request it: daypass elevate {name} --reason TEXT -- COMMAND")
        elif error.code == "AccessDenied" and not exists and not role.startswith("arn:") and name not in known:
            from daypass.cli.failures import suggestion  # only a failure needs it

            if close := suggestion(name, known):
                error.add_note(f"'{name}' is not among the roles that you have listed.{close}")
        raise


def _is_requestable(role: str, profile: Profile) -> bool:
    """Whether an approval rule lets the caller request the role (an ARN, or a name of the caller's account)."""
    try:
        found = pages(open_connection(with_secret(profile)), "/roles/requestable", "roles", {}, PAGE)
    except ClientError:
        return False  # it is only advice
    return any(role in (each["arn"], each["arn"].partition(":role/")[2]) for each in found)


def code_source(request: AssumeRole, given: str) -> Callable[[], str]:
    """Gives the MFA code of a request: the one that was given, else what a person types on the terminal."""

    def code() -> str:
        return given or mfa_code_on_terminal(request.role, request.serial_number)

    return code


def mfa_device(profile: Profile, serial: str, code: str) -> str:
    """--mfa-serial, or the device of the profile; "" for none. Raises UsageError: there is a code without a device."""
    serial = serial or profile.mfa_serial
    if code and not serial:
        raise click.UsageError("--mfa-code needs the device: give --mfa-serial.")
    return serial


def mfa_code_on_terminal(what: str, serial: str) -> str:
    """Asks for a code on the terminal itself: standard input and output may belong to a program, as with
    credential-process. `what` needs the code.
    """
    shown = output.safe(serial)
    try:
        with open("/dev/tty", "r+b", buffering=0) as terminal:  # noqa: PTH123  # unbuffered, both ways
            terminal.write(f"MFA code of {shown}: ".encode())
            return terminal.readline().decode("ascii", "replace").strip()
    except OSError:
        raise LocalStateError(
            f"{what} needs an MFA code of {shown}, and there is no terminal to ask on. Give --mfa-code, "
            "or run `daypass exec` for this role on a terminal first: its session is then in the cache."
        ) from None

"""The one format of failures: `daypass: …` on standard error, one line, and the exit status of the table.

A second line, if any, says what to do next. On a terminal a long line is folded. It must never show a traceback, or text
that could control a terminal.
"""

from __future__ import annotations

import difflib
import errno
import os
import re
from collections.abc import Iterable, Sequence
from shlex import quote

import click

from daypass.cli import exits
from daypass.cli.output import message, prose, safe
from daypass.client.errors import ClientError
from daypass.client.profiles import LocalStateError

_IN_WORDS = {errno.EADDRINUSE: "The address to listen on is in use: --listen chooses another."}


def report(error: Exception, command: str = "daypass") -> int:
    """Prints a failure; its exit status. `command`: the one that was called, where the failure does not say it."""
    if isinstance(error, click.ClickException):
        return _usage(error, command)
    if isinstance(error, ClientError):
        return _refused(error)
    if isinstance(error, ModuleNotFoundError):
        install = "pip install '.[server]' in a checkout of Daypass"
        return _report(f"the server is not installed ({safe(error.name)} is missing): {install}.", exits.USAGE)
    if isinstance(error, LocalStateError):
        return _report(str(error), exits.LOCAL)
    if type(error).__name__ in exits.OF_STARTUP:  # the server's modules are not imported here
        first, *others = map(safe, str(error).split("\n"))  # it lists what to check
        message(first)
        for line in others:
            if line.startswith(" "):  # to be pasted: it must stay one line
                click.echo(line, err=True)
            else:
                prose(line, err=True)
        return exits.OF_STARTUP[type(error).__name__]
    if isinstance(error, OSError):
        plain = f"{error.filename or 'output'}: {error.strerror or error}"
        return _report(_IN_WORDS.get(error.errno or 0, plain), exits.LOCAL)
    if os.environ.get("DAYPASS_DEBUG"):
        raise error
    return _report(f"internal error: {type(error).__name__}: {error} (DAYPASS_DEBUG=1 shows where)", exits.LOCAL)


def _report(text: str, status: int) -> int:
    message(safe(text))
    return status


# --- A call that was refused


_EXPLAINING = "sts:DecodeAuthorizationMessage"
_NEXT = {
    "MalformedPolicyDocument": "to find the mistake: daypass lint FILE",
    "FeatureDisabled": "an administrator enables it once: daypass iam EnableOutboundWebIdentityFederation",
}
"""The next step, by the code of the error."""
_NEEDS_MFA = re.compile(r"MFA at most [0-9]+ seconds ago is required")


def _refused(error: ClientError) -> int:
    known = error.request_id in error.message  # a denial names it itself
    about = f" (request {safe(error.request_id)})" if error.request_id and not known else ""
    code = f"{safe(error.code)}: " if error.code else ""
    message(f"{code}{safe(error.message.rstrip())}{about}")  # a message of AWS ends with a space
    notes = getattr(error, "__notes__", ())
    for note in notes:
        message(safe(note))
    status = exits.status_of(error)
    if error.code in _NEXT:
        message(_NEXT[error.code])
    if _NEEDS_MFA.match(error.message):
        message("to give a code: --mfa-serial ARN; your devices are in: daypass mfa ls")
    if status == exits.DENIED and _EXPLAINING in error.message:
        message("give the request id of the denial to somebody who has this permission")
    elif status == exits.DENIED and error.request_id:
        message(f"to see why: daypass explain {quote(safe(error.request_id))}")  # to be pasted (attack A442)
    elif error.encoded:
        message(f"to see why: daypass explain {quote(safe(error.encoded))}")
    elif status == exits.UNAUTHENTICATED:
        _explain_key()
    if status != exits.DENIED and not notes and error.endpoint and error.code.isalnum() and error.code.isascii():
        message(f"see: {safe(error.endpoint.rstrip('/'))}/help/errors/{error.code}")
    return status


def _explain_key() -> None:
    """Which key was used, where that may surprise: the environment overrides a stored profile."""
    from daypass.client.profiles import load_all

    if not os.environ.get("AWS_ACCESS_KEY_ID") or os.environ.get("DAYPASS_PROFILE"):
        return
    try:
        stored = load_all()
    except LocalStateError:
        stored = {}
    clear = 'eval "$(daypass assume --unset)"'
    if role := os.environ.get("DAYPASS_ROLE"):  # set by `daypass exec` and `daypass assume`
        message(
            f"the credentials are those of role {safe(role)}. For new ones: daypass exec --fresh {safe(role)}, outside of it. To clear them: {clear}"
        )
        return
    ends = os.environ.get("AWS_CREDENTIAL_EXPIRATION", "")
    until = f" They were good until {safe(ends)}." if ends else ""
    instead = "; they override your profiles" if stored else ""
    message(f"the credentials are those of the AWS_… variables{instead}.{until} To clear them: {clear}")


# --- A wrong command line

_HELP = getattr(click.exceptions, "NoArgsIsHelpError", ())
"""A group of commands was called without one; its help is the message. Older releases of click print it themselves."""


def _usage(error: click.ClickException, called: str) -> int:
    if isinstance(error, _HELP):
        click.echo(error.format_message(), err=True)
        return exits.USAGE
    text = " ".join(error.format_message().split())
    text = text.replace("a valid integer", "a whole number")  # click's
    text = re.sub(r"^Missing argument '\{[^']*\}'\. ", "Missing argument. ", text)  # the choices follow
    if isinstance(error, click.FileError):
        return _report(f"{error.ui_filename}: {error.message}", exits.LOCAL)
    context = error.ctx if isinstance(error, click.UsageError) else None
    command = context.command_path if context is not None else called
    mistyped = _mistyped(error, context)
    if context is not None and mistyped is not None:
        wrong, known = mistyped
        close = _of_a_group(wrong, context) or suggestion(wrong, known)
        text = f"'{command} {wrong}' is not a command.{close}"
    elif close := _mistyped_choice(error):
        text += close
    elif isinstance(error, click.NoSuchOption) and context is not None and context.parent is None:
        text += f" Options come after the command: daypass COMMAND {error.option_name}."
    text = text.rstrip()
    end = "" if text.endswith((".", "?", "!")) else "."
    return _report(f"{text}{end} See: {command} --help", exits.USAGE)


def command_of(cli: click.Group, arguments: Sequence[str]) -> str:
    """The command that a command line names. Click gives no context when an option lacks its value."""
    command: click.Command | None = cli
    path, context = ["daypass"], click.Context(cli)
    for word in arguments:
        command = command.get_command(context, word) if isinstance(command, click.Group) else None
        if command is None:
            break
        path.append(word)
    return " ".join(path)


def _mistyped(error: click.ClickException, context: click.Context | None) -> tuple[str, list[str]] | None:
    """The name of an unknown command, and the known ones."""
    text = error.format_message()
    if context is None or not isinstance(context.command, click.Group) or not text.startswith("No such command"):
        return None
    wrong = text.split("'")[1] if text.count("'") >= 2 else ""
    return wrong, context.command.list_commands(context)


def _of_a_group(wrong: str, context: click.Context) -> str:
    """A suggestion where exactly one group has a command of this name: `daypass access who-can` for `who-can`."""
    group = context.command
    assert isinstance(group, click.Group)
    inner = {name: group.get_command(context, name) for name in group.list_commands(context)}
    groups = [name for name, each in inner.items() if isinstance(each, click.Group) and wrong in each.commands]
    return f" Did you mean '{groups[0]} {wrong}'?" if len(groups) == 1 else ""


def _mistyped_choice(error: click.ClickException) -> str:
    """A suggestion for a value that is none of an option's choices."""
    kind = error.param.type if isinstance(error, click.BadParameter) and error.param is not None else None
    if not isinstance(kind, click.Choice):
        return ""
    wrong = error.message.partition("'")[2].partition("'")[0]
    return suggestion(wrong, [str(choice) for choice in kind.choices])


def suggestion(wrong: str, known: Iterable[str]) -> str:
    """A sentence that names the nearest of `known`, after a space; "" when nothing is near."""
    close = difflib.get_close_matches(wrong, list(known), 1, cutoff=0.6)
    return f" Did you mean '{close[0]}'?" if close else ""

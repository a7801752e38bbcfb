"""The first steps of commands that replace a whole policy, rule or list: read what is stored, show what would change, ask.

They must never replace a document that the user has not seen compared with the new one.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any, TypeVar

import click

from daypass.cli import output
from daypass.cli.options import CommandResult, confirmed, done
from daypass.client.errors import ClientError

_T = TypeVar("_T")
_NOT_FOUND = 404


def unless_absent(read: Callable[[], _T]) -> _T | None:
    """The result of `read`; None if the object does not exist. Raises ClientError for other refusals."""
    try:
        return read()
    except ClientError as error:
        if error.code and error.status == _NOT_FOUND:
            return None
        raise


def difference(stored: Any, wanted: Any, names: tuple[str, str] = ("now", "after")) -> Iterator[str]:
    """The lines of a unified diff of two JSON documents; none when their contents are equal. None: no document."""
    return difflib.unified_diff(_lines(stored), _lines(wanted), *names, lineterm="", n=2)


def _lines(document: Any) -> list[str]:
    return [] if document is None else json.dumps(document, indent=2, sort_keys=True).splitlines()


def show(title: str, stored: Any, wanted: Any) -> bool:
    """Shows what would change on standard error. Whether anything would."""
    lines = list(difference(stored, wanted))
    if not lines:
        return False
    click.echo(f"\n{output.safe(title)}:", err=True)
    for line in lines:
        colour = {"+": "green", "-": "red"}.get(line[:1])
        click.secho(output.safe(line), fg=colour, reset=colour is not None, err=True)
    return True


def agreed(title: str, stored: Any, wanted: Any, *, why: str, yes: bool) -> bool:
    """Shows how `wanted` differs from `stored`, and asks. False when they are equal: return `unchanged(title)` then.

    `why` it asks. A stored document that is None does not exist, so nothing is replaced. Raises UsageError where
    nobody can be asked and `yes` is not given, Abort when the answer is no.
    """
    if stored is None:
        return True
    if not show(title, stored, wanted):
        return False
    confirmed("Change it?", yes=yes, why=why)
    return True


def unchanged(title: str, **about: Any) -> CommandResult:
    """The result of a command that changes nothing."""
    return done("unchanged", f"{title}: the same is stored; nothing was changed.", **about)


def agree_settings(
    title: str, stored: Mapping[str, Any], wanted: Mapping[str, Any], *, yes: bool, secrets: Collection[str] = ()
) -> None:
    """Asks before stored settings are replaced or removed; settings that are only added need no question.

    The values of `secrets` are not shown. Raises UsageError where nobody can be asked and `yes` is not given, Abort.
    """
    if all(name in wanted and wanted[name] == value for name, value in stored.items()):
        return
    show(title, _without_values(stored, secrets, "stored"), _without_values(wanted, secrets, "new"))
    confirmed("Change it?", yes=yes, why="this replaces settings")


def _without_values(
    settings: Mapping[str, Any], secrets: Collection[str], prefix: str, outer: str = ""
) -> dict[str, Any]:
    """Settings in which "(prefix secret)" is written for the value of each secret, `OUTER.NAME` for a member."""
    shown: dict[str, Any] = {}
    for name, value in settings.items():
        path = f"{outer}{name}"
        if path in secrets:
            shown[name] = f"({prefix} secret)"
        else:
            shown[name] = _without_values(value, secrets, prefix, f"{path}.") if isinstance(value, dict) else value
    return shown

"""Options that many commands share, and the connection that they choose."""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import click

from daypass.cli import exits, output
from daypass.cli.durations import seconds_of
from daypass.client.errors import ClientError
from daypass.client.profiles import Profile
from daypass.client.usable import resolve

if TYPE_CHECKING:
    from daypass.client.http import Connection


_COLLECTORS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
PAGE = 250
CONNECTION = "daypass.connection"
"""The connection of a command, in the context of click: to ask for names if the command fails."""
"""Items of one page: as large as they can be, so many of them stay below the size of an answer that we read."""

if TYPE_CHECKING:
    _Type = click.ParamType[int]
else:
    _Type = click.ParamType  # older releases of click have no type parameter here


class WholeNumber(click.IntRange):
    """A whole number of a range. Help and errors describe the range in words; click writes 1<=x<=100."""

    name = "N"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        try:
            number = int(value)
        except ValueError:
            self.fail(f"{value!r} is not a whole number.", param, ctx)
        if (self.min is not None and number < self.min) or (self.max is not None and number > self.max):
            self.fail(f"{number} is not {self._describe_range()}.", param, ctx)
        return number

    def _describe_range(self) -> str:
        if self.min is None:
            return "" if self.max is None else f"at most {self.max}"
        return f"at least {self.min}" if self.max is None else f"from {self.min} to {self.max}"


class CommandGroup(click.Group):
    """A group of commands. Its help shows the first sentence of each command whole; click would cut it off."""

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        commands = [(name, self.get_command(ctx, name)) for name in self.list_commands(ctx)]
        with formatter.section("Commands"):
            formatter.write_dl([(name, command.get_short_help_str(_SUMMARY)) for name, command in commands if command])


class CliCommand(click.Command):
    """A command of a group. An empty argument, or an empty value of an option that can be repeated, names nothing: most
    often a shell variable was not set. It is refused before a server is asked.
    """

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        rest = super().parse_args(ctx, args)
        for param in self.params:
            if (isinstance(param, click.Argument) or param.multiple) and param.name is not None:
                value = ctx.params.get(param.name)
                given = ctx.get_parameter_source(param.name) is click.core.ParameterSource.COMMANDLINE
                if given and "" in (value if isinstance(value, tuple) else (value,)):
                    raise click.BadParameter("it is empty.", ctx, param)
        return rest


CommandGroup.group_class = CommandGroup
CommandGroup.command_class = CliCommand

_SUMMARY = 300  # characters: longer than any first sentence

F = TypeVar("F", bound=Callable[..., Any])
Connect = Callable[[], "Connection"]
"""Makes the connection that --profile and --endpoint choose."""


class Duration(_Type):
    """An option's value in seconds, from any form of `seconds_of`."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        found = value if isinstance(value, int) else seconds_of(str(value))
        if found is None:
            self.fail(f"{value!r} is not a duration: 3600, 90m or 1h30m.", param, ctx)
        return found


def complete_profiles(_context: click.Context, _param: click.Parameter, incomplete: str) -> list[str]:
    """Names of stored profiles, for the shell."""
    from daypass.client.profiles import NAME, LocalStateError, load_all

    try:
        return [name for name in load_all() if name.startswith(incomplete) and NAME.fullmatch(name)]
    except LocalStateError:
        return []


def complete_roles(context: click.Context, _param: click.Parameter, incomplete: str) -> list[str]:
    """Names of roles that `daypass roles` has shown to this profile, for the shell; no server is asked."""
    from daypass.cli.names import cached_roles

    given = context.params
    return [name for name in cached_roles(given.get("profile") or "") if name.startswith(incomplete)]


def server_options(command: F) -> F:
    """--profile and --endpoint."""
    command = click.option(
        "--profile", default="", metavar="NAME", help="A profile of `daypass login`.", shell_complete=complete_profiles
    )(command)
    return click.option("--endpoint", default="", metavar="URL", help="Use this server instead of the profile's.")(
        command
    )


def server_connection(command: Callable[..., Any]) -> Callable[..., Any]:
    """--profile and --endpoint. The command gets them as `connect`, which makes the connection."""

    @functools.wraps(command)
    def connected(*arguments: Any, profile: str, endpoint: str, **given: Any) -> Any:
        return command(*arguments, connect=functools.partial(_connect, profile, endpoint), **given)

    return server_options(connected)


def output_option(command: Callable[..., CommandResult]) -> Callable[..., int]:
    """--output text|json: prints the CommandResult that the command returns, and returns its exit status."""

    @functools.wraps(command)
    def rendered(*arguments: Any, form: str, **given: Any) -> int:
        return render(command(*arguments, **given), form)

    return form_option(rendered)


def server_command(command: Callable[..., CommandResult]) -> Callable[..., int]:
    """A command that calls a server and returns a CommandResult: --profile, --endpoint and --output."""
    return server_connection(output_option(command))


def form_option(command: F) -> F:
    """--output text|json as `form`, for a command that prints while it works."""
    choice = click.Choice(["text", "json"])
    return click.option("--output", "form", type=choice, default="text", show_default=True, help="Output format.")(
        command
    )


account_option = click.option("--account", default="", metavar="ID", help="Another account, for the operator.")
user_option = click.option("--user", default="", metavar="NAME", help="Another user. Default: you.")
any_account_option = click.option(
    "--account", default="", metavar="ID", help="Another account, for the operator; * for all."
)
yes_option = click.option("--yes", is_flag=True, help="Do not ask.")
reason_option = click.option("--reason", default="", metavar="TEXT", help="For the record.")
limit_option = click.option(
    "--limit", type=WholeNumber(1, 100_000), default=100, show_default=True, help="Maximum number of results."
)


def confirmed(question: str, *, yes: bool, why: str = "this cannot be undone") -> None:
    """Asks before a change. `why` it asks. Raises UsageError where nobody can be asked, Abort when the answer is no."""
    if yes:
        return
    if not output.interactive():
        raise click.UsageError(f"Give --yes: {why}, and this is not a terminal on which to ask.")
    click.confirm(question, abort=True, err=True)


def open_connection(profile: Profile) -> Connection:
    """A connection as this profile. It says so on a terminal when a call takes longer than a second."""
    from daypass.cli.output import announced  # the HTTP client takes time to import
    from daypass.client.http import Connection
    from daypass.client.transport import exchange

    _start_tracing()
    return Connection(profile, transport=announced(exchange))


def _start_tracing() -> None:
    """Exports spans, if the environment names a collector and the extra `tracing` is installed."""
    off = os.environ.get("OTEL_SDK_DISABLED", "").lower() == "true" or "opentelemetry.sdk.trace" in sys.modules
    if off or not any(os.environ.get(name) for name in _COLLECTORS):
        return
    try:
        from daypass.client.tracing import start
    except ImportError:
        return
    start()


def _connect(profile: str, endpoint: str) -> Connection:
    """A connection as the profile; see `client.usable.resolve`. The command that runs keeps it in its context."""
    connection = open_connection(resolve(profile, endpoint))
    context = click.get_current_context(silent=True)
    if context is not None:
        context.meta[CONNECTION] = connection
    return connection


def pages(connection: Connection, path: str, name: str, query: dict[str, str], limit: int) -> list[dict[str, Any]]:
    """Up to `limit` members of a list, page by page."""
    entries: list[dict[str, Any]] = []
    while len(entries) < limit:
        answer = connection.api("GET", path, {**query, "limit": str(min(limit - len(entries), PAGE))})
        entries += answer[name]
        if answer["next"] in ("", query.get("after")):  # a cursor that does not move would cause an endless loop
            break
        query = {**query, "after": answer["next"]}
    return entries[:limit]


# --- What commands return: data for programs and text for people


class Table(NamedTuple):
    """Columns with headings. `empty`: what a table without rows says; see `output.table`."""

    headings: Sequence[str]
    rows: Iterable[Sequence[object]]
    empty: str = ""


class Fields(NamedTuple):
    """The fields of one thing, a line each."""

    pairs: Mapping[str, object]


Part = str | Table | Fields | Callable[[], object]
"""A part of the text: a line, a table, fields, or what prints something else."""


class CommandResult:
    """The outcome of a command. `data` is printed as JSON, or else the parts of the text; then `status` is returned.

    Times in `data` are milliseconds under the API's names, see `output.data`.
    """

    def __init__(self, data: Any, *text: Part, status: int = exits.OK) -> None:
        self.data = data
        self.text = text
        self.status = status


def done(outcome: str, *text: Part, **about: Any) -> CommandResult:
    """A change about which the server returns nothing. `outcome`: "deleted". `about`: what it concerns."""
    return CommandResult({"result": outcome, **about}, *text)


def listing(
    found: Sequence[Any], headings: Sequence[str], row: Callable[[Any], Sequence[object]], **empty: str
) -> CommandResult:
    """A list. `row`: the cells of a member. `empty`: see `Table`."""
    return CommandResult(found, Table(headings, map(row, found), **empty))


def render(result: CommandResult, form: str) -> int:
    """Prints a result as "json" or "text"; its exit status."""
    if form == "json":
        output.data(result.data)
        return result.status
    for part in result.text:
        if isinstance(part, str):
            output.prose(output.safe(part))
        elif isinstance(part, Table):
            output.table(*part)
        elif isinstance(part, Fields):
            output.fields(part.pairs)
        else:
            part()
    return result.status


@contextmanager
def noting_done(earlier: Sequence[str]) -> Iterator[None]:
    """A step of several: if it fails, the message also says what the steps before it have done."""
    try:
        yield
    except ClientError as error:
        if earlier:
            error.add_note(f"done before that: {', '.join(earlier)}")
        raise

"""`daypass clock`: shows and resets the clock of an installation. It works on the database, without a server."""

from __future__ import annotations

from pathlib import Path

import click

from daypass.cli import exits, output
from daypass.cli.installation import config_option, data_option, server_module, settings_of
from daypass.cli.options import Fields, Group, Result, confirmed, done, output_option, yes_option


@click.group(cls=Group)
def clock() -> None:
    """The clock of an installation, from its database.

    Daypass never lets an expired session live again, so its time does not follow a system clock that is set back, and
    it refuses to follow one that jumps ahead.
    """


@clock.command("show")
@config_option
@data_option
@output_option
def show(config: Path | None, data: Path | None) -> Result:
    """Print the system's time, the highest time on record and the database server's time.

    Status 1 if they are more than five minutes apart.
    """
    found = server_module("clock").times(settings_of(config, data))
    times = {"system": found.wall, "recorded": found.mark, "database": found.database}
    shown = {"system": found.wall, "highest on record": found.mark, "database server": found.database}
    return Result(
        {name: output.iso(at) if at else None for name, at in times.items()},
        Fields({name: output.moment(at) for name, at in shown.items()}),
        status=exits.FINDING if found.apart else exits.OK,
    )


@clock.command("reset")
@config_option
@data_option
@yes_option
@output_option
def reset(config: Path | None, data: Path | None, yes: bool) -> Result:
    """Declare this machine's clock right. Every session ends, because expired ones could live again."""
    server = server_module("clock")
    confirmed("Is this machine's clock right, and may every session end?", yes=yes)
    before = server.reset(settings_of(config, data))
    text = f"The clock is reset from {output.moment(before.mark)} to {output.moment(before.wall)}; all sessions ended."
    return done("reset", text, recorded=output.iso(before.mark), system=output.iso(before.wall))

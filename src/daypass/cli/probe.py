"""`daypass probe`: synthetic checks of a server, from outside."""

from __future__ import annotations

import click

from daypass.cli import exits
from daypass.cli.options import Connect, Result, Table, complete_roles, server_command
from daypass.client.credentials import role_arn
from daypass.client.probe import Probe


@click.command("probe")
@click.argument("role", default="", shell_complete=complete_roles)
@click.option("--denied", default="", metavar="ROLE", help="A role that your key must not be able to assume.")
@server_command
def probe(role: str, denied: str, connect: Connect) -> Result:
    """Check a server from outside: what must work works, and what must be refused is refused.

    With ROLE, a session of it must work, and must not work when its token is changed. The exit status is 1 when a check
    fails, so that a monitoring system can use it. A server can run the same checks itself: see the setting checks.seconds.
    """
    connection = connect()
    check = Probe(
        connection.profile,
        role_arn(connection, role) if role else "",
        role_arn(connection, denied) if denied else "",
        clock=lambda: connection.clock() + connection.offset,
    )
    runs = list(check.run())
    rows = [(run.name, f"{run.seconds * 1000:.0f} ms", run.why or "passed") for run in runs]
    return Result(
        [{"check": run.name, "ms": round(run.seconds * 1000, 1), "problem": run.why} for run in runs],
        Table(("CHECK", "TIME", "OUTCOME"), rows),
        status=exits.FINDING if any(run.why for run in runs) else exits.OK,
    )

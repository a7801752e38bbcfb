"""`daypass probe`: synthetic checks of a server, from outside."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

import click

from daypass.cli import exits, output
from daypass.cli.options import CommandResult, Connect, Duration, Table, complete_roles, server_command
from daypass.client.credentials import role_arn
from daypass.client.http import Connection
from daypass.client.probe import CheckRun, OwnIssuer, Probe, ProbeMetrics, metrics_server

_file = click.Path(path_type=Path, dir_okay=False)


@click.command("probe")
@click.argument("role", default="", shell_complete=complete_roles)
@click.option("--denied", default="", metavar="ROLE", help="A role that your key must not be able to assume.")
@click.option("--revoke", is_flag=True, help="Also revoke a session; your key needs daypass:RevokeSession.")
@click.option("--external-role", default="", metavar="ROLE", help="A role that needs --external-id.")
@click.option("--external-id", default="", metavar="TEXT", help="Its external id.")
@click.option("--issuer", default="", metavar="URL", help="An identity provider of the probe's own.")
@click.option("--issuer-key", type=_file, help="Its private key (EC P-256, PEM).")
@click.option("--issuer-role", default="", metavar="ROLE", help="A role that its tokens can assume.")
@click.option("--client-id", default="daypass-probe", show_default=True, help="The audience of its tokens.")
@click.option("--region", default="", metavar="NAME", help="The region of this probe: a label of its metrics.")
@click.option("--listen", default="", metavar="HOST:PORT", help="Serve metrics there, and go on until interrupted.")
@click.option("--every", type=Duration(), default="30s", show_default=True, help="The pause with --listen.")
@server_command
def probe(role: str, connect: Connect, **given: Any) -> CommandResult:
    """Check a server from outside: what must work works, and what must be refused is refused.

    With ROLE, a session of it must work, be renewed, and not work when its token is changed. The exit status is 1 when a
    check fails. See also the setting checks.seconds.
    """
    connection = connect()
    check = _probe(connection, role, given)
    metrics = ProbeMetrics(given["region"])
    if given["listen"]:
        _follow(check, metrics, given["listen"], given["every"])
    runs = list(check.run())
    rows = [(run.name, f"{run.seconds * 1000:.0f} ms", run.why or "passed") for run in runs]
    return CommandResult(
        [{"check": r.name, "ms": round(r.seconds * 1000, 1), "problem": r.why, "forbidden": r.forbidden} for r in runs],
        Table(("CHECK", "TIME", "OUTCOME"), rows),
        status=exits.FINDING if any(run.why for run in runs) else exits.OK,
    )


def _probe(connection: Connection, role: str, given: dict[str, Any]) -> Probe:
    def arn(name: str) -> str:
        return role_arn(connection, name) if name else ""

    issuer = None
    if given["issuer"]:
        if given["issuer_key"] is None or not given["issuer_role"]:
            raise click.UsageError("--issuer needs --issuer-key and --issuer-role.")
        issuer = OwnIssuer(given["issuer"], given["client_id"], given["issuer_key"].read_bytes())
    return Probe(
        connection.profile,
        arn(role),
        arn(given["denied"]),
        clock=lambda: connection.clock() + connection.offset,
        revoke=given["revoke"],
        external_role=arn(given["external_role"]),
        external_id=given["external_id"],
        issuer=issuer,
        issuer_role=arn(given["issuer_role"]),
    )


def _follow(check: Probe, metrics: ProbeMetrics, listen: str, every: int) -> None:
    """Runs the checks again and again, and serves their metrics, until it is interrupted. It prints what fails."""
    host, _, port = listen.rpartition(":")
    if not port.isdecimal():
        raise click.BadParameter("it must be HOST:PORT", param_hint="--listen")
    with metrics_server(metrics, host.strip("[]") or "127.0.0.1", int(port)) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        while True:
            runs: list[CheckRun] = list(check.run())
            metrics.note(runs)
            for run in runs:
                if run.why:
                    output.prose(output.safe(f"{run.name}: {run.why}"), err=True)
            time.sleep(every)

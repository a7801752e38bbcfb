"""`daypass tui`. The screen is in `tui_app`, which needs Textual; the command and its help do not."""

from __future__ import annotations

import click

from daypass.cli import output
from daypass.cli.options import Connect, server_connection
from daypass.cli.tui_view import view_of


@click.command()
@server_connection
def tui(connect: Connect) -> int:
    """Watch your access, requests and sessions on the whole screen. It changes nothing; q quits.

    Without the permission daypass:ListSessions it shows the sessions in the cache of this machine. It needs the extra
    `tui` (Textual).
    """
    if not output.interactive():
        raise click.UsageError("It needs a terminal. In scripts: daypass access own --output json.")
    connection = connect()
    try:
        from daypass.cli.tui_app import AccessApp
    except ImportError:
        raise click.UsageError(
            "It needs Textual, the extra tui: pip install '.[tui]' in a checkout, or 'WHEEL[tui]'. Other packages have no extras."
        ) from None
    AccessApp(connection, view_of).run()
    return 0

"""`daypass serve`: reads the settings and runs the server."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import click

from daypass.cli.installation import config_option, server_module


@click.command()
@click.option(
    "--dev", is_flag=True, help="For development: listen on the loopback only, and print an administrator's key."
)
@click.option(
    "--setup", is_flag=True, help="With a new database: make the first administrator in a browser, with a code."
)
@config_option
@click.option("--host", help="Address to listen on.")
@click.option("--port", type=int, help="Port to listen on; 0 chooses one.")
@click.option("--data", type=click.Path(path_type=Path, file_okay=False), help="Data directory.")
@click.option("--workers", type=int, help="Worker processes.")
@click.option("--tls-cert", type=click.Path(path_type=Path), help="PEM certificate chain.")
@click.option("--tls-key", type=click.Path(path_type=Path), help="PEM private key.")
@click.option(
    "--client-ca", type=click.Path(path_type=Path), help="PEM file of the authorities of client certificates."
)
def serve(dev: bool, setup: bool, config: Path | None, **given: Any) -> int:
    """Run the server.

    Every setting can also be in the --config file, or in the environment as DAYPASS_SECTION__KEY. The first accounts
    of a new database come from DAYPASS_BOOTSTRAP=KEYID:SECRET:ACCOUNT[:USER][,…], or from a browser with --setup.
    """
    process = server_module("process")
    from daypass.config import load  # of the server's packages

    overrides = {name: value for name, value in given.items() if value is not None}
    settings = load(config, os.environ, {"server": overrides})
    return int(process.serve(settings, os.environ, dev=dev, setup=setup))

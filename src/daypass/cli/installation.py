"""What commands share that work on the database of an installation, without a running server."""

from __future__ import annotations

import os
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from daypass.config import Settings

config_option = click.option(
    "--config", type=click.Path(path_type=Path, dir_okay=False), help="TOML file with settings."
)
data_option = click.option(
    "--data", type=click.Path(path_type=Path, file_okay=False), help="A server's data directory."
)


def server_module(name: str) -> ModuleType:
    """`daypass.server.NAME`. Raises UsageError where only the client is installed."""
    try:
        return import_module(f"daypass.server.{name}")
    except ModuleNotFoundError as error:
        raise _not_installed(error) from None


def settings_of(config: Path | None, data: Path | None) -> Settings:
    """The settings of the installation. Logs of the server's modules go to standard error. Raises ConfigError, and
    UsageError where only the client is installed.
    """
    try:
        from daypass.config import load  # of the server's packages, which take time to import
        from daypass.observability import logs
    except ModuleNotFoundError as error:
        raise _not_installed(error) from None

    settings = load(config, os.environ, {"server": {"data": data}} if data else {})
    logs.configure("warning", "text")
    return settings


def _not_installed(error: ModuleNotFoundError) -> click.UsageError:
    return click.UsageError(
        f"the server is not installed ({error.name} is missing): pip install '.[server]' in a checkout of Daypass"
    )

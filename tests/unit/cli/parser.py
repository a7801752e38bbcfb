"""Every command of the parser, for tests that must hold for all of them."""

from __future__ import annotations

from collections.abc import Iterator

import click

from daypass.cli.app import cli

WITHOUT_JSON = {
    "agent credentials": "prints what AWS SDKs read",
    "agent run": "runs until it is stopped",
    "completion": "prints a script for a shell",
    "credential-helper docker": "prints what Docker reads",
    "credential-helper git": "prints what git reads",
    "credential-process": "prints what AWS SDKs read",
    "k8s credential": "prints what kubectl reads",
    "k8s webhook": "serves until it is stopped",
    "ldap": "serves until it is stopped",
    "pam": "answers PAM by its exit status",
    "prompt": "prints a word for a shell's prompt",
    "proxy": "serves until it is stopped",
    "elevate": "runs a command",
    "exec": "runs a command",
    "ssh": "runs a command",
    "serve": "runs until it is stopped",
    "tui": "shows a screen",
}
"""Commands that take no --output, and why."""


def every_command(group: click.Group = cli, name: str = "") -> Iterator[tuple[str, click.Command]]:
    """The commands that do something, by name: "user rm"."""
    context = click.Context(group)
    for word in group.list_commands(context):
        command = group.get_command(context, word)
        assert command is not None
        if isinstance(command, click.Group):
            yield from every_command(command, f"{name}{word} ")
        else:
            yield f"{name}{word}", command

"""`daypass completion`: scripts that complete commands, options, and names of roles and profiles from the cache."""

from __future__ import annotations

import os
import shlex
from pathlib import Path
from typing import Any

import click
from click.shell_completion import CompletionItem, ShellComplete, add_completion_class, get_completion_class

from daypass.cli.installation import config_option, server_module

_POWERSHELL = """\
Register-ArgumentCompleter -Native -CommandName daypass -ScriptBlock {
    param($word, $ast, $position)
    $env:_DAYPASS_COMPLETE = "powershell_complete"
    $env:COMP_WORDS = $ast.ToString().Substring(0, [Math]::Min($position, $ast.ToString().Length))
    $env:COMP_CWORD = $word
    daypass | ForEach-Object {
        $value, $help = $_ -split "`t", 2
        if (-not $help) { $help = $value }
        [System.Management.Automation.CompletionResult]::new($value, $value, "ParameterValue", $help)
    }
    Remove-Item Env:_DAYPASS_COMPLETE, Env:COMP_WORDS, Env:COMP_CWORD -ErrorAction SilentlyContinue
}
"""


_COMPINIT = "(( $+functions[compdef] )) || { autoload -Uz compinit && compinit -i; }"
"""For a zsh whose start files do not set up completion. Those of a new user do not."""


class _PowerShell(ShellComplete):
    name = "powershell"
    source_template = _POWERSHELL

    def source(self) -> str:
        return self.source_template

    def get_completion_args(self) -> tuple[list[str], str]:
        line = os.environ.get("COMP_WORDS", "")
        try:
            words = shlex.split(line)
        except ValueError:  # a quotation that is still open
            words = line.split()
        incomplete = os.environ.get("COMP_CWORD", "")
        if incomplete and words and words[-1] == incomplete:
            words = words[:-1]
        return words[1:], incomplete

    def format_completion(self, item: CompletionItem) -> str:
        return f"{item.value}\t{item.help}" if item.help else str(item.value)


add_completion_class(_PowerShell)


@click.command()
@click.argument("shell", metavar="SHELL", type=click.Choice(["bash", "zsh", "fish", "powershell"]))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print a completion script for SHELL. Names of roles come from the last `daypass roles`; no server is asked.

    \b
    bash        eval "$(daypass completion bash)"             in ~/.bashrc
    zsh         eval "$(daypass completion zsh)"              in ~/.zshrc
    fish        daypass completion fish | source              in ~/.config/fish/config.fish
    PowerShell  daypass completion powershell | Out-String | Invoke-Expression   in $PROFILE
    """  # noqa: D301  # click reads the control character
    found: Any = get_completion_class(shell)
    root = context.find_root().command
    text = found(root, {}, "daypass", "_DAYPASS_COMPLETE")
    script = text.source_template % text.source_vars() if shell != "powershell" else text.source()
    click.echo(script.replace("    compdef ", f"    {_COMPINIT}\n    compdef ") if shell == "zsh" else script)


# --- `daypass serve`: reads the settings and runs the server


@click.command()
@click.option(
    "--dev", is_flag=True, help="For development: listen on the loopback only, and print an administrator's key."
)
@click.option(
    "--setup", is_flag=True, help="With a new database: make the first administrator in a browser, with a code."
)
@config_option
@click.option("--host", metavar="HOST", help="Address to listen on.")
@click.option("--port", type=int, metavar="N", help="Port to listen on; 0 chooses one.")
@click.option("--data", type=click.Path(path_type=Path, file_okay=False), help="Data directory.")
@click.option("--workers", type=int, metavar="N", help="Worker processes.")
@click.option("--tls-cert", type=click.Path(path_type=Path), metavar="FILE", help="PEM certificate chain.")
@click.option("--tls-key", type=click.Path(path_type=Path), metavar="FILE", help="PEM private key.")
@click.option(
    "--client-ca",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="PEM file of the authorities of client certificates.",
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

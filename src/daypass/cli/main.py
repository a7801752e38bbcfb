"""The entry point: runs a command, and turns every failure into one line and an exit status."""

from __future__ import annotations

import io
import os
import sys

from daypass import __version__


def main() -> None:
    """Runs the command line and exits with a documented status (see `daypass.cli.exits`)."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a name that the terminal's encoding lacks is not a failure
    sys.exit(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """Runs one command; its exit status."""
    if arguments == ["--version"]:  # scripts ask this before everything else: it needs no parser of options
        print(f"daypass, version {__version__}")  # noqa: T201  # a result, not a trace
        return 0
    if arguments[:1] in (["exec"], ["credential-process"]) and "_DAYPASS_COMPLETE" not in os.environ:
        from daypass.cli import hot  # noqa: PLC0415

        try:
            served = hot.run(arguments)
        except BrokenPipeError:
            return _pipe_closed()
        if served is not None:
            return served
    return _by_click(arguments)


def _by_click(arguments: list[str]) -> int:
    import click  # noqa: PLC0415

    from daypass.cli.app import PipeClosed, cli  # noqa: PLC0415

    if "_DAYPASS_COMPLETE" in os.environ:
        import daypass.cli.completion  # noqa: PLC0415, F401  # it adds PowerShell to the shells that click knows
    try:
        result: object = cli.main(arguments, prog_name="daypass", standalone_mode=False)
    except click.exceptions.Exit as stop:
        return stop.exit_code
    except (click.exceptions.Abort, KeyboardInterrupt):
        return 130
    except PipeClosed:
        return _pipe_closed()
    except Exception as error:  # noqa: BLE001  # a person must not get a traceback
        from daypass.cli.failures import report  # noqa: PLC0415  # only a failure needs it

        return report(error)
    return result if isinstance(result, int) else 0


def _pipe_closed() -> int:
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or the interpreter complains at exit
    return 141


if __name__ == "__main__":
    main()

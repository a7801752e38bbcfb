"""The entry point: runs a command, and turns every failure into one line and an exit status."""

from __future__ import annotations

import io
import os
import sys

from daypass import __version__

_INTERRUPTED = 130


def main() -> None:
    """Runs the command line and exits with a documented status (see `daypass.cli.exits`)."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:  # it was closed, as by `>&-`: then nobody reads it
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115, PTH123  # until the end
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a name that the terminal's encoding lacks is not a failure
    try:
        status = run(sys.argv[1:])
    except KeyboardInterrupt:  # before click could take it
        status = _interrupted()
    if status == _INTERRUPTED:
        _ignore_interrupts()
    sys.exit(_flushed(status))


def run(arguments: list[str]) -> int:
    """Runs one command; its exit status. `help COMMAND` is `COMMAND --help`."""
    if arguments[:1] == ["help"]:
        arguments = [*arguments[1:], "--help"]
    try:
        served = _quick(arguments)
    except BrokenPipeError:
        return _pipe_closed()
    except OSError as error:
        return _reported(error)
    return _by_click(arguments) if served is None else served


def _quick(arguments: list[str]) -> int | None:
    """Runs what scripts ask for again and again, without a parser of options; None: click must run it."""
    if arguments == ["--version"]:
        print(f"daypass, version {__version__}")  # noqa: T201  # a result, not a trace
        return 0
    if arguments[:1] in (["exec"], ["credential-process"], ["prompt"]) and "_DAYPASS_COMPLETE" not in os.environ:
        from daypass.cli import hot

        return hot.run(arguments)
    return None


def _by_click(arguments: list[str]) -> int:
    import click

    from daypass.cli.app import PipeClosed, cli

    if "_DAYPASS_COMPLETE" in os.environ:
        import daypass.cli.completion  # noqa: F401  # it adds PowerShell to the shells that click knows
    try:
        result: object = cli.main(arguments, prog_name="daypass", standalone_mode=False)
    except click.exceptions.Exit as stop:
        return stop.exit_code
    except click.exceptions.Abort as stop:
        typed = isinstance(
            stop.__context__, KeyboardInterrupt | EOFError
        )  # otherwise the person answered no, which ended the line
        return _interrupted() if typed else _INTERRUPTED
    except KeyboardInterrupt:
        return _interrupted()
    except PipeClosed:
        return _pipe_closed()
    except Exception as error:  # noqa: BLE001  # a person must not get a traceback
        from daypass.cli.failures import command_of, report

        return report(error, command_of(cli, arguments))
    return result if isinstance(result, int) else 0


def _reported(error: Exception) -> int:
    from daypass.cli.failures import report  # only a failure needs it

    return report(error)


def _interrupted() -> int:
    """The terminal shows ^C or ^D after a prompt, without an end of line: the shell's prompt must not follow it."""
    if sys.stderr.isatty():
        sys.stderr.write("\n")
    return _INTERRUPTED


def _flushed(status: int) -> int:
    """The status after what was printed has been written; a failure is reported unless one was before."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        return _pipe_closed()
    except OSError as error:
        _discard_output()
        return status or _reported(error)
    return status


def _ignore_interrupts() -> None:
    """The program ends: another Ctrl-C would only print a traceback of the interpreter's own end."""
    import signal

    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _pipe_closed() -> int:
    _discard_output()
    return 141


def _discard_output() -> None:
    """Gives what cannot be written to the null device, or the interpreter complains at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


if __name__ == "__main__":
    main()

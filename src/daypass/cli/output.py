"""Output of commands: tables for people, JSON for tools. Text of a server is never printed raw to a terminal."""

from __future__ import annotations

import io
import itertools
import json
import os
import re
import shutil
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TextIO

import click

from daypass.cli.durations import left
from daypass.client.transport import ClientRequest, ClientResponse, Transport

MAX_COLUMNS = 100
_ANY = 10_000
_LISTS = re.compile(
    r"List (?:the |your )?((?:(?!of [a-z]+ [A-Z])[a-z-]+ ?)+?)(?= of [a-z]+ [A-Z]|[,.:;])"
)  # a command's help
_COMMAND = re.compile(r"(.+:) (daypass [a-z].*)", re.DOTALL)  # a sentence that ends with what to run
_NARROWEST = 26  # of a folded column: `arn:aws:iam::123456789012:` stays whole


def safe(value: object) -> str:
    """Text with control characters (ANSI escapes, line ends), and what else could deceive, made visible (A99)."""
    text = str(value)
    if text.isascii() and text.isprintable():
        return text
    from daypass.domain.visible import visible  # seldom needed

    return visible(text)


def room(stream: TextIO, most: int = MAX_COLUMNS) -> int:
    """Columns that a line on this stream may have; 0 for any number, where it is not a terminal. Sentences are easier to
    read in `most` columns; tables take the whole width.
    """
    return min(most, shutil.get_terminal_size((MAX_COLUMNS, 24)).columns) if stream.isatty() else 0


_COLOURS = {
    **dict.fromkeys(("active", "allowed", "approved", "claimed", "enabled", "open", "passed", "verified"), "green"),
    **dict.fromkeys(("depends", "draft", "partly", "pending", "scheduled", "waiting", "warning"), "yellow"),
    **dict.fromkeys(
        ("blocked", "dead", "denied", "disabled", "error", "failed", "not allowed", "refused", "revoked"), "red"
    ),
}
"""The colours of words that say how something is. Without a terminal, with NO_COLOR and with TERM=dumb, click leaves them out."""


def coloured(text: str, word: str = "") -> str:
    """A text in the colour of what it says, or of `word`. Words after a comma or "until" do not matter."""
    said = (word or text).strip().lower().partition(",")[0].partition(" until ")[0]
    return click.style(text, fg=_COLOURS[said]) if said in _COLOURS else text


def fitted(text: str, end: str = "") -> str:
    """A line that fits the terminal: without room, `end` is omitted, then the text is cut."""
    columns = room(sys.stdout, _ANY)
    whole = f"{text}  {end}" if end else text
    if not columns or len(whole) <= columns:
        return whole
    return text if len(text) <= columns else f"{text[: columns - 1]}…"


def qr_code(text: str) -> None:
    """Prints a QR code on standard error, if that is a terminal of Unicode and the extra `qr` (segno) is installed."""
    if not sys.stderr.isatty() or "utf" not in (sys.stderr.encoding or "").lower():
        return
    try:
        import segno  # optional
    except ImportError:
        return
    drawn = io.StringIO()
    segno.make(text, error="l", micro=False).terminal(drawn, compact=True)
    click.echo(drawn.getvalue(), err=True)


def prose(text: str, *, err: bool = False, indent: int | None = None, colour: bool = False) -> None:
    """Prints a line. On a terminal it is broken between words, so that it fits, and a command at its end gets a line that
    can be copied; text for programs stays one line.

    `indent`: of the lines after the first; by default two columns more than the first has. `colour`: it is a field with a
    name of that many columns less two.
    """
    columns = room(sys.stderr if err else sys.stdout)
    if columns and len(text) > columns:
        if indent is None:
            indent = len(text) - len(text.lstrip()) + 2
        said = _COMMAND.fullmatch(text)
        text = textwrap.fill(
            said[1] if said else text,
            columns,
            subsequent_indent=" " * min(indent, columns // 2),
            break_long_words=False,  # an ARN or a command must stay one word, to be copied
            break_on_hyphens=False,
        )
        text += f"\n{' ' * indent}{said[2]}" if said else ""
    if colour and indent is not None:
        text = text[:indent] + coloured(text[indent:])
    click.echo(text, err=err)


def message(text: str) -> None:
    """Prints `daypass: …` on standard error: what went wrong, what is going on, or what to do next."""
    prose(f"daypass: {text}", err=True)


_TIMES = frozenset(
    ["at", "claim_by", "deadline", "issued_before", "last_expiry", "not_before", "since", "times", "until"]
)


def is_time(member: str) -> bool:
    """Whether a member of the API is in milliseconds."""
    return member in _TIMES or (member.endswith(("_at", "_until")) and member != "looked_at")


def data(value: Any) -> None:
    """Prints JSON, times in ISO 8601; ASCII only, so nothing in it can control a terminal."""
    click.echo(json.dumps(_with_times(value), indent=2, ensure_ascii=True))


def line(value: Any) -> None:
    """Prints JSON on one line, for streams."""
    click.echo(json.dumps(_with_times(value), separators=(",", ":"), ensure_ascii=True))


def _with_times(value: Any) -> Any:
    """The value with the API's milliseconds as ISO 8601, UTC. Recorded events are left as they are."""
    if isinstance(value, list):
        return [_with_times(member) for member in value]
    if not isinstance(value, dict):
        return value
    return {name: member if name == "event" else _member(name, member) for name, member in value.items()}


def _member(name: str, value: Any) -> Any:
    if not is_time(name):
        return _with_times(value)
    if isinstance(value, list):
        return [_member(name, each) for each in value]
    return iso(value) if type(value) is int and value else value


def iso(ms: int) -> str | int:
    """2026-01-31T12:00:00.123Z; the number itself when it is not a time."""
    try:
        whole = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(ms // 1000))
    except (ValueError, OverflowError, OSError):
        return ms
    return f"{whole}.{ms % 1000:03}Z"


def _nothing() -> str:
    """`there are no sessions`, by the help of the command that lists them."""
    context = click.get_current_context(silent=True)
    listed = _LISTS.match(context.command.help or "") if context is not None else None
    return f"there are no {listed[1]}" if listed else "there are none"


def table(headings: Sequence[str], rows: Iterable[Sequence[object]], empty: str = "") -> None:
    """Prints rows in columns that fit their longest cell. `empty`: what is printed when there are no rows; by default, that
    there is nothing of what the command lists.

    On a terminal, ARNs and sentences are folded so that lines fit. Ids, times and names stay whole, to be copied: where
    there is no room for them side by side, each row is printed as fields.
    """
    cells = [[safe("" if cell is None else cell) for cell in row] for row in rows]
    if not cells:
        message(empty or _nothing())
        return
    widths = [max([len(h), *(len(row[i]) for row in cells)]) for i, h in enumerate(headings)]
    columns = room(sys.stdout, _ANY)
    if columns and _width(widths) > columns:
        foldable = [any(_is_foldable(row[i]) for row in cells) for i in range(len(headings))]
        widths = _narrowed(widths, foldable, columns)
        if _width(widths) > columns:
            _records(headings, cells)
            return
    click.echo(
        click.style("  ".join(h.ljust(width) for h, width in zip(headings, widths, strict=True)).rstrip(), bold=True)
    )
    for row in cells:
        folded = [_folded(cell, width) for cell, width in zip(row, widths, strict=True)]
        for parts in itertools.zip_longest(*folded, fillvalue=""):
            padded = [part.ljust(width) for part, width in zip(parts, widths, strict=True)]
            padded[-1] = padded[-1].rstrip()
            click.echo("  ".join(map(coloured, padded)).rstrip())


def _width(widths: Sequence[int]) -> int:
    return sum(widths) + 2 * (len(widths) - 1)


def _is_foldable(cell: str) -> bool:
    """Whether a cell can be read in pieces: an ARN, or a text of several words that is not a time."""
    return cell.startswith("arn:") or (" " in cell and not cell.endswith("Z"))


def _narrowed(widths: Sequence[int], foldable: Sequence[bool], columns: int) -> list[int]:
    """Widths of which the foldable ones are reduced, the widest first, until they fit or are as narrow as they may be."""
    made = list(widths)
    while _width(made) > columns:
        candidates = [i for i, width in enumerate(made) if foldable[i] and width > _NARROWEST]
        if not candidates:
            break
        made[max(candidates, key=lambda i: made[i])] -= 1
    return made


def _folded(cell: str, width: int) -> list[str]:
    """A cell in pieces of at most `width`, broken after a space, colon or slash where there is one."""
    pieces = []
    while len(cell) > width:
        at = max(cell.rfind(mark, 0, width) for mark in " :/") + 1
        at = at if at > width // 3 else width
        pieces.append(cell[:at].rstrip())
        cell = cell[at:]
    return [*pieces, cell]


def _records(headings: Sequence[str], cells: Sequence[Sequence[str]]) -> None:
    """Prints each row as fields, with an empty line between rows."""
    for number, row in enumerate(cells):
        if number:
            click.echo()
        fields({heading.lower() or "state": cell for heading, cell in zip(headings, row, strict=True)})


def hops(chain: Sequence[Mapping[str, Any]]) -> None:
    """Prints a chain of custody, a line for each session or key in it."""
    for number, hop in enumerate(chain):
        key = f" with {hop['access_key_id']}" if hop["access_key_id"] else ""  # a password is not a key
        what = f"{hop['name']} ({hop['principal_id']}) in {hop['account']}{key}"
        prose(f"  {number}. {safe(what)} at {moment(hop['issued_at'])}", indent=5)


def moment_left(ms: Any, now: float) -> str:
    """A time for people, with the time left until then. `now` in seconds."""
    return f"{moment(ms)} ({time_left(ms, now)})" if isinstance(ms, int) else safe(ms)


def time_left(ms: Any, now: float) -> str:
    """How long until a time of the API, for people. `now` in seconds."""
    return left(ms / 1000 - now) if isinstance(ms, int) else safe(ms)


def fields(pairs: Mapping[str, object]) -> None:
    """Prints one thing's fields, a line each; empty ones are left out."""
    shown = {safe(name): value for name, value in pairs.items() if value not in (None, "", [], {})}
    width = max((len(name) for name in shown), default=0)
    for name, value in shown.items():
        prose(f"{name.ljust(width)}  {safe(value)}", indent=width + 2, colour=True)


def settings(values: Mapping[str, Any]) -> None:
    """Prints settings, a line each, by name; what is not text as JSON."""
    for name, value in sorted(values.items()):
        prose(f"{safe(name)} = {safe(value if isinstance(value, str) else json.dumps(value))}")


def counted(number: int, noun: str) -> str:
    """`1 account`, `2 accounts`."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def moment(ms: int | None) -> str:
    """A time for people, UTC; "" for none."""
    if not ms:
        return ""
    try:
        return time.strftime("%Y-%m-%d %H:%M:%SZ", time.gmtime(ms / 1000))
    except (ValueError, OverflowError, OSError, TypeError):  # no time at all, though the server says so
        return safe(ms)


def interactive() -> bool:
    """Whether there is a person to ask: standard input and standard error are terminals."""
    return sys.stdin.isatty() and sys.stderr.isatty()


# --- Say on a terminal that something takes longer than a second, and remove the message when it is done


_AFTER = 1.0  # seconds; of waiting for a server, all calls of the command together
_telling = threading.Lock()  # one message at a time, that of the longest step


@contextmanager
def working(
    text: str,
    amount: Callable[[], str] = str,
    after: float = _AFTER,
    event: Callable[[], threading.Event] = threading.Event,
) -> Iterator[None]:
    """Says `text` on standard error while the block takes longer, with `amount` so far and the seconds; nothing where that is
    not a terminal.
    """
    if not sys.stderr.isatty() or os.environ.get("TERM") == "dumb" or not _telling.acquire(blocking=False):
        yield
        return
    done = event()

    def tell() -> None:
        seconds, wait = 0, after
        while not done.wait(wait):
            seconds, wait = seconds + 1, 1.0
            said = ", ".join(filter(None, (amount(), f"{seconds} s")))
            sys.stderr.write(f"\r\x1b[K{f'daypass: {safe(text)} … {said}'[: room(sys.stderr) - 1]}")
            sys.stderr.flush()
        if seconds:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()

    teller = threading.Thread(target=tell, daemon=True)
    teller.start()
    try:
        yield
    finally:
        done.set()
        teller.join()
        _telling.release()


@contextmanager
def expected_wait() -> Iterator[None]:
    """Says nothing of the waits within the block: a call that waits for new records is no slow call."""
    with _telling:
        yield


def announced(
    transport: Transport,
    event: Callable[[], threading.Event] = threading.Event,
    monotonic: Callable[[], float] = time.monotonic,
) -> Transport:
    """`transport`, which says that it waits."""
    waited = 0.0

    def exchange(request: ClientRequest, seconds: float) -> ClientResponse:
        nonlocal waited
        began = monotonic()
        try:
            with working(f"waiting for {request.endpoint}", after=max(0.0, _AFTER - waited), event=event):
                return transport(request, seconds)
        finally:
            waited += monotonic() - began

    return exchange

"""`daypass status`: all profiles and cached sessions of this user, with the time left. It reads local files only."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping, Sequence

import click

from daypass.cli import cached, output
from daypass.cli.durations import left
from daypass.cli.options import output_option
from daypass.cli.profile import described, secret_store, time_left
from daypass.cli.results import Part, Result, Table
from daypass.client.credentials import Credentials, seconds_of_time
from daypass.client.profiles import Profile, current, load_all


@click.command()
@output_option
def status() -> Result:
    """Show all profiles and cached sessions, with the time left. It reads local files only."""
    chosen, stored = current(), load_all()
    names = {(found.endpoint, found.access_key_id): name for name, found in stored.items()}
    sessions = [(found, names.get((found.endpoint, found.source_key), "")) for _, found in cached.sessions()]
    return Result(_as_data(chosen, stored, sessions), *_text(chosen, stored, sessions))


def _text(
    chosen: str, stored: Mapping[str, Profile], cached_sessions: Sequence[tuple[Credentials, str]]
) -> Iterator[Part]:
    if not chosen:
        yield from (_environment(), "")
    if stored:
        yield Table(
            ("", "PROFILE", "SERVER", "SECRET", "LEFT"),
            [("*" if n == chosen else "", n, p.endpoint, secret_store(p), time_left(p)) for n, p in stored.items()],
        )
    else:
        yield "No profile is stored. To store one: daypass login"
    if cached_sessions:
        yield ""
        now = time.time()
        yield Table(
            ("CACHED ROLE", "PROFILE", "EXPIRES", "LEFT"),
            [(s.role, name, s.expiration_text(), left(s.expiration - now - s.offset)) for s, name in cached_sessions],
        )
    if stored or cached_sessions:
        yield from ("", "These are local files. No server was asked whether a key or session is still valid.")


def _environment() -> str:
    """Says which key of the environment goes before the profiles, and how long it lasts."""
    server = os.environ.get("AWS_ENDPOINT_URL", "")
    at = f" at {output.safe(server)}" if server else ", without the address of a server"
    ends = os.environ.get("AWS_CREDENTIAL_EXPIRATION", "")
    lasts = f" (time left: {left(seconds_of_time(ends) - time.time())})" if ends else ""
    key = output.safe(os.environ.get("AWS_ACCESS_KEY_ID", ""))
    return f"In use: key {key}{at}, from the AWS_… variables{lasts}. They go before every profile."


def _as_data(
    chosen: str, stored: Mapping[str, Profile], cached_sessions: Sequence[tuple[Credentials, str]]
) -> dict[str, object]:
    return {
        "profile": chosen,
        "profiles": [described(name, found) for name, found in stored.items()],
        "sessions": [
            {
                "role": found.role,
                "profile": name,
                "access_key_id": found.access_key_id,
                "expiration": found.expiration_text(),
            }
            for found, name in cached_sessions
        ],
    }

"""`daypass status`: all profiles and cached sessions of this user, with the time left. It asks no server."""

from __future__ import annotations

import time

import click

from daypass.cli import cached, output
from daypass.cli.durations import left
from daypass.cli.options import output_option
from daypass.cli.profile import secret_store, time_left
from daypass.client.profiles import current, load_all


@click.command()
@output_option
def status(form: str) -> None:
    """Show all profiles and cached sessions, with the time left. No server is asked."""
    now, chosen = time.time(), current()
    stored = load_all()
    names = {(found.endpoint, found.access_key_id): name for name, found in stored.items()}
    held = [found for _, found in cached.sessions()]
    if form == "json":
        output.data(
            {
                "profile": chosen,
                "profiles": [
                    {
                        "name": n,
                        "endpoint": p.endpoint,
                        "access_key_id": p.access_key_id,
                        "expiration": p.expiration,
                        "secret_store": secret_store(p),
                    }
                    for n, p in stored.items()
                ],
                "sessions": [
                    {
                        "role": found.role,
                        "profile": names.get((found.endpoint, found.source_key), ""),
                        "access_key_id": found.access_key_id,
                        "expiration": found.expiration_text(),
                    }
                    for found in held
                ],
            }
        )
        return
    if not chosen:
        click.echo("The AWS_… variables of your environment are used; they go before every profile.\n")
    output.table(
        ("", "PROFILE", "SERVER", "SECRET", "LEFT"),
        [("*" if n == chosen else "", n, p.endpoint, secret_store(p), time_left(p)) for n, p in stored.items()],
    )
    if held:
        click.echo()
        rows = [
            (
                found.role,
                names.get((found.endpoint, found.source_key), ""),
                found.expiration_text(),
                left(found.expiration - now - found.offset),
            )
            for found in held
        ]
        output.table(("CACHED ROLE", "PROFILE", "EXPIRES", "LEFT"), rows)

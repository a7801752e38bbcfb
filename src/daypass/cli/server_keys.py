"""`daypass server-keys`: the ring keys of an installation. It works on the database, without a server."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import click

from daypass.cli import output
from daypass.cli.installation import config_option, data_option, server_module, settings_of
from daypass.cli.options import Group, Result, confirmed, done, listing, output_option, yes_option

_RINGS = (
    "sealing",
    "derivation",
    "signing",
    "signing-eddsa",
    "signing-rs256",
    "signing-es384",
    "message",
    "spool",
    "storage",
)


@click.group("server-keys", cls=Group)
def server_keys() -> None:
    """The keys that seal sessions, sign tokens and protect stored secrets.

    Running servers make the next key of each ring in time. These commands are for rotation by hand, for emergencies,
    and for replacing the key-encryption key.
    """


@server_keys.command("ls")
@config_option
@data_option
@output_option
def list_keys(config: Path | None, data: Path | None) -> Result:
    """List the ring keys with their times. Key material is never shown."""
    now = time.time_ns() // 1_000_000
    found = [
        {
            "ring": str(key.ring),
            "id": key.id,
            "state": _state(key, now),
            "not_before": key.not_before,
            "sign_until": key.sign_until,
            "verify_until": key.verify_until if key.verify_until < 2**53 else None,
        }
        for key in server_module("ring_keys").list_keys(settings_of(config, data))
    ]
    times = ("not_before", "sign_until", "verify_until")
    return listing(
        found,
        ("RING", "ID", "STATE", "SIGNS FROM", "SIGNS UNTIL", "VERIFIES UNTIL"),
        lambda key: (
            *(key[name] for name in ("ring", "id", "state")),
            *(output.moment(key[name]) if key[name] else "always" for name in times),
        ),
    )


def _state(key: Any, now: int) -> str:
    if now >= key.verify_until:
        return "ended"
    if now < key.not_before:
        return "next"
    return "signs" if now < key.sign_until else "verifies"


@server_keys.command("rotate")
@click.option("--ring", "rings", multiple=True, type=click.Choice(_RINGS), help="Only this ring. Default: all.")
@click.option("--emergency", is_flag=True, help="End the keys in use, and every session with them.")
@config_option
@data_option
@yes_option
@output_option
def rotate(rings: tuple[str, ...], emergency: bool, config: Path | None, data: Path | None, yes: bool) -> Result:
    """Make the next key of each ring. Sessions do not end, and running servers use the keys within a second.

    A new signing key signs after two hours, when every verifier has it.
    """
    server, settings = server_module("ring_keys"), settings_of(config, data)
    if not emergency:
        from daypass.crypto.keys import Ring  # of the server's packages

        keys = server.rotate(settings, [Ring(name) for name in rings])
        found = [{"ring": str(key.ring), "id": key.id, "not_before": key.not_before} for key in keys]
        text = [f"Made {k.ring} key {k.id}. It signs from {output.moment(k.not_before)}." for k in keys]
        return Result({"made": found, "ended": []}, *text)
    if rings:
        raise click.UsageError("--emergency concerns every ring of sessions and tokens.")
    confirmed("End the keys in use? Every session and access token ends at once.", yes=yes)
    ended, made = server.rotate_in_emergency(settings)
    changed = {
        "made": [{"ring": str(key.ring), "id": key.id, "not_before": key.not_before} for key in made],
        "ended": [{"ring": str(key.ring), "id": key.id} for key in ended],
    }
    return Result(
        changed,
        f"Ended {output.counted(len(ended), 'key')} and every session; made {output.counted(len(made), 'new key')}.",
    )


@server_keys.command("rewrap")
@click.argument("key", required=False, default="", metavar="[FILE|URI]")
@config_option
@data_option
@yes_option
@output_option
def rewrap(key: str, config: Path | None, data: Path | None, yes: bool) -> Result:
    """Wrap every ring key by the key-encryption key of the settings, in FILE (base64, 32 bytes), or of a key source.

    Every server must accept that key first: as its own, or among keys.former_encryption_key_files and
    keys.former_encryption_key_sources.
    """
    confirmed("Does every running server accept this key-encryption key?", yes=yes)
    count = server_module("ring_keys").rewrap(settings_of(config, data), key)
    following = ["Now make it the key-encryption key of every server."] if key else []
    return done("wrapped", f"Wrapped {output.counted(count, 'ring key')}.", *following, keys=count)

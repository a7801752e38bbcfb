"""Commands that work on the database of an installation, without a running server: backups, ring keys and the clock."""

from __future__ import annotations

import os
import tempfile
import time
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import click

from daypass.cli import exits, output
from daypass.cli.files import text_at
from daypass.cli.options import CommandGroup, CommandResult, Fields, confirmed, done, listing, output_option, yes_option
from daypass.cli.output import counted, moment

if TYPE_CHECKING:
    from daypass.config import Settings


config_option = click.option(
    "--config", type=click.Path(path_type=Path, dir_okay=False), help="TOML file with settings."
)
data_option = click.option(
    "--data", type=click.Path(path_type=Path, file_okay=False), help="A server's data directory."
)


def server_module(name: str) -> ModuleType:
    """`daypass.server.NAME`. Raises ModuleNotFoundError where only the client is installed."""
    return import_module(f"daypass.server.{name}")


def settings_of(config: Path | None, data: Path | None) -> Settings:
    """The settings of the installation. Logs of the server's modules go to standard error. Raises ConfigError, and
    ModuleNotFoundError where only the client is installed.
    """
    from daypass.config import load  # of the server's packages, which take time to import
    from daypass.observability import logs

    settings = load(config, os.environ, {"server": {"data": data}} if data else {})
    logs.configure("warning", "text")
    return settings


# --- `daypass backup`: encrypted backups of an installation's database, restoring them, and drills


_file = click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
_identity = click.option(
    "--identity",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    required=True,
    help="File with the private key (AGE-SECRET-KEY-1…).",
)


@click.group(cls=CommandGroup)
def backup() -> None:
    """Backups of an installation's database.

    A backup is encrypted to a public key in the age format. It does not contain the key-encryption key: keep a copy of
    that elsewhere.
    """


@backup.command("keygen")
@_file
@output_option
def keygen(file: Path) -> CommandResult:
    """Make a private key in the new FILE, and print its recipient. Keep FILE away from the servers."""
    from daypass.crypto import age  # of the server's packages

    secret, recipient = age.new_identity()
    with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as out:
        out.write(f"# recipient: {recipient}\n{secret}\n")
    return CommandResult({"recipient": recipient, "file": str(file)}, recipient)


@backup.command("create")
@_file
@click.option("--recipient", required=True, metavar="age1…", help="The public key that it is encrypted to.")
@config_option
@data_option
@output_option
def create(file: Path, recipient: str, config: Path | None, data: Path | None) -> CommandResult:
    """Write a backup to the new FILE, while servers run."""
    with output.working("writing the backup"):
        made = server_module("backup").make(settings_of(config, data), recipient, file)
    found = {"file": str(file), "accounts": made.accounts, "records": made.records, "rows": made.rows}
    size = ", ".join((counted(made.accounts, "account"), counted(made.records, "record"), counted(made.rows, "row")))
    return CommandResult(found, f"Wrote {file}: {size}.")


@backup.command("restore")
@_file
@_identity
@config_option
@data_option
@output_option
def restore(file: Path, identity: Path, config: Path | None, data: Path | None) -> CommandResult:
    """Restore FILE into a new, empty database. Every session ends.

    Blocks that were made, and keys that were disabled, after the backup was made are not in it: make them again.
    """
    with output.working("restoring the backup"):
        restored = server_module("backup").restore(settings_of(config, data), text_at(identity), file)
    done = f"{counted(restored.accounts, 'account')} and {counted(restored.records, 'record')} of {moment(restored.created_at)}"
    return CommandResult(
        {"accounts": restored.accounts, "records": restored.records, "created_at": restored.created_at},
        f"Restored {done}. Every session has ended.",
        "Block and disable again what was blocked or disabled after that time.",
    )


@backup.command("drill")
@_file
@_identity
@config_option
@data_option
@output_option
def drill(file: Path, identity: Path, config: Path | None, data: Path | None) -> CommandResult:
    """Restore FILE into a temporary database, verify its whole record, and open its keys. Status 1 if anything is wrong.

    The key-encryption key of the server's settings must open the keys.
    """
    from daypass.audit.verify import BadRecord, VerifiedLog  # of the server's packages
    from daypass.cli.record import OfflineRecord, gap_text
    from daypass.config import Settings

    server, settings = server_module("backup"), settings_of(config, data)
    with tempfile.TemporaryDirectory(prefix="daypass-drill-") as scratch, output.working("restoring and verifying"):
        temporary = Settings.model_validate({"server": {"data": scratch}})
        restored = server.restore(temporary, text_at(identity), file)
        keys = server.check_keys(settings, temporary)
        results = list(OfflineRecord(Path(scratch) / "daypass.db").verified())
    bad = [found for found in results if isinstance(found, BadRecord)]
    good = [found for found in results if isinstance(found, VerifiedLog)]
    records = sum(found.records for found in good)
    found = {
        "created_at": restored.created_at,
        "accounts": restored.accounts,
        "records": records,
        "logs": len(good),
        "keys": keys,
        "bad": [{"log": fault.log, "seq": fault.seq, "why": fault.why} for fault in bad],
    }
    return CommandResult(
        found,
        *(f"BAD  log {fault.log} record {fault.seq}: {fault.why}" for fault in bad),
        *(gap_text(gap) for log in good for gap in log.gaps),
        f"The backup of {moment(restored.created_at)} restores: {counted(restored.accounts, 'account')}, "
        f"{counted(records, 'record')} in {counted(len(good), 'log')} verify, {counted(keys, 'ring key')} open.",
        status=exits.FINDING if bad or not good else exits.OK,
    )


# --- `daypass server-keys`: the ring keys of an installation


_RINGS = (
    "sealing",
    "derivation",
    "signing",
    "signing-eddsa",
    "signing-rs256",
    "signing-es384",
    "certificates",
    "message",
    "spool",
    "storage",
)


@click.group("server-keys", cls=CommandGroup)
def server_keys() -> None:
    """The keys that seal sessions, sign tokens and protect stored secrets.

    Servers rotate them. These commands are for emergencies, and for replacing the key-encryption key.
    """


@server_keys.command("ls")
@config_option
@data_option
@output_option
def list_keys(config: Path | None, data: Path | None) -> CommandResult:
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
def rotate(rings: tuple[str, ...], emergency: bool, config: Path | None, data: Path | None, yes: bool) -> CommandResult:
    """Make the next key of each ring. Sessions do not end, and running servers use the keys within a second.

    A new signing key signs after two hours, when every verifier has it.
    """
    server, settings = server_module("ring_keys"), settings_of(config, data)
    if not emergency:
        from daypass.crypto.keys import Ring  # of the server's packages

        keys = server.rotate(settings, [Ring(name) for name in rings])
        found = [{"ring": str(key.ring), "id": key.id, "not_before": key.not_before} for key in keys]
        text = [f"Made {k.ring} key {k.id}. It signs from {output.moment(k.not_before)}." for k in keys]
        return CommandResult({"made": found, "ended": []}, *text)
    if rings:
        raise click.UsageError("--emergency concerns every ring of sessions and tokens.")
    confirmed("End the keys in use? Every session and access token ends at once.", yes=yes)
    ended, made = server.rotate_in_emergency(settings)
    changed = {
        "made": [{"ring": str(key.ring), "id": key.id, "not_before": key.not_before} for key in made],
        "ended": [{"ring": str(key.ring), "id": key.id} for key in ended],
    }
    return CommandResult(
        changed,
        f"Ended {output.counted(len(ended), 'key')} and every session; made {output.counted(len(made), 'new key')}.",
    )


@server_keys.command("rewrap")
@click.argument("key", required=False, default="", metavar="[FILE|URI]")
@config_option
@data_option
@yes_option
@output_option
def rewrap(key: str, config: Path | None, data: Path | None, yes: bool) -> CommandResult:
    """Wrap every ring key by the key-encryption key of the settings, in FILE (base64, 32 bytes), or of a key source.

    Every server must accept that key first, among keys.former_encryption_key_files or
    keys.former_encryption_key_sources.
    """
    confirmed("Does every running server accept this key-encryption key?", yes=yes)
    count = server_module("ring_keys").rewrap(settings_of(config, data), key)
    following = ["Now make it the key-encryption key of every server."] if key else []
    return done("wrapped", f"Wrapped {output.counted(count, 'ring key')}.", *following, keys=count)


# --- `daypass clock`: shows and resets the clock of an installation


@click.group(cls=CommandGroup)
def clock() -> None:
    """The clock of an installation, from its database.

    Daypass's time never goes back, and does not follow a system clock that jumps ahead.
    """


@clock.command("show")
@config_option
@data_option
@output_option
def show(config: Path | None, data: Path | None) -> CommandResult:
    """Print the system's time, the highest time on record and the database server's time.

    Status 1 if they are more than five minutes apart.
    """
    found = server_module("clock").times(settings_of(config, data))
    times = {"system": found.wall, "recorded": found.mark, "database": found.database}
    shown = {"system": found.wall, "highest on record": found.mark, "database server": found.database}
    return CommandResult(
        {name: output.iso(at) if at else None for name, at in times.items()},
        Fields({name: output.moment(at) for name, at in shown.items()}),
        status=exits.FINDING if found.apart else exits.OK,
    )


@clock.command("reset")
@config_option
@data_option
@yes_option
@output_option
def reset(config: Path | None, data: Path | None, yes: bool) -> CommandResult:
    """Confirm that this machine's clock is right. Every session ends, because expired ones could live again."""
    server = server_module("clock")
    confirmed("Confirm that this machine's clock is right, and end every session?", yes=yes)
    before = server.reset(settings_of(config, data))
    text = f"The clock is reset from {output.moment(before.mark)} to {output.moment(before.wall)}; all sessions ended."
    return done("reset", text, recorded=output.iso(before.mark), system=output.iso(before.wall))

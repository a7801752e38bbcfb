"""`daypass backup`: encrypted backups of an installation's database, restoring them, and drills."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import click

from daypass.cli import exits
from daypass.cli.files import text_at
from daypass.cli.installation import config_option, data_option, server_module, settings_of
from daypass.cli.options import Group, Result, output_option
from daypass.cli.output import counted, moment

_file = click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
_identity = click.option(
    "--identity",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    required=True,
    help="File with the private key (AGE-SECRET-KEY-1…).",
)


@click.group(cls=Group)
def backup() -> None:
    """Backups of an installation's database.

    A backup is encrypted to a public key in the age format, so whoever makes it cannot read it. The key-encryption key is
    not in it: keep a copy of that elsewhere.
    """


@backup.command("keygen")
@_file
@output_option
def keygen(file: Path) -> Result:
    """Make a private key in the new FILE, and print its recipient. Keep FILE away from the servers."""
    from daypass.crypto import age  # of the server's packages

    secret, recipient = age.new_identity()
    with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as out:
        out.write(f"# recipient: {recipient}\n{secret}\n")
    return Result({"recipient": recipient, "file": str(file)}, recipient)


@backup.command("create")
@_file
@click.option("--recipient", required=True, metavar="age1…", help="The public key that it is encrypted to.")
@config_option
@data_option
@output_option
def create(file: Path, recipient: str, config: Path | None, data: Path | None) -> Result:
    """Write a backup to the new FILE, while servers run."""
    made = server_module("backup").make(settings_of(config, data), recipient, file)
    found = {"file": str(file), "accounts": made.accounts, "records": made.records, "rows": made.rows}
    size = ", ".join((counted(made.accounts, "account"), counted(made.records, "record"), counted(made.rows, "row")))
    return Result(found, f"Wrote {file}: {size}.")


@backup.command("restore")
@_file
@_identity
@config_option
@data_option
@output_option
def restore(file: Path, identity: Path, config: Path | None, data: Path | None) -> Result:
    """Restore FILE into a new, empty database. Every session ends.

    Blocks that were made, and keys that were disabled, after the backup was made are not in it: make them again.
    """
    restored = server_module("backup").restore(settings_of(config, data), text_at(identity), file)
    done = f"{counted(restored.accounts, 'account')} and {counted(restored.records, 'record')} of {moment(restored.created_at)}"
    return Result(
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
def drill(file: Path, identity: Path, config: Path | None, data: Path | None) -> Result:
    """Restore FILE into a temporary database, verify its whole record, and open its keys. Status 1 if anything is wrong.

    The settings are those of a server: its key-encryption key must open the keys. Its database is not touched.
    """
    from daypass.audit.verify import BadRecord, Verified  # of the server's packages
    from daypass.cli.record import OfflineRecord
    from daypass.config import Settings

    server, settings = server_module("backup"), settings_of(config, data)
    with tempfile.TemporaryDirectory(prefix="daypass-drill-") as scratch:
        temporary = Settings.model_validate({"server": {"data": scratch}})
        restored = server.restore(temporary, text_at(identity), file)
        keys = server.check_keys(settings, temporary)
        results = list(OfflineRecord(Path(scratch) / "daypass.db").verified())
    bad = [found for found in results if isinstance(found, BadRecord)]
    good = [found for found in results if isinstance(found, Verified)]
    records = sum(found.records for found in good)
    found = {
        "created_at": restored.created_at,
        "accounts": restored.accounts,
        "records": records,
        "logs": len(good),
        "keys": keys,
        "bad": [{"log": fault.log, "seq": fault.seq, "why": fault.why} for fault in bad],
    }
    return Result(
        found,
        *(f"BAD  log {fault.log} record {fault.seq}: {fault.why}" for fault in bad),
        f"The backup of {moment(restored.created_at)} restores: {counted(restored.accounts, 'account')}, "
        f"{counted(records, 'record')} in {counted(len(good), 'log')} verify, {counted(keys, 'ring key')} open.",
        status=exits.FINDING if bad or not good else exits.OK,
    )

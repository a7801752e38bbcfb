"""The steps of `daypass serve` before it listens: the data directory, the database, the first keys.

Every failure here is a StartupError or DatabaseUnreachable that names the cause and what to check. Nothing here may
create or replace a secret of an existing installation.
"""

from __future__ import annotations

import asyncio
import json
import os
import shlex
import shutil
import stat
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from sqlalchemy.exc import SQLAlchemyError

from daypass.audit.batch import is_unavailable
from daypass.config import ConfigError, Settings, ignored_variables
from daypass.crypto.ids import Ids
from daypass.crypto.key_encryption import RingError
from daypass.domain.directory import Account
from daypass.domain.errors import DaypassError, ErrorKind
from daypass.observability import logs
from daypass.operations.accounts import BootstrapError, FirstKey, bootstrap, parse
from daypass.server.bodies import Connections
from daypass.server.from_settings import check_files, further_policies, open_standby
from daypass.server.ring_keys import await_source, key_encryption_key
from daypass.server.runtime import Runtime
from daypass.server.snapshots import SnapshotUnusable, read_snapshot, snapshot_exists
from daypass.stores.causes import DatabaseUnreachable, await_database, cause_of, is_final
from daypass.stores.engine import Database, open_database
from daypass.stores.migrations import prepare
from daypass.stores.nodes import load_ring_keys
from daypass.stores.tx import StoreReader

DEV_ACCOUNT = "123456789012"
SETUP_CODE = "setup-code"  # in the data directory
LOOPBACK = ("127.0.0.1", "::1", "localhost")
_FOR_OTHERS = 0o077
_START_PAUSE_SECONDS = 1.0
_WRITABLE_BY_OTHERS = 0o022
_DATABASE_FILES = ("daypass.db", "daypass.db-wal", "daypass.db-shm", "daypass.db-lock", "daypass.db-next")


class StartupError(Exception):
    """The server cannot start. The message says why, and what to do."""


def prepare_data_directory(data: Path) -> None:
    """Makes the directory with mode 0700, or makes an existing one private.

    Raises StartupError when it cannot be private: others may write to it, or it belongs to another user.
    """
    try:
        data.mkdir(parents=True, exist_ok=True, mode=0o700)
        status = data.stat()
        mode = stat.S_IMODE(status.st_mode)
        if not mode & _FOR_OTHERS:
            return
        if mode & (_WRITABLE_BY_OTHERS | stat.S_ISVTX) or status.st_uid != os.geteuid():
            raise StartupError(
                f"other users can open the data directory {data} (mode {mode:04o}): run chmod 700 {data} as its owner, "
                f"or give a directory inside it, for example --data {data / 'daypass'}."
            )
        data.chmod(mode & ~_FOR_OTHERS)
        logs.get().warning("data.made_private", directory=str(data), mode=f"{mode:04o}", new_mode="0700")
        for name in _DATABASE_FILES:
            _restrict_permissions(data / name)
    except OSError as error:
        raise StartupError(f"the data directory {data} cannot be used: {error.strerror}.") from error


def _restrict_permissions(file: Path) -> None:
    try:
        mode = stat.S_IMODE(file.stat().st_mode)
    except FileNotFoundError:
        return
    if mode & _FOR_OTHERS:
        file.chmod(mode & ~_FOR_OTHERS)


def warn_of_key_beside_database(settings: Settings) -> None:
    """Warns because a copy of a directory with both can open every stored secret."""
    keys = settings.keys
    elsewhere = keys.encryption_key.get_secret_value() or keys.encryption_key_source
    if elsewhere or settings.database.url.get_secret_value():
        return
    file = keys.encryption_key_file or settings.server.data / "master.key"
    if file.resolve().is_relative_to(settings.server.data.resolve()):  # also below it, or by another name
        logs.get().warning(
            "keys.beside_database",
            file=str(file),
            consequence="a copy of the data directory opens every stored secret",
            remedy="set keys.encryption_key_file to a file elsewhere, or keys.encryption_key",
        )


def warn_of_plain_http(settings: Settings) -> None:
    """Warns because session tokens and secrets would cross the network in the clear."""
    server = settings.server
    if server.host in LOOPBACK or server.tls_cert is not None or server.trusted_proxies:
        return
    logs.get().warning("server.plain_http", host=server.host, remedy="set server.tls_cert or server.trusted_proxies")
    sys.stderr.write(
        f"""
  ************************************************************************
  *  WARNING: plain HTTP on {server.host:<46}*
  *  Credentials cross the network in the clear. Set server.tls_cert and  *
  *  server.tls_key, or server.trusted_proxies for a proxy with TLS.      *
  ************************************************************************

"""
    )


def warn_of_ignored_variables(environ: Mapping[str, str]) -> None:
    """Warns of variables that look like settings and are not: a misspelt security setting would have no effect."""
    for ignored_variable in ignored_variables(environ):
        remedy = (
            f"did you mean {ignored_variable.nearest}?"
            if ignored_variable.nearest
            else "settings are DAYPASS_SECTION__KEY, or remove it"
        )
        logs.get().warning("settings.variable_ignored", name=ignored_variable.name, remedy=remedy)


def first_keys(text: str) -> tuple[FirstKey, ...]:
    """DAYPASS_BOOTSTRAP. Raises ConfigError."""
    try:
        return parse(text)
    except BootstrapError as error:
        raise ConfigError(str(error)) from None


@contextmanager
def database_errors(settings: Settings) -> Iterator[None]:
    """Turns errors of the database into a StartupError that names the cause."""
    try:
        yield
    except SQLAlchemyError as error:
        raise StartupError(cause_of(error, settings.database_url())) from error
    except DaypassError as error:
        if error.kind is not ErrorKind.UNAVAILABLE:
            raise
        raise StartupError(cause_of(error, settings.database_url())) from error


def prepare_database(
    settings: Settings, sleep: Callable[[float], None] = time.sleep, monotonic: Callable[[], float] = time.monotonic
) -> bool | None:
    """Waits up to `database.wait_seconds` for the database, then checks and migrates it. Returns whether it has an
    account; None when it does not answer and the processes can serve from a snapshot. A key source is waited for, too.

    Raises ConfigError, UnusableDatabase, DatabaseUnreachable, RingError or StartupError.
    """
    check_files(settings)
    further_policies(settings.aws.policies)
    if (standby := open_standby(settings)) is not None:
        standby.close()  # only its URL is checked: a server starts without its standby
    try:
        database = open_database(
            settings.database_url(), acknowledged=settings.acknowledged_files(), epoch=settings.database.epoch
        )
    except ValueError as error:
        raise ConfigError(f"database.url: {error}") from None
    try:
        with database_errors(settings):
            try:
                _wait_for(database, settings, sleep, monotonic)
            except DatabaseUnreachable as error:
                _require_snapshot(settings, error)
                return None
            prepare(database)
            _await_source(database, settings, sleep, monotonic)
            return bool(database.read(lambda conn: StoreReader(conn).find(Account, limit=1)))
    finally:
        database.close()


def _wait_for(
    database: Database, settings: Settings, sleep: Callable[[float], None], monotonic: Callable[[], float]
) -> None:
    def waiting(cause: str) -> None:
        sys.stderr.write(f"daypass: {cause}\ndaypass: trying again for {seconds:.0f} s (database.wait_seconds)\n")

    seconds = settings.database.wait_seconds
    if snapshot_exists(settings):
        seconds = min(seconds, settings.snapshot.after_seconds)
    await_database(database, settings.database_url(), seconds, waiting, sleep=sleep, monotonic=monotonic)


def _await_source(
    database: Database, settings: Settings, sleep: Callable[[float], None], monotonic: Callable[[], float]
) -> None:
    """Waits up to `keys.wait_seconds` for the key sources of the settings, if they have any. Raises RingError."""
    if not settings.keys.encryption_key_source and not settings.keys.former_encryption_key_sources:
        return
    stored = database.read(load_ring_keys)
    kek = key_encryption_key(settings, new=not stored)
    await_source(kek, stored, settings.keys.wait_seconds, sleep=sleep, monotonic=monotonic)


def _require_snapshot(settings: Settings, error: DatabaseUnreachable) -> None:
    """Raises DatabaseUnreachable unless there is a snapshot from which a process can serve."""
    if not snapshot_exists(settings):
        raise error
    try:
        snapshot = read_snapshot(settings, key_encryption_key(settings, new=False), time.time_ns() // 1_000_000)
    except (SnapshotUnusable, RingError) as unusable:
        raise DatabaseUnreachable(f"{error} The snapshot cannot be used: {unusable}.") from error
    logs.get().error("database.unavailable_at_start", error=str(error), snapshot_as_of=snapshot.as_of)


def initialise(settings: Settings, entries: tuple[FirstKey, ...], dev_key: FirstKey | None) -> None:
    """Prepares the database and creates the first accounts, if it has none.

    Raises StartupError when nobody could log in afterwards: there is no account and no key to create one, or the key of
    `--dev` does not belong to this database. For other errors see `prepare_database`.
    """
    has_account = prepare_database(settings)
    if has_account is None:
        return
    if not entries:
        if not has_account:
            raise StartupError(_how_to_initialise())
        return
    with database_errors(settings):
        asyncio.run(_make_accounts(settings, entries, dev_key))


async def started(settings: Settings, connections: Connections | None = None) -> Runtime:
    """A runtime that has started. While PostgreSQL answers too slowly for a part of it, that is tried again for
    `database.wait_seconds`. Raises as `Runtime.start`.
    """
    until = time.monotonic() + settings.database.wait_seconds
    while True:
        runtime = Runtime(settings, connections)
        try:
            await runtime.start()
        except (DaypassError, SQLAlchemyError) as error:
            cause = cause_of(error, settings.database_url())
            if not is_unavailable(error) or is_final(cause) or time.monotonic() >= until:
                raise
            logs.get().warning("server.start_repeated", error=cause)
            await asyncio.sleep(_START_PAUSE_SECONDS)
        else:
            return runtime


async def _make_accounts(settings: Settings, entries: tuple[FirstKey, ...], dev_key: FirstKey | None) -> None:
    """Uses a separate runtime, so that its record is a log like any other."""
    runtime = await started(settings)
    try:
        if runtime.clock.problem():
            raise StartupError(f"nothing can be written now: {runtime.clock.problem()}")
        await bootstrap(runtime.env, entries, examples=dev_key.account if dev_key else "")
        if dev_key is not None and await runtime.env.directory.access_key(dev_key.key_id) is None:
            raise StartupError(
                f"this database does not know the key in {settings.server.data / 'dev-key.json'}: restore the file that "
                "was written with the database, or use another data directory."
            )
    finally:
        await runtime.stop()


def prepare_setup(settings: Settings) -> str:
    """For `--setup`: the code with which a browser may make the first administrator; "" when there is an account.

    The code is in the data directory, where the processes read it. It stays the same until it is used. Raises as
    `prepare_database`, and ConfigError when no browser could reach the page.
    """
    if not settings.server.public_url:
        raise ConfigError("--setup needs server.public_url: a browser makes the first administrator.")
    file = settings.server.data / SETUP_CODE
    if prepare_database(settings) is not False:
        file.unlink(missing_ok=True)
        return ""
    if found := setup_code(settings.server.data):
        return found
    made = Ids().secret()
    _write_private(file, made)
    return made


def setup_code(data: Path) -> str:
    """The set-up code in a data directory; "" for none."""
    try:
        return (data / SETUP_CODE).read_text("ascii").strip()
    except (OSError, UnicodeDecodeError):
        return ""


async def forget_setup_code(data: Path) -> None:
    """Removes the set-up code, which the first administrator has used. A failure is only reported: the code is worthless."""
    try:
        await asyncio.to_thread((data / SETUP_CODE).unlink, missing_ok=True)
    except OSError as error:
        logs.get().warning("setup.code_not_removed", error=type(error).__name__)


def _how_to_initialise() -> str:
    """Prints the login command, on a terminal with the new key. A log must not hold a secret, so elsewhere only a
    placeholder is printed.
    """
    text = "the database has no account yet, so nobody could log in. Start once with the first key:\n\n"
    if not sys.stderr.isatty():
        return (
            f"{text}  DAYPASS_BOOTSTRAP=KEYID:SECRET:ACCOUNT:USER daypass serve …\n\nor make the first administrator in a "
            "browser: daypass serve --setup\nor try it out: daypass serve --dev"
        )
    ids = Ids()
    key = f"{ids.access_key('AKIA')}:{ids.secret()}:111122223333:admin"
    return (
        f"{text}  export DAYPASS_BOOTSTRAP='{key}'\n\nThis key is new and is shown only here. It becomes the key of the "
        "administrator `admin` of account\n111122223333; change the account id if you want another one.\nTo make the "
        "first administrator in a browser instead: daypass serve --setup. To try Daypass out: daypass serve --dev"
    )


def with_public_url(settings: Settings) -> Settings:
    """The settings of `--dev` and `--setup`: pages and OAuth work without more settings, unless the system chooses the port.

    The host is `localhost`, because browsers accept passkeys for a name only.
    """
    server = settings.server
    if server.public_url or not server.port:
        return settings
    server = server.model_copy(update={"public_url": f"{server.scheme}://localhost:{server.port}"})
    return settings.model_copy(update={"server": server})


def dev_key(data: Path) -> FirstKey:
    """The administrator's key of `--dev`: created once and stored in the data directory. Raises StartupError."""
    file = data / "dev-key.json"
    if not file.exists():
        return _new_dev_key(file)
    try:
        found = json.loads(file.read_text("ascii"))
        entry = parse(":".join(found[name] for name in ("key_id", "secret", "account", "user")))[0]
    except OSError as error:
        raise StartupError(f"{file} cannot be read: {error.strerror}.") from error
    except (ValueError, KeyError, TypeError, IndexError, BootstrapError):
        raise StartupError(
            f"{file} is damaged: it does not hold a key. Restore it; if the data is not needed, delete {data}."
        ) from None
    return entry


def _new_dev_key(file: Path) -> FirstKey:
    ids = Ids()
    made = {"key_id": ids.access_key("AKIA"), "secret": ids.secret(), "account": DEV_ACCOUNT, "user": "admin"}
    _write_private(file, json.dumps(made))
    return FirstKey(**made)


def _write_private(file: Path, text: str) -> None:
    """Written completely before it gets its name, because a full disk must not leave an empty file. Raises StartupError."""
    draft = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as handle:
            handle.write(text)
            handle.flush()
            os.fsync(handle.fileno())
        draft.replace(file)
    except OSError as error:
        draft.unlink(missing_ok=True)
        raise StartupError(f"{file} cannot be written: {error.strerror}.") from error


# --- What `daypass serve` prints for the person who starts it: variables to paste, and where to go next


@dataclass(frozen=True, slots=True)
class Greeting:
    """The lines that the server prints when it is ready to answer."""

    url: str
    public_url: str
    data: Path
    key: FirstKey | None = field(repr=False)  # that of `serve --dev`
    code: str = field(repr=False)  # the set-up code of `serve --setup`, or ""
    health_port: int  # 0 when health and metrics have no separate port

    def write(self) -> None:
        """Prints it."""
        if self.key is not None:
            greet(self.url, self.key, self.public_url)
        else:
            sys.stderr.write(f"Daypass listens on {self.url}\n")
        if self.code:
            sys.stderr.write(setup_lines(self.public_url, self.data, self.code))
        if self.health_port:
            sys.stderr.write(f"Health and metrics are on port {self.health_port}\n")


def greet(url: str, key: FirstKey, public_url: str) -> None:
    """Prints the key of `serve --dev`, ready to paste, and what to try with it."""
    sys.stdout.write(
        f"""
Daypass listens on {url}

  ************************************************************************
  *  DEVELOPMENT MODE: an administrator's key is printed below.           *
  *  Loopback only. Never use this data directory for anything real.      *
  ************************************************************************

Paste this into a shell, and every AWS SDK and the AWS CLI work against it:
{_path_line()}
  export AWS_ENDPOINT_URL={url}
  export AWS_ENDPOINT_URL_STS={url} AWS_ENDPOINT_URL_IAM={url}
  export AWS_ACCESS_KEY_ID={key.key_id}
  export AWS_SECRET_ACCESS_KEY={key.secret}
  export AWS_REGION=us-east-1 AWS_DEFAULT_REGION=us-east-1

Then try:
  daypass whoami
  daypass exec reader daypass role ls
or, with the AWS CLI:
  aws sts assume-role --role-arn arn:aws:iam::{key.account}:role/reader --role-session-name me
{_console_lines(public_url, key)}"""
    )
    sys.stdout.flush()


def setup_lines(public_url: str, data: Path, code: str) -> str:
    """The address at which to make the first administrator. A log must not hold a secret, so only a terminal shows the code."""
    shown = code if sys.stderr.isatty() else f"in {data / SETUP_CODE}"
    return (
        f"Create the first administrator: {public_url.rstrip('/')}/console/setup\nThe set-up code is {shown}\n"
        f"A later start without --setup needs DAYPASS_SERVER__PUBLIC_URL={public_url} for the console\n"
    )


def _console_lines(public_url: str, key: FirstKey) -> str:
    """How to sign in to the console; "" when the pages are off."""
    if not public_url:
        return ""
    return f"""
Console:
  daypass iam CreateLoginProfile UserName={key.user} Password='Choose-1-of-your-own'
  {public_url}/console/  (account {key.account}, user {key.user})
"""


def _path_line() -> str:
    """A line for the shell if `daypass` is not on PATH, or is that of another installation, whose Python lacks boto3.

    "$PATH" is quoted for fish, where it is a list.
    """
    own, found = Path(sys.argv[0]).absolute(), shutil.which("daypass")
    if own.name != "daypass" or (found and Path(found).absolute() == own):
        return ""
    return f'\n  export PATH={shlex.quote(str(own.parent))}:"$PATH"'

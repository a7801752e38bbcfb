"""Explains to an operator why a database does not work, and waits at start for a database that is not yet available.

Texts name the host, the database and the file. They never contain the password of the URL.
"""

from __future__ import annotations

import re
import sqlite3
import time
from collections.abc import Callable

from sqlalchemy import URL
from sqlalchemy.engine import make_url

from daypass.domain.errors import DaypassError, ErrorKind
from daypass.stores.engine import Database
from daypass.stores.sqlite import ReplacedFile, code_of
from daypass.stores.sqlite import advice as sqlite_advice

_NOISE = re.compile(r"^(\w*Error: )?(connection failed: )?|\s*Is the server running [^?]*\?")
"""Parts of a driver's message that tell an operator nothing: its class, and a question that our advice answers."""
_PAUSE_SECONDS = 1.0
_LONGEST = 500
_WILL_NOT_PASS = ("authentication failed", "does not exist", "no pg_hba.conf entry", "no password supplied")
"""Errors of PostgreSQL for which a later attempt cannot succeed. A message in another language is not recognised and
leads to a wait.
"""

_PUBLIC = {
    sqlite3.SQLITE_FULL: "its disk is full",
    sqlite3.SQLITE_READONLY: "it cannot be written",
    sqlite3.SQLITE_CANTOPEN: "it cannot be opened",
    sqlite3.SQLITE_PERM: "it cannot be opened",
    sqlite3.SQLITE_IOERR: "its disk reports an error",
    sqlite3.SQLITE_BUSY: "another process holds its lock",
}
_PUBLIC_SQLSTATES = {"53100": "its disk is full", "25006": "it cannot be written"}
_POSTGRES_ADVICE = (
    (
        "function pg_",
        "Allow it (GRANT EXECUTE ON FUNCTION … TO …), or set database.epoch, where the server does not have it.",
    ),
    ("authentication failed", "Check the user and password in database.url."),
    ("no password supplied", "Put the password into database.url, or into a password file."),
    ("no pg_hba.conf entry", "Allow this host, user and database in the server's pg_hba.conf."),
    ("does not exist", "Create it, or correct database.url."),
    ("permission denied", "Grant the user of database.url CREATE on the schema, or make it the owner of the tables."),
    ("refused", "Check that the server runs, listens on that address and port, and that no firewall refuses it."),
    ("resolve", "Check the host name in database.url, and DNS."),
    ("Name or service not known", "Check the host name in database.url, and DNS."),
    ("timeout", "Check that the server answers, and that no firewall drops packets to it."),
    ("read-only", "It is a standby: give the address of the primary."),
)


class DatabaseUnreachable(Exception):
    """The database did not respond within the wait at start. The message names the address and the cause."""


def cause_of(error: Exception, url: str) -> str:
    """A message for the operator: the database, the driver's error, and what to check."""
    parsed = make_url(url)
    driver = getattr(error, "orig", None)
    words = _reason(error) if isinstance(error, DaypassError) else str(driver or error)
    words = _one_line(words, parsed.password)
    if parsed.drivername.startswith("sqlite"):
        return f"the database {parsed.database} cannot be used: {words}. {sqlite_advice(driver or error.__cause__)}"
    advice = next((advice for part, advice in _POSTGRES_ADVICE if part in words), "Check the server and its log.")
    return f"PostgreSQL at {_place(parsed)} cannot be used: {words}. {advice}"


def public_cause(error: Exception) -> str:
    """The reason why a database cannot be written, without paths and hosts; "" if it is unknown."""
    driver = getattr(error, "orig", None) or error
    if isinstance(driver, ReplacedFile):
        return str(driver)
    if isinstance(driver, sqlite3.Error):
        return _PUBLIC.get(code_of(driver), "")
    return _PUBLIC_SQLSTATES.get(getattr(driver, "sqlstate", None) or "", "")


def _reason(error: DaypassError) -> str:
    """The private reason: the public message says less than an operator needs."""
    return next((str(private) for private in error.private.values()), error.public)


def _place(url: URL) -> str:
    """HOST:PORT, database and user from the URL."""
    hosts = url.host or url.query.get("host", "the local socket")
    if isinstance(hosts, tuple):  # several servers, each with its port
        place = ", ".join(hosts)
    else:
        place = f"{hosts}:{url.port or url.query.get('port', 5432)}"
    return f"{place} (database {url.database or '-'}, user {url.username or '-'})"


def _one_line(words: str, password: object) -> str:
    text = _NOISE.sub("", " ".join(words.split()))
    if password:
        text = text.replace(str(password), "***")
    return text[:_LONGEST].rstrip(". ")


def await_database(
    database: Database,
    url: str,
    seconds: float,
    waiting: Callable[[str], None],
    *,
    sleep: Callable[[float], None] = time.sleep,
    monotonic: Callable[[], float] = time.monotonic,
) -> None:
    """Returns when the database responds. Calls `waiting` once with the cause if the first attempt fails.

    Raises DatabaseUnreachable after `seconds`, or at once if another attempt cannot succeed.
    """
    until = monotonic() + seconds
    reported = False
    while True:
        try:
            database.read(lambda conn: conn.exec_driver_sql("SELECT 1").scalar_one(), probe=True)
        except DaypassError as error:
            cause = cause_of(error, url)
            if error.kind is not ErrorKind.UNAVAILABLE or is_final(cause) or monotonic() >= until:
                raise DatabaseUnreachable(cause) from error
            if not reported:
                reported = True
                waiting(cause)
            sleep(min(_PAUSE_SECONDS, max(0.0, until - monotonic())))
        else:
            return


def is_final(cause: str) -> bool:
    """Whether another attempt cannot succeed. `cause`: from `cause_of`."""
    return not cause.startswith("PostgreSQL") or any(part in cause for part in _WILL_NOT_PASS)

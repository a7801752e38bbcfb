"""A worker process for heavy work: `python -m daypass.server.worker`, started only by `server.heavy`.

It runs one function at a time, with a lower priority than the server. It reads the database and never writes, and exits
when the server does. Only its parent, the server, writes to its standard input, and only that input is ever unpickled.
"""

from __future__ import annotations

import os
import pickle
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import IO, Any, Final, TypeAlias

from sqlalchemy import Connection

from daypass.crypto.ids import Ids
from daypass.data import BuiltinPolicies
from daypass.domain.errors import DaypassError
from daypass.domain.session import FeedPosition
from daypass.federation.saml_metadata import SamlMetadata
from daypass.federation.x509 import X509Verifier
from daypass.ports import Scene
from daypass.scheduling.process import read_message, write_message
from daypass.server.core_dumps import disable_core_dumps
from daypass.stores.engine import Database, is_outage, open_database
from daypass.stores.tx import StoreReader

NICENESS: Final = 5
"""Added to the priority number: on a busy machine the server gets three quarters of a core that both want."""

_USUAL: Final = ("daypass.operations.iam.service", "daypass.operations.sign_in.password")
"""Modules that much of the work needs. They are imported before the priority is lowered, and not in the time of the work."""

Answer: TypeAlias = "tuple[str, Any]"
DONE, REFUSED, FAILED = "done", "refused", "failed"


@dataclass(frozen=True, slots=True)
class Setup:
    """The first message to a worker."""

    database_url: str
    builtin: BuiltinPolicies
    public_url: str = ""  # of the installation
    standby_url: str = ""  # of a standby near this process, which is read if it is as current as the server
    epoch: str = ""  # see `database.epoch` in the settings


@dataclass(frozen=True, slots=True)
class Task:
    """One function of a module with its arguments."""

    work: Callable[..., Any]
    args: tuple[Any, ...]
    reads: bool  # it gets a Scene before its arguments
    seen: FeedPosition | None = None  # a standby must have everything up to there


class HeavyWorker:
    """Does tasks."""

    def __init__(self, setup: Setup) -> None:
        self._setup = setup
        self._database: Database | None = None
        self._standby: Database | None = None
        self._ids = Ids()

    def do(self, task: Task) -> Answer:
        """The outcome of a task: its result, a refusal, or the details of a failure."""
        try:
            return DONE, self._done(task)
        except DaypassError as error:
            return REFUSED, error
        except Exception as error:  # noqa: BLE001  # it goes to the server, which logs it
            return FAILED, "".join(traceback.format_exception(error))

    def _done(self, task: Task) -> Any:
        if not task.reads:
            return task.work(*task.args)
        if self._database is None:
            self._database = open_database(self._setup.database_url, readers=1, epoch=self._setup.epoch)
            if self._setup.standby_url:
                self._standby = open_database(self._setup.standby_url, readers=1, epoch=self._setup.epoch)
        setup = self._setup

        def run(conn: Connection) -> Any:
            known = self._ids, setup.builtin, SamlMetadata(), X509Verifier(), setup.public_url
            return task.work(Scene(StoreReader(conn), *known), *task.args)

        if self._standby is not None and task.seen is not None:
            try:
                return self._standby.read_after(run, task.seen)
            except DaypassError as error:
                if not is_outage(error):
                    raise
        return self._database.read(run)


def serve(requests: IO[bytes], answers: IO[bytes]) -> None:
    """Answers until the server ends."""
    try:
        setup: Setup = pickle.loads(read_message(requests))  # noqa: S301  # from the server that made this process
        worker = HeavyWorker(setup)
        write_message(answers, b"")  # it has started
        while True:
            task: Task = pickle.loads(read_message(requests))  # noqa: S301  # as above
            write_message(answers, pickle.dumps(worker.do(task), pickle.HIGHEST_PROTOCOL))
    except (EOFError, BrokenPipeError):
        return


def main() -> None:
    """The process."""
    disable_core_dumps()
    for each in _USUAL:
        import_module(each)
    os.nice(NICENESS)
    requests, answers = os.fdopen(os.dup(0), "rb", buffering=0), os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)  # whatever prints must not be taken for an answer
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    serve(requests, answers)


if __name__ == "__main__":
    main()

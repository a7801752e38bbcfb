"""Undocumented parts of uvicorn on which `server.protocol` and `server.process` rely: read before its pin is moved."""

from __future__ import annotations

import asyncio
import inspect
import os
import pickle
import signal
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from uvicorn.config import STARTUP_FAILURE, Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.protocols.utils import get_local_addr, get_remote_addr, is_ssl
from uvicorn.server import Server, ServerState
from uvicorn.supervisors import Multiprocess
from uvicorn.supervisors.multiprocess import SIGNALS

from daypass import config
from daypass.server.bodies import Connections
from daypass.server.process import Lifespan, uvicorn_config
from daypass.server.protocol import HttpProtocol
from daypass.server.supervisor import ServerWorker, Workers


@pytest.fixture(autouse=True)
def _signals() -> Iterator[None]:
    """`Workers` handles signals from when it is made."""
    installed = {number: signal.getsignal(number) for number in SIGNALS}
    yield
    for number, handler in installed.items():
        signal.signal(number, handler)


def test_protocol_takes_the_arguments_that_uvicorn_gives_its_own() -> None:
    theirs = inspect.signature(HttpToolsProtocol.__init__).parameters
    ours = inspect.signature(HttpProtocol.__init__).parameters
    assert list(ours)[:5] == list(theirs)[:5] == ["self", "config", "server_state", "app_state", "_loop"]


async def test_stop_of_uvicorn_shuts_connections_down_and_waits_for_their_tasks() -> None:
    """So does `HttpProtocol`: it leaves `connections` and `tasks` when it is done."""
    server = Server(Config(lambda: None, lifespan="off"))
    server.servers, server.lifespan = [], SimpleNamespace(shutdown=partial(asyncio.sleep, 0))  # type: ignore[assignment]
    state, steps = server.server_state, list[str]()

    async def answer() -> None:
        steps.append("task")

    class Connection:
        def shutdown(self) -> None:
            steps.append("shutdown")
            state.connections.discard(self)  # type: ignore[arg-type]
            task = asyncio.ensure_future(answer())
            state.tasks.add(task)
            task.add_done_callback(state.tasks.discard)

    state.connections.add(Connection())  # type: ignore[arg-type]
    await server.shutdown(sockets=[])
    assert steps == ["shutdown", "task"]
    assert callable(HttpProtocol.shutdown)


def test_server_state_has_what_the_protocol_uses() -> None:
    state = ServerState()
    assert (state.connections, state.tasks, state.total_requests, state.default_headers) == (set(), set(), 0, [])


def test_config_loads_our_protocol_and_the_application_as_it_is(tmp_path: Path) -> None:
    async def application(scope: Any, receive: Any, send: Any) -> None: ...

    made = uvicorn_config(application, config.load(None, {}, {"server": {"data": tmp_path}}))
    assert isinstance(made, Config)
    made.load()
    assert made.http_protocol_class.func is HttpProtocol  # with what all connections share
    assert made.loaded_app is application


def test_names_that_are_imported_from_uvicorn_are_of_their_kinds() -> None:
    assert isinstance(STARTUP_FAILURE, int)
    assert issubclass(Multiprocess, object)
    assert all(map(callable, (get_local_addr, get_remote_addr, is_ssl)))


class _Starting:
    """A worker that never becomes ready. `looked`: how often somebody asked."""

    exitcode, pid = None, None

    def __init__(self, meanwhile: Any) -> None:
        self.looked = 0
        self._meanwhile = meanwhile

    def wait_until_ready(self, _timeout: float, _should_exit: Any) -> bool:
        self.looked += 1
        self._meanwhile()
        return False


def test_workers_stop_that_is_requested_while_they_start_does_not_wait_for_them(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    made = uvicorn_config(lambda: None, config.load(None, {}, {"server": {"data": tmp_path}}))
    workers = Workers(made, [], lambda: None, ends_on_hangup=False)
    first, second = _Starting(lambda: workers.signal_queue.append(signal.SIGTERM)), _Starting(lambda: None)
    starting = iter((first, second))
    monkeypatch.setattr(workers, "_new_worker", lambda: next(starting))
    workers.processes_num = 2
    workers.init_processes()
    assert workers.should_exit.is_set()
    assert (first.looked, second.looked) == (1, 1)


def test_config_can_be_passed_to_worker_processes(tmp_path: Path) -> None:
    settings = config.load(None, {}, {"server": {"data": tmp_path}})
    connections = Connections()
    made = uvicorn_config(
        partial(Lifespan, settings, None, connections), settings, connections=connections, factory=True
    )
    passed = pickle.loads(pickle.dumps(made))
    assert passed.http.keywords["common"] is passed.app.args[2]  # one object for the protocol and the application


_FOREVER = 86_400.0  # a wait of this length is a test that times out


def test_worker_that_ends_while_it_is_asked_for_an_answer_is_not_waited_for() -> None:
    worker = ServerWorker(uvicorn_config(lambda: None, config.Settings()), [], [])
    sentinel, running = os.pipe()
    worker.process = SimpleNamespace(sentinel=sentinel, is_alive=lambda: True)  # type: ignore[assignment]
    os.close(running)
    assert not worker.is_alive(_FOREVER)
    os.close(sentinel)


def test_worker_that_does_not_answer_does_not_delay_a_signal() -> None:
    signals: list[int] = []
    worker = ServerWorker(uvicorn_config(lambda: None, config.Settings()), [], signals)
    sentinel, running = os.pipe()
    worker.process = SimpleNamespace(sentinel=sentinel, is_alive=lambda: True)  # type: ignore[assignment]
    threading.Timer(0.01, signals.append, [signal.SIGTERM]).start()
    assert worker.is_alive(_FOREVER)  # it is not killed because a signal came
    os.close(running)
    os.close(sentinel)


def test_worker_that_answers_is_alive() -> None:
    worker = ServerWorker(uvicorn_config(lambda: None, config.Settings()), [], [])
    sentinel, running = os.pipe()
    worker.process = SimpleNamespace(sentinel=sentinel, is_alive=lambda: True)  # type: ignore[assignment]
    worker.child_conn.send(True)
    assert worker.is_alive(_FOREVER)
    assert worker.child_conn.recv() == b"ping"
    os.close(running)
    os.close(sentinel)


class _Worker:
    def __init__(self, exitcode: int | None) -> None:
        self.exitcode = exitcode
        self.pid = 1
        self.ended = exitcode is not None

    def is_alive(self, timeout: float = 5) -> bool:
        return not self.ended

    def wait_until_ready(self, _timeout: float, _should_exit: Any) -> bool:
        return not self.ended

    def kill(self) -> None: ...

    def join(self) -> None: ...


@pytest.mark.parametrize(("codes", "stops", "replaced"), [((None, 3), False, 1), ((3, 3), True, 0)])
def test_worker_that_cannot_be_replaced_does_not_stop_the_others(
    monkeypatch: pytest.MonkeyPatch, codes: tuple[int | None, ...], *, stops: bool, replaced: int
) -> None:
    """In an outage of the database a killed worker cannot start again, and the others serve without the database. The
    same holds for one that cannot start with the others at first.
    """
    workers = Workers(uvicorn_config(lambda: None, config.Settings()), [], lambda: None, ends_on_hangup=False)
    workers.processes = [_Worker(code) for code in codes]  # type: ignore[misc]
    made: list[_Worker] = []
    monkeypatch.setattr(workers, "_new_worker", lambda: made.append(_Worker(None)) or made[-1])
    workers.keep_subprocess_alive()
    workers.keep_subprocess_alive()
    assert (workers.should_exit.is_set(), len(made)) == (stops, replaced)
    assert workers.status() == int(stops)


def test_worker_that_cannot_start_does_not_delay_the_replacement_of_another(monkeypatch: pytest.MonkeyPatch) -> None:
    workers = Workers(uvicorn_config(lambda: None, config.Settings()), [], lambda: None, ends_on_hangup=False)
    workers.processes = [_Worker(STARTUP_FAILURE), _Worker(None)]  # type: ignore[list-item]
    monkeypatch.setattr(workers, "_new_worker", lambda: _Worker(STARTUP_FAILURE))
    workers.keep_subprocess_alive()
    new = _Worker(None)
    workers.processes.append(_Worker(-signal.SIGKILL))  # type: ignore[arg-type]
    monkeypatch.setattr(workers, "_new_worker", lambda: new)
    workers.keep_subprocess_alive()
    assert workers.processes[2] is new
    assert not workers.should_exit.is_set()


def test_workers_are_ready_when_one_of_them_has_started(monkeypatch: pytest.MonkeyPatch) -> None:
    ready: list[bool] = []
    workers = Workers(
        uvicorn_config(lambda: None, config.Settings()), [], lambda: ready.append(True), ends_on_hangup=False
    )
    for codes, expected in (((STARTUP_FAILURE, STARTUP_FAILURE), []), ((STARTUP_FAILURE, None), [True])):
        made = iter([_Worker(code) for code in codes])
        monkeypatch.setattr(workers, "_new_worker", lambda made=made: next(made))
        workers.processes_num = len(codes)
        workers.init_processes()
        assert ready == expected

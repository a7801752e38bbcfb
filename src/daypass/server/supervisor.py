"""Starts the worker processes of one server, and replaces those that end or do not answer.

It must never wait for a worker while a signal, or the end of another worker, waits for it.
"""

from __future__ import annotations

import os
import pickle
import signal
import socket
import time
from collections.abc import Callable
from multiprocessing.connection import wait
from typing import Final

import uvicorn
from uvicorn.config import STARTUP_FAILURE
from uvicorn.supervisors import Multiprocess
from uvicorn.supervisors.multiprocess import Process

from daypass.observability import logs, metrics
from daypass.server.listener import refuse_handshakes

WORKER_SECONDS: Final = 30
"""A worker responds only after all imports. On a busy machine a shorter limit would always kill it."""
_REPLACE_SECONDS: Final = 5.0  # between two attempts to replace a worker that cannot start
_LOOK_SECONDS: Final = 0.5  # between two checks for signals while it waits for a worker


class ServerWorker(Process):
    """One worker process. `signals`: those of this process that are not handled yet."""

    def __init__(self, config: uvicorn.Config, sockets: list[socket.socket], signals: list[int]) -> None:
        super().__init__(config, sockets)
        self._signals = signals

    def ping(self, timeout: float = 5) -> bool:
        """Whether the worker answers in time. uvicorn waits the whole time for a worker that has ended meanwhile. A signal
        ends the wait, and the worker counts as one that answers.
        """
        until = time.monotonic() + timeout
        try:
            self.parent_conn.send(b"ping")
            while (left := until - time.monotonic()) > 0 and not self._signals:
                ready = wait([self.parent_conn, self.process.sentinel], min(left, _LOOK_SECONDS))
                if self.parent_conn in ready:
                    self.parent_conn.recv()
                    return True
                if ready:
                    return False
        except (OSError, EOFError, pickle.UnpicklingError):
            return False
        return bool(self._signals)


class Workers(Multiprocess):
    """Worker processes that share the port, and this process, which supervises them.

    Args:
        ends_on_hangup: whether SIGHUP stops the server.
    """

    def __init__(
        self,
        config: uvicorn.Config,
        sockets: list[socket.socket],
        on_ready: Callable[[], None],
        *,
        ends_on_hangup: bool,
    ) -> None:
        self._ends_on_hangup = ends_on_hangup
        self._on_ready = on_ready
        self._again_at = 0.0
        self._failed = False  # no worker could start
        super().__init__(config, sockets)

    def init_processes(self) -> None:
        """Starts all workers. A worker that exits before it is ready is detected at once. uvicorn's own health check
        would wait its whole timeout for a worker that has exited. A stop that is requested meanwhile is not delayed.
        """
        self.processes = [self._new_worker() for _ in range(self.processes_num)]
        for worker in self.processes:
            self._await(worker)
        if not self.should_exit.is_set() and not self._none_started():
            self._on_ready()

    def keep_subprocess_alive(self) -> None:
        """Replaces workers that have ended. One that cannot start is replaced again after a pause, because the database
        may be unavailable, and the others serve without it. Stops when none can start.
        """
        if self._none_started():
            logs.get().error("server.no_worker_started")
            self._failed = True
            self.should_exit.set()
        for at, worker in enumerate(self.processes):
            if self.should_exit.is_set() or self.signal_queue:
                return
            if worker.exitcode == STARTUP_FAILURE:
                self._replace_later(at, worker)
            elif not worker.is_alive(timeout=self.config.timeout_worker_healthcheck):
                worker.kill()
                worker.join()
                if worker.exitcode != STARTUP_FAILURE:
                    logs.get().warning("server.worker_ended", pid=worker.pid, status=worker.exitcode)
                    self._release(worker)
                    self.processes[at] = self._new_worker()

    def _none_started(self) -> bool:
        return all(worker.exitcode == STARTUP_FAILURE for worker in self.processes)

    def _replace_later(self, at: int, worker: Process) -> None:
        if time.monotonic() >= self._again_at:
            self._again_at = time.monotonic() + _REPLACE_SECONDS
            logs.get().error("server.worker_not_started", pid=worker.pid, again=f"{_REPLACE_SECONDS:g} s")
            self._release(worker)
            self.processes[at] = self._new_worker()

    def _release(self, worker: Process) -> None:
        try:
            metrics.release(worker.pid or 0)
        except OSError as error:  # the metrics show too much; that is not a reason to stop
            logs.get().warning("server.metrics_kept", pid=worker.pid, error=str(error))

    def _new_worker(self) -> Process:
        worker = ServerWorker(self.config, self.sockets, self.signal_queue)
        worker.start()
        return worker

    def _await(self, worker: Process) -> None:
        """Returns when the worker is ready, has exited or takes too long, or when a stop is requested."""
        until = time.monotonic() + WORKER_SECONDS
        while time.monotonic() < until and not worker.wait_until_ready(_LOOK_SECONDS, self.should_exit):
            self.handle_signals()
            if self.should_exit.is_set() or worker.exitcode is not None:
                return

    def handle_term(self) -> None:
        """SIGTERM: refuses new connections, even if the workers also received the signal and stop earlier."""
        for sock in self.sockets:
            refuse_handshakes(sock)
        super().handle_term()

    def handle_hup(self) -> None:
        """SIGHUP: each worker reloads the certificate; uvicorn would replace the workers.

        A worker that is still starting exits, and its successor reads the new files.
        """
        if self._ends_on_hangup:
            self.handle_term()
            return
        for worker in self.processes:
            if worker.pid is not None and worker.exitcode is None:
                os.kill(worker.pid, signal.SIGHUP)

    def terminate_all(self) -> None:
        """Begins the drain. The socket is closed here first. The workers close it when they have accepted all
        established connections.
        """
        for sock in self.sockets:
            refuse_handshakes(sock)
            sock.close()
        super().terminate_all()

    def status(self) -> int:
        """The exit status: 1 when no worker could start."""
        return int(self._failed)

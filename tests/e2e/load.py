"""A steady load of AssumeRole and GetCallerIdentity on whichever servers are in use, as behind a load balancer."""

from __future__ import annotations

import itertools
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from botocore.exceptions import BotoCoreError, ClientError
from tests.e2e.conftest import Server, session_key


@dataclass
class Load:
    """The results of the load. `servers`: those that get requests, see `use`."""

    role: str
    servers: list[Server]
    pause_seconds: float = 0.02
    answered: int = 0
    issued: list[str] = field(default_factory=list)
    failed: list[tuple[float, str]] = field(default_factory=list)
    _busy: Counter[str] = field(default_factory=Counter)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _stop: threading.Event = field(default_factory=threading.Event)

    def wait_for(self, more: int) -> None:
        """Waits for so many further answers, at most for five minutes."""
        wanted, end = self.answered + more, time.monotonic() + 300
        while self.answered < wanted:
            assert time.monotonic() < end, f"only {self.answered} of {wanted} answers: {self.failed[-3:]}"
            time.sleep(0.05)

    def use(self, *servers: Server) -> None:
        """Sends requests to these servers only; returns when the others have answered what they had."""
        with self._lock:
            self.servers = list(servers)
        kept, end = {server.url for server in servers}, time.monotonic() + 300
        while any(count for url, count in self._busy.items() if url not in kept):
            assert time.monotonic() < end, "a request is not answered"
            time.sleep(0.02)

    def run(self, seed: int) -> None:
        """One client: a session from one server is used at the next."""
        clients = {}
        for number in itertools.count(seed):
            if self._stop.wait(self.pause_seconds):
                break
            with self._lock:
                servers = self.servers
                first, second = servers[number % len(servers)], servers[(number + 1) % len(servers)]
                self._busy.update((first.url, second.url))
            try:
                for server in (first, second):
                    if server.url not in clients:
                        clients[server.url] = server.client("sts", read_timeout=20)
                made = clients[first.url].assume_role(RoleArn=self.role, RoleSessionName=f"load-{seed}-{number}")
                self._count(made["Credentials"]["AccessKeyId"])
                if number % 10 == 0:
                    second.client("sts", session_key(made), read_timeout=20).get_caller_identity()
                    self._count()
            except (ClientError, BotoCoreError) as error:
                with self._lock:
                    self.failed.append((time.monotonic(), f"{first.url} {second.url} {error}"))
            finally:
                with self._lock:
                    self._busy.subtract((first.url, second.url))
        for client in clients.values():
            client.close()

    def _count(self, issued: str = "") -> None:
        with self._lock:
            self.answered += 1
            if issued:
                self.issued.append(issued)

    def stop(self) -> None:
        self._stop.set()


@contextmanager
def loading(role: str, servers: list[Server], clients: int = 3, pause_seconds: float = 0.02) -> Iterator[Load]:
    """A load by several clients, which ends with the block."""
    load = Load(role, list(servers), pause_seconds)
    threads = [threading.Thread(target=load.run, args=(number * 7919,)) for number in range(clients)]
    for thread in threads:
        thread.start()
    try:
        yield load
    finally:
        load.stop()
        for thread in threads:
            thread.join()

"""Runs the server: prepares the database once, then serves in this process or in several that share the port."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import multiprocessing
import os
import shutil
import signal
import socket
import ssl
import sys
from collections.abc import Awaitable, Mapping, MutableMapping
from functools import partial
from pathlib import Path
from typing import Any

import uvicorn
from uvicorn.config import STARTUP_FAILURE
from uvicorn.supervisors import Multiprocess

from daypass.config import ConfigError, Settings
from daypass.crypto.ids import RandomIds
from daypass.observability import logs
from daypass.operations.bootstrap import BootstrapError, FirstKey, bootstrap, parse
from daypass.server.application import build
from daypass.server.protocol import Common, HttpProtocol
from daypass.server.runtime import Receive, Runtime, Send, further_policies
from daypass.stores.engine import open_database
from daypass.stores.migrations import prepare

_LOOPBACK = ("127.0.0.1", "::1", "localhost")
_DEV_ACCOUNT = "123456789012"
_WORKER_SECONDS = (
    30  # a worker answers only once it has imported everything; killed sooner, it never would on a busy machine
)
_TURN_SECONDS = 0.001  # for which a thread may keep the interpreter while another one wants it
_IDLE_SECONDS = 65.0  # longer than what usual load balancers keep a connection for


class Lifespan:
    """The ASGI application of one process: starts the runtime, then hands requests to the wire."""

    def __init__(self, settings: Settings) -> None:
        logs.configure(settings.log.level, settings.log.format)
        self._settings = settings
        self._runtime: Runtime | None = None
        self._application: Any = None

    def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> Awaitable[None]:
        if scope["type"] == "lifespan":
            return self._live(receive, send)
        served: Awaitable[None] = self._application(scope, receive, send)
        return served

    async def _live(self, receive: Receive, send: Send) -> None:
        await receive()  # lifespan.startup
        try:
            self._runtime = Runtime(self._settings)
            await self._runtime.start()
            self._application = build(self._runtime)
            tune_interpreter()
            _end_with_parent()
        except Exception as error:  # noqa: BLE001  # reported by name; the process then ends
            logs.get().error("server.start_failed", error=f"{type(error).__name__}: {error}")
            await send({"type": "lifespan.startup.failed", "message": ""})
            return
        await send({"type": "lifespan.startup.complete"})
        await receive()  # lifespan.shutdown
        await self._runtime.stop()
        await send({"type": "lifespan.shutdown.complete"})


class Workers(Multiprocess):
    """Worker processes that share the port, and this one, which looks after them."""

    def init_processes(self) -> None:
        """Starts them all. Whoever ends before being ready is seen at once: uvicorn's own look at a worker's health
        waits its whole time for word of one that has ended meanwhile.
        """
        super().init_processes()
        for worker in self.processes:
            worker.wait_until_ready(_WORKER_SECONDS)

    def terminate_all(self) -> None:
        """Begins the drain. The socket goes first: else the system takes connections on it until the last worker has
        drained, and nobody hears them.
        """
        for sock in self.sockets:
            sock.close()
        super().terminate_all()

    def status(self) -> int:
        """The exit status: 1 when a worker could not start, which ends the others."""
        return int(any(worker.exitcode == STARTUP_FAILURE for worker in self.processes))


def serve(settings: Settings, environ: Mapping[str, str], *, dev: bool) -> int:
    """Serves until SIGTERM or SIGINT; the exit status.

    Raises ConfigError, UnusableDatabase or RingError when the settings, the database or the keys are not usable.
    """
    if dev and settings.server.host not in _LOOPBACK:
        raise ConfigError("--dev serves on loopback only: it prints an administrator's key.")
    logs.configure(settings.log.level, settings.log.format)
    settings.server.data.mkdir(parents=True, exist_ok=True, mode=0o700)
    entries = _first_keys(environ.get("DAYPASS_BOOTSTRAP", ""))
    printed = _dev_key(settings.server.data) if dev else None
    if printed:
        entries = (printed, *entries)
    _prepare(settings)
    if entries:
        asyncio.run(_initialise(settings, entries, examples=dev))
    with _listen(settings) as listener:
        url = _url(settings, listener)
        if printed:
            _greet(url, printed)
        else:
            sys.stderr.write(f"Daypass listens on {url}\n")
        return _run(settings, listener)


def _first_keys(text: str) -> tuple[FirstKey, ...]:
    try:
        return parse(text)
    except BootstrapError as error:
        raise ConfigError(str(error)) from None


def _prepare(settings: Settings) -> None:
    further_policies(settings.aws.policies)
    try:
        database = open_database(settings.database_url())
    except ValueError as error:
        raise ConfigError(f"database.url: {error}") from None
    try:
        prepare(database)
    finally:
        database.close()


async def _initialise(settings: Settings, entries: tuple[FirstKey, ...], *, examples: bool) -> None:
    """The first accounts, made by a runtime of its own so that its record is a log like any other."""
    runtime = Runtime(settings)
    await runtime.start()
    try:
        await bootstrap(runtime.env, entries, examples=examples)
    finally:
        await runtime.stop()


def _dev_key(data: Path) -> FirstKey:
    """The administrator's key of `--dev`: made once, kept beside the data it opens."""
    file = data / "dev-key.json"
    with contextlib.suppress(FileNotFoundError):
        return FirstKey(**json.loads(file.read_text("ascii")))
    ids = RandomIds()
    made = {"key_id": ids.access_key("AKIA"), "secret": ids.secret(), "account": _DEV_ACCOUNT, "user": "admin"}
    with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as handle:
        json.dump(made, handle)
    return FirstKey(**made)


def _greet(url: str, key: FirstKey) -> None:
    sys.stdout.write(
        f"""
Daypass listens on {url}

  ************************************************************************
  *  DEVELOPMENT MODE: an administrator's key is printed below.           *
  *  Loopback only. Never use this data directory for anything real.      *
  ************************************************************************

Paste this into a shell, and every AWS SDK and the AWS CLI work against it:

  export AWS_ENDPOINT_URL={url}
  export AWS_ACCESS_KEY_ID={key.key_id}
  export AWS_SECRET_ACCESS_KEY={key.secret}
  export AWS_REGION=us-east-1 AWS_DEFAULT_REGION=us-east-1

Then try:  aws sts get-caller-identity
           aws sts assume-role --role-arn arn:aws:iam::{key.account}:role/reader --role-session-name me
           daypass exec reader -- aws iam list-roles
"""
    )
    sys.stdout.flush()


def _listen(settings: Settings) -> socket.socket:
    host, port = settings.server.host, settings.server.port
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise ConfigError(f"cannot listen on {host} port {port}: {error.strerror}.") from None
    listener.set_inheritable(True)
    return listener


def _url(settings: Settings, listener: socket.socket) -> str:
    scheme = "https" if settings.server.tls_cert else "http"
    host = settings.server.host
    return f"{scheme}://{f'[{host}]' if ':' in host else host}:{listener.getsockname()[1]}"


def _run(settings: Settings, listener: socket.socket) -> int:
    config = uvicorn_config(partial(Lifespan, settings), settings, factory=True)
    _check_tls(config)
    if settings.server.workers > 1:
        _share_metrics(settings.server.data / "metrics")
        workers = Workers(config, sockets=[listener])
        workers.run()
        return workers.status()
    running = uvicorn.Server(config)
    # When it has drained, uvicorn raises the signal again; to be asked to stop is no failure.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    with contextlib.suppress(KeyboardInterrupt):
        running.run(sockets=[listener])
    return 0 if running.started else 1


def uvicorn_config(application: Any, settings: Settings, *, factory: bool = False) -> uvicorn.Config:
    """How every process serves HTTP. `factory`: the application is what `application()` returns."""
    server = settings.server
    return uvicorn.Config(
        application,
        factory=factory,
        workers=server.workers,
        loop="daypass.server.loop:Loop",
        http=partial(HttpProtocol, common=Common(_IDLE_SECONDS)),  # type: ignore[arg-type]  # it is only called
        ws="none",
        lifespan="on",
        interface="asgi3",
        proxy_headers=False,
        server_header=False,
        access_log=False,
        log_config=None,
        backlog=server.backlog,
        timeout_graceful_shutdown=server.drain_seconds,
        timeout_worker_healthcheck=_WORKER_SECONDS,
        ssl_certfile=server.tls_cert,
        ssl_keyfile=server.tls_key,
        ssl_ca_certs=str(server.client_ca) if server.client_ca else None,
        ssl_cert_reqs=ssl.CERT_REQUIRED if server.client_ca else ssl.CERT_NONE,
    )


def _check_tls(config: uvicorn.Config) -> None:
    """An unusable certificate is a plain error, before anything starts."""
    if not config.ssl_certfile:
        return
    try:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(config.ssl_certfile, config.ssl_keyfile)
        if config.ssl_ca_certs:
            context.load_verify_locations(config.ssl_ca_certs)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(f"the TLS certificate, key or client CA cannot be used: {error}.") from None


def _end_with_parent() -> None:
    """A worker whose supervising process was killed stops as by SIGTERM: it would keep the port, and nobody would look
    after it.
    """
    parent = multiprocessing.parent_process()
    if parent is None:
        return
    loop, sentinel = asyncio.get_running_loop(), parent.sentinel

    def stop() -> None:
        loop.remove_reader(sentinel)
        logs.get().error("server.orphaned", parent=parent.pid)
        signal.raise_signal(signal.SIGTERM)

    loop.add_reader(sentinel, stop)


def tune_interpreter() -> None:
    """What start-up made stays for good, and what a request makes holds no cycles: look for garbage less often.

    And the journal's writer, which a crowd of requests waits for, gets its turn in a fifth of the usual time.
    """
    sys.setswitchinterval(_TURN_SECONDS)
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)


def _share_metrics(directory: Path) -> None:
    """Worker processes put their figures into files here, so that any of them can show all."""
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(mode=0o700)
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(directory)

"""Runs the server: prepares the database once, then serves in this process or in several that share the port."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import multiprocessing
import os
import shutil
import signal
import socket
import sys
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from functools import partial
from pathlib import Path
from typing import Any

import uvicorn

from daypass.config import ConfigError, ServerSettings, Settings
from daypass.observability import logs, metrics
from daypass.server import startup, tls
from daypass.server.application import HealthPort, build
from daypass.server.background import Loop
from daypass.server.bodies import FEWEST_FILES, ConnectionLimits, Connections, raise_file_limit
from daypass.server.core_dumps import disable_core_dumps
from daypass.server.listener import refuse_handshakes
from daypass.server.protocol import HttpProtocol
from daypass.server.runtime import Receive, Runtime, Send
from daypass.server.supervisor import WORKER_SECONDS, Workers
from daypass.wire.health import health_routes
from daypass.wire.web import render

_TURN_SECONDS = 0.001  # how long a thread may hold the interpreter lock while another one waits for it
_IDLE_SECONDS = 65.0  # longer than the idle timeout of common load balancers


class Lifespan:
    """The ASGI application of one process: starts the runtime, then hands requests to the wire.

    `health`, `ext_authz`: the sockets of HealthPort and ExtAuthzPort.
    """

    def __init__(
        self,
        settings: Settings,
        health: socket.socket | None = None,
        connections: Connections | None = None,
        ext_authz: socket.socket | None = None,
    ) -> None:
        self._connections = connections
        self._health_socket = health
        self._ext_authz_socket = ext_authz
        self._ext_authz: Any = None  # an ExtAuthzPort
        self._health: HealthPort | None = None
        logs.configure(settings.log.level, settings.log.format)
        self._settings = settings
        disable_core_dumps()  # a worker is a new program, which may be dumped again
        self._runtime: Runtime | None = None
        self._serve: Any = None
        self._tracing: Any = None  # a Tracing, if traces are exported

    def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> Awaitable[None]:
        if scope["type"] == "lifespan":
            return self._live(receive, send)
        served: Awaitable[None] = self._serve(scope, receive, send)
        return served

    async def _live(self, receive: Receive, send: Send) -> None:
        await receive()  # lifespan.startup
        try:
            with startup.database_errors(self._settings):
                self._runtime = await startup.started(self._settings, self._connections)
            serve = self._serving(self._runtime)
            if self._connections is not None:
                self._connections.on_refusal = self._runtime.refusals.count_unparsed
            if self._health_socket is not None:
                token = self._settings.server.metrics_token.get_secret_value()
                self._health = HealthPort(health_routes(self._runtime, token), self._health_socket)
            if self._ext_authz_socket is not None:
                self._ext_authz = await _ext_authz_port(serve, self._ext_authz_socket)
            tune_interpreter()
            _end_with_parent()
            loop = asyncio.get_running_loop()
            if isinstance(loop, Loop):
                loop.on_refusal = self._runtime.refusals.count_unparsed
                tls.Reload(self._settings.server, loop.use_certificate).on_hangup(loop)
        except Exception as error:  # noqa: BLE001  # reported by name; the process then ends
            logs.get().error("server.start_failed", error=f"{type(error).__name__}: {error}")
            await send({"type": "lifespan.startup.failed", "message": ""})
            return
        self._serve = serve
        await send({"type": "lifespan.startup.complete"})
        building = asyncio.create_task(asyncio.to_thread(render.prepare))  # beside the first requests
        await receive()  # lifespan.shutdown
        if self._connections is not None:
            await self._connections.close()  # no request may reach what is stopped now
        for port in (self._health, self._ext_authz):
            if port is not None:
                await port.close()
        await self._runtime.stop()
        await building  # its thread cannot be interrupted
        if self._tracing is not None:
            await asyncio.to_thread(self._tracing.stop)
        await send({"type": "lifespan.shutdown.complete"})

    def _serving(self, runtime: Runtime) -> Callable[..., Awaitable[None]]:
        """The application, or it with traces. Raises ConfigError without OpenTelemetry."""
        if not self._settings.tracing.endpoint:
            return build(runtime)
        try:
            from daypass.server.tracing import Tracing  # noqa: PLC0415  # optional
        except ImportError as error:
            raise ConfigError(f"tracing.endpoint needs the extra `tracing`: {error}.") from None
        tracing = self._tracing = Tracing(self._settings.tracing)
        around: Callable[..., Awaitable[None]] = tracing.around(build(runtime, tracing.observing(runtime.metrics)))
        return around


class Server(uvicorn.Server):
    """The server of a single process. `on_ready` is called when it accepts connections."""

    def __init__(self, config: uvicorn.Config, on_ready: Callable[[], None]) -> None:
        super().__init__(config)
        self.begun = False
        self._on_ready = on_ready

    async def serve(self, sockets: list[socket.socket] | None = None) -> None:
        """Serves, with uvicorn's handling of signals."""
        self.begun = True
        await super().serve(sockets)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Starts the application, and then accepts connections. uvicorn exits when the application does not start."""
        await super().startup(sockets)
        self._on_ready()

    def end(self, *_: object) -> None:
        """Handles SIGTERM and SIGINT before uvicorn does, and after its drain, when it raises them again."""
        if not self.begun:
            end_at_once()
        sys.exit(0)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Begins the drain: new connections are refused and existing ones are served."""
        for sock in sockets or ():
            refuse_handshakes(sock)
        await super().shutdown(sockets)


def serve(settings: Settings, environ: Mapping[str, str], *, dev: bool, setup: bool = False) -> int:
    """Serves until SIGTERM or SIGINT; the exit status. `setup`: the first administrator may be made in a browser.

    Raises ConfigError, UnusableDatabase, DatabaseUnreachable, RingError or StartupError when it cannot start.
    """
    if dev and settings.server.host not in startup.LOOPBACK:
        raise ConfigError("--dev serves on loopback only: it prints an administrator's key.")
    if dev or (setup and settings.server.host in startup.LOOPBACK):
        settings = startup.with_public_url(settings)
    logs.configure(settings.log.level, settings.log.format)
    disable_core_dumps()
    if (files := raise_file_limit()) < FEWEST_FILES:
        raise startup.StartupError(
            f"A process may open only {files} files here, and {FEWEST_FILES} are needed. Raise the hard limit "
            "(ulimit -Hn, or LimitNOFILE of a systemd unit)."
        )
    startup.prepare_data_directory(settings.server.data)
    entries = startup.first_keys(environ.get("DAYPASS_BOOTSTRAP", ""))
    printed = startup.dev_key(settings.server.data) if dev else None
    if printed:
        entries = (*entries, printed)
    else:
        startup.warn_of_key_beside_database(settings)
        startup.warn_of_plain_http(settings)
    startup.warn_of_ignored_variables(environ)
    code = startup.prepare_setup(settings) if setup and not entries else ""
    if not code:
        startup.initialise(settings, entries, printed)
    server = settings.server
    with contextlib.ExitStack() as sockets:
        listener = sockets.enter_context(_listen(server.host, server.port))
        health = None
        if server.health_port is not None:
            health = sockets.enter_context(_listen(server.health_host or server.host, server.health_port))
        ext_authz = None
        if server.ext_authz_port is not None:
            ext_authz = sockets.enter_context(_listen(server.ext_authz_host, server.ext_authz_port))
        url = _url(settings, listener)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, end_at_once)
        health_port = health.getsockname()[1] if health is not None else 0
        lines = startup.Greeting(url, server.public_url, server.data, printed, code, health_port)
        return _run(settings, listener, (health, ext_authz), lines.write)


async def _ext_authz_port(serve: Any, sock: socket.socket) -> Any:
    """The port for Envoy's checks. Raises ConfigError without hpack."""
    try:
        from daypass.server.ext_authz import ExtAuthzPort  # noqa: PLC0415  # optional
    except ImportError as error:
        raise ConfigError(f"server.ext_authz_port needs the extra `ext-authz`: {error}.") from None
    port = ExtAuthzPort(serve)
    await port.start(sock)
    return port


def end_at_once(*_: object) -> None:
    """Handles SIGTERM and SIGINT before the event loop runs. A requested stop is not a failure, and
    nothing is open yet.
    """
    os._exit(0)


def _listen(host: str, port: int) -> socket.socket:
    """A listening socket. Who connects before the server is ready waits, and is not refused."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen()
    except OSError as error:
        listener.close()
        raise ConfigError(
            f"cannot listen on {host} port {port}: {error.strerror}. --host and --port choose another."
        ) from None
    listener.set_inheritable(True)
    return listener


def _url(settings: Settings, listener: socket.socket) -> str:
    host = settings.server.host
    return f"{settings.server.scheme}://{f'[{host}]' if ':' in host else host}:{listener.getsockname()[1]}"


def _run(
    settings: Settings,
    listener: socket.socket,
    more: tuple[socket.socket | None, socket.socket | None],
    on_ready: Callable[[], None],
) -> int:
    """Serves until it is told to stop. `more`: the sockets for health and for external authorization."""
    connections = Connections(_limits(settings.server))
    health, ext_authz = more
    application = partial(Lifespan, settings, health, connections, ext_authz)
    config = uvicorn_config(application, settings, connections=connections, factory=True)
    if settings.server.tls_cert:
        tls.load(settings.server)  # an unusable certificate is a plain error, before anything starts
    if settings.server.workers > 1:
        _forget_environment()
        _share_metrics(settings.server.data / "metrics")
        workers = Workers(config, [listener], on_ready, ends_on_hangup=tls.ends_on_hangup(settings.server))
        workers.run()
        return workers.status()
    running = Server(config, on_ready)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, running.end)
    running.run(sockets=[listener])
    return 0 if running.started else 1


def _limits(server: ServerSettings) -> ConnectionLimits:
    return ConnectionLimits(
        idle_seconds=_IDLE_SECONDS,
        request_seconds=server.request_seconds,
        patience_seconds=server.queue_seconds,
        connections=server.connections,
        per_address=server.connections_per_address,
        bodies=server.body_bytes_in_flight,
        bodies_per_address=server.body_bytes_per_address,
        trusted_proxies=server.trusted_proxies,
    )


def uvicorn_config(
    application: Any, settings: Settings, *, connections: Connections | None = None, factory: bool = False
) -> uvicorn.Config:
    """The uvicorn configuration of every process. `factory`: `application()` returns the application."""
    server = settings.server
    connections = connections or Connections(_limits(server))
    return uvicorn.Config(
        application,
        factory=factory,
        workers=server.workers,
        loop="daypass.server.background:Loop",
        http=partial(HttpProtocol, common=connections),  # type: ignore[arg-type]  # it is only called
        ws="none",
        lifespan="on",
        interface="asgi3",
        proxy_headers=False,
        server_header=False,
        access_log=False,
        log_config=None,
        backlog=server.backlog,
        timeout_graceful_shutdown=server.drain_seconds,
        timeout_worker_healthcheck=WORKER_SECONDS,
        ssl_context_factory=partial(tls.for_uvicorn, server) if server.tls_cert else None,
    )


def _end_with_parent() -> None:
    """Stops a worker, as SIGTERM does, when its supervising process was killed. Otherwise it would keep the port
    without supervision.
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
    """Objects made at start are permanent and requests make no cycles, so the collector runs rarely: not as long as the
    requests in flight alone are what it counts. 256 of them have about 20,000 objects, and each run takes 10 ms then.

    The journal's writer, for which a batch of requests waits, gets the interpreter lock in a fifth of the usual time.
    """
    sys.setswitchinterval(_TURN_SECONDS)
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)


def _forget_environment() -> None:
    """Removes the settings from the environment that children inherit. Workers get their settings by pickle, and the
    resource tracker of `multiprocessing` is an ordinary process, whose environment other processes of the user can read.
    """
    for name in [name for name in os.environ if name.startswith("DAYPASS_")]:
        del os.environ[name]


def _share_metrics(directory: Path) -> None:
    """Worker processes write their metrics to files here, so that each of them can report all."""
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(mode=0o700)
    os.environ[metrics.VARIABLE] = str(directory)

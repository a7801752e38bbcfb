"""TLS of the server: its context, and how a new certificate replaces it while connections stay open.

A file that cannot be used never replaces a context that works.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import signal
import ssl
import sys
import time
from collections.abc import Callable
from datetime import datetime
from typing import Any, Final

from cryptography import x509

from daypass.config import ConfigError, ServerSettings
from daypass.observability import logs
from daypass.server.unverified_clients import UnverifiedClients, load_pair

_WARN_MS: Final = 14 * 86_400_000


def load(settings: ServerSettings) -> ssl.SSLContext:
    """A context with the certificate, key and client CA currently in the files. Raises ConfigError."""
    assert settings.tls_cert is not None
    try:
        if settings.client_certificates == "optional" and settings.client_ca is None:
            return UnverifiedClients.make(settings.tls_cert, settings.tls_key)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        load_pair(context, settings.tls_cert, settings.tls_key)
        if settings.client_ca is not None:
            context.load_verify_locations(settings.client_ca)
            required = settings.client_certificates == "required"
            context.verify_mode = ssl.CERT_REQUIRED if required else ssl.CERT_OPTIONAL
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(f"the TLS certificate, key or client CA cannot be used: {error}.") from None
    return context


def for_uvicorn(settings: ServerSettings, _config: Any, _default: Callable[[], ssl.SSLContext]) -> ssl.SSLContext:
    """`load` with the signature that uvicorn expects."""
    context = load(settings)
    SERVED.note(end_of(settings))
    return context


def ends_on_hangup(settings: ServerSettings) -> bool:
    """Whether SIGHUP means that the terminal was closed: there is one, and nothing to reload."""
    return settings.tls_cert is None and sys.stdin is not None and sys.stdin.isatty()


class Served:
    """The certificate that this process serves, for /readyz and the metrics."""

    def __init__(self) -> None:
        self._ends: datetime | None = None

    def note(self, ends: datetime) -> None:
        """`ends`: of the certificate that is served from now on."""
        self._ends = ends
        if warning := self.warning(time.time_ns() // 1_000_000):
            logs.get().warning("server.certificate_expires", why=warning)

    @property
    def ends(self) -> float:
        """When it ends, in seconds since the epoch; 0 without one."""
        return self._ends.timestamp() if self._ends is not None else 0.0

    def warning(self, now: int) -> str:
        """A warning about the certificate at `now` (ms); "" for none."""
        if self._ends is None or self._ends.timestamp() * 1000 - now > _WARN_MS:
            return ""
        verb = "expired" if self._ends.timestamp() * 1000 <= now else "expires"
        return f"the TLS certificate {verb} at {self._ends.isoformat()}: put a new one in its place, then send SIGHUP"


SERVED: Final = Served()


class Reload:
    """Reloads the files on request, one at a time, and hands each usable context to `use`."""

    def __init__(self, settings: ServerSettings, use: Callable[[ssl.SSLContext], None]) -> None:
        self._settings = settings
        self._use = use
        self._turn = asyncio.Lock()
        self._running: set[asyncio.Task[None]] = set()

    def on_hangup(self, loop: asyncio.AbstractEventLoop) -> None:
        """Makes SIGHUP reload the files. Without TLS, SIGHUP stops a server on a terminal and otherwise does
        nothing.
        """
        loop.add_signal_handler(signal.SIGHUP, self._hangup)

    def _hangup(self) -> None:
        if ends_on_hangup(self._settings):
            if multiprocessing.parent_process() is None:  # the supervising process stops its workers
                signal.raise_signal(signal.SIGTERM)
            return
        task = asyncio.ensure_future(self.reload())
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    async def reload(self) -> None:
        """Reads the files. Unusable files are logged and change nothing."""
        if self._settings.tls_cert is None:
            logs.get().info("server.nothing_to_reload")
            return
        async with self._turn:
            try:
                context, ends = await asyncio.to_thread(self._read)
            except (ConfigError, OSError, ValueError) as error:
                logs.get().error("server.certificate_kept", error=str(error))
                return
            self._use(context)
            SERVED.note(ends)
            logs.get().info("server.certificate_reloaded", not_after=ends.isoformat())

    def _read(self) -> tuple[ssl.SSLContext, datetime]:
        """The context, and when its certificate expires."""
        return load(self._settings), end_of(self._settings)


def end_of(settings: ServerSettings) -> datetime:
    """When the certificate in the file expires."""
    assert settings.tls_cert is not None
    return x509.load_pem_x509_certificates(settings.tls_cert.read_bytes())[0].not_valid_after_utc

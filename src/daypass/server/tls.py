"""TLS of the server: its context, and how a new certificate replaces it while connections stay open.

A file that cannot be used never replaces a context that works.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import signal
import ssl
import sys
from collections.abc import Callable
from typing import Any

from cryptography import x509

from daypass.config import ConfigError, ServerSettings
from daypass.observability import logs
from daypass.server.unverified_clients import UnverifiedClients, load_pair


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
    return load(settings)


def ends_on_hangup(settings: ServerSettings) -> bool:
    """Whether SIGHUP means that the terminal was closed: there is one, and nothing to reload."""
    return settings.tls_cert is None and sys.stdin is not None and sys.stdin.isatty()


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
            logs.get().info("server.certificate_reloaded", not_after=ends)

    def _read(self) -> tuple[ssl.SSLContext, str]:
        """The context, and when its certificate expires, in ISO 8601."""
        context = load(self._settings)
        assert self._settings.tls_cert is not None
        certificate = x509.load_pem_x509_certificates(self._settings.tls_cert.read_bytes())[0]
        return context, certificate.not_valid_after_utc.isoformat()

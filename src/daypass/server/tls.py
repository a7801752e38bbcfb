"""TLS of the server, its renewal while connections stay open, and clients' certificates without verification.

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
from pathlib import Path
from typing import Any, Final, Self, TypeVar

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from OpenSSL import SSL

from daypass.config import ConfigError, ServerSettings
from daypass.observability import logs

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


# --- TLS that asks clients for a certificate, and accepts every one whose key they prove to have


T = TypeVar("T")

_PIECE: Final = 65_536
_SESSIONS: Final = b"daypass"  # OpenSSL resumes no session with a client certificate without such a name


def load_pair(context: ssl.SSLContext, certificate: Path, key: Path | None) -> None:
    """Loads a certificate chain and its key. Raises OSError, ssl.SSLError."""
    context.load_cert_chain(certificate, key, password=_no_passphrase)


def _no_passphrase() -> str:
    """OpenSSL would ask for it on the terminal: at the start, at each reload, and in every process."""
    raise OSError("the key is encrypted; give one without a passphrase")


class UnverifiedClients(ssl.SSLContext):
    """A context for servers. Event loops call `wrap_bio` alone."""

    _context: SSL.Context

    @classmethod
    def make(cls, certificate: Path, key: Path | None) -> Self:
        """A context with this certificate chain and key. Raises OSError, ssl.SSLError."""
        made = cls(ssl.PROTOCOL_TLS_SERVER)
        load_pair(made, certificate, key)  # it has the better messages
        made.verify_mode = ssl.CERT_OPTIONAL
        context = SSL.Context(SSL.TLS_SERVER_METHOD)
        context.set_min_proto_version(SSL.TLS1_2_VERSION)
        context.set_cipher_list(":".join(each["name"] for each in made.get_ciphers()).encode("ascii"))
        context.set_session_id(_SESSIONS)
        context.set_verify(SSL.VERIFY_PEER, _accepted)
        context.set_verify_depth(0)  # no path is built
        try:
            context.use_certificate_chain_file(str(certificate))
            context.use_privatekey_file(str(key or certificate))
        except SSL.Error as error:
            raise ssl.SSLError(str(error)) from None
        made._context = context
        return made

    def wrap_bio(self, incoming: ssl.MemoryBIO, outgoing: ssl.MemoryBIO, *_: Any, **__: Any) -> Any:
        """As in `ssl.SSLContext`; the result has the part of `ssl.SSLObject` that event loops use."""
        return _Tls(self._context, incoming, outgoing)


def _accepted(*_: Any) -> bool:
    """The answer of OpenSSL's callback, whatever the fault of the path. The proof of the key is not its subject."""
    return True


class _Tls:
    """One connection between two buffers, in the form of `ssl.SSLObject`, with its exceptions."""

    def __init__(self, context: SSL.Context, incoming: ssl.MemoryBIO, outgoing: ssl.MemoryBIO) -> None:
        self._incoming, self._outgoing = incoming, outgoing
        self._connection = SSL.Connection(context, None)
        self._connection.set_accept_state()
        self._plain = bytearray()
        self._ended = False

    def do_handshake(self) -> None:
        self._take_in()
        self._run(self._connection.do_handshake)
        self._decrypt()  # a request may come with the end of the handshake

    def read(self, most: int = 1024, buffer: Any = None) -> Any:
        """Plain bytes, or how many were put into `buffer`; none at the end."""
        self._take_in()
        self._decrypt()
        if not self._plain and not self._ended:
            raise _want_read()
        piece = bytes(self._plain[:most])
        del self._plain[:most]
        if buffer is None:
            return piece
        buffer[: len(piece)] = piece
        return len(piece)

    def _decrypt(self) -> None:
        """Decrypts all that has come in: what stays in the connection is not in `pending`."""
        try:
            while not self._ended:
                self._plain += self._run(lambda: self._connection.recv(_PIECE))
        except ssl.SSLWantReadError:
            return
        except ssl.SSLZeroReturnError:
            self._ended = True

    def write(self, data: Any) -> int:
        return self._run(lambda: self._connection.send(data)) if len(data) else 0

    def unwrap(self) -> None:
        self._take_in()
        if not self._run(self._connection.shutdown):
            raise _want_read()

    def pending(self) -> int:
        """How much there is to read. The end counts, too."""
        return len(self._plain) + self._ended

    def getpeercert(self, binary_form: bool = False) -> Any:  # noqa: FBT001, FBT002  # as in `ssl`
        """The client's certificate (DER), None without one; not parsed."""
        found = self._connection.get_peer_certificate(as_cryptography=True) if binary_form else None
        return found.public_bytes(Encoding.DER) if found is not None else None

    def cipher(self) -> tuple[str | None, str | None, int | None]:
        connection = self._connection
        return connection.get_cipher_name(), connection.get_cipher_version(), connection.get_cipher_bits()

    def compression(self) -> None:
        """There is none."""

    def _take_in(self) -> None:
        """Passes on what has come in. Whoever calls it decrypts it, because event loops read until nothing is pending."""
        if data := self._incoming.read():
            self._connection.bio_write(data)
        if self._incoming.eof:
            self._connection.bio_shutdown()

    def _run(self, function: Callable[[], T]) -> T:
        """The result of a function; what it has written goes out. Raises ssl.SSLError."""
        try:
            return function()
        except SSL.WantReadError:
            raise _want_read() from None
        except SSL.ZeroReturnError:
            raise ssl.SSLZeroReturnError(ssl.SSL_ERROR_ZERO_RETURN, "the client has ended the connection") from None
        except SSL.SysCallError:
            raise ssl.SSLEOFError(ssl.SSL_ERROR_EOF, "the connection was cut off") from None
        except SSL.Error as error:
            raise ssl.SSLError(ssl.SSL_ERROR_SSL, str(error)) from None
        finally:
            self._flush()

    def _flush(self) -> None:
        while True:
            try:
                self._outgoing.write(self._connection.bio_read(_PIECE))
            except SSL.WantReadError:
                return


def _want_read() -> ssl.SSLWantReadError:
    return ssl.SSLWantReadError(ssl.SSL_ERROR_WANT_READ, "more input is needed")

"""A listening socket whose connections are accepted many at a time.

libuv accepts one connection in each turn of the event loop. On a busy server a turn takes milliseconds, so many
clients that connect at once (after a deployment, say) would wait for seconds. It never loses a connection
that the system has made: those that are in the backlog when it is closed are accepted and served.
"""

from __future__ import annotations

import asyncio
import errno
import socket
import ssl
from collections.abc import Callable
from functools import cache
from typing import Any, Final, TypeAlias

from daypass.domain.errors import ErrorKind
from daypass.observability import logs

_AT_ONCE: Final = 512
_HANDSHAKES_AT_ONCE: Final = 16  # TLS: each costs a millisecond
_MAX_HANDSHAKES: Final = 1_024  # TLS: that are under way
_HANDSHAKE_SECONDS: Final = 10.0
_CLOSE_NOTIFY_SECONDS: Final = 1.0
_PAUSE_SECONDS: Final = 1.0  # when there is no room for one more
_LAST_SECONDS: Final = 0.2  # after `close`, for connections whose handshake was under way
_LOOK_SECONDS: Final = 0.05
_FULL: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})


OnRefusal: TypeAlias = Callable[[str, ErrorKind, str], None]


def not_reported(_address: str, _kind: ErrorKind, _reason: str) -> None:
    """An `OnRefusal` before the server has started."""


class Listener(asyncio.AbstractServer):
    """Accepts from `sock`, which it makes listen, until it is closed. The socket stays the caller's.

    Args:
        tls: for connections with TLS. A client that keeps an idle connection does not read, so it does not answer the server's
            close_notify: the end of such a connection waits one second for it, not uvloop's 30.
        on_refusal: called for a connection that ends before it is one of HTTP: the client's address, kind and reason.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        sock: socket.socket,
        protocol: Callable[[], Any],
        backlog: int,
        tls: ssl.SSLContext | None = None,
        on_refusal: OnRefusal = not_reported,
    ) -> None:
        self._loop = loop
        self._on_refusal = on_refusal
        self._sock = sock.dup()  # it is still needed when the caller has closed his
        self._protocol = protocol
        self._tls: dict[str, Any] = {}
        if tls is not None:
            self._tls = {
                "ssl": tls,
                "ssl_handshake_timeout": _HANDSHAKE_SECONDS,
                "ssl_shutdown_timeout": _CLOSE_NOTIFY_SECONDS,
            }
        self._connecting: set[asyncio.Task[Any]] = set()
        self._late: set[Any] = set()  # connections made after `close`
        self._serving = False
        self._closing = False
        self._closed = loop.create_future()
        self._again: asyncio.TimerHandle | None = None
        self.sockets = (sock,)
        self._sock.setblocking(False)
        self._sock.listen(backlog)
        self._begin()

    def use_certificate(self, context: ssl.SSLContext) -> None:
        """New connections use this context. A listener without TLS stays without."""
        if self._tls:
            self._tls = {**self._tls, "ssl": context}

    def _begin(self) -> None:
        self._again = None
        self._serving = True
        self._loop.add_reader(self._sock.fileno(), self._accept)

    def _accept(self) -> bool:
        """Accepts what waits; False when that was not all."""
        for _ in range(_HANDSHAKES_AT_ONCE if self._tls else _AT_ONCE):
            try:
                connection, address = self._sock.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return True
            except OSError as error:
                if error.errno not in _FULL:
                    raise
                self._pause(error)
                return True
            if self._tls and len(self._connecting) >= _MAX_HANDSHAKES:
                connection.close()
                self._on_refusal(_ip(address), ErrorKind.OVERLOADED, "too many TLS handshakes")
                continue
            connection.setblocking(False)
            work = self._loop.create_task(self._connect(connection, address))
            self._connecting.add(work)
            work.add_done_callback(self._connecting.discard)
        return False

    async def _connect(self, connection: socket.socket, address: Any) -> None:
        try:
            _, protocol = await self._loop.connect_accepted_socket(self._protocol, connection, **self._tls)
        except (OSError, TimeoutError) as error:  # it was already closed, or is not TLS
            connection.close()
            logs.get().debug("http.not_connected", error=type(error).__name__)
            if isinstance(error, ssl.SSLError):
                self._on_refusal(_ip(address), ErrorKind.MALFORMED_REQUEST, "the TLS handshake failed")
            return
        if self._closing:
            self._late.add(protocol)
            protocol.shutdown()  # uvicorn has asked all others

    def _pause(self, error: OSError) -> None:
        """As asyncio does: the connections wait in the backlog, and the loop does not spin."""
        logs.get().error("http.cannot_accept", error=str(error))
        if not self._closing:
            self._loop.remove_reader(self._sock.fileno())
            self._serving = False
            self._again = self._loop.call_later(_PAUSE_SECONDS, self._begin)

    def get_loop(self) -> asyncio.AbstractEventLoop:
        return self._loop

    async def start_serving(self) -> None:
        """It serves from the beginning."""

    async def serve_forever(self) -> None:
        """Returns when it is cancelled."""
        await self._loop.create_future()

    def is_serving(self) -> bool:
        """Whether connections are accepted now."""
        return self._serving

    def close(self) -> None:
        """Accepts for a moment what the system has taken already, then nothing more. Connections stay."""
        if self._closing:
            return
        self._closing = True
        if self._again is not None:
            self._again.cancel()
            self._begin()
        self._loop.call_later(_LAST_SECONDS, self._end)

    def _end(self) -> None:
        if not self._accept():
            self._loop.call_soon(self._end)
            return
        self._serving = False
        self._loop.remove_reader(self._sock.fileno())
        self._sock.close()
        self._closed.set_result(None)

    async def wait_closed(self) -> None:
        """Returns when nothing is accepted any more, and the connections that were made after `close` have ended."""
        await self._closed
        while self._connecting or self._late:
            self._late = {protocol for protocol in self._late if not protocol.lost}
            await asyncio.sleep(_LOOK_SECONDS)


def _ip(address: Any) -> str:
    """The client's address; "" for a Unix socket."""
    return str(address[0]) if isinstance(address, tuple) else ""


_SO_BINDTOIFINDEX: Final = 62  # asm-generic/socket.h
_NO_INTERFACE: Final = 0x7FFF_FFFF


def refuse_handshakes(sock: socket.socket) -> None:
    """Lets no new connection begin at a listening socket, in any process; those whose handshake is under way still come.

    Closing a socket resets what is in its backlog. A socket that is bound to an interface that does not exist gets no SYN:
    the client is refused before it has sent anything that could be lost. Linux lets everybody do that since 5.7. Elsewhere
    a client that connects in the moment of closing may be reset.
    """
    try:
        if sock.getsockopt(socket.SOL_SOCKET, _SO_BINDTOIFINDEX) != _NO_INTERFACE:
            sock.setsockopt(socket.SOL_SOCKET, _SO_BINDTOIFINDEX, _NO_INTERFACE)
    except OSError as error:
        _warn_of_resets(error.strerror)


@cache
def _warn_of_resets(reason: str) -> None:
    """Once for each process: each worker and the supervisor refuse handshakes, some of them twice."""
    logs.get().warning("server.handshakes_not_refused", error=reason)

"""A listening socket whose connections are accepted by the handful.

libuv takes one connection for each turn of the event loop. On a busy server a turn takes milliseconds, so a storm of
clients that connect again (after a deployment, say) would wait for seconds before anybody hears them. It must never take so
many at once that those who are being served notice, or that the other worker processes at the same socket get none.
"""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Callable
from typing import Any, Final

from daypass.observability import logs

_AT_ONCE: Final = 16
_PAUSE_SECONDS: Final = 1.0  # when there is no room for one more
_FULL: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})


class Listener(asyncio.AbstractServer):
    """Accepts from `sock`, which it makes listen, until it is closed. The socket stays the caller's.

    Args:
        protocol: makes the protocol of a connection.
    """

    def __init__(
        self, loop: asyncio.AbstractEventLoop, sock: socket.socket, protocol: Callable[[], Any], backlog: int
    ) -> None:
        self._loop = loop
        self._sock = sock
        self._protocol = protocol
        self._connecting: set[asyncio.Task[Any]] = set()
        self._serving = False
        self._again: asyncio.TimerHandle | None = None
        self.sockets = (sock,)
        sock.setblocking(False)
        sock.listen(backlog)
        self._begin()

    def _begin(self) -> None:
        self._again = None
        self._serving = True
        self._loop.add_reader(self._sock.fileno(), self._accept)

    def _accept(self) -> None:
        for _ in range(_AT_ONCE):
            try:
                connection, _address = self._sock.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                if error.errno not in _FULL:
                    raise
                self._pause(error)
                return
            connection.setblocking(False)
            work = self._loop.create_task(self._connect(connection))
            self._connecting.add(work)
            work.add_done_callback(self._connecting.discard)

    async def _connect(self, connection: socket.socket) -> None:
        try:
            await self._loop.connect_accepted_socket(self._protocol, connection)
        except OSError as error:  # it was gone again already
            connection.close()
            logs.get().debug("http.not_connected", error=type(error).__name__)

    def _pause(self, error: OSError) -> None:
        """As asyncio does: the connections wait in the backlog, and the loop does not spin."""
        logs.get().error("http.cannot_accept", error=str(error))
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
        """Accepts nothing more. Connections stay."""
        if self._again is not None:
            self._again.cancel()
        if self._serving:
            self._serving = False
            self._loop.remove_reader(self._sock.fileno())

    async def wait_closed(self) -> None:
        """Returns when the last accepted socket has become a connection."""
        if self._connecting:
            await asyncio.wait(set(self._connecting))

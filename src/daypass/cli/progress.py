"""Say on a terminal that a call takes longer than a second, and remove the message when it is done."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable

from daypass.cli.output import safe
from daypass.client.transport import Answer, Request, Transport

_AFTER = 1.0  # seconds of waiting, all calls of the command together


def announced(
    transport: Transport,
    timer: Callable[[float, Callable[[], None]], threading.Timer] = threading.Timer,
    monotonic: Callable[[], float] = time.monotonic,
) -> Transport:
    """`transport`, with a message on standard error while it waits; as it is where that is not a terminal."""
    if not sys.stderr.isatty():
        return transport
    waited = 0.0

    def exchange(request: Request, seconds: float) -> Answer:
        nonlocal waited
        began = monotonic()
        shown = threading.Event()

        def show() -> None:
            shown.set()
            sys.stderr.write(f"\rdaypass: waiting for {safe(request.endpoint)} …")
            sys.stderr.flush()

        alarm = timer(max(0.0, _AFTER - waited), show)
        alarm.daemon = True
        alarm.start()
        try:
            return transport(request, seconds)
        finally:
            alarm.cancel()
            alarm.join()
            waited += monotonic() - began
            if shown.is_set():
                sys.stderr.write("\r\x1b[K")
                sys.stderr.flush()

    return exchange

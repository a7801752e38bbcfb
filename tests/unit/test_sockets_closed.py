"""The fence around unit tests holds."""

from __future__ import annotations

import socket

import pytest
import pytest_socket


def test_socket_in_a_unit_test_is_refused() -> None:
    with pytest.raises(pytest_socket.SocketBlockedError):
        socket.socket(socket.AF_INET, socket.SOCK_STREAM)


async def test_event_loop_in_a_unit_test_runs() -> None:
    """The loop's own wake-up socket is a Unix one."""

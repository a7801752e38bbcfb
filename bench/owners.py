"""Which process serves a connection, as Linux knows it: /proc names the socket of each, by its inode.

So the latencies of each worker can be told apart without any mark in the server's answers.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path


def family(root: int) -> list[int]:
    """A process and its descendants."""
    found = [root]
    for pid in found:
        for task in Path(f"/proc/{pid}/task").iterdir():
            with suppress(OSError):  # it may have ended meanwhile
                found += map(int, (task / "children").read_text().split())
    return found


def owners(root: int, server_port: int, client_ports: Iterable[int]) -> dict[int, int]:
    """The process, of `root` and its descendants, behind each connection from these ports of this machine."""
    wanted = set(client_ports)
    inodes: dict[str, int] = {}
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        local, remote = (int(address.rpartition(":")[2], 16) for address in fields[1:3])
        if local == server_port and remote in wanted:
            inodes[f"socket:[{fields[9]}]"] = remote
    found: dict[int, int] = {}
    for pid in family(root):
        for descriptor in Path(f"/proc/{pid}/fd").iterdir():
            with suppress(OSError):
                port = inodes.get(str(descriptor.readlink()))
                if port is not None:
                    found[port] = pid
    return found

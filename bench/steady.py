"""An open-loop load: so many AssumeRole requests a second, whatever becomes of them, each signed and with its own name."""

from __future__ import annotations

import asyncio
import re
import time
from collections import Counter
from dataclasses import dataclass, field
from urllib.parse import urlencode, urlsplit

from assume_role import ACCOUNT, KEY, SECRET
from daypass import sigv4

ROLE = f"arn:aws:iam::{ACCOUNT}:role/bench"
_LATE_SECONDS = 15.0
_FIELDS = re.compile(rb"<(AccessKeyId|SecretAccessKey|SessionToken)>([^<]+)<")


@dataclass(slots=True)
class Answered:
    """A credential that a client received."""

    key: str
    secret: str
    token: str
    at: float  # monotonic seconds


@dataclass(slots=True)
class Load:
    """`outcomes` counts answers by status and error code, and what went wrong otherwise."""

    url: str
    rate: float
    outcomes: Counter[str] = field(default_factory=Counter)
    credentials: list[Answered] = field(default_factory=list)
    failed_at: list[float] = field(default_factory=list)
    latencies: list[float] = field(default_factory=list)
    _idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = field(default_factory=list)
    _sent: int = 0
    _over: bool = False

    async def run(self) -> None:
        """Sends until `stop` is called, then waits for the answers."""
        tasks: set[asyncio.Task[None]] = set()
        began = time.monotonic()
        while not self._over:
            due = int((time.monotonic() - began) * self.rate)
            while self._sent < due:
                self._sent += 1
                task = asyncio.create_task(self._one(self._sent))
                tasks.add(task)
                task.add_done_callback(tasks.discard)
            await asyncio.sleep(0.005)
        if tasks:
            await asyncio.wait(tasks, timeout=_LATE_SECONDS)
        for _, writer in self._idle:
            writer.close()

    def stop(self) -> None:
        self._over = True

    @property
    def sent(self) -> int:
        return self._sent

    @property
    def answered(self) -> int:
        return self.outcomes["200"]

    async def _one(self, number: int) -> None:
        began = time.monotonic()
        try:
            outcome = await asyncio.wait_for(self._request(number), _LATE_SECONDS)
        except (OSError, TimeoutError, asyncio.IncompleteReadError) as error:
            outcome = type(error).__name__
        self.outcomes[outcome] += 1
        now = time.monotonic()
        if outcome == "200":
            self.latencies.append(now - began)
        else:
            self.failed_at.append(now)

    async def _request(self, number: int) -> str:
        reader, writer = await self._connection()
        try:
            writer.write(self._message(number))
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            length = int(head.split(b"content-length: ")[1].split(b"\r\n")[0])
            body = await reader.readexactly(length)
        except BaseException:
            writer.close()
            raise
        if b"connection: close" in head:
            writer.close()
        else:
            self._idle.append((reader, writer))
        status = head[9:12].decode()
        if status == "200":
            found = {name: value.decode() for name, value in _FIELDS.findall(body)}
            self.credentials.append(
                Answered(found[b"AccessKeyId"], found[b"SecretAccessKey"], found[b"SessionToken"], time.monotonic())
            )
            return status
        code = body.partition(b"<Code>")[2].partition(b"<")[0].decode()
        return f"{status} {code}"

    async def _connection(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        while self._idle:
            reader, writer = self._idle.pop()
            if not reader.at_eof() and not writer.is_closing():
                return reader, writer
            writer.close()
        target = urlsplit(self.url)
        return await asyncio.open_connection(target.hostname, target.port)

    def _message(self, number: int) -> bytes:
        form = {"Action": "AssumeRole", "Version": "2011-06-15", "RoleArn": ROLE, "RoleSessionName": f"n{number}"}
        body = urlencode(form).encode()
        host = urlsplit(self.url).netloc
        signing = sigv4.SigningKey(KEY, SECRET, "us-east-1", "sts")
        headers = sigv4.sign(signing, "POST", "/", "", {"host": host}, body, int(time.time() * 1000))
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        return f"POST / HTTP/1.1\r\n{lines}content-length: {len(body)}\r\n\r\n".encode() + body

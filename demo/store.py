"""A small S3-compatible store on this machine that trusts Daypass's sessions: who signs, and may they, is asked of Daypass.

It shares the installation's data, as any further process of it may, so a session is verified with no call to the server.
It holds objects in memory, and only as much of the S3 protocol as PutObject and GetObject take.
"""

from __future__ import annotations

import asyncio
import sys
from typing import Any
from xml.sax.saxutils import escape

import uvicorn

from daypass import sigv4
from daypass.config import Settings
from daypass.domain.claims import Caller, RequestFacts
from daypass.domain.errors import DaypassError, ErrorKind
from daypass.operations.authenticate import authenticate
from daypass.operations.authorize import authorize
from daypass.operations.outcome import refused, served
from daypass.ports import Call
from daypass.server.runtime import Runtime

ACTIONS = {"PUT": "s3:PutObject", "GET": "s3:GetObject"}


class Store:
    """An ASGI application over a started runtime."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._objects: dict[str, bytes] = {}

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        body = b""
        while True:
            message = await receive()
            body += message.get("body", b"")
            if not message.get("more_body"):
                break
        status, answer = await self._answer(scope, body)
        await send(
            {"type": "http.response.start", "status": status, "headers": [(b"content-length", b"%d" % len(answer))]}
        )
        await send({"type": "http.response.body", "body": answer})

    async def _answer(self, scope: dict[str, Any], body: bytes) -> tuple[int, bytes]:
        env = self._runtime.env
        action = ACTIONS.get(scope["method"], "s3:Unknown")
        facts = RequestFacts(env.ids.request(), env.clock.now(), action, scope["client"][0], "")
        caller: Caller | None = None
        try:
            signature = self._signature(scope, body)
            caller = await authenticate(env, signature, ("s3",))
            call = Call(caller, facts, env.clock.now())
            name = scope["path"].lstrip("/")
            decision = await authorize(env, call, action, f"arn:aws:s3:::{name}")
            await env.journal.commit(served(call, decision=decision, detail={"object": name}))
        except DaypassError as error:
            await refused(env, facts, caller, error, {"object": scope["path"][:512]})
            return 403, _error("AccessDenied", error.public)
        if scope["method"] == "PUT":
            self._objects[name] = body
            return 200, b""
        if name not in self._objects:
            return 404, _error("NoSuchKey", "The specified key does not exist.")
        return 200, self._objects[name]

    def _signature(self, scope: dict[str, Any], body: bytes) -> sigv4.UnverifiedSignature:
        try:
            return sigv4.parse_request(
                scope["method"], scope["raw_path"], scope["query_string"], scope["headers"], body
            )
        except sigv4.SigV4Error as error:
            raise DaypassError(ErrorKind(error.kind), error.message) from None


def _error(code: str, message: str) -> bytes:
    return f"<Error><Code>{code}</Code><Message>{escape(message)}</Message></Error>".encode()


async def main(port: int, data: str) -> None:
    runtime = Runtime(Settings.model_validate({"server": {"data": data}}))
    await runtime.start()
    try:
        config = uvicorn.Config(Store(runtime), port=port, log_level="error", lifespan="off")
        await uvicorn.Server(config).serve()
    finally:
        await runtime.stop()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), sys.argv[2]))

"""The whole server in this process, on a real database, and boto3 wired to it without a socket."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

import boto3
import pytest
from botocore.awsrequest import AWSPreparedRequest, AWSResponse
from botocore.config import Config
from tests import asgi
from tests.heavy import IN_PROCESS
from tests.patience import PATIENT_JOURNAL
from tests.postgres import postgres_server
from tests.prepared import PreparedPostgres, prepare_sqlite, prepared_postgres

from daypass.config import Settings
from daypass.operations.accounts import bootstrap, parse
from daypass.server.application import build
from daypass.server.runtime import Runtime
from daypass.wire.app import Application

__all__ = ["postgres_server", "prepared_postgres"]

T = TypeVar("T")

ALPHA, BETA = "111111111111", "222222222222"
ROOT = ("AKIAROOTROOTROOTROOT", "root-secret-root-secret-root-secret-root")
OTHER_ROOT = ("AKIAROOTOFTHEOTHER00", "othr-secret-othr-secret-othr-secret-othr")
BOOTSTRAP = f"{ROOT[0]}:{ROOT[1]}:{ALPHA},{OTHER_ROOT[0]}:{OTHER_ROOT[1]}:{BETA}"


class _Raw:
    """A response body as botocore reads it."""

    def __init__(self, body: bytes) -> None:
        self._body = body

    def stream(self, **_: Any) -> Iterator[bytes]:
        yield self._body


@dataclass
class Service:
    """The running application, called from any thread."""

    runtime: Runtime
    application: Application
    loop: asyncio.AbstractEventLoop

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(30)

    def client(self, service: str, key: tuple[str, ...] = ROOT) -> Any:
        """A boto3 client for a key id, secret and perhaps token."""
        client = boto3.client(
            service,
            endpoint_url="http://daypass.test",
            region_name="eu-central-1",
            aws_access_key_id=key[0],
            aws_secret_access_key=key[1],
            aws_session_token=key[2] if len(key) > 2 else None,
            config=Config(retries={"max_attempts": 0}),
        )
        client.meta.events.register(f"before-send.{service}", self._send)
        return client

    def _send(self, request: AWSPreparedRequest, **_: Any) -> AWSResponse:
        status, headers, body = self.run(self._call(request))
        return AWSResponse(request.url, status, headers, _Raw(body))

    async def _call(self, request: AWSPreparedRequest) -> tuple[int, dict[str, str], bytes]:
        sent = {"host": "daypass.test", **{name.lower(): value for name, value in request.headers.items()}}
        names = [(k.encode(), v if isinstance(v, bytes) else str(v).encode()) for k, v in sent.items()]
        body, url = request.body or b"", urlsplit(request.url)
        scope = asgi.scope(request.method, url.path.encode(), url.query.encode(), names)
        answer = await asgi.ask(self.application, scope, body if isinstance(body, bytes) else body.encode())
        return answer.status, {name.decode(): value.decode() for name, value in answer.headers}, answer.body


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    if request.param == "sqlite":
        yield prepare_sqlite(tmp_path / "daypass.db")
        return
    prepared: PreparedPostgres = request.getfixturevalue("prepared_postgres")
    with prepared.lent() as url:
        yield url


@pytest.fixture
def service(tmp_path: Path, database_url: str) -> Iterator[Service]:
    settings = Settings.model_validate(
        {
            "server": {"data": str(tmp_path)},
            "database": {"url": database_url},
            "journal": PATIENT_JOURNAL,
            "heavy": IN_PROCESS,
        }
    )
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()

    async def start() -> Service:
        runtime = Runtime(settings)
        await runtime.start()
        await bootstrap(runtime.env, parse(BOOTSTRAP))
        return Service(runtime, build(runtime), loop)

    started = asyncio.run_coroutine_threadsafe(start(), loop).result(30)
    yield started
    started.run(started.runtime.stop())
    loop.call_soon_threadsafe(loop.stop)
    thread.join(10)
    loop.close()


@pytest.fixture
def iam(service: Service) -> Any:
    """A client of the first account's root."""
    return service.client("iam")

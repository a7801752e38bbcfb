"""A real server in a separate process, and stock clients that talk to it."""

from __future__ import annotations

import os
import secrets
import ssl
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config
from tests.postgres import postgres_server, postgres_url
from tests.processes import bound, free_port

from daypass.client.http import Connection
from daypass.client.profiles import Profile

__all__ = ["postgres_server", "postgres_url"]

OPERATOR, TENANT = "111122223333", "444455556666"
ROOT_KEYS = {
    OPERATOR: ("AKIAROOTOPERATOR0000", "operator-secret-operator-secret-operator"),
    TENANT: ("AKIAROOTTENANT000000", "tenant-secret-tenant-secret-tenant-secret"),
}
ADMIN_KEY = ("AKIAADMINOFOPERATOR0", "admin-secret-admin-secret-admin-secret-a")
BOOTSTRAP = ",".join(
    [
        *(f"{key}:{secret}:{account}" for account, (key, secret) in ROOT_KEYS.items()),
        ":".join((*ADMIN_KEY, OPERATOR, "admin")),
    ]
)


@dataclass
class Server:
    """A running server."""

    url: str
    data: Path
    process: subprocess.Popen[bytes]
    log: Path
    tls: ssl.SSLContext | None = None  # how a client checks the server, and proves itself
    settings: dict[str, str] = field(default_factory=dict)  # what its environment has beyond ours

    def client(self, service: str, key: tuple[str, ...] = ADMIN_KEY, **more: Any) -> Any:
        """A boto3 client for a key id, secret and perhaps token."""
        return boto3.client(
            service,
            endpoint_url=self.url,
            region_name=more.pop("region_name", "eu-central-1"),
            verify=more.pop("verify", None),
            aws_access_key_id=key[0],
            aws_secret_access_key=key[1],
            aws_session_token=key[2] if len(key) > 2 else None,
            config=Config(retries={"max_attempts": 0, "mode": "standard"}, **more),
        )

    def api(
        self, method: str, path: str, *, key: tuple[str, ...] = ADMIN_KEY, body: Any = None, query: Any = None
    ) -> Any:
        """A call of the management API; the decoded answer."""
        profile = Profile(self.url, key[0], key[1], key[2] if len(key) > 2 else "", "eu-central-1")
        return Connection(profile, deadline=60.0).api(method, path, query or {}, body=body)

    def environment(self, key: tuple[str, ...] = ADMIN_KEY) -> dict[str, str]:
        """The standard variables of every AWS SDK."""
        found = {k: v for k, v in os.environ.items() if not k.startswith("AWS_")}
        found |= {"AWS_ENDPOINT_URL": self.url, "AWS_ACCESS_KEY_ID": key[0], "AWS_SECRET_ACCESS_KEY": key[1]}
        if len(key) > 2:
            found["AWS_SESSION_TOKEN"] = key[2]
        return {**found, "AWS_REGION": "eu-central-1", "AWS_EC2_METADATA_DISABLED": "true"}


def session_key(answer: dict[str, Any]) -> tuple[str, str, str]:
    """The key of an STS answer, as `Server.client` takes it."""
    credentials = answer["Credentials"]
    return credentials["AccessKeyId"], credentials["SecretAccessKey"], credentials["SessionToken"]


@contextmanager
def running(
    data: Path, *arguments: str, environment: dict[str, str] | None = None, tls: ssl.SSLContext | None = None
) -> Iterator[Server]:
    """Starts a server on a free loopback port and waits until it is ready; SIGTERM at the end.

    `{url}` and `{port}` in a value of `environment` become the server's own.
    """
    port = free_port()
    data.mkdir(parents=True, exist_ok=True)
    log = data / f"server-{secrets.token_hex(4)}.log"
    command = [sys.executable, "-m", "daypass.cli.main", "serve", "--port", str(port), "--data", str(data), *arguments]
    url = f"{'https' if tls else 'http'}://127.0.0.1:{port}"
    own = {k: v.replace("{url}", url).replace("{port}", str(port)) for k, v in (environment or {}).items()}
    settings = {**os.environ, "DAYPASS_BOOTSTRAP": BOOTSTRAP, **own}
    with log.open("wb") as output:
        process = subprocess.Popen(bound(command), env=settings, stdout=output, stderr=output)
    server = Server(url, data, process, log, tls, environment or {})
    try:
        _wait(server)
        yield server
    finally:
        process.terminate()
        process.wait(120)


def _wait(server: Server) -> None:
    for _ in range(1200):  # only a failure waits so long
        if server.process.poll() is not None:
            break
        try:
            urllib.request.urlopen(f"{server.url}/readyz", timeout=2, context=server.tls).close()
            return
        except OSError:
            time.sleep(0.1)
    pytest.fail(f"the server did not become ready:\n{server.log.read_text()[-3000:]}")


@pytest.fixture(scope="session", params=["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One server on each database for the tests of this process."""
    data = tmp_path_factory.mktemp("daypass")
    if request.param == "sqlite":
        with running(data) as started:
            yield started
        return
    databases = request.getfixturevalue("postgres_server")
    name = databases.create_database()
    with running(data, environment={"DAYPASS_DATABASE__URL": databases.url(name)}) as started:
        yield started
    databases.drop_database(name)

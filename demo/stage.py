"""The stage of every demo: a separate server, stock clients, and the command line, with readable progress.

A demo keeps its data in a temporary directory and leaves nothing behind.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import socket
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

for _name in [name for name in os.environ if name.startswith(("AWS_", "DAYPASS_"))]:
    del os.environ[_name]  # of the reader's own installation, which a demo must not reach

DAYPASS = [sys.executable, "-m", "daypass.cli.main"]
SHOWN = "daypass" if shutil.which("daypass") else os.path.relpath(Path(sys.executable).with_name("daypass"))
"""The command as a person can type it here."""


def say(text: str) -> None:
    print(f"\n\033[1m{text}\033[0m" if sys.stdout.isatty() else f"\n{text}", flush=True)


def note(text: str) -> None:
    print(f"   {text}", flush=True)


def new_key() -> tuple[str, str]:
    return "AKIA" + "".join(secrets.choice("ABCDEFGHIJKLMNOPQRSTUVWXYZ234567") for _ in range(16)), secrets.token_hex(
        20
    )


@contextmanager
def server(
    data: Path, keys: dict[str, tuple[str, str]], *arguments: str, ca: Path | None = None, **settings: str
) -> Iterator[str]:
    """A running server; yields its URL. Stopped by SIGTERM, which drains.

    `ca`: who vouches for it, if it serves HTTPS. `settings`: variables of its environment, in which {url} is its own, and
    {local} the same with a host name.
    """
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    bootstrap = ",".join(f"{key}:{secret}:{account}" for account, (key, secret) in keys.items())
    url = f"{'https' if ca else 'http'}://127.0.0.1:{port}"
    local = url.replace("127.0.0.1", "localhost")
    own = {name: value.format(url=url, local=local) for name, value in settings.items()}
    environment = {**os.environ, "DAYPASS_BOOTSTRAP": bootstrap, "DAYPASS_LOG__LEVEL": "error", **own}
    command = [*DAYPASS, "serve", "--port", str(port), "--data", str(data), *arguments]
    process = subprocess.Popen(command, env=environment)
    tls = ssl.create_default_context(cafile=str(ca)) if ca else None
    try:
        for _ in range(3000):  # five minutes, for a busy machine; a server that ended is noticed at once
            if process.poll() is not None:
                sys.exit(f"the server ended with status {process.returncode}")
            try:
                urllib.request.urlopen(f"{url}/readyz", timeout=5, context=tls).close()
                break
            except (urllib.error.URLError, OSError):
                time.sleep(0.1)
        else:
            sys.exit("the server did not become ready")
        yield url
    finally:
        process.terminate()
        process.wait(60)


def client(service: str, url: str, key: tuple[str, ...], ca: Path | None = None) -> Any:
    return boto3.client(
        service,
        endpoint_url=url,
        region_name="eu-central-1",
        verify=str(ca) if ca else None,
        aws_access_key_id=key[0],
        aws_secret_access_key=key[1],
        aws_session_token=key[2] if len(key) > 2 else None,
        config=Config(retries={"max_attempts": 1}),
    )


def session_key(answer: dict[str, Any]) -> tuple[str, str, str]:
    credentials = answer["Credentials"]
    return credentials["AccessKeyId"], credentials["SecretAccessKey"], credentials["SessionToken"]


def document(**statement: Any) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", **statement}]})


def cli(home: Path, *arguments: str, stdin: str = "", quiet: bool = False, status: int = 0) -> str:
    """Runs the command line as a person would, and prints what it prints. It must end with `status`."""
    print(f"   $ {SHOWN} {' '.join(a if len(a) < 60 else a[:24] + '…' for a in arguments)}", flush=True)
    environment = {**os.environ, "DAYPASS_HOME": str(home)}
    done = subprocess.run(
        [*DAYPASS, *arguments], env=environment, input=stdin, capture_output=True, text=True, check=False, timeout=60
    )
    shown = (done.stdout + done.stderr).strip().splitlines()
    if not quiet:
        print("\n".join(f"     {line[:240]}" for line in shown), flush=True)
    if done.returncode != status:
        sys.exit(f"daypass {arguments[0]} ended with status {done.returncode}: {done.stderr}")
    return done.stdout


def refusal(home: Path, operation: str) -> dict[str, Any]:
    """The newest refusal of this operation, as it is on record: the event."""
    query = ("--operation", operation, "--error", "access_denied", "--limit", "1", "--output", "json")
    event: dict[str, Any] = json.loads(cli(home, "audit", "search", *query, quiet=True))["event"]
    return event


def refused(call: Callable[[], Any], code: str) -> ClientError:
    """The call must be refused with this code; anything else ends the demo."""
    try:
        call()
    except ClientError as error:
        if error.response["Error"]["Code"] != code:
            sys.exit(f"refused with {error.response['Error']}, expected {code}")
        return error
    sys.exit(f"the call was allowed, expected {code}")


def as_workload(script: str, environment: Mapping[str, str]) -> dict[str, Any]:
    """Runs Python code in a process that has nothing but the standard environment of AWS SDKs; its JSON answer."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    settings = {**kept, "AWS_EC2_METADATA_DISABLED": "true", "AWS_CONFIG_FILE": os.devnull, **environment}
    ran = subprocess.run(
        [sys.executable, "-c", script], env=settings, capture_output=True, text=True, check=False, timeout=60
    )
    if ran.returncode:
        sys.exit(f"the workload failed: {ran.stderr}")
    answer: dict[str, Any] = json.loads(ran.stdout)
    return answer

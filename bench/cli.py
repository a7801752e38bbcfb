"""How long the commands take that scripts and SDKs run all the time, beside `aws --version` in the same run.

    make bench BENCH=cli

Each figure is the median over whole processes, started in turn, so that all of them meet the same load: the wall time,
and the processor time, which other programs on the machine change little.
`exec overhead` is `daypass exec ROLE -- true` less `true` alone. The cached session was checked within the last five
seconds, except where the line says `checked`: there the server is asked, on the loopback, by each process.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import asdict
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import alone  # noqa: F401  # before all that reads the environment
from daypass.client.credentials import AssumeRole, Credentials
from daypass.client.profiles import Profile, save
from daypass.client.provider import CredentialProvider

ROLE = "111122223333/deployer"
KEY_ID = "AKIAEXAMPLE000000000"
_GOALS = {"daypass --version": 60.0, "credential-process, cached": 90.0, "exec overhead": 100.0}  # ms


class _Sts(BaseHTTPRequestHandler):
    """Answers each GetCallerIdentity: what is measured is the client."""

    def do_POST(self) -> None:  # the library calls it so
        self.rfile.read(int(self.headers.get("content-length", "0")))
        body = b"<R><GetCallerIdentityResult><Account>1</Account></GetCallerIdentityResult></R>"
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Nothing."""


def _cache(home: Path, endpoint: str) -> Path:
    """A profile, and a session of ROLE in the cache; the file of the latter."""
    environ = {"DAYPASS_HOME": str(home)}
    profile = Profile(endpoint, KEY_ID, "secret")
    save("default", profile, environ)
    provider = CredentialProvider(profile, AssumeRole(ROLE, "bench"), cache=home / "cache")
    return provider.file


def _write(path: Path, endpoint: str, age: float) -> None:
    """A session that the server accepted `age` seconds ago."""
    now = time.time()
    held = Credentials(
        access_key_id="ASIAEXAMPLE000000000",
        secret_access_key="secret",
        session_token="token",
        expiration=now + 3600,
        issued_at=now,
        checked_at=now - age,
        role=ROLE,
        source_key=KEY_ID,
        endpoint=endpoint,
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(asdict(held)))


def _milliseconds(command: list[str], environment: dict[str, str]) -> tuple[float, float]:
    """Wall and processor time of one process."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    began = time.perf_counter()
    subprocess.run(command, env=environment, stdout=subprocess.DEVNULL, check=True)
    wall = time.perf_counter() - began
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return wall * 1000, used * 1000


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    rounds = parser.parse_args().rounds
    binaries = Path(sys.executable).parent
    daypass, aws_cli = str(binaries / "daypass"), str(binaries / "aws")
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Sts)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with tempfile.TemporaryDirectory() as folder:
        endpoint = f"http://127.0.0.1:{server.server_address[1]}"
        cache = _cache(Path(folder), endpoint)
        environment = {**os.environ, "DAYPASS_HOME": folder}
        process = [daypass, "credential-process", ROLE, "--session-name", "bench"]
        execute = [daypass, "exec", "--session-name", "bench", ROLE, "--", "true"]

        def nothing() -> None:
            return None

        cases: dict[str, tuple[list[str], Callable[[], None]]] = {
            "python -c pass": ([sys.executable, "-c", "pass"], nothing),
            "true": ([shutil.which("true") or "true"], nothing),
            "daypass --version": ([daypass, "--version"], nothing),
            "credential-process, cached": (process, lambda: _write(cache, endpoint, 0)),
            "credential-process, checked": (process, lambda: _write(cache, endpoint, 60)),
            "exec": (execute, lambda: _write(cache, endpoint, 0)),
            "aws --version": ([aws_cli, "--version"], nothing),
        }
        times: dict[str, list[tuple[float, float]]] = {name: [] for name in cases}
        for _ in range(rounds):
            for name, (command, prepare) in cases.items():
                prepare()
                times[name].append(_milliseconds(command, environment))
    found = {name: [statistics.median(each) for each in zip(*pairs, strict=True)] for name, pairs in times.items()}
    found["exec overhead"] = [a - b for a, b in zip(found["exec"], found["true"], strict=True)]
    base, aws = found["python -c pass"], found["aws --version"]
    print(f"{'':30}{'wall':>10}{'processor':>14}   of python   of aws --version")
    for name, (wall, used) in found.items():
        goal = f"   goal: wall < {_GOALS[name]:.0f} ms" if name in _GOALS else ""
        print(f"{name:30}{wall:7.1f} ms{used:11.1f} ms{used / base[1]:12.2f}{used / aws[1]:12.2f}{goal}")


if __name__ == "__main__":
    main()

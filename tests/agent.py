"""`daypass agent` as a process of its own, and requests to it."""

from __future__ import annotations

import http.client
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.processes import bound

from daypass.client.profiles import Profile, save

DAYPASS = [sys.executable, "-m", "daypass.cli.main"]


@dataclass
class RunningAgent:
    """A running agent. `addresses`: by listener."""

    folder: Path
    config: Path
    process: subprocess.Popen[str]
    environment: dict[str, str]
    addresses: dict[str, str] = field(default_factory=dict)

    def get(self, listener: str, path: str, method: str = "GET", **headers: str) -> tuple[int, Any]:
        """Status and body, decoded if it is JSON. `_` in the names of headers stands for `-`."""
        host = self.addresses[listener].removeprefix("http://")
        connection = http.client.HTTPConnection(host, timeout=30)
        try:
            connection.request(method, path, headers={name.replace("_", "-"): value for name, value in headers.items()})
            with connection.getresponse() as response:
                body = response.read().decode()
                is_json = response.headers["content-type"] == "application/json"
                return response.status, json.loads(body) if is_json else body
        finally:
            connection.close()

    def credentials(self, name: str = "app") -> dict[str, str]:
        token = (self.folder / f"{name}.token").read_text()
        status, body = self.get("container", f"/roles/{name}", authorization=token)
        assert status == 200, body
        return dict(body)

    def metrics(self) -> dict[str, float]:
        lines = self.get("container", "/metrics")[1].splitlines()
        return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines)}

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [*DAYPASS, "agent", *arguments, "--config", str(self.config)]
        return subprocess.run(command, env=self.environment, capture_output=True, text=True, timeout=60, check=False)

    def until(self, reached: Callable[[], bool]) -> None:
        for _ in range(600):  # only a failure waits so long
            if reached():
                return
            time.sleep(0.05)
        raise AssertionError(self.run("status", "--output", "json").stdout)


def configured(folder: Path, text: str, endpoint: str, key: tuple[str, str]) -> Path:
    """A configuration and the profile that it uses."""
    save("default", Profile(endpoint, *key), {"DAYPASS_HOME": str(folder / "home")})
    config = folder / "agent.toml"
    config.write_text(f'listen = "127.0.0.1:0"\nstate = "{folder}/state"\n{text}')
    return config


@contextmanager
def running_agent(folder: Path, config: Path) -> Iterator[RunningAgent]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    environment = {**kept, "DAYPASS_HOME": str(folder / "home"), "PYTHONUNBUFFERED": "1"}
    command = bound([*DAYPASS, "agent", "run", "--config", str(config)])
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as process:
        agent = RunningAgent(folder, config, process, environment)
        try:
            assert process.stderr is not None
            for line in process.stderr:
                _, serving, address = line.strip().partition("serving ")
                assert serving, line
                agent.addresses.update([address.split(" ", 1)])
                if address.startswith("socket"):
                    break
            yield agent
        finally:
            process.terminate()

"""The agent's answer from memory, beside the smallest answer of http.server, in turns on new connections.

    python bench/local_agent.py --requests 3000

The agent is a process of its own with a session of a real server; SDKs ask it so, one connection each. Only figures of one run can be compared. On
a busy machine, `chrt -r 10` before the command keeps other programs out of the slowest answers.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from assume_role import ACCOUNT, KEY, SECRET, daypass, iam_client
from daypass.client.profiles import Profile, save

ROLE = f"arn:aws:iam::{ACCOUNT}:role/bench-agent"
BARE = (
    "from http.server import *\n"
    "class H(BaseHTTPRequestHandler):\n"
    "    def do_GET(self):\n"
    "        self.send_response(200); self.send_header('content-length', '900'); self.end_headers(); self.wfile.write(b'x' * 900)\n"
    "    def log_message(self, *_): pass\n"
    "s = ThreadingHTTPServer(('127.0.0.1', 0), H); print(s.server_port, flush=True); s.serve_forever()\n"
)


def exchange(port: int, request: bytes) -> float:
    """Milliseconds of one request on a connection of its own."""
    began = time.perf_counter()
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(request)
        answer = b""
        while part := connection.recv(65_536):
            answer += part
    assert answer.startswith((b"HTTP/1.1 200", b"HTTP/1.0 200")), answer[:200]
    return (time.perf_counter() - began) * 1000


def percentile(values: list[float], share: float) -> float:
    return sorted(values)[int(share * (len(values) - 1))]


def cpu_seconds(process: subprocess.Popen[str]) -> float:
    fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=3000)
    requests = parser.parse_args().requests
    with tempfile.TemporaryDirectory() as name, daypass(Path(name) / "data", {}) as url:
        folder = Path(name)
        trust = {"Effect": "Allow", "Principal": {"AWS": ACCOUNT}, "Action": "sts:AssumeRole"}
        document = json.dumps({"Version": "2012-10-17", "Statement": [trust]})
        iam_client(url).create_role(RoleName="bench-agent", AssumeRolePolicyDocument=document)
        save("default", Profile(url, KEY, SECRET), {"DAYPASS_HOME": name})
        config = folder / "agent.toml"
        config.write_text(
            f'listen = "127.0.0.1:0"\nstate = "{name}/state"\n[roles.app]\narn = "{ROLE}"\ntoken_file = "{name}/token"\n'
        )
        command = [sys.executable, "-m", "daypass.cli.main", "agent", "run", "--config", str(config)]
        environment = {**os.environ, "DAYPASS_HOME": name}
        with (
            subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as agent,
            subprocess.Popen([sys.executable, "-c", BARE], stdout=subprocess.PIPE, text=True) as bare,
        ):
            assert agent.stderr is not None
            assert bare.stdout is not None
            port = int(agent.stderr.readline().rpartition(":")[2])
            agent.stderr.readline()
            token = (folder / "token").read_text()
            head = f"GET /roles/app HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\nauthorization: {token}\r\n\r\n".encode()
            sides = {
                "agent": (agent, port, head),
                "http.server": (bare, int(bare.stdout.readline()), b"GET / HTTP/1.0\r\n\r\n"),
            }
            times: dict[str, list[float]] = {side: [] for side in sides}
            for _, at, request in sides.values():
                for _ in range(50):
                    exchange(at, request)  # warm
            before = {side: cpu_seconds(process) for side, (process, _, _) in sides.items()}
            for _ in range(requests):
                for side, (_, at, request) in sides.items():
                    times[side].append(exchange(at, request))
            for side, (process, _, _) in sides.items():
                cpu = (cpu_seconds(process) - before[side]) / requests * 1e6
                found = times[side]
                print(
                    f"{side:<12} p50 {statistics.median(found):6.2f} ms   p99 {percentile(found, 0.99):6.2f} ms"
                    f"   CPU {cpu:5.0f} µs"
                )
                process.send_signal(signal.SIGTERM)
            ratio = percentile(times["agent"], 0.99) / percentile(times["http.server"], 0.99)
            print(f"p99 of the agent / p99 of http.server: {ratio:.2f}")


if __name__ == "__main__":
    main()

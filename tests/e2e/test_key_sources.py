"""A server whose key-encryption key never leaves an HSM or Vault: start, restart, another source, and failures at start."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.e2e.conftest import BOOTSTRAP, running, session_key
from tests.e2e.test_peers import code
from tests.e2e.test_running import make_role
from tests.key_sources import TOKEN, SoftToken, Transit, soft_token, transit

pytestmark = pytest.mark.slow


@pytest.fixture
def hsm(tmp_path: Path) -> SoftToken:
    directory = tmp_path / "hsm"
    directory.mkdir()
    return soft_token(directory)


@pytest.fixture
def vault() -> Iterator[Transit]:
    with transit() as started:
        yield started


@pytest.fixture
def token_file(tmp_path: Path) -> Path:
    file = tmp_path / "vault-token"
    file.write_text(TOKEN)
    return file


def of_source(uri: str, **more: str) -> dict[str, str]:
    return {"DAYPASS_KEYS__ENCRYPTION_KEY_SOURCE": uri, **more}


def cli(environment: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "daypass.cli.main", *arguments]
    return subprocess.run(
        command, env={**os.environ, **environment}, capture_output=True, text=True, timeout=120, check=False
    )


def start(data: Path, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Runs `serve` until it ends by itself."""
    return cli({"DAYPASS_BOOTSTRAP": BOOTSTRAP, **environment}, "serve", "--port", "0", "--data", str(data))


def test_server_with_an_hsm_serves_again_after_a_restart_and_stores_no_key(hsm: SoftToken, tmp_path: Path) -> None:
    data = tmp_path / "data"
    environment = {**hsm.environment, **of_source(hsm.uri())}
    with running(data, "--workers", "2", environment=environment) as server:
        role = make_role(server)
        session = session_key(server.client("sts").assume_role(RoleArn=role, RoleSessionName="job"))
        for _ in range(10):  # either worker
            assert code(server.client("sts", session).get_caller_identity) == ""
        listed = cli(environment, "server-keys", "rotate", "--data", str(data))
        assert listed.returncode == 0, listed.stderr
        after = session_key(server.client("sts").assume_role(RoleArn=role, RoleSessionName="after"))
        assert code(server.client("sts", after).get_caller_identity) == ""
    assert not (data / "master.key").exists()
    with running(data, environment=environment) as server:
        for key in (session, after):
            assert code(server.client("sts", key).get_caller_identity) == ""


def test_key_encryption_key_moves_from_a_file_to_an_hsm_and_to_vault_while_sessions_live(
    hsm: SoftToken, vault: Transit, token_file: Path, tmp_path: Path
) -> None:
    data, in_vault = tmp_path / "data", vault.uri(token_file)
    file_too = {**hsm.environment, "DAYPASS_KEYS__FORMER_ENCRYPTION_KEY_FILES": str(data / "master.key")}
    with running(data) as server:
        role = make_role(server)
        session = session_key(server.client("sts").assume_role(RoleArn=role, RoleSessionName="job"))
    with running(data, environment={**file_too, **of_source(hsm.uri())}) as server:
        assert code(server.client("sts", session).get_caller_identity) == ""
        moved = cli({**file_too, **of_source(hsm.uri())}, "server-keys", "rewrap", "--yes", "--data", str(data))
        assert moved.returncode == 0, moved.stderr
        assert code(server.client("sts", session).get_caller_identity) == ""
    (data / "master.key").unlink()
    with running(data, environment={**hsm.environment, **of_source(hsm.uri())}) as server:
        assert code(server.client("sts", session).get_caller_identity) == ""
        accepted = {**hsm.environment, **of_source(hsm.uri())}
        moved = cli(accepted, "server-keys", "rewrap", in_vault, "--yes", "--data", str(data))
        assert moved.returncode == 0, moved.stderr
        assert "Now make it" in moved.stdout
    with running(data, environment=of_source(in_vault)) as server:
        assert code(server.client("sts", session).get_caller_identity) == ""
    assert cli(of_source(in_vault), "audit", "verify", "--data", str(data)).returncode == 0


def test_start_waits_for_a_sealed_vault(vault: Transit, token_file: Path, tmp_path: Path) -> None:
    vault.sealed = True

    over = threading.Event()

    def unseal() -> None:
        while len(vault.calls) < 2 and not over.wait(0.1):
            pass
        vault.sealed = False

    opener = threading.Thread(target=unseal)
    opener.start()
    environment = of_source(vault.uri(token_file), DAYPASS_KEYS__WAIT_SECONDS="600")
    try:
        with running(tmp_path / "data", environment=environment) as server:
            log = server.log.read_text()
    finally:
        over.set()
        opener.join()
    assert "unseal it" in log
    assert log.count("trying again for 600 s (keys.wait_seconds)") == 1


def test_start_without_its_key_source_ends_with_the_cause_and_no_secret(
    hsm: SoftToken, vault: Transit, token_file: Path, tmp_path: Path
) -> None:
    wrong = tmp_path / "wrong-pin"
    wrong.write_text("11112222")
    refused = start(tmp_path / "a", {**hsm.environment, **of_source(hsm.uri(pin_file=wrong))})
    assert refused.returncode == 5
    assert "the PIN is wrong" in refused.stderr
    assert "11112222" not in refused.stderr
    vault.sealed = True
    environment = of_source(vault.uri(token_file), DAYPASS_KEYS__WAIT_SECONDS="0")
    refused = start(tmp_path / "b", environment)
    assert refused.returncode == 5
    assert "unseal it" in refused.stderr
    assert TOKEN not in refused.stderr
    assert "Traceback" not in refused.stderr


def test_start_with_another_key_of_the_source_names_what_to_check(
    vault: Transit, token_file: Path, tmp_path: Path
) -> None:
    data = tmp_path / "data"
    with running(data, environment=of_source(vault.uri(token_file))):
        pass
    vault.answer("/v1/transit/encrypt/other", TOKEN, {"plaintext": ""})
    refused = start(data, of_source(vault.uri(token_file, "other")))
    assert refused.returncode == 5
    assert "check the name of the key" in refused.stderr


def test_running_server_serves_while_its_key_source_is_away(vault: Transit, token_file: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    environment = of_source(vault.uri(token_file))
    with running(data, environment=environment) as server:
        role = make_role(server)
        vault.sealed = True
        for number in range(5):
            session = session_key(server.client("sts").assume_role(RoleArn=role, RoleSessionName=f"n-{number}"))
            assert code(server.client("sts", session).get_caller_identity) == ""

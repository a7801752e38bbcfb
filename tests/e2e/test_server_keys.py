"""The ring keys of a running server: rotation without a refusal, an emergency, another key-encryption key, no core dumps."""

from __future__ import annotations

import base64
import contextlib
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tests.e2e.conftest import ADMIN_KEY, OPERATOR, running, session_key
from tests.e2e.test_peers import code
from tests.e2e.test_running import cli, make_role, within
from tests.unit.crypto.rings import FixedClock

from daypass.cli.installation import settings_of
from daypass.client.profiles import Profile
from daypass.client.verifier import InvalidToken, Verifier, VerifierSettings
from daypass.client.verifier.verify import SESSION
from daypass.crypto.key_encryption import KeyEncryptionKey
from daypass.crypto.keys import KeyRings
from daypass.crypto.signing import RingSigner
from daypass.ports.directory import StoredKey
from daypass.server.ring_keys import list_keys

pytestmark = pytest.mark.slow


def test_a61_rotation_by_command_refuses_nobody_and_an_emergency_ends_every_session(tmp_path: Path) -> None:
    with running(tmp_path, "--workers", "2") as server:
        role = make_role(server)
        sts = server.client("sts")
        before = session_key(sts.assume_role(RoleArn=role, RoleSessionName="before"))
        ran = cli("server-keys", "rotate", "--data", str(tmp_path))
        assert ran.returncode == 0, ran.stderr
        assert "Made sealing key" in ran.stdout
        for number in range(20):  # by either process, sealed by the old key or the new one
            made = session_key(sts.assume_role(RoleArn=role, RoleSessionName=f"n-{number}"))
            assert code(server.client("sts", made).get_caller_identity) == ""
            assert code(server.client("sts", before).get_caller_identity) == ""
        listed = cli("server-keys", "ls", "--data", str(tmp_path)).stdout
        assert listed.count("sealing") == 2
        ran = cli("server-keys", "rotate", "--emergency", "--yes", "--data", str(tmp_path))
        assert ran.returncode == 0, ran.stderr
        for key in (before, made):

            def refused(key: tuple[str, str, str] = key) -> bool:
                """By both processes: each connection may come to either, and each learns of the rotation by itself."""
                answers = {code(server.client("sts", key).get_caller_identity) for _ in range(12)}
                return answers <= {"ExpiredToken", "InvalidClientTokenId"}

            within(60, refused)
            assert refused()
        after = session_key(sts.assume_role(RoleArn=role, RoleSessionName="after"))
        within(20, lambda: code(server.client("sts", after).get_caller_identity) == "")
        assert "ended" in cli("server-keys", "ls", "--data", str(tmp_path)).stdout
        assert cli("audit", "verify", "--data", str(tmp_path)).returncode == 0


def stolen_signer(data: Path) -> RingSigner:
    """A thief's copy of the ring keys and the key-encryption key."""

    async def fetch() -> list[StoredKey]:
        return []

    rings = KeyRings(fetch, KeyEncryptionKey.from_file(data / "master.key"))
    rings.adopt(list_keys(settings_of(None, data)))
    return RingSigner(rings, FixedClock(time.time_ns() // 1_000_000), ("ES256",))


def test_token_forged_with_a_leaked_key_is_refused_by_a_verifier_after_an_emergency(tmp_path: Path) -> None:
    """A verifier caches keys for an hour, and whoever has the old key can write any hops into a token."""
    with running(tmp_path, environment={"DAYPASS_SERVER__PUBLIC_URL": "{url}"}) as server:
        profile = Profile(server.url, *ADMIN_KEY, "", "eu-central-1")
        verifier = Verifier(VerifierSettings(server.url, "https://api.example", profile)).start()
        try:
            within(20, lambda: verifier.age() < 5)
            now = int(time.time())
            hops = [[OPERATOR, (now + 3600) * 1000, "0" * 16, 10**9, ""]]
            claims = {
                "iss": server.url,
                "aud": "https://api.example",
                "sub": "AIDAFORGED",
                "iat": now,
                "exp": now + 900,
            }
            forged = stolen_signer(tmp_path).sign({**claims, SESSION: {"account": OPERATOR, "hops": hops}}, "ES256")
            assert verifier.verify(forged).subject == "AIDAFORGED"
            ran = cli("server-keys", "rotate", "--emergency", "--yes", "--data", str(tmp_path))
            assert ran.returncode == 0, ran.stderr

            def refused() -> bool:
                with contextlib.suppress(InvalidToken):
                    verifier.verify(forged)
                    return False
                return True

            within(10, refused)
        finally:
            verifier.stop()


def test_key_encryption_key_is_replaced_while_the_server_runs(tmp_path: Path) -> None:
    new = tmp_path / "new.key"
    new.write_text(base64.b64encode(b"n" * 32).decode())
    new.chmod(0o600)
    data = tmp_path / "data"
    with running(data, environment={"DAYPASS_KEYS__FORMER_ENCRYPTION_KEY_FILES": str(new)}) as server:
        role = make_role(server)
        session = session_key(server.client("sts").assume_role(RoleArn=role, RoleSessionName="job"))
        ran = cli("server-keys", "rewrap", str(new), "--yes", "--data", str(data))
        assert ran.returncode == 0, ran.stderr
        assert code(server.client("sts", session).get_caller_identity) == ""
    (data / "master.key").unlink()
    with running(data, environment={"DAYPASS_KEYS__ENCRYPTION_KEY_FILE": str(new)}) as server:
        assert code(server.client("sts", session).get_caller_identity) == ""


def processes_of(parent: int) -> list[int]:
    """The process and all that come from it."""
    found = [parent]
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        with contextlib.suppress(OSError):  # it may end meanwhile
            if f"PPid:\t{parent}\n" in (entry / "status").read_text():
                found += processes_of(int(entry.name))
    return found


def test_core_dumps_are_disabled(tmp_path: Path) -> None:
    with running(tmp_path, "--workers", "2") as server:
        document = '{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"*","Resource":"*"}]}'
        iam = server.client("iam", read_timeout=60)
        iam.simulate_custom_policy(PolicyInputList=[document], ActionNames=["s3:GetObject"])  # starts a heavy process
        found = processes_of(server.process.pid)
        assert len(found) >= 4
        for pid in found:
            try:
                limits = Path(f"/proc/{pid}/limits").read_text()
            except OSError:  # it has ended
                continue
            core = next(line for line in limits.splitlines() if line.startswith("Max core"))
            assert core.split()[4:6] == ["0", "0"], pid
    program = (
        "import ctypes; from daypass.server.core_dumps import disable_core_dumps; disable_core_dumps();"
        "print(ctypes.CDLL(None).prctl(3, 0, 0, 0, 0))"  # PR_GET_DUMPABLE
    )
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout == "0\n"


def test_workers_and_resource_tracker_do_not_inherit_the_settings(tmp_path: Path) -> None:
    key = base64.b64encode(b"k" * 32).decode()
    with running(tmp_path, "--workers", "2", environment={"DAYPASS_KEYS__ENCRYPTION_KEY": key}) as server:
        assert code(server.client("sts").get_caller_identity) == ""
        commands, tracked = [], False
        for pid in processes_of(server.process.pid):
            command = Path(f"/proc/{pid}/cmdline").read_bytes()
            if pid == server.process.pid or not command:
                continue
            commands.append(command)
            tracked = tracked or b"resource_tracker" in command
            with contextlib.suppress(PermissionError):  # the workers can be read by the superuser only
                assert b"DAYPASS_" not in Path(f"/proc/{pid}/environ").read_bytes(), command
        assert tracked
        assert len(commands) >= 3


def test_process_that_aborts_leaves_no_core_file(tmp_path: Path) -> None:
    program = """
import os, resource
from daypass.server.core_dumps import disable_core_dumps
hard = resource.getrlimit(resource.RLIMIT_CORE)[1]
resource.setrlimit(resource.RLIMIT_CORE, (hard, hard))
child = os.fork()
if not child:
    disable_core_dumps()
    os.abort()
status = os.waitpid(child, 0)[1]
print(os.WTERMSIG(status), os.WCOREDUMP(status))
"""
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert ran.stdout == f"{signal.SIGABRT.value} False\n"
    assert list(tmp_path.iterdir()) == []

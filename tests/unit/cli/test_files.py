"""Files that users name: whatever is in one, a fault is one line that names it, and nothing is sent."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from tests.unit.cli.conftest import Run
from tests.unit.client.servers import Script, as_json

pytestmark = pytest.mark.usefixtures("key")

Serve = Callable[..., Script]

TEXT = [
    "anchor create a FILE",
    "assume r --policy FILE",
    "iam CreatePolicy PolicyName=p PolicyDocument=@FILE",
    "client create c jwks=@FILE",
    "lint FILE --fail-on never",
    "login --web-identity-token FILE --role arn:aws:iam::111122223333:role/r --endpoint http://127.0.0.1:8700",
    "notify set n slack https://hooks.example --secret-file FILE",
    "policy create p FILE",
    "provider set p jwks_bearer=@FILE",
    "request create arn:aws:iam::111122223333:role/r --reason why --policy FILE",
    "resource-server put r --scope s=FILE",
    "role create r --trust FILE",
    "rule diff FILE",
    "simulate --action a:b --policy FILE",
    "stream create --push https://a.example --header-file FILE",
    "trust test r --token FILE",
    "user put u p FILE",
]
JSON = ["client create c jwks=@FILE", "policy create p FILE", "resource-server put r --scope s=FILE", "rule diff FILE"]
NO_TEXT = {"binary": b"\xff\xfe\x00", "huge": b" " * (1024 * 1024 + 1)}
NO_JSON = {"empty": b"", "words": b"no JSON", "deep": b"[" * 100_000, "null byte": b'{"a": "\x00"}'}


def refused(cli: Run, serve: Serve, command: str, path: Path) -> str:
    """The command's message about this file."""
    server = serve(as_json({"settings": {}, "approval_rules": []}))
    ran = cli(*(word.replace("FILE", str(path)) for word in command.split()))
    assert (ran.status in (2, 6), ran.out) == (True, ""), ran.err
    assert [request.method for request in server.sent if request.method not in ("GET", "HEAD")] == []
    (line,) = ran.err.splitlines()
    assert line.startswith("daypass: ")
    assert "internal error" not in line
    return line


@pytest.mark.parametrize("command", TEXT)
@pytest.mark.parametrize("content", NO_TEXT.values(), ids=NO_TEXT)
def test_file_that_is_no_text_or_too_large_is_refused(
    cli: Run, serve: Serve, tmp_path: Path, command: str, content: bytes
) -> None:
    path = tmp_path / "given"
    path.write_bytes(content)
    assert str(path) in refused(cli, serve, command, path)


@pytest.mark.parametrize("command", TEXT)
@pytest.mark.parametrize("kind", ["missing", "directory"])
def test_file_that_is_missing_or_a_directory_is_refused(
    cli: Run, serve: Serve, tmp_path: Path, command: str, kind: str
) -> None:
    path = tmp_path / "given"
    if kind == "directory":
        path.mkdir()
    assert str(path) in refused(cli, serve, command, path)


@pytest.mark.parametrize("command", JSON)
@pytest.mark.parametrize("content", NO_JSON.values(), ids=NO_JSON)
def test_file_that_is_not_json_is_refused(cli: Run, serve: Serve, tmp_path: Path, command: str, content: bytes) -> None:
    path = tmp_path / "given"
    path.write_bytes(content)
    assert "JSON" in (line := refused(cli, serve, command, path)) or "nested" in line

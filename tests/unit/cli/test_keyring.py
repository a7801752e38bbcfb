"""Secrets in the system keyring: where there is one, where there is none, and where it refuses."""

from __future__ import annotations

import io
import json
import sys
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.unit.cli.test_main import IDENTITY
from tests.unit.client.servers import Script, error, issued

from daypass.client.profiles import LocalStateError, Profile, load_all, save
from daypass.client.usable import resolve

URL = "http://127.0.0.1:8700"
ROLE = "111122223333/r"


class Keyring(types.ModuleType):
    """Stands for the package: as much of it as is used."""

    def __init__(self, priority: float = 5.0) -> None:
        super().__init__("keyring")
        self.held: dict[tuple[str, str], str] = {}
        self.read = 0
        self.locked = False
        self.backend = types.SimpleNamespace(name="Fake Service", priority=priority)

    def get_keyring(self) -> Any:
        return self.backend

    def _open(self) -> None:
        if self.locked:
            raise RuntimeError("the collection is\x1b[31m locked")

    def set_password(self, service: str, entry: str, secret: str) -> None:
        self._open()
        self.held[service, entry] = secret

    def get_password(self, service: str, entry: str) -> str | None:
        self._open()
        self.read += 1
        return self.held.get((service, entry))

    def delete_password(self, service: str, entry: str) -> None:
        self._open()
        del self.held[service, entry]


@pytest.fixture
def system(monkeypatch: pytest.MonkeyPatch) -> Iterator[Keyring]:
    made = Keyring()
    monkeypatch.setitem(sys.modules, "keyring", made)
    return made


@pytest.fixture
def none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "keyring", None)  # importing it fails


@pytest.fixture
def login(cli: Callable[..., Any], serve: Callable[..., Script], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    def call(*more: str, secret: str = "typed-secret") -> Any:
        serve(IDENTITY)
        monkeypatch.setattr("sys.stdin", io.StringIO(f"{secret}\n"))
        return cli("login", "--endpoint", URL, "--access-key-id", "AKIAX", "--secret-stdin", *more)

    return call


def _file(tmp_path: Path) -> str:
    return (tmp_path / "home" / "profiles.json").read_text()


def test_login_puts_secret_and_token_in_the_keyring_and_neither_in_the_file(login, system, tmp_path) -> None:
    ran = login("--session-token", "typed-token")
    assert ran.status == 0, ran.err
    assert ran.out.splitlines()[1] == "Its secret is in the system keyring (Fake Service)."
    assert "typed-" not in _file(tmp_path)
    ((service, entry),) = system.held
    assert (service, json.loads(system.held[service, entry])) == ("daypass", ["typed-secret", "typed-token"])
    found = resolve()
    assert (found.secret_access_key, found.session_token) == ("typed-secret", "typed-token")


def test_login_without_a_keyring_uses_the_file(login, none, tmp_path) -> None:
    ran = login()
    assert (ran.status, ran.err) == (0, "")
    assert "system keyring" not in ran.out
    assert "typed-secret" in _file(tmp_path)


def test_login_with_a_keyring_that_does_not_encrypt_uses_the_file(login, system, tmp_path) -> None:
    system.backend.priority = 0.5
    assert login().status == 0
    assert (system.held, "typed-secret" in _file(tmp_path)) == ({}, True)
    ran = login("--secret-store", "keyring")
    assert (ran.status, ran.err) == (
        6,
        "daypass: The system keyring cannot be used: this system has none that encrypts.\n",
    )


def test_login_with_a_keyring_that_is_locked_says_that_it_uses_the_file(login, system, tmp_path) -> None:
    system.locked = True
    ran = login()
    assert ran.status == 0
    assert "\\u001b[31m locked. The secret is in the profile file.\n" in ran.err
    assert "typed-secret" in _file(tmp_path)
    assert login("--secret-store", "keyring").status == 6


def test_login_secret_store_file_leaves_the_keyring_alone(login, system, tmp_path) -> None:
    assert login("--secret-store", "file").status == 0
    assert (system.held, "typed-secret" in _file(tmp_path)) == ({}, True)


def test_login_again_leaves_no_entry_behind(login, system) -> None:
    login()
    login(secret="second-secret")
    assert [json.loads(text)[0] for text in system.held.values()] == ["second-secret"]
    login("--secret-store", "file")
    assert system.held == {}


def test_login_that_cannot_write_the_file_leaves_no_entry_behind(login, system, monkeypatch) -> None:
    def full(*_: object) -> None:
        raise LocalStateError("no space")

    monkeypatch.setattr("daypass.cli.login.save", full)
    assert login().status == 6
    assert system.held == {}


def test_logout_deletes_the_entry_and_says_when_it_cannot(login, system, cli) -> None:
    login()
    login("--profile", "other")
    assert cli("logout").status == 0
    assert len(system.held) == 1
    system.locked = True
    ran = cli("logout", "other")
    assert ran.status == 0
    assert "its secret is still in the system keyring, entry AKIAX/" in ran.err
    assert ran.err.isascii()
    assert load_all() == {}


def test_status_and_profile_ls_show_where_secrets_are_and_read_none(login, system, cli) -> None:
    login()
    save("old", Profile(URL, "AKIAOLD", "in-file"))
    shown = json.loads(cli("status", "--output", "json").out)["profiles"]
    assert [(p["name"], p["secret_store"]) for p in shown] == [("default", "keyring"), ("old", "file")]
    assert "keyring" in cli("profile", "ls").out
    assert "SECRET" in cli("status").out
    assert system.read == 0


def test_credential_process_reads_the_keyring_only_when_it_needs_a_new_session(login, system, cli, serve) -> None:
    login()
    server = serve(issued(expiration="2099-01-01T00:00:00Z"))
    first = cli("credential-process", ROLE)
    assert (first.status, system.read) == (0, 1), first.err
    assert "Credential=AKIAX/" in str(server.sent[-1].headers)
    system.locked = True
    assert cli("credential-process", ROLE).out == first.out
    assert cli("credential-process").status == 6


def test_command_whose_secret_is_in_a_keyring_that_is_gone_says_what_to_do(login, system, cli, serve) -> None:
    login()
    server = serve(IDENTITY)
    system.held.clear()
    ran = cli("whoami")
    assert ran.status == 6
    assert "daypass login --secret-store file" in ran.err
    system.locked = True
    assert "locked" in cli("whoami").err
    assert not server.sent


def test_refused_login_stores_nothing_in_the_keyring(login, system, serve, monkeypatch, cli) -> None:
    serve(error("InvalidClientTokenId", "no", 403))
    monkeypatch.setattr("sys.stdin", io.StringIO("s\n"))
    assert cli("login", "--endpoint", URL, "--access-key-id", "AKIAX", "--secret-stdin").status == 3
    assert system.held == {}

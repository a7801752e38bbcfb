"""Files of other users are not trusted, and those that Daypass writes are closed to them."""

from __future__ import annotations

import multiprocessing
import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from daypass.cli import aws_config, names, profile
from daypass.cli.shell import marked
from daypass.client import profiles, state
from daypass.client.credentials import AssumeRole, Credentials
from daypass.client.profiles import LocalStateError, Profile, load_all, save
from daypass.client.provider import CredentialProvider

KEY = Profile("http://127.0.0.1:8700", "AKIAEXAMPLE000000000", "top-secret")


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DAYPASS_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def of_others(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """From its call on, all files belong to another user."""
    return lambda: monkeypatch.setattr(state, "owners", lambda _environ=None: {os.geteuid() + 4242})


@pytest.mark.usefixtures("home")
def test_profiles_of_another_user_are_refused(of_others: Callable[[], None]) -> None:
    path = save("default", KEY)
    of_others()
    with pytest.raises(LocalStateError, match=f"{path} cannot be read: it belongs to another user"):
        load_all()


@pytest.mark.usefixtures("home")
def test_profiles_that_everybody_may_write_are_refused() -> None:
    save("default", KEY).chmod(0o666)
    with pytest.raises(LocalStateError, match="every user of this machine may write it"):
        load_all()


def test_a370_profiles_that_are_a_pipe_are_refused_without_waiting(home: Path) -> None:
    home.mkdir()
    os.mkfifo(home / "profiles.json", 0o600)
    with pytest.raises(LocalStateError, match="it is not a regular file"):
        load_all()


@pytest.mark.usefixtures("home")
def test_cached_session_and_names_of_another_user_are_not_used(of_others: Callable[[], None]) -> None:
    provider = CredentialProvider(KEY, AssumeRole("111122223333/r", "me"))
    held = Credentials(
        "ASIA", "s", "t", 9e9, 1.0, role="111122223333/r", source_key=KEY.access_key_id, endpoint=KEY.endpoint
    )
    provider._stored(held)
    names.remember_roles(KEY, ["arn:aws:iam::1:role/reader"])
    assert [found for _, found in profile.cached_sessions()] == [held]
    assert provider._read() == held
    assert names.roles_of(KEY) == ["reader"]
    of_others()
    assert [*profile.cached_sessions()] == []
    assert provider._read() is None
    assert names.roles_of(KEY) == []


def test_directory_of_another_user_is_not_written(home: Path, of_others: Callable[[], None]) -> None:
    home.mkdir()
    of_others()
    with pytest.raises(LocalStateError, match="belongs to another user"):
        save("default", KEY)
    with pytest.raises(LocalStateError, match="belongs to another user"):
        marked("r", {"SHELL": "/bin/zsh", "DAYPASS_HOME": str(home)})
    assert list(home.iterdir()) == []


def test_every_directory_that_is_made_is_closed_and_an_open_one_is_closed(home: Path) -> None:
    profiles.write_private(home / "names" / "x.json", "[]")
    assert [stat.S_IMODE(path.stat().st_mode) for path in (home, home / "names")] == [0o700, 0o700]
    home.chmod(0o775)
    save("default", KEY)
    assert stat.S_IMODE(home.stat().st_mode) == 0o700


def test_symbolic_link_in_place_of_a_file_is_not_followed(home: Path, tmp_path: Path) -> None:
    home.mkdir(mode=0o700)
    target = tmp_path / "target"
    target.write_text("precious")
    (home / "profiles.json.new").symlink_to(target)
    (home / "profiles.lock").symlink_to(tmp_path / "made-by-lock")
    with pytest.raises(LocalStateError):
        save("default", KEY)
    assert not (tmp_path / "made-by-lock").exists()
    (home / "profiles.lock").unlink()
    (home / "profile").symlink_to(target)
    save("default", KEY)
    profiles.use("default")
    assert target.read_text() == "precious"
    assert not (home / "profile").is_symlink()


def test_root_trusts_the_files_of_whoever_called_sudo(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert state.owners({"SUDO_UID": "1000"}) == {0, 1000}
    assert state.owners({"SUDO_UID": "-1"}) == {0}
    monkeypatch.setattr(os, "geteuid", lambda: 1001)
    assert state.owners({"SUDO_UID": "1000"}) == {0, 1001}


# --- What reaches a shell or another program's configuration

EVIL = ("$(touch x)", "`id`", "a;b", "a b", "a\nb", "a\tb", "*", "../x\u202e", "-rf", "a,b'c", "")


@pytest.mark.usefixtures("home")
@pytest.mark.parametrize("name", EVIL)
def test_profile_name_that_a_shell_would_run_is_refused(name: str) -> None:
    with pytest.raises(LocalStateError, match="cannot name a profile"):
        save(name, KEY)
    assert load_all() == {}


@pytest.mark.usefixtures("home")
def test_role_names_of_a_hostile_server_are_not_offered_to_the_shell() -> None:
    names.remember_roles(KEY, [f"arn:aws:iam::1:role/{name}" for name in (*EVIL[:-1], "reader", "path/own+=,.@-")])
    assert names.roles_of(KEY) == ["-rf", "own+=,.@-", "reader"]
    names._file(KEY).write_text('["$(touch x)", "reader", 5]')
    assert names.roles_of(KEY) == ["reader"]


@pytest.mark.usefixtures("home")
@pytest.mark.parametrize("role", [name for name in EVIL if name])
def test_role_that_a_shell_would_run_is_not_written_to_an_aws_configuration(role: str) -> None:
    with pytest.raises(LocalStateError, match="cannot be written"):
        aws_config.sections("deployer", "default", KEY, role)
    with pytest.raises(LocalStateError, match="cannot be written"):
        aws_config.sections(role, "default", KEY)


def _export(path: str, number: int) -> None:
    aws_config.write(Path(path), aws_config.sections(f"p{number}", "default", KEY))


def test_exports_at_the_same_time_lose_no_section(home: Path, tmp_path: Path) -> None:
    target = tmp_path / ".aws" / "config"
    with multiprocessing.get_context("fork").Pool(4) as pool:
        pool.starmap(_export, [(str(target), number) for number in range(24)])
    text = target.read_text()
    assert sum(f"[profile p{number}]" in text for number in range(24)) == 24
    assert stat.S_IMODE(target.parent.stat().st_mode) == 0o700
    assert home.exists()

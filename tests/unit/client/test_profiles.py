from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest

from daypass.client import profiles
from daypass.client.profiles import Busy, LocalStateError, Profile, home, load_all, locked, save, write_private
from daypass.client.usable import resolve

KEY = Profile("http://127.0.0.1:8700", "AKIAEXAMPLE000000000", "top-secret")


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    return {"DAYPASS_HOME": str(tmp_path / "home")}


def test_save_keeps_the_file_to_its_owner(environ: dict[str, str]) -> None:
    path = save("default", KEY, environ)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert load_all(environ) == {"default": KEY}


def test_save_over_a_readable_file_closes_it(environ: dict[str, str]) -> None:
    path = save("default", KEY, environ)
    path.chmod(0o644)
    save("other", KEY, environ)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert set(load_all(environ)) == {"default", "other"}


@pytest.mark.parametrize(
    "content",
    ["", "{", "[]", "{}", '{"profiles": []}', '{"profiles": {"default": {}}}', '{"profiles": {"default": {"x": 1}}}',
     '{"profiles": {"default": null}}', '{"profiles": {"default": {"endpoint": 1, "access_key_id": 2, "secret_access_key": 3}}}', "\x00", "[" * 100_000],
)  # fmt: skip
def test_load_corrupt_file_is_a_local_failure(environ: dict[str, str], content: str) -> None:
    path = save("default", KEY, environ)
    path.write_text(content)
    with pytest.raises(LocalStateError):
        load_all(environ)


def test_load_file_of_other_bytes_is_a_local_failure(environ: dict[str, str]) -> None:
    save("default", KEY, environ).write_bytes(b"\xff\xfe")
    with pytest.raises(LocalStateError):
        load_all(environ)


def test_save_does_not_replace_a_corrupt_file(environ: dict[str, str]) -> None:
    path = save("default", KEY, environ)
    path.write_text("{")
    with pytest.raises(LocalStateError):
        save("other", KEY, environ)
    assert path.read_text() == "{"


def test_write_private_where_nothing_can_be_written_is_a_local_failure(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(LocalStateError, match="cannot be written"):
        write_private(tmp_path / "file" / "x.json", "")
    (tmp_path / "directory").mkdir()
    with pytest.raises(LocalStateError, match="cannot be written"):
        write_private(tmp_path / "directory", "")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["directory", "file"]  # no half-written file is left


@pytest.mark.parametrize("value", ["AKIA\n", "AKIA\r\nX-Evil: 1", "AK IA", "AKIÄ", "\x1b[1m"])
def test_profile_that_would_break_a_header_is_refused(value: str) -> None:
    with pytest.raises(LocalStateError, match="access key id"):
        Profile("http://h", value, "s")


def test_profile_of_a_number_is_refused() -> None:
    with pytest.raises(LocalStateError):
        Profile("http://h", 1, "s")  # type: ignore[arg-type]


def test_home_is_where_the_environment_says() -> None:
    assert home({"DAYPASS_HOME": "/d", "XDG_CONFIG_HOME": "/x", "HOME": "/h"}) == Path("/d")
    assert home({"XDG_CONFIG_HOME": "/x", "HOME": "/h"}) == Path("/x/daypass")
    assert home({"HOME": "/h"}) == Path("/h/.config/daypass")


AWS = {
    "AWS_ACCESS_KEY_ID": "ASIA1",
    "AWS_SECRET_ACCESS_KEY": "s",
    "AWS_SESSION_TOKEN": "t",
    "AWS_ENDPOINT_URL": "http://aws",
}


def test_resolve_without_a_profile_takes_the_aws_environment(environ: dict[str, str]) -> None:
    assert resolve(environ={**environ, **AWS}) == Profile("http://aws", "ASIA1", "s", "t")
    assert resolve(environ={**environ, **AWS, "AWS_ENDPOINT_URL_STS": "http://sts/"}).endpoint == "http://sts"


def test_resolve_named_profile_goes_before_the_aws_environment(environ: dict[str, str]) -> None:
    save("work", KEY, environ)
    assert resolve("work", environ={**environ, **AWS}) == KEY
    assert resolve(environ={**environ, **AWS, "DAYPASS_PROFILE": "work"}) == KEY
    assert resolve("work", "http://other/", environ).endpoint == "http://other"


def test_resolve_nothing_known_says_what_to_do(environ: dict[str, str]) -> None:
    with pytest.raises(LocalStateError, match="daypass login --profile default"):
        resolve(environ=environ)
    with pytest.raises(LocalStateError, match="AWS_SECRET_ACCESS_KEY"):
        resolve(environ={**environ, "AWS_ACCESS_KEY_ID": "x"})
    with pytest.raises(LocalStateError, match="AWS_ENDPOINT_URL"):
        resolve(environ={**environ, **AWS, "AWS_ENDPOINT_URL": ""})


def test_locked_by_another_gives_up_at_the_deadline(tmp_path: Path) -> None:
    with locked(tmp_path / "x.lock", 0), pytest.raises(Busy), locked(tmp_path / "x.lock", 0.05):
        pytest.fail("two hold the lock")
    with locked(tmp_path / "x.lock", 0):
        pass


def test_profile_file_is_json_for_people(environ: dict[str, str]) -> None:
    path = save("default", KEY, environ)
    assert json.loads(path.read_text())["profiles"]["default"]["access_key_id"] == KEY.access_key_id
    assert profiles._file(environ) == path

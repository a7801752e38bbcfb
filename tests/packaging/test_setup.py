"""Set-up works on a fresh machine, whichever of the three ways is open there, and costs nothing the second time."""

from __future__ import annotations

import os
import re
import resource
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from tests.packaging.machine import BASE_PYTHON, Machine, copy_checkout

pytestmark = pytest.mark.slow

# Commands that a Debian python3 refuses without python3-venv, then without pip, and without venv at all.
NO_ENSUREPIP = '"-m venv --clear .venv"'
NO_PIP = f"{NO_ENSUREPIP} | '-m pip'*"
NO_VENV = "'-m venv'* | '-m pip'*"
UV = Path(sys.executable).with_name("uv")


def setup(machine: Machine) -> subprocess.CompletedProcess[str]:
    return machine.run("sh", "tools/setup.sh", "demo")


def assert_works(machine: Machine) -> None:
    done = machine.run(".venv/bin/python", "-c", "import daypass.client, click; print(daypass.__file__)")
    assert done.stdout.strip() == str(machine.checkout / "src/daypass/__init__.py"), done.stderr


def has_pip(machine: Machine) -> bool:
    return machine.run(".venv/bin/python", "-m", "pip", "--version").returncode == 0


def test_setup_with_venv_installs(machine: Machine) -> None:
    machine.add_python()
    done = setup(machine)
    assert done.returncode == 0, done.stderr
    assert_works(machine)
    assert has_pip(machine)


def test_setup_without_ensurepip_is_filled_by_the_systems_pip(machine: Machine) -> None:
    machine.add_python(refuse=NO_ENSUREPIP)
    done = setup(machine)
    assert done.returncode == 0, done.stderr
    assert_works(machine)
    assert not has_pip(machine)


@pytest.mark.parametrize("refuse", [NO_PIP, NO_VENV])
def test_setup_without_pip_takes_uv(machine: Machine, refuse: str) -> None:
    machine.add_python(refuse=refuse)
    (machine.bin / "uv").symlink_to(UV)
    done = setup(machine)
    assert done.returncode == 0, done.stderr
    assert_works(machine)
    assert not has_pip(machine)


@pytest.mark.parametrize("refuse", [NO_PIP, NO_VENV])
def test_setup_with_no_way_left_names_the_package_in_one_line(machine: Machine, refuse: str) -> None:
    machine.add_python(refuse=refuse)
    done = setup(machine)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "install python3-venv" in done.stderr
    assert not (machine.checkout / ".venv").exists()


def test_setup_without_python_says_so_in_one_line(machine: Machine) -> None:
    done = setup(machine)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "no Python 3.11 or newer" in done.stderr


def test_setup_with_an_old_python3_takes_the_newest_suitable_one(machine: Machine) -> None:
    machine.add_python("python3", refuse="*")  # too old
    machine.add_python("python3.13", refuse="*")  # on PATH, leads nowhere, as version managers leave them
    machine.add_python("python3.11")
    done = setup(machine)
    assert done.returncode == 0, done.stderr
    assert_works(machine)


def made_with(machine: Machine) -> str:
    """The name of the interpreter that made .venv."""
    return next(line for line in machine.calls().splitlines() if "-m venv" in line).split(" ", 1)[0]


def test_setup_takes_the_newest_interpreter_and_prints_it(machine: Machine) -> None:
    for minor in (11, 14, 12):
        machine.add_python(f"python3.{minor}", probed=f"plain {minor}")
    machine.add_python("python3", probed="plain 15")  # newer than what is tested
    done = setup(machine)
    assert done.returncode == 0, done.stderr
    assert made_with(machine) == "python3.14"
    assert f"Python {sys.version.split()[0]}, " in done.stderr


def test_setup_takes_an_optimised_build_before_a_newer_plain_one(machine: Machine) -> None:
    machine.add_python("python3.13", probed="plain 13")
    machine.add_python("python3", probed="plain 14", under=machine.home / "pyenv/versions/3.14.0/bin")
    machine.add_python("python3.12", probed="optimised 12")
    assert setup(machine).returncode == 0
    assert made_with(machine) == "python3.12"


def test_setup_takes_an_interpreter_of_pyenv_that_is_not_on_path(machine: Machine) -> None:
    machine.add_python("python3.11", probed="plain 11")
    machine.add_python("python3", probed="plain 13", under=machine.home / "pyenv/versions/3.13.1/bin")
    assert setup(machine).returncode == 0
    assert made_with(machine) == "python3"


def test_setup_newest_interpreter_makes_no_environment_takes_the_next(machine: Machine) -> None:
    machine.add_python("python3.13", probed="optimised 13", refuse=NO_VENV)
    machine.add_python("python3.11", probed="optimised 11")
    assert setup(machine).returncode == 0
    assert_works(machine)
    assert "python3.11 -m venv" in machine.calls()


def test_setup_existing_environment_keeps_its_interpreter(machine: Machine) -> None:
    machine.add_python("python3.11", probed="plain 11")
    assert setup(machine).returncode == 0
    machine.log.unlink()
    machine.add_python("python3.13", probed="optimised 13")
    with (machine.checkout / "requirements/demo.txt").open("a") as lock:
        lock.write("# one more line\n")
    assert setup(machine).returncode == 0
    assert "-m venv" not in machine.calls()


def test_setup_with_python_given_takes_no_other(machine: Machine) -> None:
    machine.add_python()
    machine.env["PYTHON"] = str(machine.home / "missing")
    assert setup(machine).returncode == 1


def test_setup_a_second_time_runs_no_python_installer_and_is_quick(machine: Machine) -> None:
    machine.add_python()
    assert setup(machine).returncode == 0
    machine.log.unlink()
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = setup(machine)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 1
    assert (done.returncode, done.stderr, machine.calls()) == (0, "", "")


def test_setup_after_a_changed_lock_installs_again(machine: Machine) -> None:
    machine.add_python()
    assert setup(machine).returncode == 0
    with (machine.checkout / "requirements/demo.txt").open("a") as lock:
        lock.write("# one more line\n")
    done = setup(machine)
    assert (done.returncode, "installing" in done.stderr) == (0, True)


def test_a110_setup_with_another_file_than_locked_refuses_and_the_next_run_completes(machine: Machine) -> None:
    machine.add_python()
    lock = machine.checkout / "requirements/demo.txt"
    good = lock.read_text()
    lock.write_text(re.sub(r"--hash=sha256:\w{64}", "--hash=sha256:" + "0" * 64, good))
    done = setup(machine)
    assert done.returncode != 0
    assert "DO NOT MATCH THE HASHES" in done.stderr
    assert not (machine.checkout / ".venv/.ready-demo").exists()
    lock.write_text(good)
    assert setup(machine).returncode == 0
    assert_works(machine)


def test_setup_in_a_moved_checkout_points_to_the_new_place(machine: Machine) -> None:
    machine.add_python()
    assert setup(machine).returncode == 0
    machine.checkout = machine.checkout.rename(machine.home / "moved")
    assert setup(machine).returncode == 0
    assert_works(machine)


def test_setup_without_root_installs() -> None:
    if os.geteuid() != 0:
        pytest.skip("every other test here runs without root")
    python = next((p for p in ("/usr/bin/python3", str(BASE_PYTHON)) if _runs_for_anyone(p)), None)
    if python is None:
        pytest.skip("no Python >= 3.11 with venv that an ordinary user may run")
    with tempfile.TemporaryDirectory() as home:
        machine = _machine_of_nobody(Path(home), python)
        done = machine.run("sh", "tools/setup.sh", "demo", user=65534, group=65534, extra_groups=[])
        assert done.returncode == 0, done.stderr
        assert_works(machine)
        assert (machine.checkout / ".venv/.ready-demo").stat().st_uid == 65534


def _runs_for_anyone(python: str) -> bool:
    wanted = "import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))"
    try:
        return not subprocess.run([python, "-c", wanted], check=False, cwd="/", user=65534, group=65534).returncode
    except OSError:
        return False


def _machine_of_nobody(home: Path, python: str) -> Machine:
    from tests.packaging.conftest import _SMALL
    from tests.packaging.machine import trim_requirements

    (home / "checkout").mkdir()
    trim_requirements(copy_checkout(home / "checkout"), *_SMALL)
    machine = Machine(home, home / "checkout", {"HOME": str(home), "XDG_CACHE_HOME": str(home / "cache")})
    machine.add_python(real=Path(python))
    for path in (home, *home.rglob("*")):
        os.chown(path, 65534, 65534, follow_symlinks=False)
    home.chmod(0o755)
    return machine


def test_make_help_lists_every_target(machine: Machine) -> None:
    listed = machine.run("make", "help").stdout
    declared = (machine.checkout / "Makefile").read_text().partition(".PHONY:")[2].partition("\n")[0].split()
    assert [f"make {name} " in listed for name in declared] == [True] * len(declared)


def test_every_tool_of_the_pretended_machine_is_posix_git_or_make(machine: Machine) -> None:
    """The set-up must not come to need more: coreutils beyond POSIX, curl, jq, bash."""
    assert {p.name for p in machine.bin.iterdir()} <= {
        "sh", "cat", "dirname", "env", "expand", "git", "make", "mkdir", "rm", "sed", "uname",
    }  # fmt: skip
    assert shutil.which("bash", path=str(machine.bin)) is None

"""The files in deploy/: what they promise about privileges, and that every setting and path in them exists."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml
from tests.packaging.deployment import (
    COMPOSE,
    PATRONI,
    PATRONI_MACHINE,
    UNIT,
    command,
    compose,
    filled,
    stages,
    unit,
    words,
)
from tests.packaging.machine import ROOT

from daypass import config

_ENV = {
    "DAYPASS_DB_PASSWORD": "secret",
    "DAYPASS_ENCRYPTION_KEY": "q" * 43 + "=",
    "DAYPASS_TRUSTED_PROXIES": "172.16.0.0/12",
}


def test_container_runs_as_a_numbered_unprivileged_user() -> None:
    last = stages()[-1]
    [user] = last.all("USER")
    assert all(int(part) >= 1000 for part in user.split(":"))
    [made] = [run for run in last.all("RUN") if "install -d" in run]
    assert f"-o {user.split(':')[0]} " in made
    assert "-m 700" in made
    assert last.all("VOLUME") == [made.split()[-1]]


def test_container_copies_only_files_that_there_are_and_that_the_ignore_file_lets_through() -> None:
    ignore = (ROOT / "deploy/container/Containerfile.containerignore").read_text()
    assert ignore == (ROOT / "deploy/container/Containerfile.dockerignore").read_text()
    names = {stage.name for stage in stages()}
    for stage in stages():
        for copy in stage.all("COPY"):
            source = words(copy)[0]
            if source.startswith("--from="):
                assert source.removeprefix("--from=") in names
                continue
            assert f"!{source}\n" in ignore
            assert source.startswith("dist/") or (ROOT / source).is_file()


def test_container_starts_a_command_that_the_command_line_has(capsys: pytest.CaptureFixture[str]) -> None:
    from daypass.cli.main import run

    name, subcommand, *options = command(stages()[-1])
    assert name == "daypass"
    assert run([subcommand, "--help"]) == 0
    shown = capsys.readouterr().out
    assert all(option in shown for option in options if option.startswith("--"))


@pytest.mark.parametrize(("file", "name"), [(COMPOSE, "daypass"), (PATRONI, "daypass-one"), (PATRONI, "daypass-two")])
def test_compose_gives_the_server_no_privileges_and_settings_that_exist(file: Path, name: str) -> None:
    server = compose(file)["services"][name]
    assert server["read_only"] is True
    assert server["cap_drop"] == ["ALL"]
    assert "no-new-privileges:true" in server["security_opt"]
    assert all(port.startswith("127.0.0.1:") for port in server["ports"])
    environment = {name: filled(value, _ENV) for name, value in server["environment"].items()}
    settings = config.load(None, environment, {})
    assert settings.server.public_url == "http://localhost:8700", "console and OAuth work before anything is set"
    behind = {**_ENV, "DAYPASS_PUBLIC_URL": "https://daypass.example"}
    environment = {name: filled(value, behind) for name, value in server["environment"].items()}
    assert config.load(None, environment, {}).server.public_url == "https://daypass.example"
    assert settings.database_url().startswith("postgresql://daypass:secret@")
    assert settings.keys.encryption_key.get_secret_value() == _ENV["DAYPASS_ENCRYPTION_KEY"]
    database = next(service for service in compose(file)["services"] if service.startswith("db"))
    assert server["depends_on"][database]["condition"] == "service_healthy"


@pytest.mark.parametrize("missing", ["DAYPASS_DB_PASSWORD", "DAYPASS_ENCRYPTION_KEY"])
@pytest.mark.parametrize(("file", "name"), [(COMPOSE, "daypass"), (PATRONI, "daypass-two")])
def test_compose_without_a_secret_refuses(file: Path, name: str, missing: str) -> None:
    server = compose(file)["services"][name]
    with pytest.raises(AssertionError, match=missing):
        [filled(value, {**_ENV, missing: ""}) for value in server["environment"].values()]


def test_compose_holds_no_secret_and_example_names_every_variable() -> None:
    used = {name for file in (COMPOSE, PATRONI) for name in re.findall(r"\$\{(\w+)", file.read_text())}
    example = (ROOT / "deploy/compose/env.example").read_text()
    assert used == set(re.findall(r"^(\w+)=", example, re.MULTILINE))


@pytest.mark.parametrize("file", [COMPOSE, PATRONI])
def test_compose_mounts_every_volume_that_it_has(file: Path) -> None:
    services = compose(file)["services"].values()
    volumes = [mount.partition(":")[0] for service in services for mount in service["volumes"]]
    assert sorted(volumes) == sorted(compose(file)["volumes"])


@pytest.mark.parametrize("file", [COMPOSE, PATRONI])
def test_compose_health_checks_are_taken_by_every_engine(file: Path) -> None:
    """Podman splits the words of a CMD at spaces."""
    checks = [
        service["healthcheck"]["test"] for service in compose(file)["services"].values() if "healthcheck" in service
    ]
    assert len(checks) > 1
    for kind, *words_ in checks:
        assert kind == "CMD-SHELL" or (kind == "CMD" and not [word for word in words_ if " " in word])


def test_compose_with_patroni_names_one_cluster_everywhere() -> None:
    services = compose(PATRONI)["services"]
    machine = yaml.safe_load(PATRONI_MACHINE.read_text())
    members = {name for name in services if name.startswith("etcd-")}
    assert len(members) == 3
    for name in ("db-one", "db-two"):
        environment = services[name]["environment"]
        assert set(environment["PATRONI_ETCD3_HOSTS"].replace(":2379", "").split(",")) == members
        port = machine["postgresql"]["listen"].rpartition(":")[2]
        assert environment["PATRONI_POSTGRESQL_CONNECT_ADDRESS"] == f"{name}:{port}"
        assert environment["PATRONI_RESTAPI_CONNECT_ADDRESS"] == f"{name}:8008"
        assert (
            f"{name},"
            in f"{services['daypass-one']['environment']['DAYPASS_DATABASE__URL'].partition('host=')[2].partition('&')[0]},"
        )
        assert machine["postgresql"]["data_dir"].startswith(services[name]["volumes"][0].partition(":")[2])
    for name in members:
        command = services[name]["command"]
        cluster = command[command.index("--initial-cluster") + 1]
        assert cluster == ",".join(
            f"{member.removeprefix('etcd-')}=http://{member}:2380" for member in services if member in members
        )
        assert f"http://{name}:2379" in command
        assert command[command.index("--name") + 1] == name.removeprefix("etcd-")


def test_unit_drops_privileges_and_reloads_by_the_signal_that_the_server_takes() -> None:
    found = unit()
    assert found["User"] == ["daypass"]
    assert found["CapabilityBoundingSet"] == [""]
    for name in (
        "NoNewPrivileges",
        "ProtectHome",
        "PrivateTmp",
        "PrivateDevices",
        "MemoryDenyWriteExecute",
        "RestrictNamespaces",
    ):
        assert found[name] == ["yes"], name
    assert found["ProtectSystem"] == ["strict"]
    assert "-HUP" in found["ExecReload"][0]
    assert found["ExecReload"][0].startswith("/bin/sh -c "), "minimal systems have no /bin/kill"
    assert int(found["TimeoutStopSec"][0]) > config.Settings().server.drain_seconds


def test_unit_names_the_settings_file_and_data_directory_of_the_package() -> None:
    [start] = unit()["ExecStart"]
    assert start.endswith("--config /etc/daypass/daypass.toml")
    packaged = config.load(ROOT / "deploy/deb/daypass.toml", {}, {})
    assert packaged.server.public_url == "http://localhost:8700"
    assert packaged.server.data == Path("/var/lib") / unit()["StateDirectory"][0]


def test_unit_is_accepted_by_systemd_with_little_exposure(tmp_path: Path) -> None:
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        pytest.skip("systemd-analyze is not installed")
    here = tmp_path / "daypass.service"
    here.write_text(UNIT.read_text().replace("/usr/bin/daypass", shutil.which("true") or "/bin/true"))
    # The manager of a user reads the same grammar, and needs no directory of root's.
    environment = {**os.environ, "XDG_RUNTIME_DIR": str(tmp_path)}
    verify = [analyze, "verify", "--man=no", "--user", here]  # the package brings the page
    verified = subprocess.run(verify, capture_output=True, text=True, check=False, env=environment)
    assert (verified.returncode, verified.stderr) == (0, "")
    shown = subprocess.run(
        [analyze, "security", "--offline=true", "--no-pager", here], capture_output=True, text=True, check=True
    ).stdout
    exposure = re.search(r"Overall exposure level for daypass.service: ([\d.]+)", shown)
    assert exposure
    assert float(exposure[1]) <= 2.0

"""Reads the files in deploy/ without the programs that they are for."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from tests.packaging.machine import ROOT

CONTAINERFILE = ROOT / "deploy/container/Containerfile"
COMPOSE = ROOT / "deploy/compose/compose.yaml"
PATRONI = ROOT / "deploy/compose/patroni.yaml"
PATRONI_MACHINE = ROOT / "deploy/compose/patroni/patroni.yaml"
UNIT = ROOT / "deploy/systemd/daypass.service"

_INSTRUCTIONS = {
    "ARG",
    "FROM",
    "WORKDIR",
    "COPY",
    "RUN",
    "ENV",
    "USER",
    "VOLUME",
    "EXPOSE",
    "STOPSIGNAL",
    "ENTRYPOINT",
    "CMD",
}


@dataclass
class Stage:
    """One stage of a container file: its instructions in order."""

    name: str
    steps: list[tuple[str, str]] = field(default_factory=list)

    def all(self, instruction: str) -> list[str]:
        return [value for found, value in self.steps if found == instruction]


def stages() -> list[Stage]:
    """Parses the Containerfile. An instruction that is not known fails."""
    found: list[Stage] = []
    for line in re.sub(r"\\\n", "", CONTAINERFILE.read_text()).splitlines():
        if not line.strip() or line.startswith("#"):
            continue
        instruction, _, value = line.partition(" ")
        assert instruction in _INSTRUCTIONS, line
        if instruction == "FROM":
            found.append(Stage(value.partition(" AS ")[2]))
        elif found:
            found[-1].steps.append((instruction, value.strip()))
        else:
            assert instruction == "ARG"
    return found


def compose(file: Path = COMPOSE) -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load(file.read_text())
    return loaded


def filled(value: str, variables: dict[str, str]) -> str:
    """Compose's substitution. Fails for a variable that must be set and is not."""

    def replace(found: re.Match[str]) -> str:
        name, operator, default = found[1], found[2], found[3]
        if variables.get(name):
            return variables[name]
        assert operator != ":?", f"{name}: {default}"
        return default or ""

    return re.sub(r"\$\{(\w+)(:-|:\?)?([^}]*)\}", replace, value)


def unit() -> dict[str, list[str]]:
    """The settings of the systemd unit's [Service] section."""
    section = UNIT.read_text().partition("[Service]\n")[2].partition("\n[")[0]
    found: dict[str, list[str]] = {}
    for line in section.splitlines():
        if line and not line.startswith("#"):
            name, _, value = line.partition("=")
            found.setdefault(name, []).append(value)
    return found


def command(stage: Stage) -> list[str]:
    """The command of the container."""
    import json

    return [*json.loads(stage.all("ENTRYPOINT")[0]), *json.loads(stage.all("CMD")[0])]


def words(value: str) -> list[str]:
    return shlex.split(value)

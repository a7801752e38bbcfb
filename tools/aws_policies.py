"""Builds the list of AWS's managed policies that Daypass ships, from the list of the package moto (Apache License 2.0).

Run it as `.venv/bin/python tools/aws_policies.py` to compare the file in the tree with the installed moto; `--write` makes
the file. It has a line of JSON with its source and date, and a line for each policy: path and name, created, updated (ms),
number of the default version, document.
"""

from __future__ import annotations

import argparse
import json
import lzma
import sys
from collections.abc import Iterator
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

from moto.iam.aws_managed_policies import aws_managed_policies_data

TARGET: Final = Path(__file__).resolve().parents[1] / "src/daypass/data/aws_policies.xz"


def lines() -> Iterator[str]:
    policies: dict[str, Any] = json.loads(aws_managed_policies_data)
    newest = max(policy["UpdateDate"] for policy in policies.values())
    yield json.dumps({"source": f"moto {version('moto')}", "newest": newest[:10], "policies": len(policies)})
    for name, policy in sorted(policies.items()):
        document = json.dumps(policy["Document"], separators=(",", ":"), ensure_ascii=False)
        dates = (milliseconds(policy["CreateDate"]), milliseconds(policy["UpdateDate"]))
        number = policy["DefaultVersionId"].removeprefix("v")
        yield "\t".join((policy["Path"].lstrip("/") + name, *dates, number, document))


def milliseconds(text: str) -> str:
    return str(int(datetime.fromisoformat(text).timestamp() * 1000))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help="make the file")
    wanted = "".join(f"{line}\n" for line in lines()).encode()
    if parser.parse_args().write:
        TARGET.write_bytes(lzma.compress(wanted, preset=9 | lzma.PRESET_EXTREME))
        return 0
    if lzma.decompress(TARGET.read_bytes()) == wanted:
        return 0
    print("aws_policies: the file in the tree is not made from the installed moto; --write makes it")
    return 1


if __name__ == "__main__":
    sys.exit(main())

"""The list of AWS's managed policies in the tree is made from the moto that is installed, and NOTICE names both."""

from __future__ import annotations

import json
import lzma
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_aws_policies_are_those_of_moto_and_named_in_notice() -> None:
    made = subprocess.run([sys.executable, ROOT / "tools/aws_policies.py"], capture_output=True, text=True, check=False)
    assert made.returncode == 0, made.stdout
    with lzma.open(ROOT / "src/daypass/data/aws_policies.xz") as packed:
        about = json.loads(packed.readline())
    notice = (ROOT / "NOTICE").read_text()
    assert f"as of {about['newest']}, made by tools/aws_policies.py from {about['source']}" in notice

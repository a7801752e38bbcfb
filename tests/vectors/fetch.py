"""Fetches the public SigV4 test vectors: they come inside botocore's source distribution, by way of pip.

They are other people's files, so they are never committed. `make vectors` runs this and then the replay
(tests/unit/test_sigv4_vectors.py). Target: $DAYPASS_VECTORS, else .cache/sigv4-vectors.
"""

from __future__ import annotations

import subprocess
import sys
import tarfile
import tempfile
from importlib.metadata import version
from pathlib import Path, PurePosixPath

sys.path.insert(0, str(Path(__file__).parent))
from place import target

_SUITE = "aws4_testsuite"
_MAX_FILE = 65_536


def download(into: Path) -> Path:
    """The source distribution of the botocore that is installed."""
    wanted = f"botocore=={version('botocore')}"
    command = [
        sys.executable,
        "-m",
        "pip",
        "download",
        "-q",
        "--no-binary",
        ":all:",
        "--no-deps",
        "-d",
        str(into),
        wanted,
    ]
    subprocess.run(command, check=True)
    return next(into.glob("botocore-*.tar.gz"))


def extract(archive: Path, into: Path) -> int:
    """Copies the regular files of the suite, flat names only within it; returns how many vectors there are."""
    count = 0
    with tarfile.open(archive) as tar:
        for member in tar:
            parts = PurePosixPath(member.name).parts
            if _SUITE not in parts or not member.isfile() or member.size > _MAX_FILE or ".." in parts:
                continue
            file = into.joinpath(*parts[parts.index(_SUITE) + 1 :])
            content = tar.extractfile(member)
            if content is not None:
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_bytes(content.read())
                count += file.suffix == ".sreq"
    return count


def main() -> int:
    into = target()
    if any(into.rglob("*.sreq")):
        print(f"vectors are in {into}")
        return 0
    with tempfile.TemporaryDirectory() as scratch:
        count = extract(download(Path(scratch)), into)
    print(f"{count} vectors in {into}")
    return 0 if count else 1


if __name__ == "__main__":
    sys.exit(main())

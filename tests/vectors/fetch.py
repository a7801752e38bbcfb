"""Fetches public test vectors: SigV4 requests of botocore and aws-c-auth, and Project Wycheproof's signed tokens.

They are other people's files, so they are never committed. `make vectors` runs this and then the replay
(`test_*vectors.py` in tests/unit). botocore's come inside its source distribution, by way of pip; the others from the
commits of their repositories that are named here, and what arrives must have the digest that is written here. Where GitHub
cannot be reached, put `aws-c-auth.tar.gz` (the archive of that commit) and `json_web_signature_test.json` into a folder and
name it in DAYPASS_VECTORS_DIR.
"""

from __future__ import annotations

import io
import subprocess
import sys
import tarfile
import tempfile
import urllib.request
from collections.abc import Callable, Mapping
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path, PurePosixPath
from typing import TypeAlias

sys.path.insert(0, str(Path(__file__).parent))
from place import c_auth_folder, jws_file, local_folder, target

Fetch: TypeAlias = Callable[[Path], int]
"""Writes vectors into a folder or file; returns how many there are. Raises FetchError."""

_MAX_FILE = 65_536
_MAX_DOWNLOAD = 64 * 1024 * 1024
_SECONDS = 60

_BOTOCORE_SUITE = ("aws4_testsuite",)

_C_AUTH = "https://github.com/awslabs/aws-c-auth/archive/495329c2433034bd8fd53fc6ba9e0202d3fac876.tar.gz"
_C_AUTH_SUITE = ("aws-signing-test-suite", "v4")
_C_AUTH_DIGEST = (
    "925af2cc1b5bbc547be65e13df28d952dd2781c335f8dabbc1d7bbf4bab9d1c5"  # of the files: archives may be compressed anew
)

_WYCHEPROOF = (
    "https://raw.githubusercontent.com/C2SP/wycheproof/dac1dd4729fd1f8dd9e1e9f3dce51d783da6c166/"
    "testvectors_v1/json_web_signature_test.json"
)
_WYCHEPROOF_DIGEST = "8e687a06fe8359f4ec51480f1a9f73c8faebd6f4c01b818b843b44eee54fd5d9"


class FetchError(Exception):
    """Vectors that are not to be had, or are not those that were expected."""


def fetch_botocore(into: Path) -> int:
    """The suite in the source distribution of the botocore that is installed, whose version is pinned by hash."""
    wanted = f"botocore=={version('botocore')}"
    command = [sys.executable, "-m", "pip", "download", "-q", "--no-binary", ":all:", "--no-deps", "-d"]
    with tempfile.TemporaryDirectory() as scratch:
        subprocess.run([*command, scratch, wanted], check=True)
        archive = next(Path(scratch).glob("botocore-*.tar.gz"))
        found = files_below(archive.read_bytes(), _BOTOCORE_SUITE)
    _write(found, into)
    return sum(name.endswith(".sreq") for name in found)


def fetch_c_auth(into: Path) -> int:
    """The v4 suite of aws-c-auth: a folder for each vector."""
    try:
        found = files_below(_content("aws-c-auth.tar.gz", _C_AUTH), _C_AUTH_SUITE)
    except tarfile.TarError as error:
        raise FetchError(f"aws-c-auth: the archive cannot be read: {error}") from None
    _expect("aws-c-auth", digest_of(found), _C_AUTH_DIGEST)
    _write(found, into)
    return len({PurePosixPath(name).parts[0] for name in found})


def fetch_wycheproof(into: Path) -> int:
    """Project Wycheproof's JWS vectors, one file."""
    content = _content("json_web_signature_test.json", _WYCHEPROOF)
    _expect("wycheproof", sha256(content).hexdigest(), _WYCHEPROOF_DIGEST)
    into.parent.mkdir(parents=True, exist_ok=True)
    into.write_bytes(content)
    return 1


def files_below(archive: bytes, folder: tuple[str, ...]) -> dict[str, bytes]:
    """The regular files of a tar archive below a folder, wherever in it that is, by their path within the folder."""
    found: dict[str, bytes] = {}
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        for member in tar:
            parts = PurePosixPath(member.name).parts
            places = [i for i in range(len(parts)) if parts[i : i + len(folder)] == folder]
            if not places or not member.isfile() or member.size > _MAX_FILE or ".." in parts:
                continue
            content = tar.extractfile(member)
            if content is not None:
                found["/".join(parts[places[0] + len(folder) :])] = content.read()
    return found


def digest_of(files: Mapping[str, bytes]) -> str:
    """SHA-256 over the names and contents of files."""
    whole = sha256()
    for name in sorted(files):
        whole.update(f"{name}\0{sha256(files[name]).hexdigest()}\n".encode())
    return whole.hexdigest()


def _content(name: str, url: str) -> bytes:
    folder = local_folder()
    if folder is not None:
        try:
            return (folder / name).read_bytes()
        except OSError as error:
            raise FetchError(f"{error}; it is {url}") from None
    try:
        with urllib.request.urlopen(url, timeout=_SECONDS) as answer:
            content: bytes = answer.read(_MAX_DOWNLOAD + 1)
    except OSError as error:
        raise FetchError(f"{url} cannot be fetched ({error}); put it into DAYPASS_VECTORS_DIR as {name}") from None
    if len(content) > _MAX_DOWNLOAD:
        raise FetchError(f"{url} is too large")
    return content


def _expect(name: str, found: str, wanted: str) -> None:
    if found != wanted:
        raise FetchError(f"{name}: the digest is {found}, but {wanted} was expected")


def _write(files: Mapping[str, bytes], into: Path) -> None:
    for name, content in files.items():
        file = into / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)


_SOURCES: tuple[tuple[str, Path, Fetch], ...] = (
    ("botocore", target(), fetch_botocore),
    ("aws-c-auth", c_auth_folder(), fetch_c_auth),
    ("wycheproof", jws_file(), fetch_wycheproof),
)


def main() -> int:
    """Fetches what is not there yet; 1 when something could not be fetched."""
    failed = 0
    for name, into, fetch in _SOURCES:
        if into.is_file() or any(into.rglob("*")):
            print(f"{name}: vectors are in {into}")
            continue
        try:
            print(f"{name}: {fetch(into)} fetched into {into}")
        except (FetchError, subprocess.CalledProcessError) as error:
            print(f"{name}: {error}", file=sys.stderr)
            failed = 1
    return failed


if __name__ == "__main__":
    sys.exit(main())

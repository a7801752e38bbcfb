"""Files that a provider's settings may name: keys, and tokens to fetch keys with. They must be in one configured
directory.

Without that directory no file is read. No file outside it is ever read, whatever the path or its links.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

MAX_FILE = 1_048_576


class FileError(Exception):
    """A file is forbidden or cannot be read. The message is for an operator."""


def read_file(directory: Path | None, name: str) -> bytes:
    """The content of a file of `directory`, by its path, absolute or within it. Blocks. Raises FileError."""
    if directory is None:
        raise FileError("settings may name files only when federation.files says where they lie")
    try:
        root = directory.resolve(strict=True)
        path = (root / name).resolve(strict=True)  # the links of a mounted secret point to its other directories
    except (OSError, ValueError, RuntimeError):
        raise FileError("the file does not exist") from None
    if not path.is_relative_to(root):
        raise FileError("the file is outside of federation.files")
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as file:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise FileError("this is not a regular file")
            data = file.read(MAX_FILE + 1)
    except OSError as error:
        raise FileError(f"the file cannot be read: {error.strerror}") from None
    if len(data) > MAX_FILE:
        raise FileError(f"the file is over {MAX_FILE} bytes")
    return data


def read_token(directory: Path | None, name: str) -> str:
    """The bearer token that a file holds. Blocks. Raises FileError."""
    try:
        token = read_file(directory, name).decode("ascii").strip()
    except UnicodeDecodeError:
        token = ""
    if not token or not token.isprintable() or " " in token:
        raise FileError("the file holds no token")
    return token

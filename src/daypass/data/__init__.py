"""Data files that come with the server: the managed policies that people expect to find under AWS's names.

Files are read on first use, and hold nothing of any installation.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import lru_cache
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from types import MappingProxyType
from typing import Final

_PREFIX: Final = "arn:aws:iam::aws:policy/"
_ALSO: Final = {"job-function/ViewOnlyAccess": "ViewOnlyAccess"}  # AWS's ARN of it, beside the one without a path


@lru_cache(maxsize=1)
def builtin_policies() -> Mapping[str, str]:
    """The text of every built-in managed policy by its ARN, `arn:aws:iam::aws:policy/NAME`."""
    texts = dict(_texts(files(__name__) / "policies", ""))
    texts.update({name: texts[other] for name, other in _ALSO.items()})
    return MappingProxyType({_PREFIX + name: text for name, text in sorted(texts.items())})


def _texts(folder: Traversable, path: str) -> Iterator[tuple[str, str]]:
    """(PATH/NAME, text) of the files in a folder of this package and below."""
    for file in folder.iterdir():
        if file.is_dir():
            yield from _texts(file, f"{path}{file.name}/")
        elif file.name.endswith(".json"):
            yield path + file.name.removesuffix(".json"), file.read_text("utf-8")


def policies_in(directory: Path) -> Mapping[str, str]:
    """The text of every file of a directory by the ARN of the AWS-named policy that it holds.

    NAME.json, or PATH/NAME.json for a policy with a path: `service-role/AWSLambdaBasicExecutionRole.json`. Raises
    OSError, and ValueError for a file that is not text.
    """
    return {
        _PREFIX + file.relative_to(directory).with_suffix("").as_posix(): file.read_text("utf-8")
        for file in sorted(directory.rglob("*.json"))
    }

"""Data files that come with the server: the managed policies that people expect to find under AWS's names.

Files are read on first use, and hold nothing of any installation.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from importlib.resources import files
from types import MappingProxyType


@lru_cache(maxsize=1)
def builtin_policies() -> Mapping[str, str]:
    """The text of every built-in managed policy by its ARN, `arn:aws:iam::aws:policy/NAME`."""
    folder = files(__name__) / "policies"
    texts = {
        f"arn:aws:iam::aws:policy/{file.name.removesuffix('.json')}": file.read_text("utf-8")
        for file in folder.iterdir()
        if file.name.endswith(".json")
    }
    return MappingProxyType(dict(sorted(texts.items())))

"""The service models of AWS: botocore's data files, read as JSON. Nothing of botocore runs."""

from __future__ import annotations

import gzip
import json
from importlib.resources import files
from typing import Any


def description_of(service: str, version: str) -> dict[str, Any]:
    """A service's model, without its documentation. Raises FileNotFoundError when botocore's data files are missing."""
    folder = files("botocore") / "data" / service / version
    packed = folder / "service-2.json.gz"
    raw = gzip.decompress(packed.read_bytes()) if packed.is_file() else (folder / "service-2.json").read_bytes()
    model: dict[str, Any] = json.loads(raw, object_hook=_without_documentation)
    return model


def _without_documentation(value: dict[str, Any]) -> dict[str, Any]:
    if isinstance(value.get("documentation"), str):  # a member named so is a mapping, and stays
        del value["documentation"]
    return value

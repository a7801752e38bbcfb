"""Stored policy documents, compiled and cached by their content."""

from __future__ import annotations

from functools import partial
from typing import Final

from daypass.domain.policy.document import PolicyDocument, PolicyKind, compile_stored
from daypass.operations.sized_cache import SizedCache

_COMPILED: Final = {kind: SizedCache(partial(compile_stored, kind=kind), 2_000_000) for kind in PolicyKind}


def compiled(text: str, kind: PolicyKind) -> PolicyDocument:
    """A stored document, by its content."""
    return _COMPILED[kind](text)

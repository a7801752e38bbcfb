"""The positions of a document's parts in its text, for findings about part of a statement."""

from __future__ import annotations

from daypass.domain.policy.compiled import Statement
from daypass.domain.policy.condition import Condition
from daypass.domain.policy.grammar import listed
from daypass.domain.policy.pattern import fold
from daypass.domain.policy.source import PolicyError, Positions, read


class Locations:
    """Lines and columns of conditions, from the text of a document that parses."""

    def __init__(self, text: str) -> None:
        self._at: dict[tuple[int, str, str], tuple[int, int]] = {}
        try:
            root = read(text)
        except PolicyError:  # a stored document that no longer parses
            return
        positions = Positions(text)
        for index, statement in enumerate(listed(root.members.get("Statement"))):
            block = statement.members.get("Condition")
            for written, operator in (block.members if block is not None else {}).items():
                for key, value in operator.members.items():
                    self._at[index, written, fold(key)] = positions.at(value.start)

    def of(self, statement: Statement, condition: Condition) -> tuple[int, int]:
        """Line and column of a condition's value; those of its statement when the value is not found."""
        position = self._at.get((statement.index, condition.written, condition.key))
        return position or (statement.line, statement.column)

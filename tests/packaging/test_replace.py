"""`dataclasses.replace` is for dataclasses and `msgspec.structs.replace` for Structs: the other raises TypeError.

mypy accepts both, because a Struct is a dataclass to it. So each call is compared with the classes of the source: by the
annotation of its argument where it is a parameter, otherwise by the fields that it names.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import daypass

SOURCE = Path(daypass.__file__).parent
DATACLASS, STRUCT = "dataclass", "Struct"


class Class(NamedTuple):
    kind: str
    fields: frozenset[str]


def classes(trees: dict[Path, ast.Module]) -> dict[str, list[Class]]:
    """The dataclasses and Structs of the source by name, with inherited fields."""
    every = [n for tree in trees.values() for n in tree.body if isinstance(n, ast.ClassDef)]
    nodes = {node.name: node for node in every}

    def bases(node: ast.ClassDef) -> Iterator[str]:
        for base in node.bases:
            name = base.value if isinstance(base, ast.Subscript) else base
            yield name.attr if isinstance(name, ast.Attribute) else getattr(name, "id", "")

    def kind(node: ast.ClassDef) -> str:
        if any("dataclass" in ast.unparse(each) for each in node.decorator_list):
            return DATACLASS
        for base in bases(node):
            if base == STRUCT or (base in nodes and nodes[base] is not node and kind(nodes[base]) == STRUCT):
                return STRUCT
        return ""

    def fields(node: ast.ClassDef) -> frozenset[str]:
        own = {s.target.id for s in node.body if isinstance(s, ast.AnnAssign) and isinstance(s.target, ast.Name)}
        return frozenset(own).union(*(fields(nodes[b]) for b in bases(node) if b in nodes and nodes[b] is not node))

    found: dict[str, list[Class]] = {}
    for node in every:
        if kind(node):
            found.setdefault(node.name, []).append(Class(kind(node), fields(node)))
    return found


def replacing(tree: ast.Module) -> dict[str, str]:
    """The names by which a module calls a `replace`, and the kind of class that it is for."""
    kinds = {"dataclasses": DATACLASS, "msgspec.structs": STRUCT}
    return {
        alias.asname or alias.name: kinds[node.module]
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module in kinds
        for alias in node.names
        if alias.name == "replace"
    } | {"dataclasses.replace": DATACLASS, "msgspec.structs.replace": STRUCT}


def parameters(function: ast.AST) -> dict[str, str]:
    arguments = function.args  # type: ignore[attr-defined]  # of a function
    every = (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)
    return {a.arg: ast.unparse(a.annotation).removesuffix(" | None") for a in every if a.annotation is not None}


def wrong(tree: ast.Module, known: dict[str, list[Class]]) -> Iterator[str]:
    """The calls of a module that replace fields of the other kind of class."""
    names = replacing(tree)
    functions = [n for n in ast.walk(tree) if isinstance(n, (ast.FunctionDef, ast.AsyncFunctionDef))]
    for function in (tree, *functions):
        types = parameters(function) if function is not tree else {}
        for call in ast.walk(function):
            if not isinstance(call, ast.Call):
                continue
            named = call.func.id if isinstance(call.func, ast.Name) else getattr(call.func, "attr", "") == "replace"
            kind = names.get(ast.unparse(call.func) if named is True else str(named))
            if kind is None:
                continue
            given = {keyword.arg for keyword in call.keywords if keyword.arg}
            typed = known.get(types.get(ast.unparse(call.args[0]), ""), [])
            candidates = typed or [each for same in known.values() for each in same if given <= each.fields]
            if given and not any(each.kind == kind for each in candidates):
                yield f"line {call.lineno}: {ast.unparse(call)[:80]} is not for a {kind}"


def test_replace_is_called_with_its_own_kind_of_class() -> None:
    texts = {path: path.read_text("utf-8") for path in SOURCE.rglob("*.py")}
    trees = {path: ast.parse(text) for path, text in texts.items()}
    known = classes(trees)
    dotted = ("dataclasses.replace(", "structs.replace(")
    with_replace = {
        path: tree
        for path, tree in trees.items()
        if "replace" in texts[path]  # only those are searched
        and (len(replacing(tree)) > 2 or any(each in texts[path] for each in dotted))
    }
    found = [
        f"{path.relative_to(SOURCE)}: {each}" for path, tree in with_replace.items() for each in wrong(tree, known)
    ]
    assert not found, "\n".join(found)
    assert len(with_replace) > 20, "the imports are not found any more"


def test_replace_of_the_other_kind_is_found() -> None:
    text = (
        "from dataclasses import dataclass, replace\nfrom msgspec import Struct\n"
        "class Plan(Struct):\n    size: int\n"
        "@dataclass\nclass Order:\n    total: int\n    size: int\n"
        "def one(plan: Plan, order: Order):\n    replace(plan, size=1)\n    replace(order, size=1)\n"
        "def two():\n    replace(some(), size=2)\n    replace(some(), depth=2)\n"
    )
    tree = ast.parse(text)
    assert {each.partition(":")[0] for each in wrong(tree, classes({Path("x.py"): tree}))} == {"line 10", "line 14"}

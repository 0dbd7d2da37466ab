"""The sentences that the code can record, read from its source.

Every text of two words and more is taken, wherever it stands, but for what is certain not to be recorded:
docstrings, patterns, lines of the log below WARNING, and texts of exceptions of which `describe_fault` keeps
the type alone.
"""

from __future__ import annotations

import ast
import builtins
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path

from tests.conftest import PROJECT

SLOT = "\0"
"""What stands for a value in a template."""
_PROSE = re.compile(r"[A-Za-z][A-Za-z']+ \(?[A-Za-z']+")
_SHOWN_ROOTS = {"Refusal", "NodeError"}
"""Exceptions whose text is recorded, with all that are derived from them (`dicom_node.errors`)."""
_LOUD = {"warning", "error", "exception"}


@dataclass(frozen=True)
class Template:
    """A text with `SLOT` for every value; `numbers` are the places of slots that are formatted as numbers."""

    text: str
    numbers: frozenset[int]
    place: str


def recorded_templates(*parts: str, without: frozenset[str] = frozenset()) -> Iterator[Template]:
    """Of every module below `parts` of the project; `without` names files and folders that are left out."""
    files = [path for part in parts for path in sorted((PROJECT / part).rglob("*.py"))]
    trees = {path: ast.parse(path.read_text(encoding="utf-8")) for path in files}
    hushed = _hushed_exceptions(trees.values())
    for path, tree in trees.items():
        name = str(path.relative_to(PROJECT))
        if any(name == left or name.startswith(f"{left}/") for left in without):
            continue
        yield from _templates(tree, path, hushed)


def _hushed_exceptions(trees: Iterable[ast.Module]) -> set[str]:
    """Names of exceptions, Python's own and ours, of whose text nothing is recorded."""
    bases = {
        node.name: {base.id for base in node.bases if isinstance(base, ast.Name)}
        for tree in trees
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef)
    }
    exceptions = {
        name for name, of in vars(builtins).items() if isinstance(of, type) and issubclass(of, BaseException)
    }
    return _with_derived(exceptions, bases) - _with_derived(_SHOWN_ROOTS, bases)


def _with_derived(roots: set[str], bases: dict[str, set[str]]) -> set[str]:
    more = {name for name, of in bases.items() if of & roots}
    return roots if more <= roots else _with_derived(roots | more, bases)


def _templates(tree: ast.Module, path: Path, hushed: set[str]) -> Iterator[Template]:
    hidden: set[int] = set()
    certain: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            hidden.add(id(node.value))  # a docstring
        elif isinstance(node, ast.Raise) and _is_hushed(node.exc, hushed):
            hidden |= {id(inner) for inner in ast.walk(node)}
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            of = ast.unparse(node.func.value)
            if of == "re" or (of in {"log", "logger", "_log"} and node.func.attr not in _LOUD):
                hidden |= {id(inner) for inner in ast.walk(node)}
            elif of in {"log", "logger", "_log"}:
                certain.add(id(node.args[0]))
        elif isinstance(node, ast.JoinedStr):
            hidden |= {id(value) for value in node.values}
    for node in ast.walk(tree):
        if id(node) in hidden:
            continue
        for text, numbers in _variants(node):
            if (id(node) in certain and text != SLOT) or _PROSE.search(text):
                yield Template(text.replace("%s", SLOT), numbers, f"{path.name}:{node.lineno}")  # type: ignore[attr-defined]


def _is_hushed(node: ast.expr | None, hushed: set[str]) -> bool:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in hushed


def _variants(node: ast.AST) -> Iterator[tuple[str, frozenset[int]]]:
    """A text, or those that an f-string with a choice within can give."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value, frozenset()
    elif isinstance(node, ast.JoinedStr):
        for chosen in product(*(list(_piece(value)) for value in node.values)):
            text, numbers, slots = "", set(), 0
            for piece, is_number in chosen:
                text += piece
                if is_number:
                    numbers.add(slots)
                slots += piece.count(SLOT)
            yield text, frozenset(numbers)


def _piece(node: ast.expr) -> Iterator[tuple[str, bool]]:
    if isinstance(node, ast.Constant):
        yield str(node.value), False
    elif isinstance(node, ast.FormattedValue):
        if isinstance(node.value, ast.IfExp):
            for branch in (node.value.body, node.value.orelse):
                texts = [text for text, _ in _variants(branch)]
                yield from ((text, False) for text in texts or [SLOT])
            return
        form = ast.unparse(node.format_spec) if node.format_spec is not None else ""
        yield SLOT, form.rstrip("'\"").endswith(("f", "g", "d"))

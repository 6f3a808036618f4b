"""Imports point down the layers, and nothing heavy is loaded before it is needed."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "arena"

LAYERS = [
    {"redaction"},
    {"errors", "printable"},
    {"records", "crash", "databases", "digest", "files", "progress"},
    {"config"},
    {"data", "endpoint", "log"},
    {"embedding", "judging", "rating"},
    {"vectors"},
    {"retrieval"},
    {"batch"},
    {"auditing"},
    {"experiment"},
    {"checking", "querying", "site"},
    {"api"},
    {"commands"},
    {"cli"},
    {"__main__", "__init__"},
]
"""Bottom up; the modules and packages of one layer do not know each other."""

LEVEL = {name: level for level, names in enumerate(LAYERS) for name in names}
HEAVY = {
    "matplotlib",
    "openai",
    "pandas",
    "onnxruntime",
    "bm25s",
    "ir_measures",
    "pyarrow",
    "scipy",
    "rich",
    "jinja2",
}


BROUGHT = {"httpx2": "openai", "pydantic_core": "pydantic"}
"""What is used because a package that is required uses it, too."""


def modules() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def place(path: Path) -> str:
    """The module's or package's name right under ``arena``."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports(path: Path, *, top_level: bool = False) -> Iterator[str]:
    """Dotted names that a module imports; those for type checkers alone are left out."""
    tree = ast.parse(path.read_text("utf-8"))
    waiting: list[ast.AST] = [tree]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            continue
        if top_level and isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        waiting.extend(ast.iter_child_nodes(node))


@pytest.mark.parametrize("path", modules(), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_point_down(path: Path) -> None:
    here = place(path)

    for name in imports(path):
        if name.startswith("arena.") and here not in ("__init__", "__main__"):
            there = name.split(".")[1]
            if there in ("__version__", here):
                continue
            assert LEVEL[there] < LEVEL[here], f"arena/{here} imports arena/{there}"


def test_every_module_has_its_layer() -> None:
    assert {place(path) for path in modules()} == set(LEVEL)


def test_modules_inside_a_package_do_not_import_in_a_circle() -> None:
    graph: dict[str, set[str]] = {}
    known = {".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts) for path in modules()}
    for path in modules():
        name = ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts)
        found = {i if i in known else i.rpartition(".")[0] for i in imports(path)}
        graph[name] = (found & known) - {name}

    while leaves := {name for name, needs in graph.items() if not needs}:
        graph = {name: needs - leaves for name, needs in graph.items() if name not in leaves}

    assert graph == {}


@pytest.mark.parametrize("path", modules(), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_heavy_packages_are_imported_only_where_they_are_used(path: Path) -> None:
    loaded = {name.split(".")[0] for name in imports(path, top_level=True)}

    assert loaded & HEAVY == set()


@pytest.mark.parametrize("package", ["openai", "tenacity"])
def test_only_the_endpoint_package_knows_how_endpoints_are_reached(package: str) -> None:
    users = {
        place(path)
        for path in modules()
        if package in {name.split(".")[0] for name in imports(path)}
    }

    assert users == {"endpoint"}


def test_every_package_that_is_imported_is_required_by_name() -> None:
    project = tomllib.loads((PACKAGE.parent / "pyproject.toml").read_text("utf-8"))["project"]
    wanted = [project["dependencies"], *project["optional-dependencies"].values()]
    required = {re.split(r"[^\w.-]", line)[0].lower() for lines in wanted for line in lines}
    of_package = packages_distributions()
    used = {name.split(".")[0] for path in modules() for name in imports(path)}

    for package in used - sys.stdlib_module_names - {"arena"}:
        name = BROUGHT.get(package, of_package.get(package, [package])[0])
        assert name.lower().replace("_", "-") in {other.replace("_", "-") for other in required}

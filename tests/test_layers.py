"""Imports point down the layers, and nothing heavy is loaded before it is needed."""

from __future__ import annotations

import ast
import functools
import re
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from source import PACKAGE, modules, statements, tree
from together import SOURCE

pytestmark = SOURCE

LAYERS = [
    {"redaction", "version"},
    {"errors"},
    {"digest", "files", "json_text", "metric_names", "optional", "records", "terminal"},
    {"config", "progress"},
    {"data", "endpoint", "signals"},
    {"cost", "store"},
    {"battles", "judging"},
    {"rating"},
    {"embedding"},
    {"vectors"},
    {"retrieval"},
    {"experiment"},
    {"auditing", "batch", "cluster", "dry_run"},
    {"checking", "comparing", "querying", "site"},
    {"api", "labelling"},
    {"commands"},
    {"cli"},
    {"__main__", "__init__"},
]
"""Bottom up; the modules and packages of one layer do not know each other."""

LEVEL = {name: level for level, names in enumerate(LAYERS) for name in names}
HEAVY = {
    "datasets",
    "matplotlib",
    "dask",
    "distributed",
    "fsspec",
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


BROUGHT = {"httpx2": "openai", "markupsafe": "jinja2", "pydantic_core": "pydantic"}
"""What is used because a package that is required uses it, too."""


def place(path: Path) -> str:
    """The module's or package's name right under ``arena``."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


@functools.cache
def imports(path: Path, *, at_start: bool = False) -> list[str]:
    """Dotted names that a module imports, those for type checkers too.

    With ``at_start``, only those that are imported when the module is.
    """
    names = []
    for node in statements(path, _is_later if at_start else lambda _: False):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names += [f"{node.module}.{alias.name}" for alias in node.names]
    return names


def _is_later(node: ast.stmt) -> bool:
    """Return whether a statement does not run when its module is imported."""
    if isinstance(node, ast.If):
        return isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
    return isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)


def test_imports_point_down() -> None:
    offenders = [
        f"{path.relative_to(PACKAGE)} imports {name}"
        for path in modules()
        for name in imports(path)
        if name.startswith("arena.")
        and place(path) not in ("__init__", "__main__")
        and name.split(".")[1] != place(path)
        and LEVEL[name.split(".")[1]] >= LEVEL[place(path)]
    ]

    assert offenders == []


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


def test_heavy_packages_are_imported_only_where_they_are_used() -> None:
    offenders = [
        f"{path.relative_to(PACKAGE)} imports {name}"
        for path in modules()
        for name in imports(path, at_start=True)
        if name.split(".")[0] in HEAVY
    ]

    assert offenders == []


@pytest.mark.parametrize("package", ["openai", "tenacity"])
def test_only_the_endpoint_package_knows_how_endpoints_are_reached(package: str) -> None:
    users = {
        place(path)
        for path in modules()
        if package in {name.split(".")[0] for name in imports(path)}
    }

    assert users == {"endpoint"}


FOLDER_FILE = re.compile(
    r"(.*/)?([*]|battles|replies|failures|grades|labels|spending|superseded|batches|learned"
    r"|manifest|leaderboard|per_query|metrics|shown)[-*\w]*[.](jsonl?|csv)[*]?"
    r"|retrieval/.*|[.]\w+[.]lock"
)
"""What a file of an experiment's folder is called, or a pattern of such names."""


def words(path: Path) -> Iterator[tuple[int, str]]:
    """Yield line and value of each text in a module; what an f-string fills in is a star."""
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.JoinedStr):
            parts = (part.value if isinstance(part, ast.Constant) else "*" for part in node.values)
            yield node.lineno, "".join(parts)
        elif isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div):
            if isinstance(node.right, ast.Constant):
                yield node.lineno, f"{node.right.value}/"
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.lineno, node.value


def test_one_module_alone_knows_what_the_files_of_an_experiment_are_called() -> None:
    owned = [text for _, text in words(PACKAGE / "store/folder.py") if FOLDER_FILE.fullmatch(text)]
    offenders = [
        f"{path.relative_to(PACKAGE)}:{line}: {text}"
        for path in modules()
        if path not in {PACKAGE / "store/folder.py", PACKAGE / "querying/files.py"}
        for line, text in words(path)
        if FOLDER_FILE.fullmatch(text)
    ]

    assert len(owned) >= 15
    assert offenders == []


def test_every_package_that_is_imported_is_required_by_name() -> None:
    project = tomllib.loads((PACKAGE.parent / "pyproject.toml").read_text("utf-8"))["project"]
    wanted = [project["dependencies"], *project["optional-dependencies"].values()]
    required = {re.split(r"[^\w.-]", line)[0].lower() for lines in wanted for line in lines}
    of_package = packages_distributions()
    used = {name.split(".")[0] for path in modules() for name in imports(path)}

    for package in used - sys.stdlib_module_names - {"arena"}:
        name = BROUGHT.get(package, of_package.get(package, [package])[0])
        assert name.lower().replace("_", "-") in {other.replace("_", "-") for other in required}


def exists(name: str) -> bool:
    """Whether a dotted name is a module of arena, or stands at the top of one."""
    module, _, last = name.rpartition(".")
    folder = PACKAGE.parent.joinpath(*module.split("."))
    if (folder / last).is_dir() or (folder / f"{last}.py").is_file():
        return True
    path = folder / "__init__.py" if folder.is_dir() else folder.with_suffix(".py")
    return path.is_file() and any(last in defined(node) for node in tree(path).body)


def defined(node: ast.stmt) -> list[str]:
    """The names that a statement at the top of a module defines."""
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return [node.name]
    if isinstance(node, ast.Import | ast.ImportFrom):
        return [alias.asname or alias.name for alias in node.names]
    names = (part for part in ast.walk(node) if isinstance(part, ast.Name))
    return [part.id for part in names if isinstance(part.ctx, ast.Store)]


def test_benchmarks_import_what_arena_has() -> None:
    paths = sorted((PACKAGE.parent / "benchmarks").glob("*.py"))
    used = {(path, name) for path in paths for name in imports(path) if name.startswith("arena.")}
    missing = sorted(f"{path.name} imports {name}" for path, name in used if not exists(name))

    assert len(used) >= 50
    assert missing == []

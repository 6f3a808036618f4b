"""What the pages about Python show runs as it is written."""

from __future__ import annotations

import ast
import asyncio
import inspect
import json
import re
from pathlib import Path
from typing import Any

import pytest
from experiments import QUERIES, fair_judge, write_experiment
from loopback import LoopbackServer
from together import MATPLOTLIB

import arena

pytestmark = MATPLOTLIB

REPOSITORY = Path(__file__).resolve().parents[1]


class my_model:  # noqa: N801 - as the pages call it
    """Ranks by the letters of the kind of document."""

    @staticmethod
    def encode(texts: list[str]) -> list[list[float]]:
        return [[text.count(letter) + 0.1 for letter in "dgofair"] for text in texts]


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """Where a reader of the pages is: with documents, a run file, and an endpoint that judges."""
    pytest.importorskip("matplotlib").use("agg")
    write_experiment(tmp_path)
    (tmp_path / "data").rename(tmp_path / "mydocs")
    (tmp_path / "data").mkdir()
    (tmp_path / "mydocs").rename(tmp_path / "data" / "mydocs")
    lines = [f"{q} Q0 good-{q} 1 2 x\n{q} Q0 fair-{q} 2 1 x\n" for q in QUERIES]
    (tmp_path / "hybrid.trec").write_text("".join(lines))
    monkeypatch.chdir(tmp_path)
    with LoopbackServer(fair_judge) as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.base_url)
        yield tmp_path
    from matplotlib import pyplot as plt

    plt.close("all")


def run_blocks(blocks: list[str], names: dict[str, Any]) -> dict[str, Any]:
    for block in blocks:
        exec(compile(block, "block", "exec"), names)
    return names


def test_the_page_of_python_runs_from_top_to_bottom(folder):
    blocks = blocks_of("docs/python.md")

    names = run_blocks(blocks, {"my_model": my_model})

    assert len(blocks) == 11
    assert {row.model for row in names["board"].overall} == {"bm25", "mine", "hybrid"}
    assert names["page"].exists()


def test_the_readmes_lines_of_python_run(folder):
    names = run_blocks(blocks_of("README.md"), {"my_model": my_model})

    assert names["board"].battles == 6 * len(QUERIES)


def test_the_packages_own_example_runs(folder):
    text = arena.__doc__.split("::\n", 1)[1]
    block = "\n".join(line[4:] for line in text.splitlines() if line.startswith("    ") or not line)

    names = run_blocks([block], {"my_model": my_model})

    assert names["board"].battles == 6 * len(QUERIES)


def blocks_of(page: str) -> list[str]:
    return re.findall(r"```python\n(.*?)```", (REPOSITORY / page).read_text("utf-8"), re.DOTALL)


def test_the_notebook_runs_in_a_running_loop_as_in_jupyter(monkeypatch):
    pytest.importorskip("matplotlib").use("agg")
    notebook = json.loads((REPOSITORY / "docs" / "arena.ipynb").read_text("utf-8"))
    cells = ["".join(c["source"]) for c in notebook["cells"] if c["cell_type"] == "code"]
    names: dict[str, Any] = {}

    async def kernel() -> list[Any]:
        return [shown(cell, names) for cell in cells]

    results = asyncio.run(kernel())

    assert all(cell["outputs"] == [] for cell in notebook["cells"] if "outputs" in cell)
    assert names["board"].overall[0].model == "bm25"
    assert sum(hasattr(result, "_repr_html_") for result in results) >= 3
    from matplotlib import pyplot as plt

    plt.close("all")


def shown(cell: str, names: dict[str, Any]) -> Any:
    """Run a cell; return its last expression, rendered as a kernel renders it."""
    tree = ast.parse(cell)
    last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, "cell", "exec"), names)
    if last is None:
        return None
    value = eval(compile(ast.Expression(last.value), "cell", "eval"), names)
    if hasattr(value, "_repr_html_"):
        assert value._repr_html_()
    return value


def test_every_public_name_is_there_and_on_the_page_of_python():
    page = (REPOSITORY / "docs" / "python.md").read_text("utf-8")
    typed = (REPOSITORY / "tests" / "typing" / "api.py").read_text("utf-8")

    assert [name for name in dir(arena) if not name.startswith("__")] == sorted(arena.__all__)
    for name in arena.__all__:
        assert getattr(arena, name) is not None
        assert name in dir(arena)
        assert re.search(rf"\b{name}\b", page), f"docs/python.md does not mention {name}"
        assert f"arena.{name}" in typed, f"tests/typing does not use {name}"


def test_the_docstring_of_a_public_name_explains_each_parameter_and_field():
    """What `help(arena)` and a notebook's question mark show."""
    for name in arena.__all__:
        public = getattr(arena, name)
        doc = inspect.getdoc(public)
        assert doc, name
        if inspect.isfunction(public):
            explained = inspect.signature(public).parameters.keys()
            assert re.search(r"\b(Return|return|Yield|Describe)", doc), name
        else:
            explained = getattr(public, "__dataclass_fields__", {}).keys()
        missing = [key for key in explained if not re.search(rf"^ +{key}: ", doc, re.MULTILINE)]
        assert not missing, f"{name}: {missing}"

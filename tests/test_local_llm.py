"""A real small model: it judges documents well, and lists not at all; the gate tells which.

Needs ``ARENA_TEST_LLM_URL``, the base_url of an OpenAI-compatible server with logprobs, and the
reference corpora. Written for a model of 1.5 billion parameters on two cores: some minutes.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from chat_judges import opened

from arena.config import JudgeConfig
from arena.data.beir import load_beir
from arena.data.query_sample import sample_queries
from arena.endpoint.address_and_key import Endpoint
from arena.endpoint.client import Api, run
from arena.errors import GateError
from arena.judging.gate import GateReport, check_gate, control_inputs, run_gate

URL = os.environ.get("ARENA_TEST_LLM_URL", "")
pytestmark = [
    pytest.mark.shared,
    pytest.mark.skipif(not URL, reason="ARENA_TEST_LLM_URL names no server"),
]


def gate(shared_data: Path, **settings: Any) -> GateReport:
    config = JudgeConfig(model="local", document_words=60, timeout_s=900, **settings)
    dataset = load_beir(shared_data / "corpora" / "msmarco", "msmarco")
    queries = {"msmarco": sample_queries(dataset, 10, seed=42)}

    async def story() -> GateReport:
        async with Api(Endpoint(URL, None, 900, 1)) as api:
            judge = opened(config, api, top_k=3)
            controls = control_inputs({"msmarco": dataset}, queries, [], top_k=3, n=6)
            report = await run_gate(judge, controls)
            check_gate(report, config)
            return report

    return run(story())


@pytest.mark.parametrize("answer", ["letter", "json"])
def test_the_gate_refuses_a_small_model_for_lists(shared_data: Path, answer: str):
    with pytest.raises(GateError, match='try kind = "pointwise"'):
        gate(shared_data, answer=answer, max_tokens=160)


@pytest.mark.parametrize("scale", ["graded", "binary"])
def test_the_gate_passes_a_small_model_for_documents(shared_data: Path, scale: str):
    report = gate(shared_data, kind="pointwise", scale=scale)

    assert report.passed
    assert report.flip_rate == 0.0


def test_a_pointwise_experiment_ends_with_every_battle_judged(shared_data: Path, tmp_path: Path):
    from arena.experiment.live import battle
    from arena.progress import reporter
    from arena.store.log_lines import read_battles

    corpus = shared_data / "corpora" / "msmarco"
    (tmp_path / "arena.toml").write_text(
        f"""
        [experiment]
        name = "local"
        queries = 2
        top_k = 3
        [[datasets]]
        name = "msmarco"
        path = "{corpus}"
        [[models]]
        name = "bm25"
        provider = "bm25"
        [[models]]
        name = "lsa"
        provider = "lsa"
        [judge]
        kind = "pointwise"
        model = "local"
        base_url = "{URL}"
        document_words = 60
        concurrency = 1
        timeout_s = 900
        gate = false
        """
    )

    summary = battle(tmp_path / "arena.toml", reporter(quiet=True))
    folder = tmp_path / "runs" / "local"
    assert summary.failures == {}
    assert len(list(read_battles(folder / "battles.jsonl"))) == 4
    assert (folder / "grades.jsonl").read_text().count("\n") >= 3

"""arena.toml: the one file that describes an experiment."""

from arena.config.datasets import DatasetConfig
from arena.config.experiment import (
    RETRIEVAL_DEPTH,
    Config,
    ExperimentConfig,
    load_config,
    parse_config,
    read_tree,
)
from arena.config.judges import UNPRICED, JudgeConfig
from arena.config.models import ModelConfig, known_price, swept
from arena.config.usage import UsageConfig

__all__ = [
    "RETRIEVAL_DEPTH",
    "UNPRICED",
    "Config",
    "DatasetConfig",
    "ExperimentConfig",
    "JudgeConfig",
    "ModelConfig",
    "UsageConfig",
    "known_price",
    "load_config",
    "parse_config",
    "read_tree",
    "swept",
]

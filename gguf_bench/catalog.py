"""models.yaml -> ModelSpec, and what a MODEL argument names.

The file is read as YAML nodes rather than values: nodes know their line, so that a mistake is named by file, line,
model and key, and nothing is built but text, numbers, lists and mappings. The format is described at the head of the
models.yaml that comes with the program.
"""

from __future__ import annotations

import difflib
import itertools
import math
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args

import yaml

from gguf_bench.baselines import BASELINES
from gguf_bench.errors import CatalogError, QuantizeError
from gguf_bench.paths import config_folder, from_home
from gguf_bench.quants import QUANTS, quant
from gguf_bench.records import ModelSpec, Provider

MODELS_FILE = "models.yaml"
MAX_BYTES = 1_000_000
MAX_NODES = 50_000
MAX_DEPTH = 16
MAX_HINTS, MAX_COMPARED = 20, 300
"""For how many mistakes names that are alike are looked for, and among how many: it takes its time."""

MAX_CONTEXT = 2**31 - 1
"""What llama.cpp counts positions by: 32 bits with a sign."""

MAX_CONCURRENCY = 256

BASELINE_GROUP = "baselines"
"""The group of what every run is compared with, no model among it. It is no name for a group of models.yaml."""

PROVIDERS: tuple[Provider, ...] = get_args(Provider)

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
HUB_ID = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*/[A-Za-z0-9_][A-Za-z0-9._-]*")
HUB_MODEL = re.compile(r"(?P<name>[^/:@]+/[^/:@]+)(@(?P<revision>[^:@]+))?(:(?P<quant>[^:@]+))?")
REVISION = re.compile(r"(?!.*\.\.)[A-Za-z0-9_][A-Za-z0-9._/+-]*")
READY_LABEL = re.compile(r"([A-Z]+-)*(I?Q|TQ)\d\w*|B?F(16|32)|(MX|NV)FP4\w*", re.ASCII)
PACKAGE_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?")
ENVIRONMENT_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Catalog:
    """A models.yaml, read. `groups` maps each group to its models' keys, `models` each key to its ModelSpec."""

    path: Path
    groups: Mapping[str, list[str]] = field(default_factory=dict)
    models: Mapping[str, ModelSpec] = field(default_factory=dict)


# --- finding the file ---


def find_catalog(models_file: Path | None = None) -> Path:
    """The models.yaml to use: `models_file`, $GGUF_BENCH_MODELS, ./models.yaml, the user's, or the one shipped.

    Raises CatalogError when a file that was asked for is not there.
    """
    environment = os.environ.get("GGUF_BENCH_MODELS")
    if models_file is not None:
        return _asked_for(models_file, "--models")
    if environment:
        return _asked_for(from_home(environment), "$GGUF_BENCH_MODELS")
    for folder in (Path.cwd(), config_folder()):
        if (folder / MODELS_FILE).is_file():
            return folder / MODELS_FILE
    return shipped_catalog()


def shipped_catalog() -> Path:
    """The models.yaml that comes with the program: in the package when installed, above it in a source checkout."""
    package = Path(__file__).parent
    installed = package / MODELS_FILE
    return installed if installed.is_file() else package.parent / MODELS_FILE


def _asked_for(path: Path, by: str) -> Path:
    if not path.is_file():
        raise CatalogError(f"{by} names {path}, which is not a file", hint="give the path of a models.yaml")
    return path


# --- looking models up ---


def resolve(text: str, catalog: Catalog) -> ModelSpec:
    """The model that a MODEL argument names.

    In this order: a baseline · a key of `catalog` · a path to a .gguf file or a folder with a checkpoint · `org/name`
    on the Hub, with `@revision` for a checkpoint, `:Q4_K_M` for a ready-made GGUF, or both. Raises CatalogError, with
    names that look alike and the way out, when it is none of these.
    """
    if text in BASELINES:
        return baseline(text)
    if text in catalog.models:
        return _with_its_file(catalog.models[text], catalog)
    try:
        named = _local_or_on_hub(text)
    except OSError as error:
        raise CatalogError(f"{text[:80]!r} cannot be looked at: {error.strerror}") from error
    if named is not None:
        return named
    if text in catalog.groups:
        raise CatalogError(f"{text!r} is a group of {catalog.path}", hint=f"use --group {text}")
    way_out = "give a key of models.yaml (`gguf-bench models list`), org/name on the Hub, a folder or a .gguf file"
    raise CatalogError(
        f"no model {text!r} in {catalog.path}", hint=_near(text, [*catalog.models, *BASELINES]) or way_out
    )


def baseline(name: str) -> ModelSpec:
    """What stands for the baseline `name` among the contenders."""
    shown = f"{name.removeprefix('baseline_')}, no model"
    return ModelSpec(key=name, provider="baseline", display_name=shown, group=BASELINE_GROUP)


def group(name: str, catalog: Catalog) -> list[ModelSpec]:
    """The models of the group `name`, in the file's order. Raises CatalogError for an unknown group."""
    if name == BASELINE_GROUP:
        return [baseline(key) for key in BASELINES]
    if name not in catalog.groups:
        hint = _near(name, catalog.groups) or f"groups: {', '.join(catalog.groups) or 'none'}"
        raise CatalogError(f"no group {name!r} in {catalog.path}", hint=hint)
    return [_with_its_file(catalog.models[key], catalog) for key in catalog.groups[name]]


def _with_its_file(spec: ModelSpec, catalog: Catalog) -> ModelSpec:
    """`spec`, once the file or folder of provider "file" is seen to be there: the catalog may list absent ones."""
    if spec.path is not None and not spec.path.exists():
        raise CatalogError(
            f"{spec.path} does not exist",
            file=catalog.path,
            model=spec.key,
            key="file",
            hint="put it there, or mend the path",
        )
    return spec


def _local_or_on_hub(text: str) -> ModelSpec | None:
    """The model that `text` names without a catalog, or None where it has the form of no path and no Hub id."""
    path = from_home(text)
    looks_local = text.endswith(".gguf") or text.startswith(("/", "./", "../", "~/"))
    if looks_local or (text and _is_checkpoint(path)):
        return _local(text, path)
    hub = HUB_MODEL.fullmatch(text)
    if hub:
        return _on_hub(text, hub["name"], hub["revision"], hub["quant"])
    return _local(text, path) if text and path.is_dir() else None


def _is_checkpoint(path: Path) -> bool:
    return (path / "config.json").is_file() or (path / "adapter_config.json").is_file()


def _local(text: str, path: Path) -> ModelSpec:
    if not path.exists():
        raise CatalogError(f"{text} does not exist", hint="give a folder with a checkpoint, or a .gguf file")
    if path.is_file() and path.suffix != ".gguf":
        raise CatalogError(f"{text} is no .gguf file", hint="give a folder with a checkpoint, or a .gguf file")
    if path.is_dir() and not _is_checkpoint(path):
        inside = sorted(path.glob("*.gguf"))
        hint = f"for its GGUF give {inside[0]}" if inside else "give a folder that holds a Hub-style checkpoint"
        raise CatalogError(f"the folder {text} has no config.json", hint=hint)
    whole = path.absolute()  # not resolved: a link into the Hub cache keeps its name and its other parts
    return ModelSpec(key=text, provider="file", path=whole, display_name=whole.stem if whole.is_file() else whole.name)


def _on_hub(text: str, name: str, revision: str | None, label: str | None) -> ModelSpec:
    for value, wrong in ((name, hub_id_mistake), (revision, revision_mistake)):
        mistake = wrong(value) if value is not None else None
        if mistake:
            raise CatalogError(f"{text!r}: {mistake}")
    ready = _ready_quantization(text, label) if label is not None else None
    shown = name.partition("/")[2] + (f" {ready}" if ready else "")
    return ModelSpec(key=text, name=name, revision=revision, ready_quantization=ready, display_name=shown)


def _ready_quantization(text: str, label: str) -> str:
    """`label` as files in Hub repos spell it. Repos also use labels that are no llama.cpp type (UD-Q4_K_XL, Q4_K_L)."""
    upper = label.upper()
    if upper in ("4BIT", "8BIT"):
        return quant(label).name
    if upper in QUANTS or READY_LABEL.fullmatch(upper):
        return upper
    try:
        return quant(label).name
    except QuantizeError as error:
        raise CatalogError(f"{text!r}: {error.message}", hint=error.hint) from error


def _near(word: str, words: Iterable[str]) -> str:
    """'did you mean ...?' with the words that begin as `word` does or look like it; empty when there are none."""
    known = list(itertools.islice(words, MAX_COMPARED))
    begun = [known_word for known_word in known if min(len(known_word), len(word)) >= 3 and _begins(known_word, word)]
    alike = difflib.get_close_matches(word.lower(), known, n=3, cutoff=0.6)
    near = list(dict.fromkeys(begun + alike))[:3]
    return f"did you mean {' or '.join(map(repr, near))}?" if near else ""


def _begins(word: str, other: str) -> bool:
    return word.startswith(other) or other.startswith(word)


# --- the keys of an entry ---
# A check returns what is wrong with a value of the right type, or None.


def hub_id_mistake(value: str) -> str | None:
    """What keeps `value` from being a Hub id. The rules are those of huggingface_hub's `validate_repo_id`."""
    sound = HUB_ID.fullmatch(value) and len(value) <= 96 and "--" not in value and ".." not in value
    if sound and not value.endswith((".git", "-", ".")):
        return None
    return f"{value!r} is no Hub id, wanted org/name"


def revision_mistake(value: str) -> str | None:
    return None if REVISION.fullmatch(value) else f"{value!r} is no revision, wanted a branch, a tag or a commit"


def _provider_mistake(value: str) -> str | None:
    if value in PROVIDERS:
        return None
    return f"unknown provider {value!r}, wanted {_either(PROVIDERS)}"


def _quantization_mistake(value: str) -> str | None:
    try:
        quant(value)
    except QuantizeError as error:
        return str(error)
    return None


def _package_mistake(value: str) -> str | None:
    return None if PACKAGE_NAME.fullmatch(value) else f"{value!r} is no package name"


def _context_mistake(value: int) -> str | None:
    if 0 < value <= MAX_CONTEXT:
        return None
    return f"found {_shown(value)}, wanted a number of tokens above 0 and up to {MAX_CONTEXT}"


def _url_mistake(value: str) -> str | None:
    """Where there may be a secret in the address, it is not shown."""
    if "@" in value or "?" in value or "#" in value:
        return "wanted an address without user name, password, ? and #; what holds the key is named by api_key_env"
    return None if re.fullmatch(r"https?://[^/\s]+\S*", value) else f"{value!r} is no http(s) address"


def _concurrency_mistake(value: int) -> str | None:
    return None if 0 < value <= MAX_CONCURRENCY else f"found {_shown(value)}, wanted 1 to {MAX_CONCURRENCY}"


def _price_mistake(value: float) -> str | None:
    return None if value >= 0 else f"found {_shown(value)}, wanted a price in dollars"


def _environment_mistake(value: str) -> str | None:
    """Not shown in the message: who writes the key itself here should not read it in a log."""
    return (
        None if ENVIRONMENT_NAME.fullmatch(value) else "wanted the name of an environment variable, not the key itself"
    )


@dataclass(frozen=True, slots=True)
class Key:
    """What an entry may say: the type of the value, the providers it makes sense for, and a check of the value."""

    type: type
    providers: tuple[Provider, ...] = PROVIDERS
    mistake: Callable[[Any], str | None] = lambda value: None


PRICES = ("usd_per_million_prompt_tokens", "usd_per_million_generated_tokens")
"""Keys that go together."""

KEYS: Mapping[str, Key] = {
    "name": Key(str, ("huggingface", "package", "file"), hub_id_mistake),
    "display_name": Key(str),
    "parameters": Key(str),
    "provider": Key(str, mistake=_provider_mistake),
    "quantization": Key(str, mistake=_quantization_mistake),
    "revision": Key(str, ("huggingface",), revision_mistake),
    "file": Key(str, ("huggingface", "package", "file")),
    "package": Key(str, ("package",), _package_mistake),
    "base": Key(str, ("huggingface", "file"), hub_id_mistake),
    "context": Key(int, mistake=_context_mistake),
    "template_kwargs": Key(dict),
    "base_url": Key(str, ("openai",), _url_mistake),
    "model": Key(str, ("openai",)),
    "api_key_env": Key(str, ("openai",), _environment_mistake),
    "concurrency": Key(int, ("openai",), _concurrency_mistake),
    **dict.fromkeys(PRICES, Key(float, ("openai",), _price_mistake)),
    "license": Key(str),
    "gated": Key(bool),
}

REQUIRED: Mapping[Provider, tuple[str, ...]] = {
    "huggingface": ("name",),
    "package": ("package",),
    "file": ("file",),
    "openai": ("base_url", "model"),
}

TYPE_NAMES = {
    str: "text",
    int: "a whole number",
    bool: "true or false",
    dict: "a mapping",
    float: "a number",
    list: "a list",
}


# --- reading the file ---


def load_catalog(path: Path) -> Catalog:
    """Read a models.yaml. Raises CatalogError for the first mistake, by file, line, model and key."""
    catalog, mistakes = _Reader(path).read()
    if mistakes:
        raise mistakes[0]
    return catalog


def find_mistakes(path: Path) -> list[CatalogError]:
    """Every mistake in a models.yaml, in the order of its lines; empty for a sound file.

    A file that cannot be read, or is no YAML, has one.
    """
    try:
        return _Reader(path).read()[1]
    except CatalogError as error:
        return [error]


@dataclass(slots=True)
class _Entry:
    """What the file says of one model, in all the groups that name it: `values`, and the line of each."""

    group: str
    line: int
    values: dict[str, Any] = field(default_factory=dict)
    lines: dict[str, int] = field(default_factory=dict)


class _Unread(CatalogError):
    """A value that cannot be read. It makes its key a mistake, and leaves the rest of the file readable."""


class _Reader:
    """Reads one models.yaml, collecting mistakes rather than stopping at the first."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.mistakes: list[CatalogError] = []
        self.entries: dict[str, _Entry] = {}
        self.groups: dict[str, list[str]] = {}
        self.mentions: list[tuple[str, int]] = []
        self.nodes_left = MAX_NODES
        self.hints_left = MAX_HINTS
        self.mistaken: set[str | None] = set()

    def read(self) -> tuple[Catalog, list[CatalogError]]:
        root = self.compose()
        if root is not None and not _is_null(root):
            self.read_groups(root)
        self.mistaken = {mistake.model for mistake in self.mistakes}
        models = {key: spec for key, entry in self.entries.items() if (spec := self.spec(key, entry)) is not None}
        for key, line in self.mentions:
            if key not in self.entries:
                hint = self.near(key, self.entries) or "write its entry, at least `name: org/name`"
                self.mistake(line, "is mentioned, but no group describes it", model=key, hint=hint)
        self.mistakes.sort(key=lambda mistake: mistake.line or 0)
        return Catalog(path=self.path, groups=self.groups, models=models), self.mistakes

    def compose(self) -> yaml.Node | None:
        try:
            size_bytes = self.path.stat().st_size
            if size_bytes > MAX_BYTES:
                raise self.error(f"{size_bytes:,} bytes are too many for a models.yaml, wanted at most {MAX_BYTES:,}")
            text = self.path.read_text(encoding="utf-8")
        except OSError as error:
            raise CatalogError(f"cannot be read: {error.strerror}", file=self.path) from error
        except UnicodeDecodeError as error:
            raise CatalogError("is not UTF-8 text", file=self.path) from error
        # The C loader where there is one. Both compose by recursion, so the depth is bounded on the events first.
        loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
        try:
            depth = 0
            for event in yaml.parse(text, Loader=loader):
                depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
                if depth > MAX_DEPTH:
                    line = event.start_mark.line + 1 if event.start_mark else None
                    raise self.error(f"nested more than {MAX_DEPTH} deep", line)
            composed: yaml.Node | None = yaml.compose(text, Loader=loader)
        except yaml.MarkedYAMLError as error:
            line = error.problem_mark.line + 1 if error.problem_mark else None
            what = " ".join(part for part in (error.problem, error.context) if part)
            raise CatalogError(f"is not YAML: {what}", file=self.path, line=line) from error
        except yaml.YAMLError as error:
            raise CatalogError(f"is not YAML: {str(error).splitlines()[0]}", file=self.path) from error
        return composed

    def error(
        self, message: str, line: int | None = None, model: str | None = None, key: str | None = None
    ) -> CatalogError:
        return CatalogError(message, file=self.path, line=line, model=model, key=key)

    def mistake(
        self, line: int, message: str, *, model: str | None = None, key: str | None = None, hint: str = ""
    ) -> None:
        self.mistakes.append(CatalogError(message, file=self.path, line=line, model=model, key=key, hint=hint))

    def near(self, word: str, words: Iterable[str]) -> str:
        self.hints_left -= 1
        return _near(word, words) if self.hints_left >= 0 else ""

    def pairs(
        self, node: yaml.MappingNode, what: str, model: str | None = None, key: str | None = None, depth: int = 0
    ) -> Iterator[tuple[str, int, yaml.Node]]:
        """The (name, line, value) of a mapping of groups, models or keys, as `what` says.

        Names that are no text, or come twice, are mistakes and left out. `key` is the entry's, where `node` is part of
        its value.
        """
        first_lines: dict[str, int] = {}
        for name_node, value_node in node.value:
            line = name_node.start_mark.line + 1
            written = name_node.value if isinstance(name_node, yaml.ScalarNode) else None
            of_model = written if what == "model" else model
            of_key = written if what == "key" and key is None else key
            try:
                name = self.value(name_node, of_model, of_key, depth)
            except _Unread as error:
                self.mistakes.append(error)
                continue
            if not isinstance(name, str):
                message = f"a {what} must be text, found {_kind(name)}"
                self.mistake(line, message, model=of_model, key=of_key, hint="put it in quotes")
            elif name in first_lines:
                message = f"the {what} {name!r} was there before, in line {first_lines[name]}"
                self.mistake(line, message, model=of_model, key=of_key)
            else:
                first_lines[name] = line
                yield name, line, value_node

    def read_groups(self, root: yaml.Node) -> None:
        if not isinstance(root, yaml.MappingNode):
            self.mistake(1, f"wanted groups of models, found {_kind(self.value(root))}")
            return
        for name, line, node in self.pairs(root, "group"):
            if name == BASELINE_GROUP:
                self.mistake(line, f"the group {name!r} is there already: what stands in every run", hint=RENAME)
            elif not NAME.fullmatch(name):
                self.mistake(line, f"{name!r} is no name for a group", hint="use letters, digits, '.', '_' and '-'")
            elif isinstance(node, yaml.SequenceNode):
                self.groups[name] = []
                for item in node.value:
                    self.read_mention(name, item)
            elif isinstance(node, yaml.MappingNode):
                self.read_group(name, line, node)
            elif _is_null(node):
                self.groups[name] = []
            else:
                self.mistake(line, f"the group {name!r} must hold models, found {_kind(self.value(node))}")

    def read_group(self, name: str, line: int, node: yaml.MappingNode) -> None:
        pairs = list(self.pairs(node, "model"))
        if any(key in KEYS and isinstance(value, yaml.ScalarNode) and not _is_null(value) for key, _, value in pairs):
            hint = "put it under a group, indented by two more spaces"
            self.mistake(line, "is an entry without a group", model=name, hint=hint)
            return
        self.groups[name] = []
        for key, entry_line, value in pairs:
            if self.named_soundly(key, entry_line):
                self.groups[name].append(key)
                if _is_null(value):
                    self.mentions.append((key, entry_line))
                elif isinstance(value, yaml.MappingNode):
                    self.read_entry(name, key, entry_line, value)
                else:
                    found = _kind(self.value(value, key))
                    self.mistake(
                        entry_line, f"wanted an entry, found {found}", model=key, hint="write `name: org/name` below it"
                    )

    def read_mention(self, name: str, item: yaml.Node) -> None:
        line = item.start_mark.line + 1
        key = self.value(item)
        if not isinstance(key, str):
            self.mistake(line, f"the group {name!r} must list keys of models, found {_kind(key)}")
        elif key in self.groups[name]:
            self.mistake(line, f"the group {name!r} lists it twice", model=key)
        elif self.named_soundly(key, line):
            self.groups[name].append(key)
            self.mentions.append((key, line))

    def named_soundly(self, key: str, line: int) -> bool:
        if key in BASELINES:
            self.mistake(line, "is the name of a baseline, which stands in every run by itself", model=key, hint=RENAME)
            return False
        if NAME.fullmatch(key):
            return True
        hint = "use letters, digits, '.', '_' and '-'; the Hub id goes below it, as `name`"
        self.mistake(line, f"{key!r} is no key for a model", model=key, hint=hint)
        return False

    def read_entry(self, group_name: str, model: str, line: int, node: yaml.MappingNode) -> None:
        """Add what `node` says of `model`. Other groups may say the same, or say more, but nothing else."""
        entry = self.entries.setdefault(model, _Entry(group_name, line))
        for key, key_line, value_node in self.pairs(node, "key", model):
            row = KEYS.get(key)
            if row is None:
                hint = self.near(key, KEYS) or f"known: {', '.join(KEYS)}"
                self.mistake(key_line, "unknown key", model=model, key=key, hint=hint)
                continue
            try:
                value = self.value(value_node, model, key)
            except _Unread as error:
                self.mistakes.append(error)
                continue
            if value is None:
                continue
            if row.type is float and type(value) is int and abs(value) < 2**53:
                value = float(value)
            first_line = entry.lines.setdefault(key, key_line)
            if type(value) is not row.type:
                hint = "put it in quotes" if row.type is str and not isinstance(value, dict | list) else ""
                wanted = f"wanted {TYPE_NAMES[row.type]}, found {_kind(value)}"
                self.mistake(key_line, wanted, model=model, key=key, hint=hint)
            elif isinstance(value, str) and not value.strip():
                self.mistake(key_line, "is empty", model=model, key=key)
            elif wrong := row.mistake(value):
                self.mistake(key_line, wrong, model=model, key=key)
            elif key in entry.values and entry.values[key] != value:
                before = f"found {value!r}, but line {first_line} says {entry.values[key]!r}"
                hint = "say it once, and let the other groups list the model's key"
                self.mistake(key_line, before, model=model, key=key, hint=hint)
            else:
                entry.values[key] = value

    def spec(self, model: str, entry: _Entry) -> ModelSpec | None:
        """The ModelSpec of an entry, or None where a mistake stands in the way."""
        if model in self.mistaken:
            return None
        values = dict(entry.values)
        provider: Provider = values.pop("provider", "huggingface")
        wrong = False
        for key in values:
            meant = KEYS[key].providers
            if provider not in meant:
                hint = f"with it goes `provider: {meant[0]}`" if len(meant) == 1 else ""
                message = f"means nothing with provider {provider!r}"
                self.mistake(entry.lines[key], message, model=model, key=key, hint=hint)
                wrong = True
        for key in REQUIRED[provider]:
            if key not in values and not wrong:
                self.mistake(entry.line, f"missing, provider {provider!r} needs it", model=model, key=key)
                wrong = True
        for price, other in itertools.permutations(PRICES):
            if price in values and other not in values and not wrong:
                self.mistake(entry.lines[price], f"missing, {price} needs it", model=model, key=other)
                wrong = True
        if wrong:
            return None
        if "quantization" in values:
            values["quantization"] = quant(values["quantization"]).name
        if provider == "file":
            values["path"] = (self.path.parent / from_home(values.pop("file"))).absolute()
        values.setdefault("display_name", _default_display_name(model, values))
        return ModelSpec(key=model, provider=provider, group=entry.group, **values)

    def value(self, node: yaml.Node, model: str | None = None, key: str | None = None, depth: int = 0) -> Any:
        """The plain value of a node, which is (part of) what `model` says under `key`. Raises CatalogError.

        Counts what it visits, since a few aliases can stand for billions of nodes.
        """
        line = node.start_mark.line + 1
        self.nodes_left -= 1
        if self.nodes_left < 0 or depth > MAX_DEPTH:
            raise self.error("too large once its aliases (*name) are written out", line, model, key)
        if isinstance(node, yaml.MappingNode) and node.tag == "tag:yaml.org,2002:map":
            pairs = self.pairs(node, "key", model, key, depth + 1)
            return {name: self.value(value, model, key, depth + 1) for name, _, value in pairs}
        if isinstance(node, yaml.SequenceNode) and node.tag == "tag:yaml.org,2002:seq":
            return [self.value(item, model, key, depth + 1) for item in node.value]
        if isinstance(node, yaml.ScalarNode) and node.tag in TEXT_TAGS:
            return node.value
        if not isinstance(node, yaml.ScalarNode) or node.tag not in SCALARS:
            message = f"the tag {node.tag} is not allowed here"
            raise _Unread(message, file=self.path, line=line, model=model, key=key)
        scalar = SCALARS[node.tag]
        try:
            return scalar.read(node.value)
        except (ValueError, LookupError) as error:
            message, hint = f"{_shown(node.value)} is not {scalar.name}", "put it in quotes if it is meant as text"
            raise _Unread(message, file=self.path, line=line, model=model, key=key, hint=hint) from error


RENAME = "choose another name"
TEXT_TAGS = {f"tag:yaml.org,2002:{name}" for name in ("str", "timestamp", "merge")}


@dataclass(frozen=True, slots=True)
class _Scalar:
    """What a YAML tag stands for: its name in messages, and how its text is read (ValueError, LookupError)."""

    name: str
    read: Callable[[str], Any]


def _whole_number(text: str) -> int:
    """YAML 1.1 also takes 1:30 for 90, 010 for 8 and 4_096 for 4096; who writes them here may mean something else."""
    if not WHOLE_NUMBER.fullmatch(text):
        raise ValueError(text)
    return int(text)


def _number(text: str) -> float:
    """Finite: an infinity is no JSON, and NaN differs from itself."""
    if not NUMBER.fullmatch(text) or not math.isfinite(float(text)):
        raise ValueError(text)
    return float(text)


WHOLE_NUMBER = re.compile(r"-?(0|[1-9][0-9]*)")
NUMBER = re.compile(r"[-+]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][-+]?[0-9]+)?")
SCALARS: Mapping[str, _Scalar] = {
    "tag:yaml.org,2002:null": _Scalar("null", lambda text: None),
    "tag:yaml.org,2002:bool": _Scalar(
        "true or false", lambda text: yaml.constructor.SafeConstructor.bool_values[text.lower()]
    ),
    "tag:yaml.org,2002:int": _Scalar("a whole number in plain digits", _whole_number),
    "tag:yaml.org,2002:float": _Scalar("a finite number in plain digits", _number),
}


def _default_display_name(model: str, values: Mapping[str, Any]) -> str:
    if "name" in values:
        return str(values["name"]).partition("/")[2]
    return str(values.get("model", model))


def _is_null(node: yaml.Node) -> bool:
    return bool(node.tag == "tag:yaml.org,2002:null")


def _kind(value: object) -> str:
    """How a message speaks of a value. Text is not quoted: it may be a secret in the wrong place."""
    if value is None:
        return "nothing"
    shown = f" ({_shown(value)})" if isinstance(value, bool | int | float) else ""
    return f"{TYPE_NAMES[type(value)]}{shown}"


def _shown(value: object) -> str:
    words = repr(value)
    return words if len(words) <= 40 else words[:37] + "..."


def _either(words: Iterable[str]) -> str:
    *most, last = words
    return f"{', '.join(most)} or {last}"

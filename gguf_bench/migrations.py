"""The store's schema, as steps. Append a step, to STEPS too; never edit one that was released.

sqlite-utils applies them and keeps the names of those that a store has. It is imported only where there is something to
apply: it takes longer than all that a command does with a store that is up to date.
"""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sqlite_utils import Database

TABLE, OURS = "_sqlite_migrations", "gguf_bench"
"""Where sqlite-utils keeps the names, and what it calls this set of steps."""


def m001_first_tables(db: Database) -> None:
    """Files, runs, contenders, answers, the documents' labels, and the view `eps_scores`."""
    for statement in FIRST_TABLES.split(";"):
        db.execute(statement)  # one by one: executescript would end the migration's transaction


FIRST_TABLES = """
create table locks (
    repo text not null,
    revision text not null,          -- what the user named, '' for the default branch
    commit_sha text not null,
    created text not null,
    primary key (repo, revision)
);
create table artifacts (             -- every GGUF file, by content
    sha256 text primary key,
    path text not null,              -- where it was last seen
    size_bytes integer not null,
    quant text not null,
    bits_per_weight real not null,
    n_params integer not null,
    architecture text not null,
    context_train integer not null,
    source_repo text,
    source_commit text,
    parent_sha256 text references artifacts (sha256),
    made_by text not null,           -- 'downloaded', 'found', 'converted' or 'quantized'
    made_with text not null,         -- JSON: versions and options
    created text not null
);
create table file_hashes (           -- so that gigabytes are hashed once
    path text primary key,
    size_bytes integer not null,
    mtime_ns integer not null,
    sha256 text not null
);
create table runs (
    id integer primary key,
    key text not null,               -- what makes two invocations the same comparison
    name text not null,
    description text not null,
    status text not null,            -- 'running', 'interrupted', 'finished'
    created text not null,
    finished text,
    task text not null,
    task_version text not null,
    prompt_version text not null,
    scorer_version text not null,
    dataset text not null,
    dataset_sha256 text not null,
    n_documents integer not null,
    excerpt_chars integer,           -- null: the whole text
    excerpt_version text not null,
    fresh integer not null,           -- asked for with --fresh: no earlier answer was reused
    settings text not null,          -- JSON: how answers were computed
    machine text not null,           -- JSON: CPU, GPUs, memory, OS
    versions text not null           -- JSON: gguf-bench, llama.cpp, python
);
create index runs_key on runs (key);
create table documents (             -- labels, so that answers can be scored again without the dataset
    dataset_sha256 text not null,
    document_id text not null,
    company text not null,
    period text not null,
    tier text not null,
    tags text not null,              -- JSON
    gold text not null,              -- JSON, numbers as printed
    traps text not null,             -- JSON
    primary key (dataset_sha256, document_id)
);
create table contenders (
    id integer primary key,
    run_id integer not null references runs (id) on delete cascade,
    position integer not null,
    model text not null,
    display_name text not null,
    model_group text not null,
    parameters text,
    quant text,                      -- what was asked for, then what the file is
    file_sha256 text references artifacts (sha256),
    settings_sha256 text not null,
    status text not null,            -- 'pending', 'running', 'interrupted', 'finished' or 'failed'
    error text,
    n_ctx integer,
    gpu_layers integer,
    load_seconds real,
    prompt_tokens_per_second real,
    generation_tokens_per_second real,
    documents_per_minute real,
    peak_rss_bytes integer,
    peak_vram_bytes integer,
    n_documents integer,             -- from here on: computed from the answers when they are complete
    eps_score real,
    eps_score_low real,
    eps_score_high real,
    exact_match real,
    exact_match_low real,
    exact_match_high real,
    basic_accuracy real,
    diluted_accuracy real,
    adjusted_accuracy real,
    unparseable integer,
    over_context integer,
    missed integer,
    hallucinated integer,
    unique (run_id, model, quant)
);
create index contenders_file on contenders (file_sha256, settings_sha256);
create table answers (
    contender_id integer not null references contenders (id) on delete cascade,
    document_id text not null,
    status text not null,            -- 'answered', 'unparseable' or 'over_context'
    prompt_sha256 text not null,
    output text not null,
    basic real,
    diluted real,
    adjusted real,
    kind_basic text not null,
    kind_diluted text not null,
    kind_adjusted text not null,
    score real not null,
    prompt_tokens integer not null,
    decoded_prompt_tokens integer not null,  -- those that were not in the cache already
    generated_tokens integer not null,
    prompt_seconds real not null,
    generation_seconds real not null,
    seconds real not null,
    primary key (contender_id, document_id)
) without rowid;
create view eps_scores as
    select
        runs.id as run_id,
        runs.name as run_name,
        runs.created,
        contenders.status,
        contenders.model,
        contenders.display_name,
        contenders.model_group,
        coalesce(artifacts.quant, contenders.quant) as quant,
        contenders.file_sha256,
        artifacts.size_bytes,
        artifacts.bits_per_weight,
        contenders.n_documents,
        contenders.eps_score,
        contenders.eps_score_low,
        contenders.eps_score_high,
        contenders.exact_match,
        contenders.exact_match_low,
        contenders.exact_match_high,
        contenders.basic_accuracy,
        contenders.diluted_accuracy,
        contenders.adjusted_accuracy,
        contenders.unparseable,
        contenders.over_context,
        contenders.missed,
        contenders.hallucinated,
        contenders.prompt_tokens_per_second,
        contenders.generation_tokens_per_second,
        contenders.documents_per_minute,
        contenders.load_seconds,
        contenders.peak_rss_bytes,
        contenders.peak_vram_bytes,
        contenders.gpu_layers,
        contenders.error
    from contenders
    join runs on runs.id = contenders.run_id
    left join artifacts on artifacts.sha256 = contenders.file_sha256
    order by runs.id, contenders.position
"""


def m002_adapters(db: Database) -> None:
    """The LoRA adapter a contender was run with. It takes room, too, so `size_bytes` counts it."""
    view = db["eps_scores"].schema
    db.execute("drop view eps_scores")
    db.execute("alter table contenders add column adapter_sha256 text references artifacts (sha256)")
    view = view.replace(
        "artifacts.size_bytes,", "artifacts.size_bytes + coalesce(adapters.size_bytes, 0) as size_bytes,"
    )
    joined = "left join artifacts on artifacts.sha256 = contenders.file_sha256"
    db.execute(
        view.replace(joined, f"{joined} left join artifacts adapters on adapters.sha256 = contenders.adapter_sha256")
    )


def m003_endpoints(db: Database) -> None:
    """Contenders that a server answers for: who it says answered, how it was asked, and what that cost."""
    view = db["eps_scores"].schema
    db.execute("drop view eps_scores")
    for column in ENDPOINT_COLUMNS:
        db.execute(f"alter table contenders add column {column}")
    shown = ("base_url", "served_model", "schema_kept", "usd_per_document", "wall_seconds")
    columns = "".join(f",\n        contenders.{name}" for name in shown)
    db.execute(view.replace("contenders.error", f"contenders.error{columns}"))


ENDPOINT_COLUMNS = (
    "base_url text",  # null for a file, as the others but wall_seconds
    "served_model text",  # what the server calls the model
    "system_fingerprint text",  # all that were seen
    "request text",  # JSON: what every request asked for besides its message
    "schema_kept integer",  # whether every whole answer was of the JSON schema; null: the server took none
    "usd_per_document real",  # by the entry's prices
    "wall_seconds real",  # from the first request to the last answer, over all sittings
)


def m004_sampled_tokens(db: Database) -> None:
    """How many of an answer's tokens the model chose; the others its grammar forced. Unknown of earlier answers."""
    db.execute("alter table answers add column sampled_tokens integer")


def m005_what_a_run_shows(db: Database) -> None:
    """Baselines that nobody asked for, answers without a grammar, and what of the gold figures the excerpts hold."""
    view = db["eps_scores"].schema
    db.execute("drop view eps_scores")
    db.execute("alter table contenders add column asked integer not null default 1")  # 0: a baseline of every run
    db.execute(EXCERPTS)
    shown = (
        "contenders.asked",
        "coalesce(json_extract(runs.settings, '$.grammar'), 1) as grammar",
        "contenders.id as contender_id",
    )
    columns = "".join(f",\n        {column}" for column in shown)
    db.execute(view.replace("contenders.wall_seconds", f"contenders.wall_seconds{columns}"))


EXCERPTS = """
create table excerpts (              -- what of each document the contenders of a run got to read
    run_id integer not null references runs (id) on delete cascade,
    document_id text not null,
    text_chars integer not null,
    excerpt_chars integer not null,
    gold_figures integer not null,   -- fields that have a figure
    gold_kept integer not null,      -- those of them whose figure stands in the excerpt
    lost text,                       -- the others, as 'basic adjusted'; null: none
    primary key (run_id, document_id)
) without rowid
"""


def m006_texts(db: Database) -> None:
    """What contenders got to read, each text once however many runs show it; the scorer beside every score."""
    view = db["eps_scores"].schema
    db.execute("drop view eps_scores")
    db.execute(TEXTS)
    db.execute("alter table excerpts add column text_sha256 text references texts (sha256)")  # null: of a run before
    db.execute("create index excerpts_text on excerpts (text_sha256)")
    last = "contenders.id as contender_id"
    db.execute(view.replace(last, f"{last},\n        runs.scorer_version"))


TEXTS = """
create table texts (
    sha256 text primary key,         -- of the text in UTF-8
    text text not null
)
"""


def m007_fidelity(db: Database) -> None:
    """How near files predict to the ones they were made from; the measurement that counts beside every score."""
    view = db["eps_scores"].schema
    db.execute("drop view eps_scores")
    db.execute(FIDELITY)
    db.execute("create index fidelity_measurements_file on fidelity_measurements (file_sha256)")
    shown = ("kl_divergence", "top1_agreement", "perplexity", "id as fidelity_id")
    columns = "".join(f",\n        fidelity_measurements.{column}" for column in shown)
    view = view.replace("runs.scorer_version", f"runs.scorer_version{columns}")
    db.execute(view.replace("order by runs.id", f"left join {FIDELITY_SHOWN}\n    order by runs.id"))


FIDELITY = """
create table fidelity_measurements ( -- how near a file predicts to another, its reference, on a text
    id integer primary key,
    file_sha256 text not null references artifacts (sha256),
    reference_sha256 text not null references artifacts (sha256),
    text text not null,              -- what it is called, or where it was
    text_sha256 text not null,
    n_ctx integer not null,          -- tokens of a chunk, of which the second half is predicted
    n_chunks integer not null,       -- from the beginning of the text
    is_whole_text integer not null,  -- 1: it has no more of them
    n_tokens integer not null,       -- predicted
    settings text not null,          -- JSON: what else the figures hang on, the build and the machine among it
    kl_divergence real,              -- from here on: null is what is no number
    kl_divergence_standard_error real,
    kl_divergence_99 real,
    kl_divergence_99_standard_error real,
    top1_agreement real,
    top1_agreement_standard_error real,
    perplexity real,
    perplexity_standard_error real,
    reference_perplexity real,
    reference_perplexity_standard_error real,
    perplexity_ratio real,
    perplexity_ratio_standard_error real,
    gpu_layers integer not null,
    reference_gpu_layers integer not null,
    seconds real not null,
    peak_rss_bytes integer not null, -- of the process that held both files
    llama_cpp text not null,         -- its version
    created text not null
)
"""

# With an adapter a file is another model, and its own figures are not of that one.
FIDELITY_SHOWN = """fidelity_measurements on fidelity_measurements.id = (
        select measured.id
        from fidelity_measurements measured
        join artifacts reference on reference.sha256 = measured.reference_sha256
        where measured.file_sha256 = contenders.file_sha256
            and contenders.adapter_sha256 is null
            and measured.text = 'eps-measurement-v1'
        order by reference.bits_per_weight desc, measured.n_tokens desc, measured.id desc
        limit 1
    )"""


def m008_template_kwargs(db: Database) -> None:
    """What the chat template of a contender was given: who runs the file elsewhere has to give it the same."""
    db.execute("alter table contenders add column template_kwargs text")  # JSON; null: nothing, or not known


STEPS = (
    *(m001_first_tables, m002_adapters, m003_endpoints, m004_sampled_tokens, m005_what_a_run_shows, m006_texts),
    *(m007_fidelity, m008_template_kwargs),
)
NAMES = [step.__name__ for step in STEPS]


def applied(store: sqlite3.Connection) -> set[str]:
    """The names of the steps that `store` has. Raises sqlite3.OperationalError where it is no store."""
    return {name for (name,) in store.execute(f"select name from {TABLE} where migration_set = ?", [OURS])}


def apply(store: sqlite3.Connection, *, stop_before: str | None = None) -> None:
    """Bring `store` up to date, or to what it was before there was a step."""
    from sqlite_utils import Database, Migrations

    migrations = Migrations(OURS)
    for step in STEPS:
        migrations()(step)
    # Looking for plugins takes its time, and we want nobody else's.
    migrations.apply(Database(store, execute_plugins=False), stop_before=stop_before)

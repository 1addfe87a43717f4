-- What a contender's score costs: its file, memory and time, smallest file first.
-- Speeds are in tokens a second while prompts are read and answers written. Endpoints have no size.
-- :run [the newest] a run's id
with given as (select coalesce(nullif(:run, ''), (select max(id) from runs)) as run)
select
    model,
    quant,
    round(size_bytes / 1048576.0) as size_mib,
    round(bits_per_weight, 2) as bits_per_weight,
    round(peak_rss_bytes / 1048576.0) as memory_mib,
    round(peak_vram_bytes / 1048576.0) as gpu_memory_mib,
    round(prompt_tokens_per_second, 1) as prompt_tokens_per_second,
    round(generation_tokens_per_second, 1) as generation_tokens_per_second,
    round(documents_per_minute, 1) as documents_per_minute,
    round(load_seconds, 1) as load_seconds,
    round(100 * eps_score, 1) as eps_percent
from given
join eps_scores on eps_scores.run_id = given.run
where status = 'finished'
order by size_bytes is null, size_bytes, model, quant;

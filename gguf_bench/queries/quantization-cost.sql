-- What quantizing costs: points lost against bytes saved, beside the largest file of the same model.
-- Differences of a few points are noise more often than not: `results show` says which are shown.
-- :run [the newest] a run's id
with given as (select coalesce(nullif(:run, ''), (select max(id) from runs)) as run),
scored as (
    select
        eps_scores.*,
        first_value(quant) over of_model as largest_quant,
        first_value(eps_score) over of_model as largest_score,
        first_value(size_bytes) over of_model as largest_bytes,
        first_value(documents_per_minute) over of_model as largest_speed,
        count(*) over (partition by model) as n_files
    from given
    join eps_scores on eps_scores.run_id = given.run
    where eps_score is not null and size_bytes is not null
    window of_model as (partition by model order by size_bytes desc, quant)
)
select
    model,
    quant,
    largest_quant as beside,
    round(bits_per_weight, 2) as bits_per_weight,
    round(size_bytes / 1048576.0) as size_mib,
    round(100 - 100.0 * size_bytes / largest_bytes, 1) as size_saved_percent,
    round(100 * eps_score, 1) as eps_percent,
    round(100 * (largest_score - eps_score), 1) as points_lost,
    round(documents_per_minute / largest_speed, 2) as times_as_fast
from scored
where n_files > 1
order by model, size_bytes desc, quant;

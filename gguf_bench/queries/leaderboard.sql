-- Who reads EPS best: the contenders of a run, best first.
-- `low` and `high` bound the score's 95 % interval, `n` counts documents, `bits` are per weight. A contender without a
-- score did not finish: see failures.
-- :run [the newest] a run's id, as `results list` shows it
with given as (select coalesce(nullif(:run, ''), (select max(id) from runs)) as run)
select
    model,
    quant,
    round(100 * eps_score, 1) as eps_percent,
    round(100 * eps_score_low, 1) as low,
    round(100 * eps_score_high, 1) as high,
    round(100 * exact_match, 1) as exact_percent,
    n_documents as n,
    round(bits_per_weight, 2) as bits,
    round(size_bytes / 1048576.0) as mib
from given
join eps_scores on eps_scores.run_id = given.run
order by eps_score is null, eps_score desc, size_bytes, model, quant;

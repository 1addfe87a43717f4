-- A model's score in every run, newest first.
-- Scores compare where dataset, prompt, scorer and excerpt are the same.
-- :model the model, as runs name it
select
    runs.id as run,
    runs.name as run_name,
    runs.created,
    eps_scores.quant,
    round(100 * eps_scores.eps_score, 1) as eps_percent,
    round(100 * eps_scores.eps_score_low, 1) as low,
    round(100 * eps_scores.eps_score_high, 1) as high,
    eps_scores.n_documents as n,
    runs.dataset,
    substr(runs.dataset_sha256, 1, 8) as dataset_sha256,
    runs.prompt_version,
    runs.scorer_version,
    runs.excerpt_chars
from runs
join eps_scores on eps_scores.run_id = runs.id
where eps_scores.model = :model
order by runs.id desc, eps_scores.eps_score desc;

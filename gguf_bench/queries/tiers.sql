-- How each contender of a run scores on each tier of documents.
-- `n` counts the documents answered so far.
-- :run [the newest] a run's id
with given as (select coalesce(nullif(:run, ''), (select max(id) from runs)) as run)
select
    contenders.model,
    contenders.quant,
    documents.tier,
    count(*) as n,
    round(100 * avg(answers.score), 1) as eps_percent,
    round(100 * avg(answers.score = 1), 1) as exact_percent
from given
join runs on runs.id = given.run
join contenders on contenders.run_id = runs.id
join answers on answers.contender_id = contenders.id
join documents on documents.dataset_sha256 = runs.dataset_sha256 and documents.document_id = answers.document_id
group by contenders.id, documents.tier
order by contenders.position, min(documents.rowid);

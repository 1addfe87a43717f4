-- What every contender of a run answered to one document, beside its labels.
-- The gold figures are as printed in the document; none means that it has no such figure.
-- :document the document's id, as worst-documents shows it
-- :run [the newest] a run's id
with given as (select coalesce(nullif(:run, ''), (select max(id) from runs)) as run)
select
    contenders.model,
    contenders.quant,
    round(100 * answers.score, 1) as score_percent,
    answers.basic,
    coalesce(documents.gold ->> '$.basic', 'none') as gold_basic,
    answers.kind_basic,
    answers.diluted,
    coalesce(documents.gold ->> '$.diluted', 'none') as gold_diluted,
    answers.kind_diluted,
    answers.adjusted,
    coalesce(documents.gold ->> '$.adjusted', 'none') as gold_adjusted,
    answers.kind_adjusted,
    answers.output
from given
join runs on runs.id = given.run
join contenders on contenders.run_id = runs.id
join answers on answers.contender_id = contenders.id and answers.document_id = :document
left join documents on documents.dataset_sha256 = runs.dataset_sha256 and documents.document_id = answers.document_id
order by answers.score desc, contenders.position;

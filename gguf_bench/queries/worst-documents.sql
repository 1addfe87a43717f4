-- The documents that a run's contenders read worst.
-- The mean score in percent, how many contenders tried, and how many of them had each figure right. Where nobody has,
-- the label may be wrong, or the excerpt may lack the figure.
-- :run [the newest] a run's id
-- :rows [20] how many documents
with given as (
    select
        coalesce(nullif(:run, ''), (select max(id) from runs)) as run,
        coalesce(nullif(:rows, ''), 20) as rows
)
select
    answers.document_id as document,
    documents.company,
    round(100 * avg(answers.score), 1) as percent,
    count(*) as tried,
    sum(answers.kind_basic = 'right') as basic,
    sum(answers.kind_diluted = 'right') as diluted,
    sum(answers.kind_adjusted = 'right') as adjusted
from given
join runs on runs.id = given.run
join contenders on contenders.run_id = runs.id
join answers on answers.contender_id = contenders.id
left join documents on documents.dataset_sha256 = runs.dataset_sha256 and documents.document_id = answers.document_id
group by answers.document_id
order by avg(answers.score), answers.document_id
limit (select rows from given);

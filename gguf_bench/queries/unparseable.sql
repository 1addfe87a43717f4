-- Answers that could not be read, and prompts that did not fit.
-- Both score 0. The output is as the model gave it.
-- :run [the newest] a run's id
-- :rows [20] how many
with given as (
    select
        coalesce(nullif(:run, ''), (select max(id) from runs)) as run,
        coalesce(nullif(:rows, ''), 20) as rows
)
select
    contenders.model,
    contenders.quant,
    answers.document_id as document,
    answers.status,
    answers.prompt_tokens,
    answers.generated_tokens,
    answers.output
from given
join contenders on contenders.run_id = given.run
join answers on answers.contender_id = contenders.id
where answers.status <> 'answered'
order by contenders.position, answers.document_id
limit (select rows from given);

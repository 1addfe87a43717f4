-- Contenders that failed or were stopped, newest first, and why.
-- :rows [20] how many
select
    run_id as run,
    run_name,
    created,
    model,
    quant,
    status,
    error
from eps_scores
where status <> 'finished'
order by run_id desc, model, quant
limit coalesce(nullif(:rows, ''), 20);

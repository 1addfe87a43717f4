-- What each contender of a run does wrong: its fields by the kind of error.
-- `right` comes first, then the kinds by frequency; docs/benchmark.md explains them.
-- :run [the newest] a run's id
with given as (select coalesce(nullif(:run, ''), (select max(id) from runs)) as run),
read as (
    select
        contenders.id,
        contenders.position,
        contenders.model,
        contenders.quant,
        answers.kind_basic,
        answers.kind_diluted,
        answers.kind_adjusted
    from given
    join contenders on contenders.run_id = given.run
    join answers on answers.contender_id = contenders.id
),
fields as (
    select id, position, model, quant, kind_basic as kind, 1 as basic, 0 as diluted, 0 as adjusted from read
    union all
    select id, position, model, quant, kind_diluted, 0, 1, 0 from read
    union all
    select id, position, model, quant, kind_adjusted, 0, 0, 1 from read
)
select
    model,
    quant,
    kind,
    sum(basic) as basic,
    sum(diluted) as diluted,
    sum(adjusted) as adjusted,
    count(*) as n,
    round(100.0 * count(*) / sum(count(*)) over (partition by id), 1) as percent
from fields
group by id, kind
order by position, kind = 'right' desc, count(*) desc, kind;

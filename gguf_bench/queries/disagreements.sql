-- Where two contenders of a run differ: the fields that one has right and the other wrong.
-- A contender is named as the leaderboard does, 'smollm2_135m Q8_0'; its model alone will do, of several quantizations
-- the best is taken. A name that nobody has gets a row that says so.
-- :a [the best] a contender: 'MODEL QUANT', MODEL, or its id
-- :b [the best but a] another
-- :run [the newest] a run's id
with given as (select coalesce(nullif(:run, ''), (select max(id) from runs)) as run),
entered as (
    select
        contenders.id,
        contenders.position,
        contenders.model,
        trim(contenders.model || ' ' || coalesce(contenders.quant, '')) as name,
        row_number() over (order by contenders.eps_score is null, contenders.eps_score desc, contenders.position) as place
    from given
    join contenders on contenders.run_id = given.run
),
first as (
    select id, name
    from entered
    where coalesce(:a, '') in ('', name, model, cast(id as text)) or :a = id
    order by place
    limit 1
),
second as (
    select id, name
    from entered
    where id is not (select id from first)
        and (coalesce(:b, '') in ('', name, model, cast(id as text)) or :b = id)
    order by place
    limit 1
),
fields (field, place) as (values ('basic', 1), ('diluted', 2), ('adjusted', 3)),
answered as (
    select
        answers.contender_id,
        answers.document_id,
        fields.field,
        fields.place,
        case fields.place when 1 then basic when 2 then diluted else adjusted end as answer,
        case fields.place when 1 then kind_basic when 2 then kind_diluted else kind_adjusted end as kind
    from answers
    cross join fields
    where answers.contender_id in ((select id from first), (select id from second))
),
pairs as (
    select
        one.document_id,
        one.field,
        one.place,
        one.answer as a_answer,
        one.kind as a_kind,
        other.answer as b_answer,
        other.kind as b_kind
    from answered as one
    join answered as other
        on other.document_id = one.document_id and other.place = one.place
    where one.contender_id = (select id from first)
        and other.contender_id = (select id from second)
        and (one.kind = 'right') <> (other.kind = 'right')
)
select
    (select name from first) as a,
    (select name from second) as b,
    pairs.document_id as document,
    documents.company,
    documents.period,
    pairs.field,
    coalesce(json_extract(documents.gold, '$.' || pairs.field), 'none') as gold,
    pairs.a_answer,
    pairs.a_kind,
    pairs.b_answer,
    pairs.b_kind
from given
join runs on runs.id = given.run
join pairs
left join documents on documents.dataset_sha256 = runs.dataset_sha256 and documents.document_id = pairs.document_id
union all
select
    coalesce((select name from first), 'run ' || run || ' has no contender ' || coalesce(nullif(:a, ''), 'at all')),
    coalesce((select name from second), 'run ' || run || ' has no other contender ' || coalesce(:b, '')),
    null, null, null, null, null, null, null, null, null
from given
where run is not null and (not exists (select id from first) or not exists (select id from second));

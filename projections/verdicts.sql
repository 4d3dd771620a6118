-- Verdicts: when each verdict on a tool came, changed or went, by the very event: the panel's, the community's for a single look,
-- and what its votes have settled. And where each tool stands, with when it was added and when it last changed.

-- tables: a tool's verdicts as they stand, with what they are made of; what each persona says; and every change of a verdict
create table standings (
    tool       text        not null collate "C",
    category   text        not null collate "C",
    listed     boolean     not null,
    added      bigint      not null,
    ship       bigint      not null,
    skip       bigint      not null,
    panel_ship bigint      not null,
    panel_skip bigint      not null,
    panel      text,
    community  text,
    settled    text,
    position   bigint      not null,
    changed_at timestamptz not null,
    constraint standings_pkey primary key (tool)
);

create table judgements (
    tool    text not null collate "C",
    persona text not null collate "C",
    verdict text not null,
    constraint judgements_pkey primary key (tool, persona)
);

create table verdicts (
    tool        text        not null collate "C",
    kind        text        not null collate "C",
    position    bigint      not null,
    recorded_at timestamptz not null,
    before      text,
    after       text,
    category    text        not null collate "C",
    listed      boolean     not null,
    constraint verdicts_pkey primary key (tool, kind, position)
);

-- indexes: tools in the order they were added, and the newest changes; no step needs them, so a rebuild makes them at its end
create index if not exists standings_added_idx on standings (added);
create index if not exists verdicts_position_idx on verdicts (position desc);
create index if not exists verdicts_told_idx on verdicts (position desc) where listed and kind <> 'community';
create index if not exists verdicts_category_idx on verdicts (category, (-position)) where listed and kind <> 'community';

-- totals: tools, judgements, all votes together, and verdicts whose last change isn't what stands
select t.name, t.total
from (
    select count(*) filter (where added > 0) as tools, coalesce(sum(ship), 0)::bigint as ship, coalesce(sum(skip), 0)::bigint as skip
    from standings
) s
cross join lateral (
    values ('tools', s.tools), ('ship', s.ship), ('skip', s.skip), ('judgements', (select count(*) from judgements)),
           ('verdicts that stand without a change that says so', (
               select count(*) from standings t
               cross join lateral (values ('panel', t.panel), ('community', t.community), ('settled', t.settled)) as k(kind, verdict)
               left join lateral (
                   select v.after from verdicts v where v.tool = t.tool and v.kind = k.kind order by v.position desc limit 1
               ) l on true
               where l.after is distinct from k.verdict
           ))
) as t(name, total);

-- changes (ToolAdded, PanelReviewPublished, VoteCast, VoteRetracted, VoterDisqualified, VoterReinstated): a row each, and votes
select c.name, c.change
from (
    select count(*) filter (where t.plus = 'ship') - count(*) filter (where t.minus = 'ship') as ship,
           count(*) filter (where t.plus = 'skip') - count(*) filter (where t.minus = 'skip') as skip
    from log.changes_taken($1, $2, $3) t
) s
cross join lateral (values ('ship', s.ship), ('skip', s.skip)) as c(name, change)
union all
select case e.type when 'ToolAdded' then 'tools' else 'judgements' end, count(*)
from log.taken($1, $2, $3, '{PanelReviewPublished, ToolAdded}') e
where e.type = 'PanelReviewPublished' or e.version = 1
group by 1;

-- step told (ToolAdded, ToolDescribed, ToolRenamed, ToolListed, ToolUnlisted): the window's last category and listing of each tool hold; `added` is the first event that added it
insert into standings as s (tool, category, listed, added, ship, skip, panel_ship, panel_skip, position, changed_at)
select w.tool, coalesce(w.category, o.category, ''), coalesce(w.listed, o.listed, false),
       coalesce(nullif(o.added, 0), w.added, 0), 0, 0, 0, 0, w.position, w.changed_at
from (
    select e.data->>'tool' as tool,
           (array_agg(e.data->>'category' order by e.position desc) filter (where e.type in ('ToolAdded', 'ToolDescribed')))[1]
               as category,
           (array_agg(e.type <> 'ToolUnlisted' order by e.position desc)
            filter (where e.type in ('ToolAdded', 'ToolListed', 'ToolUnlisted')))[1] as listed,
           min(e.position) filter (where e.type = 'ToolAdded') as added,
           max(e.position) as position, max(e.recorded_at) as changed_at
    from log.taken($1, $2, $3, '{ToolAdded, ToolDescribed, ToolRenamed, ToolListed, ToolUnlisted}') e
    group by e.data->>'tool'
) w
left join standings o on o.tool = w.tool
order by w.tool
on conflict (tool) do update
set category = excluded.category, listed = excluded.listed, added = excluded.added,
    position = excluded.position, changed_at = excluded.changed_at;

-- step told_verdicts (ToolAdded, ToolDescribed, ToolListed, ToolUnlisted): changes of verdicts stand in their tool's category, if it is listed
update verdicts v
set category = s.category, listed = s.listed
from (
    select distinct e.data->>'tool' as tool
    from log.taken($1, $2, $3, '{ToolAdded, ToolDescribed, ToolListed, ToolUnlisted}') e
) w
join standings s on s.tool = w.tool
where v.tool = s.tool and (v.category <> s.category or v.listed <> s.listed);

-- step panel (PanelReviewPublished, PanelReviewRevised): judgements one by one, so that each change of the panel's verdict is found
with said as materialized (
    select e.data->>'tool' as tool, e.data->>'persona' as persona, e.data->>'verdict' as verdict, e.position, e.recorded_at
    from log.taken($1, $2, $3, '{PanelReviewPublished, PanelReviewRevised}') e
),
moved as (
    select s.tool, s.position, s.recorded_at, s.verdict,
           lag(s.verdict, 1, j.verdict) over (partition by s.tool, s.persona order by s.position) as was
    from said s left join judgements j on j.tool = s.tool and j.persona = s.persona
),
counted as (
    select m.tool, m.position, m.recorded_at,
           coalesce(o.panel_ship, 0) + sum((m.verdict = 'ship')::integer - (m.was is not distinct from 'ship')::integer) over w as ship,
           coalesce(o.panel_skip, 0) + sum((m.verdict = 'skip')::integer - (m.was is not distinct from 'skip')::integer) over w as skip,
           o.panel as before
    from moved m left join standings o on o.tool = m.tool
    window w as (partition by m.tool order by m.position)
),
called as materialized (
    select c.tool, c.position, c.recorded_at, c.ship, c.skip, c.before, v.verdict,
           lag(v.verdict, 1, c.before) over (partition by c.tool order by c.position) as was
    from counted c
    cross join lateral (select case when c.ship > c.skip then 'ship' when c.ship < c.skip then 'skip' else 'mixed' end) as v(verdict)
),
judged as (
    insert into judgements (tool, persona, verdict)
    select distinct on (s.tool, s.persona) s.tool, s.persona, s.verdict from said s order by s.tool, s.persona, s.position desc
    on conflict (tool, persona) do update set verdict = excluded.verdict
),
changed as (
    insert into verdicts (tool, kind, position, recorded_at, before, after, category, listed)
    select c.tool, 'panel', c.position, c.recorded_at, c.was, c.verdict, coalesce(o.category, ''), coalesce(o.listed, false)
    from called c left join standings o on o.tool = c.tool
    where c.was is distinct from c.verdict
    order by c.tool, c.position
)
insert into standings as s (tool, category, listed, added, ship, skip, panel_ship, panel_skip, panel, position, changed_at)
select distinct on (c.tool) c.tool, '', false, 0, 0, 0, c.ship, c.skip, c.verdict, c.position, c.recorded_at
from called c order by c.tool, c.position desc
on conflict (tool) do update
set panel_ship = excluded.panel_ship, panel_skip = excluded.panel_skip, panel = excluded.panel,
    position = greatest(s.position, excluded.position), changed_at = greatest(s.changed_at, excluded.changed_at);

-- step votes (VoteCast, VoteRetracted, VoterDisqualified, VoterReinstated): tallies vote by vote, so that each change of a verdict is found
with moved as materialized (
    select t.tool, t.position, t.recorded_at,
           (t.plus is not distinct from 'ship')::integer - (t.minus is not distinct from 'ship')::integer as ship,
           (t.plus is not distinct from 'skip')::integer - (t.minus is not distinct from 'skip')::integer as skip
    from log.changes_taken($1, $2, $3) t
),
stood as materialized (
    select m.tool, coalesce(o.ship, 0) as ship, coalesce(o.skip, 0) as skip, o.community, o.settled,
           coalesce(o.category, '') as category, coalesce(o.listed, false) as listed
    from (select distinct tool from moved) m
    left join lateral (
        select s.* from standings s where s.tool = m.tool
        offset 0 -- keeps this a look-up of each tool; joined freely, a small window would read all tools
    ) o on true
),
counted as (
    select m.tool, m.position, m.recorded_at,
           (coalesce(o.ship, 0) + sum(m.ship) over w)::bigint as ship, (coalesce(o.skip, 0) + sum(m.skip) over w)::bigint as skip
    from moved m left join stood o on o.tool = m.tool -- a vote on no tool at all is kept, to be refused below
    window w as (partition by m.tool order by m.position)
),
called as materialized (
    select c.*, log.community_verdict(c.ship, c.skip) as community, log.settled_verdict(c.ship, c.skip) as settled from counted c
),
changed as (
    insert into verdicts (tool, kind, position, recorded_at, before, after, category, listed)
    select c.tool, k.kind, c.position, c.recorded_at, k.before, k.after, c.category, c.listed
    from (
        select a.*, o.category, o.listed, lag(a.community, 1, o.community) over w as was_community,
               lag(a.settled, 1, o.settled) over w as was_settled
        from called a join stood o on o.tool = a.tool
        window w as (partition by a.tool order by a.position)
    ) c
    cross join lateral (
        values ('community', c.was_community, c.community), ('settled', c.was_settled, c.settled)
    ) as k(kind, before, after)
    where k.before is distinct from k.after
    order by c.tool, k.kind, c.position
)
insert into standings as s (tool, category, listed, added, ship, skip, panel_ship, panel_skip, community, settled, position, changed_at)
select distinct on (c.tool) c.tool, '', false, 0, c.ship, c.skip, 0, 0, c.community, c.settled, c.position, c.recorded_at
from called c order by c.tool, c.position desc
on conflict (tool) do update
set ship = excluded.ship, skip = excluded.skip, community = excluded.community, settled = excluded.settled,
    position = greatest(s.position, excluded.position), changed_at = greatest(s.changed_at, excluded.changed_at);

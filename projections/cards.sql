-- Cards: tools, the panel's reviews of them, tallies, and announced pairs. One checkpoint, one transaction a window.

-- tables: what a card is made of; `position` is the last event that changed the row
create table tools (
    tool          text    not null collate "C",
    slug          text    not null collate "C",
    name          text    not null,
    tagline       text    not null,
    description   text    not null,
    category      text    not null collate "C",
    pricing_tier  text    not null,
    pricing_label text    not null,
    best_for      text    not null,
    url           text,
    listed        boolean not null,
    position      bigint  not null,
    constraint tools_pkey primary key (tool),
    constraint tools_slug_key unique (slug)
);
create index tools_position_idx on tools (position);

create table panel (
    tool           text   not null collate "C",
    persona        text   not null collate "C",
    score          integer,
    verdict        text   not null,
    take           text   not null,
    first_position bigint not null,
    position       bigint not null,
    constraint panel_pkey primary key (tool, persona)
);
create index panel_persona_idx on panel (lower(persona) collate "C", position desc);
create index panel_position_idx on panel (position);

create table tallies (
    tool     text   not null collate "C",
    ship     bigint not null,
    skip     bigint not null,
    position bigint not null,
    constraint tallies_pkey primary key (tool)
);
create index tallies_position_idx on tallies (position);

create table pairs (
    left_tool  text   not null collate "C",
    right_tool text   not null collate "C",
    position   bigint not null,
    constraint pairs_pkey primary key (left_tool, right_tool)
);
create index pairs_position_idx on pairs (position desc);

-- totals: how many rows there are, and all votes together
select 'tools' as name, count(*) as total from tools
union all select 'panel reviews', count(*) from panel
union all select 'pairs', count(*) from pairs
union all select 'ship', coalesce(sum(ship), 0)::bigint from tallies
union all select 'skip', coalesce(sum(skip), 0)::bigint from tallies;

-- changes (ToolAdded, PanelReviewPublished, ComparisonAnnounced, VoteCast, VoteRetracted, VoterDisqualified, VoterReinstated): a row each; votes say it
select c.name, sum(c.change)::bigint as change
from log.recorded_events e
cross join lateral (
    select case e.type when 'ToolAdded' then 'tools' when 'PanelReviewPublished' then 'panel reviews' else 'pairs' end as name,
           1 as change
    where e.type in ('ToolAdded', 'PanelReviewPublished', 'ComparisonAnnounced')
    union all
    select e.data->>'choice', 1 where e.type = 'VoteCast'
    union all
    select e.data->>'previous', -1 where e.type in ('VoteCast', 'VoteRetracted') and e.data->>'previous' is not null
    union all
    select b.ballot->>1, case e.type when 'VoterReinstated' then 1 else -1 end
    from jsonb_array_elements(e.data->'ballots') as b(ballot)
    where e.type in ('VoterDisqualified', 'VoterReinstated')
) c
where e.position > $1 and e.position <= $2 and e.position <> all($3::bigint[])
group by c.name;

-- step added (ToolAdded): a new tool is listed
insert into tools (tool, slug, name, tagline, description, category, pricing_tier, pricing_label, best_for, url, listed, position)
select e.data->>'tool', e.data->>'slug', e.data->>'name', e.data->>'tagline', e.data->>'description', e.data->>'category',
       e.data->>'pricing_tier', e.data->>'pricing_label', e.data->>'best_for', e.data->>'url', true, e.position
from log.recorded_events e
where e.position > $1 and e.position <= $2 and e.position <> all($3::bigint[]) and e.type = 'ToolAdded'
order by e.data->>'tool';

-- step described (ToolDescribed): the window's last description of each tool holds
update tools t
set name = e.data->>'name', tagline = e.data->>'tagline', description = e.data->>'description', category = e.data->>'category',
    pricing_tier = e.data->>'pricing_tier', pricing_label = e.data->>'pricing_label', best_for = e.data->>'best_for',
    url = e.data->>'url', position = e.position
from (
    select distinct on (r.stream) r.data, r.position
    from log.recorded_events r
    where r.position > $1 and r.position <= $2 and r.position <> all($3::bigint[]) and r.type = 'ToolDescribed'
    order by r.stream, r.position desc
) e
where t.tool = e.data->>'tool';

-- step listing (ToolListed, ToolUnlisted): the window's last word on each tool holds
update tools t
set listed = (e.type = 'ToolListed'), position = greatest(t.position, e.position)
from (
    select distinct on (r.stream) r.type, r.data, r.position
    from log.recorded_events r
    where r.position > $1 and r.position <= $2 and r.position <> all($3::bigint[]) and r.type in ('ToolListed', 'ToolUnlisted')
    order by r.stream, r.position desc
) e
where t.tool = e.data->>'tool';

-- step panel (PanelReviewPublished, PanelReviewRevised): the last judgement holds, the first keeps its place
insert into panel as p (tool, persona, score, verdict, take, first_position, position)
select e.tool, e.persona, (e.data->>'score')::integer, e.data->>'verdict', e.data->>'take', e.first_position, e.position
from (
    select distinct on (r.data->>'tool', r.data->>'persona')
           r.data->>'tool' as tool, r.data->>'persona' as persona, r.data, r.position,
           min(r.position) over (partition by r.data->>'tool', r.data->>'persona') as first_position
    from log.recorded_events r
    where r.position > $1 and r.position <= $2 and r.position <> all($3::bigint[])
      and r.type in ('PanelReviewPublished', 'PanelReviewRevised')
    order by r.data->>'tool', r.data->>'persona', r.position desc
) e
order by e.tool, e.persona
on conflict (tool, persona) do update
set score = excluded.score, verdict = excluded.verdict, take = excluded.take, position = excluded.position;

-- step tallies (VoteCast, VoteRetracted, VoterDisqualified, VoterReinstated): every change of a tally is in an event, so sums do
insert into tallies as t (tool, ship, skip, position)
select d.tool,
       count(*) filter (where d.plus = 'ship') - count(*) filter (where d.minus = 'ship'),
       count(*) filter (where d.plus = 'skip') - count(*) filter (where d.minus = 'skip'),
       max(d.position)
from (
    select e.data->>'tool' as tool, e.data->>'choice' as plus, e.data->>'previous' as minus, e.position
    from log.recorded_events e
    where e.position > $1 and e.position <= $2 and e.position <> all($3::bigint[]) and e.type in ('VoteCast', 'VoteRetracted')
    union all
    select b.ballot->>0,
           case when e.type = 'VoterReinstated' then b.ballot->>1 end,
           case when e.type = 'VoterDisqualified' then b.ballot->>1 end,
           e.position
    from log.recorded_events e cross join lateral jsonb_array_elements(e.data->'ballots') as b(ballot)
    where e.position > $1 and e.position <= $2 and e.position <> all($3::bigint[])
      and e.type in ('VoterDisqualified', 'VoterReinstated')
) d
group by d.tool
order by d.tool
on conflict (tool) do update
set ship = t.ship + excluded.ship, skip = t.skip + excluded.skip, position = excluded.position;

-- step pairs (ComparisonAnnounced): announced once
insert into pairs (left_tool, right_tool, position)
select e.data->>'left', e.data->>'right', e.position
from log.recorded_events e
where e.position > $1 and e.position <= $2 and e.position <> all($3::bigint[]) and e.type = 'ComparisonAnnounced'
order by e.data->>'left', e.data->>'right';

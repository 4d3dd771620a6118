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

-- totals: the number of rows, and all votes together
select 'tools' as name, count(*) as total from tools
union all select 'panel reviews', count(*) from panel
union all select 'pairs', count(*) from pairs
union all select 'ship', coalesce(sum(ship), 0)::bigint from tallies
union all select 'skip', coalesce(sum(skip), 0)::bigint from tallies;

-- changes (ToolAdded, PanelReviewPublished, ComparisonAnnounced, VoteCast, VoteRetracted, VoterDisqualified, VoterReinstated): a row each, and votes
select c.name, c.change
from (
    select count(*) filter (where t.plus = 'ship') - count(*) filter (where t.minus = 'ship') as ship,
           count(*) filter (where t.plus = 'skip') - count(*) filter (where t.minus = 'skip') as skip
    from log.tally_changes t
    where t.position > $1 and t.position <= $2 and t.position <> all($3::bigint[])
) s
cross join lateral (values ('ship', s.ship), ('skip', s.skip)) as c(name, change)
union all
select case e.type when 'ToolAdded' then 'tools' when 'PanelReviewPublished' then 'panel reviews' else 'pairs' end, count(*)
from log.recorded_events e
where e.position > $1 and e.position <= $2 and e.position <> all($3::bigint[])
  and e.type in ('ToolAdded', 'PanelReviewPublished', 'ComparisonAnnounced')
group by e.type;

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

-- step listing (ToolListed, ToolUnlisted): the window's last event of each tool holds
update tools t
set listed = (e.type = 'ToolListed'), position = greatest(t.position, e.position)
from (
    select distinct on (r.stream) r.type, r.data, r.position
    from log.recorded_events r
    where r.position > $1 and r.position <= $2 and r.position <> all($3::bigint[]) and r.type in ('ToolListed', 'ToolUnlisted')
    order by r.stream, r.position desc
) e
where t.tool = e.data->>'tool';

-- step panel (PanelReviewPublished, PanelReviewRevised): the last judgement holds, in the place of the first
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

-- step tallies (VoteCast, VoteRetracted, VoterDisqualified, VoterReinstated): the changes of the window, summed
insert into tallies as t (tool, ship, skip, position)
select c.tool,
       count(*) filter (where c.plus = 'ship') - count(*) filter (where c.minus = 'ship'),
       count(*) filter (where c.plus = 'skip') - count(*) filter (where c.minus = 'skip'),
       max(c.position)
from log.tally_changes c
where c.position > $1 and c.position <= $2 and c.position <> all($3::bigint[])
group by c.tool
order by c.tool
on conflict (tool) do update
set ship = t.ship + excluded.ship, skip = t.skip + excluded.skip, position = excluded.position;

-- step pairs (ComparisonAnnounced): each pair is announced once
insert into pairs (left_tool, right_tool, position)
select e.data->>'left', e.data->>'right', e.position
from log.recorded_events e
where e.position > $1 and e.position <= $2 and e.position <> all($3::bigint[]) and e.type = 'ComparisonAnnounced'
order by e.data->>'left', e.data->>'right';

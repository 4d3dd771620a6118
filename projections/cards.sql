-- Cards: tools, the panel's reviews of them, tallies, and announced pairs. One checkpoint, one transaction a window.
--
-- Every list is read from an index, however many tools there are. So each table that a list is read from has beside its own
-- columns those of the tool that the list is narrowed to or ordered by: they change with the tool, which is rare.

-- tables: what a card is made of; `position` is the last event that changed the row (0 for a tally without votes)
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

-- By name, and by the panel: two keys that rise, minus the percent (1 without reviews) and minus the number of reviews.
create table places (
    tool         text    not null collate "C",
    slug         text    not null collate "C",
    name         text    not null collate "C",
    category     text    not null collate "C",
    listed       boolean not null,
    panel_first  integer not null,
    panel_second integer not null,
    constraint places_pkey primary key (tool)
);

create table panel (
    tool           text   not null collate "C",
    persona        text   not null collate "C",
    score          integer,
    verdict        text   not null,
    take           text   not null,
    first_position bigint not null,
    position       bigint not null,
    category       text   not null collate "C",
    listed         boolean not null,
    constraint panel_pkey primary key (tool, persona)
);
create index panel_position_idx on panel (position);

create table reviewers (
    persona  text   not null collate "C",
    category text   not null collate "C",
    reviewed bigint not null,
    shipped  bigint not null,
    constraint reviewers_pkey primary key (persona, category)
);

create table categories (
    category text   not null collate "C",
    tools    bigint not null,
    constraint categories_pkey primary key (category)
);

create table tallies (
    tool     text   not null collate "C",
    ship     bigint not null,
    skip     bigint not null,
    position bigint not null,
    slug     text    not null collate "C" default '',
    category text    not null collate "C" default '',
    listed   boolean not null default false,
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

-- indexes: what the lists are read from; no step needs them, so a rebuild makes them at its end
create index if not exists places_name_idx on places (name, slug) where listed;
create index if not exists places_category_name_idx on places (category, name, slug) where listed;
create index if not exists places_panel_idx on places (panel_first, panel_second, slug) where listed;
create index if not exists places_category_panel_idx on places (category, panel_first, panel_second, slug) where listed;
create index if not exists panel_spelling_idx on panel (lower(persona) collate "C", persona);
create index if not exists panel_persona_idx on panel (lower(persona) collate "C", position desc) where listed;
create index if not exists panel_category_idx on panel (lower(persona) collate "C", category, position desc) where listed;
create index if not exists tallies_community_idx on tallies (log.community_place(ship, skip), slug) where listed;
create index if not exists tallies_category_idx on tallies (category, log.community_place(ship, skip), slug) where listed;
create index if not exists tallies_settled_idx on tallies (log.settled_place(ship, skip), slug) where listed;
create index if not exists tallies_category_settled_idx on tallies (category, log.settled_place(ship, skip), slug) where listed;
create index if not exists pairs_left_idx on pairs (left_tool, position desc);
create index if not exists pairs_right_idx on pairs (right_tool, position desc);

-- totals: the number of rows, and all votes together
select 'tools' as name, count(*) as total from tools
union all select 'panel reviews', count(*) from panel
union all select 'pairs', count(*) from pairs
union all
select 'listed tools missing from their categories',
       (select count(*) from tools where listed) - (select coalesce(sum(tools), 0) from categories)::bigint
union all
select 'reviews of listed tools missing from their reviewers',
       (select count(*) from panel where listed) - (select coalesce(sum(reviewed), 0) from reviewers)::bigint
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

-- step uncount_categories (ToolAdded, ToolDescribed, ToolListed, ToolUnlisted): the window's tools leave the counts they are in; a category of none goes, and the counts below take them in again
with d as (
    select t.category, count(*) as tools
    from (
        select distinct e.data->>'tool' as tool from log.recorded_events e
        where e.position > $1 and e.position <= $2 and e.position <> all($3::bigint[])
          and e.type in ('ToolAdded', 'ToolDescribed', 'ToolListed', 'ToolUnlisted')
    ) w
    join tools t on t.tool = w.tool and t.listed
    group by t.category
),
empty as (
    delete from categories c using d where c.category = d.category and c.tools = d.tools
)
update categories c set tools = c.tools - d.tools from d where c.category = d.category and c.tools > d.tools;

-- step uncount_reviewers (ToolAdded, ToolDescribed, ToolListed, ToolUnlisted, PanelReviewPublished, PanelReviewRevised): so do their reviews
with d as (
    select p.persona, p.category, count(*) as reviewed, count(*) filter (where p.verdict = 'ship') as shipped
    from (
        select distinct e.data->>'tool' as tool from log.recorded_events e
        where e.position > $1 and e.position <= $2 and e.position <> all($3::bigint[])
          and e.type in ('ToolAdded', 'ToolDescribed', 'ToolListed', 'ToolUnlisted', 'PanelReviewPublished', 'PanelReviewRevised')
    ) w
    join panel p on p.tool = w.tool and p.listed
    group by p.persona, p.category
),
empty as (
    delete from reviewers v using d where v.persona = d.persona and v.category = d.category and v.reviewed = d.reviewed
)
update reviewers v set reviewed = v.reviewed - d.reviewed, shipped = v.shipped - d.shipped
from d where v.persona = d.persona and v.category = d.category and v.reviewed > d.reviewed;

-- step added (ToolAdded): a new tool is listed
insert into tools (tool, slug, name, tagline, description, category, pricing_tier, pricing_label, best_for, url, listed, position)
select e.data->>'tool', e.data->>'slug', e.data->>'name', e.data->>'tagline', e.data->>'description', e.data->>'category',
       e.data->>'pricing_tier', e.data->>'pricing_label', e.data->>'best_for', e.data->>'url', true, e.position
from log.recorded_events e
where e.position > $1 and e.position <= $2 and e.position <> all($3::bigint[]) and e.type = 'ToolAdded'
order by e.data->>'tool';

-- step described (ToolDescribed): the window's last description of each tool holds, if the tool wasn't added again after it
update tools t
set name = e.data->>'name', tagline = e.data->>'tagline', description = e.data->>'description', category = e.data->>'category',
    pricing_tier = e.data->>'pricing_tier', pricing_label = e.data->>'pricing_label', best_for = e.data->>'best_for',
    url = e.data->>'url', position = e.position
from (
    select distinct on (r.stream) r.data, r.position
    from log.recorded_events r
    where r.position > $1 and r.position <= $2 and r.position <> all($3::bigint[]) and r.type = 'ToolDescribed'
      and not exists (select from log.recorded_events a where a.stream = r.stream and a.type = 'ToolAdded'
                      and a.position > r.position and a.position > $1 and a.position <= $2
                      and a.position <> all($3::bigint[]))
    order by r.stream, r.position desc
) e
where t.tool = e.data->>'tool';

-- step listing (ToolListed, ToolUnlisted): the window's last event of each tool holds, if the tool wasn't added again after it
update tools t
set listed = (e.type = 'ToolListed'), position = greatest(t.position, e.position)
from (
    select distinct on (r.stream) r.type, r.data, r.position
    from log.recorded_events r
    where r.position > $1 and r.position <= $2 and r.position <> all($3::bigint[]) and r.type in ('ToolListed', 'ToolUnlisted')
      and not exists (select from log.recorded_events a where a.stream = r.stream and a.type = 'ToolAdded'
                      and a.position > r.position and a.position > $1 and a.position <= $2
                      and a.position <> all($3::bigint[]))
    order by r.stream, r.position desc
) e
where t.tool = e.data->>'tool';

-- step panel (PanelReviewPublished, PanelReviewRevised): the last judgement holds, in the place of the first
insert into panel as p (tool, persona, score, verdict, take, first_position, position, category, listed)
select e.tool, e.persona, (e.data->>'score')::integer, e.data->>'verdict', e.data->>'take', e.first_position, e.position,
       coalesce(t.category, ''), coalesce(t.listed, false)
from (
    select distinct on (r.data->>'tool', r.data->>'persona')
           r.data->>'tool' as tool, r.data->>'persona' as persona, r.data, r.position,
           min(r.position) over (partition by r.data->>'tool', r.data->>'persona') as first_position
    from log.recorded_events r
    where r.position > $1 and r.position <= $2 and r.position <> all($3::bigint[])
      and r.type in ('PanelReviewPublished', 'PanelReviewRevised')
    order by r.data->>'tool', r.data->>'persona', r.position desc
) e
left join tools t on t.tool = e.tool
order by e.tool, e.persona
on conflict (tool, persona) do update
set score = excluded.score, verdict = excluded.verdict, take = excluded.take, position = excluded.position;

-- step told_panel (ToolAdded, ToolDescribed, ToolListed, ToolUnlisted): reviews stand in their tool's category, if it is listed
update panel p
set category = t.category, listed = t.listed
from (
    select distinct e.data->>'tool' as tool from log.recorded_events e
    where e.position > $1 and e.position <= $2 and e.position <> all($3::bigint[])
      and e.type in ('ToolAdded', 'ToolDescribed', 'ToolListed', 'ToolUnlisted')
) w
join tools t on t.tool = w.tool
where p.tool = t.tool and (p.category <> t.category or p.listed <> t.listed);

-- step told_places (ToolAdded, ToolDescribed, ToolListed, ToolUnlisted, PanelReviewPublished, PanelReviewRevised): the tool's place in each list that the catalog alone orders; percent with halves rounded up
insert into places (tool, slug, name, category, listed, panel_first, panel_second)
select t.tool, t.slug, t.name, t.category, t.listed,
       case when r.reviews = 0 then 1 else -((200 * r.ships + r.reviews) / (2 * r.reviews)) end, -r.reviews
from (
    select distinct e.data->>'tool' as tool from log.recorded_events e
    where e.position > $1 and e.position <= $2 and e.position <> all($3::bigint[])
      and e.type in ('ToolAdded', 'ToolDescribed', 'ToolListed', 'ToolUnlisted', 'PanelReviewPublished', 'PanelReviewRevised')
) w
join tools t on t.tool = w.tool
cross join lateral (
    select count(*)::integer as reviews, (count(*) filter (where p.verdict = 'ship'))::integer as ships
    from panel p where p.tool = t.tool
) r
order by t.tool
on conflict (tool) do update
set name = excluded.name, category = excluded.category, listed = excluded.listed,
    panel_first = excluded.panel_first, panel_second = excluded.panel_second;

-- step told_tallies (ToolAdded, ToolDescribed, ToolListed, ToolUnlisted): so do tallies; a tool without votes has one too
insert into tallies as y (tool, ship, skip, position, slug, category, listed)
select t.tool, 0, 0, 0, t.slug, t.category, t.listed
from (
    select distinct e.data->>'tool' as tool from log.recorded_events e
    where e.position > $1 and e.position <= $2 and e.position <> all($3::bigint[])
      and e.type in ('ToolAdded', 'ToolDescribed', 'ToolListed', 'ToolUnlisted')
) w
join tools t on t.tool = w.tool
order by t.tool
on conflict (tool) do update set slug = excluded.slug, category = excluded.category, listed = excluded.listed;

-- step count_categories (ToolAdded, ToolDescribed, ToolListed, ToolUnlisted): the window's tools, counted where they are now
insert into categories as c (category, tools)
select t.category, count(*)
from (
    select distinct e.data->>'tool' as tool from log.recorded_events e
    where e.position > $1 and e.position <= $2 and e.position <> all($3::bigint[])
      and e.type in ('ToolAdded', 'ToolDescribed', 'ToolListed', 'ToolUnlisted')
) w
join tools t on t.tool = w.tool and t.listed
group by t.category
order by t.category
on conflict (category) do update set tools = c.tools + excluded.tools;

-- step count_reviewers (ToolAdded, ToolDescribed, ToolListed, ToolUnlisted, PanelReviewPublished, PanelReviewRevised): and their reviews
insert into reviewers as v (persona, category, reviewed, shipped)
select p.persona, p.category, count(*), count(*) filter (where p.verdict = 'ship')
from (
    select distinct e.data->>'tool' as tool from log.recorded_events e
    where e.position > $1 and e.position <= $2 and e.position <> all($3::bigint[])
      and e.type in ('ToolAdded', 'ToolDescribed', 'ToolListed', 'ToolUnlisted', 'PanelReviewPublished', 'PanelReviewRevised')
) w
join panel p on p.tool = w.tool and p.listed
group by p.persona, p.category
order by p.persona, p.category
on conflict (persona, category) do update set reviewed = v.reviewed + excluded.reviewed, shipped = v.shipped + excluded.shipped;

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

-- Cards: tools, the panel's reviews of them, its personas, tallies, and announced pairs. One checkpoint, one transaction a window.
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
    reviewed      date,
    disclosure    text,
    successor     text    collate "C",
    listed        boolean not null,
    position      bigint  not null,
    constraint tools_pkey primary key (tool),
    constraint tools_slug_key unique (slug)
);
create index tools_position_idx on tools (position);
create index tools_successor_idx on tools (successor) where successor is not null;

-- The slugs that lead to a tool beside its own; `position` is the event since which each does.
create table former_slugs (
    slug     text   not null collate "C",
    tool     text   not null collate "C",
    position bigint not null,
    constraint former_slugs_pkey primary key (slug)
);

create table personas (
    lower      text   not null collate "C",
    persona    text   not null collate "C",
    role       text,
    phrase     text,
    profile    text,
    excited_by text[] not null,
    tired_of   text[] not null,
    position   bigint not null,
    constraint personas_pkey primary key (lower)
);

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
union all select 'former slugs', count(*) from former_slugs
union all select 'personas', count(*) from personas
union all
select 'listed tools missing from their categories',
       (select count(*) from tools where listed) - (select coalesce(sum(tools), 0) from categories)::bigint
union all
select 'reviews of listed tools missing from their reviewers',
       (select count(*) from panel where listed) - (select coalesce(sum(reviewed), 0) from reviewers)::bigint
union all select 'ship', coalesce(sum(ship), 0)::bigint from tallies
union all select 'skip', coalesce(sum(skip), 0)::bigint from tallies;

-- changes (ToolAdded, ToolRenamed, FormerSlugAdded, PanelReviewPublished, PersonaDescribed, ComparisonAnnounced, VoteCast, VoteRetracted, VoterDisqualified, VoterReinstated): a row each, and votes; a slug that a tool had before is none more
select c.name, c.change
from (
    select count(*) filter (where t.plus = 'ship') - count(*) filter (where t.minus = 'ship') as ship,
           count(*) filter (where t.plus = 'skip') - count(*) filter (where t.minus = 'skip') as skip
    from log.changes_taken($1, $2, $3) t
) s
cross join lateral (values ('ship', s.ship), ('skip', s.skip)) as c(name, change)
union all
select case e.type when 'ToolAdded' then 'tools' when 'PanelReviewPublished' then 'panel reviews'
                   when 'ComparisonAnnounced' then 'pairs' when 'PersonaDescribed' then 'personas' else 'former slugs' end, count(*)
from log.taken($1, $2, $3, '{ToolAdded, PanelReviewPublished, ComparisonAnnounced, PersonaDescribed, ToolRenamed, FormerSlugAdded}') e
where e.type in ('ToolAdded', 'PanelReviewPublished', 'ComparisonAnnounced')
      or e.type = 'PersonaDescribed' and e.version = 1
      or e.type in ('ToolRenamed', 'FormerSlugAdded') and not exists (
          select from log.of_stream(e.stream) h where h.version < e.version and h.data->>'slug' = e.data->>'slug'
      )
group by 1;

-- step uncount_categories (ToolAdded, ToolDescribed, ToolListed, ToolUnlisted): the window's tools leave the counts they are in; a category of none goes, and the counts below take them in again
with d as (
    select t.category, count(*) as tools
    from (
        select distinct e.data->>'tool' as tool
        from log.taken($1, $2, $3, '{ToolAdded, ToolDescribed, ToolListed, ToolUnlisted}') e
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
        select distinct e.data->>'tool' as tool
        from log.taken($1, $2, $3, '{ToolAdded, ToolDescribed, ToolListed, ToolUnlisted, PanelReviewPublished, PanelReviewRevised}') e
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
insert into tools (tool, slug, name, tagline, description, category, pricing_tier, pricing_label, best_for, url, reviewed,
                   disclosure, successor, listed, position)
select e.data->>'tool', e.data->>'slug', e.data->>'name', e.data->>'tagline', e.data->>'description', e.data->>'category',
       e.data->>'pricing_tier', e.data->>'pricing_label', e.data->>'best_for', e.data->>'url', (e.data->>'reviewed')::date,
       e.data->>'disclosure', e.data->>'successor', true, e.position
from log.taken($1, $2, $3, '{ToolAdded}') e
order by e.data->>'tool';

-- step described (ToolDescribed): the window's last description of each tool holds, if the tool wasn't added again after it
update tools t
set name = e.data->>'name', tagline = e.data->>'tagline', description = e.data->>'description', category = e.data->>'category',
    pricing_tier = e.data->>'pricing_tier', pricing_label = e.data->>'pricing_label', best_for = e.data->>'best_for',
    url = e.data->>'url', reviewed = (e.data->>'reviewed')::date, disclosure = e.data->>'disclosure',
    successor = e.data->>'successor', position = e.position
from (
    select distinct on (r.stream) r.data, r.position
    from log.taken($1, $2, $3, '{ToolDescribed}') r
    where not exists (select from log.taken($1, $2, $3, '{ToolAdded}') a where a.stream = r.stream and a.position > r.position)
    order by r.stream, r.position desc
) e
where t.tool = e.data->>'tool';

-- step former (ToolRenamed, FormerSlugAdded): the slug that a tool had before each of the window's renames, and those it had elsewhere
insert into former_slugs (slug, tool, position)
select distinct on (e.slug) e.slug, e.tool, e.position
from (
    select coalesce(lag(r.data->>'slug') over (partition by r.stream order by r.position), t.slug) as slug, t.tool, r.position
    from log.taken($1, $2, $3, '{ToolRenamed}') r join tools t on t.tool = r.data->>'tool'
    where not exists (select from log.taken($1, $2, $3, '{ToolAdded}') a where a.stream = r.stream and a.position > r.position)
    union all
    select r.data->>'slug', r.data->>'tool', r.position
    from log.taken($1, $2, $3, '{FormerSlugAdded}') r
) e
order by e.slug, e.position desc
on conflict (slug) do update set tool = excluded.tool, position = excluded.position;

-- step renamed (ToolRenamed): the window's last slug of each tool holds, if the tool wasn't added again after it
update tools t
set slug = e.data->>'slug', position = greatest(t.position, e.position)
from (
    select distinct on (r.stream) r.data, r.position
    from log.taken($1, $2, $3, '{ToolRenamed}') r
    where not exists (select from log.taken($1, $2, $3, '{ToolAdded}') a where a.stream = r.stream and a.position > r.position)
    order by r.stream, r.position desc
) e
where t.tool = e.data->>'tool';

-- step taken_back (ToolAdded, ToolRenamed, FormerSlugAdded): a slug that a tool has again is no former one
delete from former_slugs f
using (
    select distinct e.data->>'tool' as tool
    from log.taken($1, $2, $3, '{ToolAdded, ToolRenamed, FormerSlugAdded}') e
) w
join tools t on t.tool = w.tool
where f.slug = t.slug and f.tool = t.tool;

-- step listing (ToolListed, ToolUnlisted): the window's last event of each tool holds, if the tool wasn't added again after it
update tools t
set listed = (e.type = 'ToolListed'), position = greatest(t.position, e.position)
from (
    select distinct on (r.stream) r.type, r.data, r.position
    from log.taken($1, $2, $3, '{ToolListed, ToolUnlisted}') r
    where not exists (select from log.taken($1, $2, $3, '{ToolAdded}') a where a.stream = r.stream and a.position > r.position)
    order by r.stream, r.position desc
) e
where t.tool = e.data->>'tool';

-- step succeeded (ToolAdded, ToolRenamed, ToolListed, ToolUnlisted): a card names its successor by slug if it is listed, so it changes with that
update tools t
set position = e.position
from (
    select r.data->>'tool' as tool, max(r.position) as position
    from log.taken($1, $2, $3, '{ToolAdded, ToolRenamed, ToolListed, ToolUnlisted}') r
    group by r.data->>'tool'
) e
where t.successor = e.tool and t.position < e.position;

-- step personas (PersonaDescribed): the last description holds
insert into personas as p (lower, persona, role, phrase, profile, excited_by, tired_of, position)
select e.lower, e.data->>'persona', e.data->>'role', e.data->>'phrase', e.data->>'profile',
       array(select jsonb_array_elements_text(e.data->'excited_by')), array(select jsonb_array_elements_text(e.data->'tired_of')),
       e.position
from (
    select distinct on (lower(r.data->>'persona' collate "C")) lower(r.data->>'persona' collate "C") as lower, r.data, r.position
    from log.taken($1, $2, $3, '{PersonaDescribed}') r
    order by lower(r.data->>'persona' collate "C"), r.position desc
) e
order by e.lower
on conflict (lower) do update
set persona = excluded.persona, role = excluded.role, phrase = excluded.phrase, profile = excluded.profile,
    excited_by = excluded.excited_by, tired_of = excluded.tired_of, position = excluded.position;

-- step panel (PanelReviewPublished, PanelReviewRevised): the last judgement holds, in the place of the first
insert into panel as p (tool, persona, score, verdict, take, first_position, position, category, listed)
select e.tool, e.persona, (e.data->>'score')::integer, e.data->>'verdict', e.data->>'take', e.first_position, e.position,
       coalesce(t.category, ''), coalesce(t.listed, false)
from (
    select distinct on (r.data->>'tool', r.data->>'persona')
           r.data->>'tool' as tool, r.data->>'persona' as persona, r.data, r.position,
           min(r.position) over (partition by r.data->>'tool', r.data->>'persona') as first_position
    from log.taken($1, $2, $3, '{PanelReviewPublished, PanelReviewRevised}') r
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
    select distinct e.data->>'tool' as tool
    from log.taken($1, $2, $3, '{ToolAdded, ToolDescribed, ToolListed, ToolUnlisted}') e
) w
join tools t on t.tool = w.tool
where p.tool = t.tool and (p.category <> t.category or p.listed <> t.listed);

-- step told_places (ToolAdded, ToolDescribed, ToolRenamed, ToolListed, ToolUnlisted, PanelReviewPublished, PanelReviewRevised): the tool's place in each list that the catalog alone orders; percent with halves rounded up
insert into places (tool, slug, name, category, listed, panel_first, panel_second)
select t.tool, t.slug, t.name, t.category, t.listed,
       case when r.reviews = 0 then 1 else -((200 * r.ships + r.reviews) / (2 * r.reviews)) end, -r.reviews
from (
    select distinct e.data->>'tool' as tool
    from log.taken($1, $2, $3, '{ToolAdded, ToolDescribed, ToolRenamed, ToolListed, ToolUnlisted, PanelReviewPublished, PanelReviewRevised}') e
) w
join tools t on t.tool = w.tool
cross join lateral (
    select count(*)::integer as reviews, (count(*) filter (where p.verdict = 'ship'))::integer as ships
    from panel p where p.tool = t.tool
) r
order by t.tool
on conflict (tool) do update
set slug = excluded.slug, name = excluded.name, category = excluded.category, listed = excluded.listed,
    panel_first = excluded.panel_first, panel_second = excluded.panel_second;

-- step told_tallies (ToolAdded, ToolDescribed, ToolRenamed, ToolListed, ToolUnlisted): so do tallies; a tool without votes has one too
insert into tallies as y (tool, ship, skip, position, slug, category, listed)
select t.tool, 0, 0, 0, t.slug, t.category, t.listed
from (
    select distinct e.data->>'tool' as tool
    from log.taken($1, $2, $3, '{ToolAdded, ToolDescribed, ToolRenamed, ToolListed, ToolUnlisted}') e
) w
join tools t on t.tool = w.tool
order by t.tool
on conflict (tool) do update set slug = excluded.slug, category = excluded.category, listed = excluded.listed;

-- step count_categories (ToolAdded, ToolDescribed, ToolListed, ToolUnlisted): the window's tools, counted where they are now
insert into categories as c (category, tools)
select t.category, count(*)
from (
    select distinct e.data->>'tool' as tool
    from log.taken($1, $2, $3, '{ToolAdded, ToolDescribed, ToolListed, ToolUnlisted}') e
) w
join tools t on t.tool = w.tool and t.listed
group by t.category
order by t.category
on conflict (category) do update set tools = c.tools + excluded.tools;

-- step count_reviewers (ToolAdded, ToolDescribed, ToolListed, ToolUnlisted, PanelReviewPublished, PanelReviewRevised): and their reviews
insert into reviewers as v (persona, category, reviewed, shipped)
select p.persona, p.category, count(*), count(*) filter (where p.verdict = 'ship')
from (
    select distinct e.data->>'tool' as tool
    from log.taken($1, $2, $3, '{ToolAdded, ToolDescribed, ToolListed, ToolUnlisted, PanelReviewPublished, PanelReviewRevised}') e
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
from log.changes_taken($1, $2, $3) c
group by c.tool
order by c.tool
on conflict (tool) do update
set ship = t.ship + excluded.ship, skip = t.skip + excluded.skip, position = excluded.position;

-- parts: the changes of tallies in each range
create unlogged table part_tallies (tool text collate "C" not null, ship bigint not null, skip bigint not null, position bigint not null);

-- part tallies (VoteCast, VoteRetracted, VoterDisqualified, VoterReinstated): as the step, for a range
insert into part_tallies (tool, ship, skip, position)
select c.tool,
       count(*) filter (where c.plus = 'ship') - count(*) filter (where c.minus = 'ship'),
       count(*) filter (where c.plus = 'skip') - count(*) filter (where c.minus = 'skip'),
       max(c.position)
from log.changes_taken($1, $2, $3) c
group by c.tool;

-- merged tallies: the ranges' changes, summed
insert into tallies as t (tool, ship, skip, position)
select p.tool, sum(p.ship)::bigint, sum(p.skip)::bigint, max(p.position)
from part_tallies p
group by p.tool
order by p.tool
on conflict (tool) do update
set ship = t.ship + excluded.ship, skip = t.skip + excluded.skip, position = excluded.position;

-- step pairs (ComparisonAnnounced): each pair is announced once
insert into pairs (left_tool, right_tool, position)
select e.data->>'left', e.data->>'right', e.position
from log.taken($1, $2, $3, '{ComparisonAnnounced}') e
order by e.data->>'left', e.data->>'right';

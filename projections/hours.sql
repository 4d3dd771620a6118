-- Hours: the changes of each tool's tally in each hour (UTC), twice: as counted then, and corrected, without the votes of voters
-- disqualified now. A tally as of a time is a sum of hours and the rest of one hour from the log.

-- tables: changes by hour, with the positions of the first and the last of them, and the disqualified voters
create table hours (
    tool           text        not null collate "C",
    hour           timestamptz not null,
    ship           bigint      not null,
    skip           bigint      not null,
    corrected_ship bigint      not null,
    corrected_skip bigint      not null,
    first_position bigint      not null,
    last_position  bigint      not null,
    constraint hours_pkey primary key (tool, hour)
);
create index hours_hour_idx on hours (hour);

create table disqualified (
    voter text not null collate "C",
    constraint disqualified_pkey primary key (voter)
);

-- The net votes of each tool in the hours since `trends_begin`, which is 7 days before the hour of the last event that changed a
-- tally: what the log says, not the clock. Who reads takes away the hours that the clock has left behind since. `before_ship` and
-- `before_skip` are the tally as it was then.
create table trends (
    tool        text    not null collate "C",
    slug        text    not null collate "C",
    category    text    not null collate "C",
    listed      boolean not null,
    net         bigint  not null,
    before_ship bigint  not null default 0,
    before_skip bigint  not null default 0,
    constraint trends_pkey primary key (tool)
);

create table trends_begin (
    only_row boolean     not null default true,
    hour     timestamptz not null,
    constraint trends_begin_pkey primary key (only_row),
    constraint trends_begin_only_row check (only_row)
);

-- indexes: what the lists are read from; no step needs them, so a rebuild makes them at its end
create index if not exists trends_net_idx on trends ((-net), slug) where listed;
create index if not exists trends_category_idx on trends (category, (-net), slug) where listed;
create index if not exists trends_before_idx on trends (log.settled_place(before_ship, before_skip), slug)
    where listed and before_ship + before_skip > 0;
create index if not exists trends_category_before_idx on trends (category, log.settled_place(before_ship, before_skip), slug)
    where listed and before_ship + before_skip > 0;

-- totals: all changes together, counted and corrected, and the number of disqualified voters
select t.name, t.total
from (
    select coalesce(sum(ship), 0)::bigint as ship, coalesce(sum(skip), 0)::bigint as skip,
           coalesce(sum(corrected_ship), 0)::bigint as corrected_ship, coalesce(sum(corrected_skip), 0)::bigint as corrected_skip
    from hours
) s
cross join lateral (
    values ('ship', s.ship), ('skip', s.skip), ('corrected ship', s.corrected_ship), ('corrected skip', s.corrected_skip),
           ('disqualified voters', (select count(*) from disqualified)), ('tools', (select count(*) from trends)),
           ('votes of the last 7 days missing from the trends', (
               select coalesce(sum(h.ship - h.skip), 0)::bigint from hours h join trends t on t.tool = h.tool
               where h.hour >= (select b.hour from trends_begin b)
           ) - (select coalesce(sum(t.net), 0)::bigint from trends t)),
           ('votes before the last 7 days missing from the trends', (
               select coalesce(sum(h.ship + h.skip), 0)::bigint from hours h join trends t on t.tool = h.tool
               where h.hour < (select b.hour from trends_begin b)
           ) - (select coalesce(sum(t.before_ship + t.before_skip), 0)::bigint from trends t))
) as t(name, total);

-- changes (VoteCast, VoteRetracted, VoterDisqualified, VoterReinstated, ToolAdded): votes twice, voters, and tools
select c.name, c.change
from (
    select count(*) filter (where t.plus = 'ship') - count(*) filter (where t.minus = 'ship') as ship,
           count(*) filter (where t.plus = 'skip') - count(*) filter (where t.minus = 'skip') as skip
    from log.changes_taken($1, $2, $3) t
) s
cross join lateral (
    values ('ship', s.ship), ('skip', s.skip), ('corrected ship', s.ship), ('corrected skip', s.skip)
) as c(name, change)
union all
select case e.type when 'ToolAdded' then 'tools' else 'disqualified voters' end,
       sum(case e.type when 'VoterReinstated' then -1 else 1 end)::bigint
from log.taken($1, $2, $3) e
where (e.type in ('VoterDisqualified', 'VoterReinstated') or e.type = 'ToolAdded' and e.version = 1) and not e.data ? 'again'
group by 1;

-- step tools (ToolAdded): a new tool has no votes; one that the cards passed over may be added again
insert into trends (tool, slug, category, listed, net)
select e.data->>'tool', e.data->>'slug', e.data->>'category', true, 0
from log.taken($1, $2, $3, '{ToolAdded}') e
order by e.data->>'tool'
on conflict (tool) do update set slug = excluded.slug, category = excluded.category, listed = true;

-- step slugs (ToolRenamed): the window's last slug of each tool holds
update trends t
set slug = e.data->>'slug'
from (
    select distinct on (r.stream) r.data
    from log.taken($1, $2, $3, '{ToolRenamed}') r
    where not exists (select from log.taken($1, $2, $3, '{ToolAdded}') a where a.stream = r.stream and a.position > r.position)
    order by r.stream, r.position desc
) e
where t.tool = e.data->>'tool';

-- step categories (ToolDescribed): the window's last description of each tool holds
update trends t
set category = e.data->>'category'
from (
    select distinct on (r.stream) r.data
    from log.taken($1, $2, $3, '{ToolDescribed}') r
    where not exists (select from log.taken($1, $2, $3, '{ToolAdded}') a where a.stream = r.stream and a.position > r.position)
    order by r.stream, r.position desc
) e
where t.tool = e.data->>'tool' and t.category <> e.data->>'category';

-- step listing (ToolListed, ToolUnlisted): the window's last event of each tool holds
update trends t
set listed = (e.type = 'ToolListed')
from (
    select distinct on (r.stream) r.type, r.data
    from log.taken($1, $2, $3, '{ToolListed, ToolUnlisted}') r
    where not exists (select from log.taken($1, $2, $3, '{ToolAdded}') a where a.stream = r.stream and a.position > r.position)
    order by r.stream, r.position desc
) e
where t.tool = e.data->>'tool';

-- step voters (VoterDisqualified, VoterReinstated): take back, or give back, the votes of a voter before this window, in their own hours
with last_word as (
    select distinct on (e.data->>'voter') e.data->>'voter' as voter, e.type
    from log.taken($1, $2, $3, '{VoterDisqualified, VoterReinstated}') e
    order by e.data->>'voter', e.position desc
),
gone as (
    insert into disqualified (voter)
    select l.voter from last_word l where l.type = 'VoterDisqualified' order by l.voter
    on conflict (voter) do nothing
    returning voter
),
back as (
    delete from disqualified d using last_word l where d.voter = l.voter and l.type = 'VoterReinstated' returning d.voter
),
changed as (
    select voter, -1 as sign from gone union all select voter, 1 from back
)
insert into hours as h (tool, hour, ship, skip, corrected_ship, corrected_skip, first_position, last_position)
select e.data->>'tool', date_trunc('hour', e.recorded_at, 'UTC'), 0, 0,
       sum(c.sign * (coalesce(e.data->>'choice' = 'ship', false)::integer - coalesce(e.data->>'previous' = 'ship', false)::integer)),
       sum(c.sign * (coalesce(e.data->>'choice' = 'skip', false)::integer - coalesce(e.data->>'previous' = 'skip', false)::integer)),
       min(e.position), max(e.position)
from changed c
cross join lateral (
    -- Not log.tally_changes: for each voter that would also read disqualifications, by another index.
    select r.data, r.recorded_at, r.position from log.between_streams(log.first_stream(c.voter), log.last_stream(c.voter)) r
    where r.data->>'voter' = c.voter and r.position <= $1 and r.position <> all($3::bigint[]) and r.type in ('VoteCast', 'VoteRetracted')
    offset 0 -- keeps this a look-up of each voter's range; joined freely, the planner would read the whole log
) e
group by 1, 2
order by 1, 2
on conflict (tool, hour) do update
set corrected_ship = h.corrected_ship + excluded.corrected_ship, corrected_skip = h.corrected_skip + excluded.corrected_skip;

-- step trends (VoteCast, VoteRetracted, VoterDisqualified, VoterReinstated): the window's changes come in, and the hours that are 7 days old go; before `changes`, so that `hours` are those before the window
with begin as materialized (
    select l.hour, log.position_at(l.hour - interval '1 microsecond') as before
    from (
        select date_trunc('hour', e.recorded_at, 'UTC') - interval '7 days' as hour
        from log.taken($1, $2, $3, '{VoteCast, VoteRetracted, VoterDisqualified, VoterReinstated}') e
        order by e.position desc limit 1
    ) l
),
moved as (
    insert into trends_begin (hour) select b.hour from begin b on conflict (only_row) do update set hour = excluded.hour
),
changes as (
    select c.tool, (c.plus is not distinct from 'ship')::integer - (c.minus is not distinct from 'ship')::integer as ship,
           (c.plus is not distinct from 'skip')::integer - (c.minus is not distinct from 'skip')::integer as skip,
           (c.position > (select b.before from begin b))::integer as enters,
           (c.position <= (select b.before from begin b))::integer as leaves
    from log.changes_taken($1, $2, $3) c
    union all
    select h.tool, h.ship, h.skip, -1, 1
    from hours h
    where h.hour >= (select b.hour from trends_begin b) and h.hour < (select b.hour from begin b)
)
insert into trends as t (tool, slug, category, listed, net, before_ship, before_skip)
select k.tool, k.slug, k.category, k.listed, d.net, d.ship, d.skip
from (
    select c.tool, sum(c.enters * (c.ship - c.skip))::bigint as net,
           sum(c.leaves * c.ship)::bigint as ship, sum(c.leaves * c.skip)::bigint as skip
    from changes c
    group by c.tool
) d
cross join lateral (
    select x.tool, x.slug, x.category, x.listed from trends x where x.tool = d.tool
    offset 0 -- keeps this a look-up of each tool; joined freely, a small window would read all tools
) k
where d.net <> 0 or d.ship <> 0 or d.skip <> 0
order by k.tool
on conflict (tool) do update
set net = t.net + excluded.net, before_ship = t.before_ship + excluded.before_ship,
    before_skip = t.before_skip + excluded.before_skip;

-- step changes (VoteCast, VoteRetracted, VoterDisqualified, VoterReinstated): counted, all of them; corrected, votes of voters not disqualified at the window's end
insert into hours as h (tool, hour, ship, skip, corrected_ship, corrected_skip, first_position, last_position)
select c.tool, date_trunc('hour', c.recorded_at, 'UTC'),
       count(*) filter (where c.plus = 'ship') - count(*) filter (where c.minus = 'ship'),
       count(*) filter (where c.plus = 'skip') - count(*) filter (where c.minus = 'skip'),
       count(*) filter (where c.own and c.plus = 'ship') - count(*) filter (where c.own and c.minus = 'ship'),
       count(*) filter (where c.own and c.plus = 'skip') - count(*) filter (where c.own and c.minus = 'skip'),
       min(c.position), max(c.position)
from (
    select t.tool, t.position, t.recorded_at, t.plus, t.minus, d.voter is null and t.type in ('VoteCast', 'VoteRetracted') as own
    from log.changes_taken($1, $2, $3) t left join disqualified d on d.voter = t.voter
) c
group by 1, 2
order by 1, 2
on conflict (tool, hour) do update
set ship = h.ship + excluded.ship, skip = h.skip + excluded.skip,
    corrected_ship = h.corrected_ship + excluded.corrected_ship, corrected_skip = h.corrected_skip + excluded.corrected_skip,
    last_position = excluded.last_position;

-- parts: each range's changes by hour; `own` are those of ballots alone, whoever's they are
create unlogged table part_hours (
    tool           text        not null collate "C",
    hour           timestamptz not null,
    ship           bigint      not null,
    skip           bigint      not null,
    own_ship       bigint      not null,
    own_skip       bigint      not null,
    first_position bigint      not null,
    last_position  bigint      not null
);

-- part changes (VoteCast, VoteRetracted, VoterDisqualified, VoterReinstated): as the step, for a range
insert into part_hours (tool, hour, ship, skip, own_ship, own_skip, first_position, last_position)
select c.tool, to_timestamp(c.hour * 3600::float8), sum(c.ship), sum(c.skip), sum(c.own * c.ship), sum(c.own * c.skip),
       min(c.position), max(c.position)
from (
    select t.tool, floor(date_part('epoch', t.recorded_at) / 3600)::integer as hour, t.position,
           (t.plus is not distinct from 'ship')::integer - (t.minus is not distinct from 'ship')::integer as ship,
           (t.plus is not distinct from 'skip')::integer - (t.minus is not distinct from 'skip')::integer as skip,
           (t.type in ('VoteCast', 'VoteRetracted'))::integer as own
    from log.changes_taken($1, $2, $3) t
) c
group by c.hour, c.tool;

-- merged changes: the ranges' hours, which two ranges share at most at their ends
insert into hours (tool, hour, ship, skip, corrected_ship, corrected_skip, first_position, last_position)
select p.tool, p.hour, sum(p.ship)::bigint, sum(p.skip)::bigint, sum(p.own_ship)::bigint, sum(p.own_skip)::bigint,
       min(p.first_position), max(p.last_position)
from part_hours p
group by p.tool, p.hour
order by p.tool, p.hour;

-- merged voters: then the ballots of the voters who are disqualified at the end are taken back
with gone as (
    insert into disqualified (voter)
    select l.voter
    from (
        select distinct on (e.data->>'voter') e.data->>'voter' as voter, e.type
        from log.taken($1, $2, $3, '{VoterDisqualified, VoterReinstated}') e
        order by e.data->>'voter', e.position desc
    ) l
    where l.type = 'VoterDisqualified'
    order by l.voter
    returning voter
)
update hours h
set corrected_ship = h.corrected_ship - d.ship, corrected_skip = h.corrected_skip - d.skip
from (
    select e.data->>'tool' as tool, date_trunc('hour', e.recorded_at, 'UTC') as hour,
           sum((e.data->>'choice' is not distinct from 'ship')::integer - (e.data->>'previous' is not distinct from 'ship')::integer) as ship,
           sum((e.data->>'choice' is not distinct from 'skip')::integer - (e.data->>'previous' is not distinct from 'skip')::integer) as skip
    from gone g
    cross join lateral (
        select r.data, r.recorded_at, r.position from log.between_streams(log.first_stream(g.voter), log.last_stream(g.voter)) r
        where r.data->>'voter' = g.voter and r.position <= $2 and r.position <> all($3::bigint[]) and r.type in ('VoteCast', 'VoteRetracted')
        offset 0 -- keeps this a look-up of each voter's range; joined freely, the planner would read the whole log
    ) e
    group by 1, 2
) d
where h.tool = d.tool and h.hour = d.hour;

-- merged trends: of all hours
with begin as materialized (
    insert into trends_begin (hour)
    select l.hour
    from (
        select date_trunc('hour', e.recorded_at, 'UTC') - interval '7 days' as hour
        from log.taken($1, $2, $3, '{VoteCast, VoteRetracted, VoterDisqualified, VoterReinstated}') e
        order by e.position desc limit 1
    ) l
    returning hour
)
update trends t
set net = d.net, before_ship = d.ship, before_skip = d.skip
from (
    select h.tool, coalesce(sum(h.ship - h.skip) filter (where h.hour >= b.hour), 0)::bigint as net,
           coalesce(sum(h.ship) filter (where h.hour < b.hour), 0)::bigint as ship,
           coalesce(sum(h.skip) filter (where h.hour < b.hour), 0)::bigint as skip
    from hours h cross join begin b
    group by h.tool
) d
where t.tool = d.tool;

-- Hours: the changes of each tool's tally in each hour (UTC), twice: as counted then, and corrected, without the votes of voters
-- disqualified now. A tally as of a time is a sum of days, of hours, and the rest of one hour from the log.
--
-- Most tools have few votes in an hour, so the hours of a day share a row: a third of the bytes that a row an hour takes, and a
-- twelfth of the rows that a year is summed from. An hour comes there when it is over. Until then a vote changes one narrow row,
-- that of its tool's trend.

-- tables: a row a tool and day with changes, in hours that are over: before that of the last event that changed a tally, by what the
-- log says, not the clock. `hours`, in order, are {hour, ship, skip, first position, last position}, positions
-- counted from the row's. `voided` are {hour, ship, skip}: by how much counted is more than corrected; null where it is so nowhere
create table days (
    first_position bigint  not null,
    day            date    not null,
    ship           integer not null,
    skip           integer not null,
    tool           text    not null collate "C",
    hours          integer[] not null,
    voided         integer[],
    constraint days_pkey primary key (tool, day)
);

create table disqualified (
    voter text not null collate "C",
    constraint disqualified_pkey primary key (voter)
);

-- The net votes of each tool in the hours since `trends_begin`, which is 7 days before the hour of the last event that changed a
-- tally. Who reads takes away the hours that the clock has left behind since. `before_ship` and `before_skip` are the tally as it was
-- then. And the last hour with changes of the tool, which is in `days` too once it is over.
create table trends (
    tool           text    not null collate "C",
    slug           text    not null default '' collate "C",
    category       text    not null default '' collate "C",
    listed         boolean not null default false,
    net            bigint  not null,
    before_ship    bigint  not null default 0,
    before_skip    bigint  not null default 0,
    last_hour      timestamptz not null default '-infinity',
    first_position bigint  not null default 0,
    last_position  bigint  not null default 0,
    last_ship      integer not null default 0,
    last_skip      integer not null default 0,
    void_ship      integer not null default 0,
    void_skip      integer not null default 0,
    constraint trends_pkey primary key (tool)
);

create table trends_begin (
    only_row  boolean     not null default true,
    hour      timestamptz not null,
    last_hour timestamptz not null,
    constraint trends_begin_pkey primary key (only_row),
    constraint trends_begin_only_row check (only_row)
);

-- What is read of them; `n` is the hour's number in its day. Who asks for a time names days as well, which have the index.
create view hours_over as
select d.tool, d.day, h.hour::integer as n,
       (d.day + h.hour * interval '1 hour') at time zone 'UTC' as hour, d.hours[h.i][2] as ship, d.hours[h.i][3] as skip,
       d.hours[h.i][2] - coalesce(v.ship, 0) as corrected_ship, d.hours[h.i][3] - coalesce(v.skip, 0) as corrected_skip,
       d.first_position + d.hours[h.i][4] as first_position, d.first_position + d.hours[h.i][5] as last_position
from days d
cross join lateral unnest(d.hours[:][1:1]) with ordinality as h(hour, i)
left join lateral (
    select d.voided[o.i][2] as ship, d.voided[o.i][3] as skip
    from unnest(d.voided[:][1:1]) with ordinality as o(hour, i) where o.hour = h.hour
) v on d.voided is not null;

create view daily_over as
select d.tool, d.day, d.ship, d.skip, d.ship - coalesce(v.ship, 0) as corrected_ship, d.skip - coalesce(v.skip, 0) as corrected_skip
from days d
left join lateral (
    select sum(d.voided[o.i][2]) as ship, sum(d.voided[o.i][3]) as skip
    from unnest(d.voided[:][1:1]) with ordinality as o(hour, i)
) v on d.voided is not null;

create view last_hours as
select t.tool, (b.last_hour at time zone 'UTC')::date as day, date_part('hour', b.last_hour at time zone 'UTC')::integer as n,
       b.last_hour as hour, t.last_ship as ship, t.last_skip as skip, t.last_ship - t.void_ship as corrected_ship,
       t.last_skip - t.void_skip as corrected_skip, t.first_position, t.last_position
from trends_begin b join trends t on t.last_hour = b.last_hour;

create view hours as select * from hours_over union all select * from last_hours;

create view daily as
select * from daily_over
union all
select tool, day, ship, skip, corrected_ship, corrected_skip from last_hours;

-- indexes: what the lists are read from; no step needs them, so a rebuild makes them at its end. Live, the step `changes` is glad of
-- the first
create index if not exists days_day_idx on days (day);
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
    from daily
) s
cross join (
    select coalesce(sum(c.ship - c.skip) filter (where c.is_of_week), 0)::bigint as net,
           coalesce(sum(c.ship + c.skip) filter (where not c.is_of_week), 0)::bigint as before
    from (
        select d.tool, d.ship, d.skip, d.day > b.day as is_of_week
        from daily d cross join (select (hour at time zone 'UTC')::date as day from trends_begin) b where d.day <> b.day
        union all
        select h.tool, h.ship, h.skip, h.hour >= b.hour
        from trends_begin b join hours_over h on h.day = (b.hour at time zone 'UTC')::date
    ) c
    join trends t on t.tool = c.tool
) w
cross join lateral (
    values ('ship', s.ship), ('skip', s.skip), ('corrected ship', s.corrected_ship), ('corrected skip', s.corrected_skip),
           ('disqualified voters', (select count(*) from disqualified)), ('tools', (select count(*) from trends where slug <> '')),
           ('votes of the last 7 days missing from the trends', w.net - (select coalesce(sum(net), 0)::bigint from trends)),
           ('votes before the last 7 days missing from the trends',
            w.before - (select coalesce(sum(before_ship + before_skip), 0)::bigint from trends))
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
where t.tool = e.data->>'tool' and t.slug <> '';

-- step categories (ToolDescribed): the window's last description of each tool holds
update trends t
set category = e.data->>'category'
from (
    select distinct on (r.stream) r.data
    from log.taken($1, $2, $3, '{ToolDescribed}') r
    where not exists (select from log.taken($1, $2, $3, '{ToolAdded}') a where a.stream = r.stream and a.position > r.position)
    order by r.stream, r.position desc
) e
where t.tool = e.data->>'tool' and t.slug <> '' and t.category <> e.data->>'category';

-- step listing (ToolListed, ToolUnlisted): the window's last event of each tool holds
update trends t
set listed = (e.type = 'ToolListed')
from (
    select distinct on (r.stream) r.type, r.data
    from log.taken($1, $2, $3, '{ToolListed, ToolUnlisted}') r
    where not exists (select from log.taken($1, $2, $3, '{ToolAdded}') a where a.stream = r.stream and a.position > r.position)
    order by r.stream, r.position desc
) e
where t.tool = e.data->>'tool' and t.slug <> '';

-- step voters (VoterDisqualified, VoterReinstated): who is out, and that ballots before the window are void or no more; before `changes`, which must see who is out at the window's end
with last_word as (
    select distinct on (e.data->>'voter') e.data->>'voter' as voter, e.type = 'VoterDisqualified' as is_out
    from log.taken($1, $2, $3, '{VoterDisqualified, VoterReinstated}') e
    order by e.data->>'voter', e.position desc
),
back as (
    delete from disqualified d using last_word l where d.voter = l.voter and not l.is_out
),
out as (
    insert into disqualified (voter) select l.voter from last_word l where l.is_out order by l.voter on conflict (voter) do nothing
),
turned as materialized (
    select b.tool, b.hour, (b.hour at time zone 'UTC')::date as day, date_part('hour', b.hour at time zone 'UTC')::integer as n,
           sum(b.sign * b.ship)::integer as ship, sum(b.sign * b.skip)::integer as skip
    from (
        select b.tool, date_trunc('hour', b.recorded_at, 'UTC') as hour, case when l.is_out then 1 else -1 end as sign, b.ship, b.skip
        from last_word l left join disqualified d on d.voter = l.voter cross join lateral log.ballots_of(l.voter, $1, $3) b
        where l.is_out <> (d.voter is not null)
    ) b
    group by b.tool, b.hour
),
of_last as (
    update trends t set void_ship = t.void_ship + c.ship, void_skip = t.void_skip + c.skip
    from turned c where t.tool = c.tool and t.last_hour = c.hour
)
update days d
set voided = v.voided
from (
    select h.tool, h.day, array_agg(array[h.n, h.ship, h.skip] order by h.n) filter (where h.ship <> 0 or h.skip <> 0) as voided
    from (
        select h.tool, h.day, h.n, h.ship - h.corrected_ship + coalesce(c.ship, 0) as ship,
               h.skip - h.corrected_skip + coalesce(c.skip, 0) as skip
        from (select distinct c.tool, c.day from turned c) t
        cross join lateral (
            select x.* from hours_over x where x.tool = t.tool and x.day = t.day
            offset 0 -- keeps this a look-up of each tool's day
        ) h
        left join turned c on c.tool = h.tool and c.hour = h.hour
    ) h
    group by h.tool, h.day
) v
where d.tool = v.tool and d.day = v.day;

-- step changes (VoteCast, VoteRetracted, VoterDisqualified, VoterReinstated): the window's changes come to their tools' last hours, and to days what is over; hours that are 7 days old leave the trends
-- Void are changes that no ballot made, and those of voters who are out.
with stands as materialized (
    select l.hour as last_hour, l.hour - interval '7 days' as hour, b.last_hour as before, b.hour as hour_before
    from (
        select date_trunc('hour', e.recorded_at, 'UTC') as hour
        from log.taken($1, $2, $3, '{VoteCast, VoteRetracted, VoterDisqualified, VoterReinstated}') e
        order by e.position desc limit 1
    ) l
    left join trends_begin b on true
),
moved as (
    insert into trends_begin as b (hour, last_hour) select s.hour, s.last_hour from stands s
    on conflict (only_row) do update set hour = excluded.hour, last_hour = excluded.last_hour where b.last_hour <> excluded.last_hour
),
changed as materialized (
    select c.tool, to_timestamp(c.n * 3600.0::float8) as hour, sum(c.ship)::integer as ship, sum(c.skip)::integer as skip,
           sum(c.void * c.ship)::integer as void_ship, sum(c.void * c.skip)::integer as void_skip,
           min(c.position) as first_position, max(c.position) as last_position
    from (
        select t.tool collate "C" as tool, floor(date_part('epoch', t.recorded_at) / 3600)::integer as n, t.position,
               (t.plus is not distinct from 'ship')::integer - (t.minus is not distinct from 'ship')::integer as ship,
               (t.plus is not distinct from 'skip')::integer - (t.minus is not distinct from 'skip')::integer as skip,
               (t.type not in ('VoteCast', 'VoteRetracted') or d.voter is not null)::integer as void
        from log.changes_taken($1, $2, $3) t left join disqualified d on d.voter = t.voter
    ) c
    group by c.n, c.tool
),
over (tool, day, n, ship, skip, void_ship, void_skip, first_position, last_position) as materialized (
    select o.tool, (o.hour at time zone 'UTC')::date, date_part('hour', o.hour at time zone 'UTC')::integer,
           o.ship, o.skip, o.void_ship, o.void_skip, o.first_position, o.last_position
    from (
        select c.tool, c.hour, c.ship, c.skip, c.void_ship, c.void_skip, c.first_position, c.last_position
        from stands s join changed c on c.hour < s.last_hour
        union all
        select t.tool, t.last_hour, t.last_ship, t.last_skip, t.void_ship, t.void_skip, t.first_position, t.last_position
        from stands s join trends t on s.before < s.last_hour and t.last_hour = s.before
    ) o
),
stood as (
    select h.tool, h.day, h.n, h.ship, h.skip, h.ship - h.corrected_ship, h.skip - h.corrected_skip, h.first_position, h.last_position
    from (select distinct o.tool, o.day from over o) t
    cross join lateral (
        select x.* from hours_over x where x.tool = t.tool and x.day = t.day
        offset 0 -- keeps this a look-up of each tool's day
    ) h
),
hourly as (
    select o.tool, o.day, o.n, sum(o.ship)::integer as ship, sum(o.skip)::integer as skip, sum(o.void_ship)::integer as void_ship,
           sum(o.void_skip)::integer as void_skip, min(o.first_position) as first_position, max(o.last_position) as last_position,
           min(min(o.first_position)) over (partition by o.day, o.tool) as begins
    from (select * from over union all select * from stood order by day, tool, n) o
    group by o.day, o.tool, o.n
),
kept as (
    insert into days (first_position, day, ship, skip, tool, hours, voided)
    select min(h.begins), h.day, sum(h.ship), sum(h.skip), h.tool,
           array_agg(array[h.n, h.ship, h.skip, (h.first_position - h.begins)::integer, (h.last_position - h.begins)::integer]
                     order by h.n),
           array_agg(array[h.n, h.void_ship, h.void_skip] order by h.n) filter (where h.void_ship <> 0 or h.void_skip <> 0)
    from hourly h
    group by h.day, h.tool
    order by h.day, h.tool
    on conflict (tool, day) do update
    set first_position = excluded.first_position, ship = excluded.ship, skip = excluded.skip, hours = excluded.hours,
        voided = excluded.voided
),
changes as (
    select c.tool, c.hour, c.hour = max(c.hour) over (partition by c.tool) as is_last, (c.hour >= s.hour)::integer as enters,
           (c.hour < s.hour)::integer as leaves, c.ship, c.skip, c.void_ship, c.void_skip, c.first_position, c.last_position
    from changed c cross join stands s
    union all
    select h.tool, '-infinity', false, -1, 1, h.ship, h.skip, 0, 0, 0, 0
    from stands s
    join hours_over h on s.hour_before < s.hour -- else no row of that day is read
                     and h.day >= (s.hour_before at time zone 'UTC')::date and h.day <= (s.hour at time zone 'UTC')::date
                     and h.hour >= s.hour_before and h.hour < s.hour
    union all
    select t.tool, '-infinity', false, -1, 1, t.last_ship, t.last_skip, 0, 0, 0, 0
    from stands s join trends t on s.before < s.hour and t.last_hour = s.before
)
insert into trends as t (tool, net, before_ship, before_skip, last_hour, first_position, last_position, last_ship, last_skip,
                         void_ship, void_skip)
select c.tool, sum(c.enters * (c.ship - c.skip)), sum(c.leaves * c.ship), sum(c.leaves * c.skip), max(c.hour),
       coalesce(min(c.first_position) filter (where c.is_last), 0), max(c.last_position),
       coalesce(sum(c.ship) filter (where c.is_last), 0), coalesce(sum(c.skip) filter (where c.is_last), 0),
       coalesce(sum(c.void_ship) filter (where c.is_last), 0), coalesce(sum(c.void_skip) filter (where c.is_last), 0)
from changes c
group by c.tool
order by c.tool
on conflict (tool) do update
set net = t.net + excluded.net, before_ship = t.before_ship + excluded.before_ship, before_skip = t.before_skip + excluded.before_skip,
    last_hour = greatest(t.last_hour, excluded.last_hour), last_position = greatest(t.last_position, excluded.last_position),
    first_position = case when excluded.last_hour > t.last_hour then excluded.first_position else t.first_position end,
    last_ship = excluded.last_ship + case when excluded.last_hour > t.last_hour then 0 else t.last_ship end,
    last_skip = excluded.last_skip + case when excluded.last_hour > t.last_hour then 0 else t.last_skip end,
    void_ship = excluded.void_ship + case when excluded.last_hour > t.last_hour then 0 else t.void_ship end,
    void_skip = excluded.void_skip + case when excluded.last_hour > t.last_hour then 0 else t.void_skip end;

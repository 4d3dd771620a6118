-- Hours of a long log: ranges of it are folded side by side into tables of parts, and these are merged into the tables of hours.sql.

-- parts: each range's changes by hour, of which void are those alone that no ballot made; and when its last event that changed a tally was
create unlogged table part_last (position bigint not null, recorded_at timestamptz not null);
create unlogged table part_hours (
    tool           text    not null collate "C",
    day            date    not null,
    n              integer not null,
    ship           integer not null,
    skip           integer not null,
    void_ship      integer not null,
    void_skip      integer not null,
    first_position bigint  not null,
    last_position  bigint  not null
);

-- part changes (VoteCast, VoteRetracted, VoterDisqualified, VoterReinstated): as the step, for a range
insert into part_hours (tool, day, n, ship, skip, void_ship, void_skip, first_position, last_position)
select c.tool, date '1970-01-01' + c.n / 24, c.n % 24, sum(c.ship), sum(c.skip), sum(c.void * c.ship), sum(c.void * c.skip),
       min(c.position), max(c.position)
from (
    select t.tool, floor(date_part('epoch', t.recorded_at) / 3600)::integer as n, t.position,
           (t.plus is not distinct from 'ship')::integer - (t.minus is not distinct from 'ship')::integer as ship,
           (t.plus is not distinct from 'skip')::integer - (t.minus is not distinct from 'skip')::integer as skip,
           (t.type not in ('VoteCast', 'VoteRetracted'))::integer as void
    from log.changes_taken($1, $2, $3) t
) c
group by c.n, c.tool;

-- part last (VoteCast, VoteRetracted, VoterDisqualified, VoterReinstated): when the range's last such event was
insert into part_last (position, recorded_at)
select e.position, e.recorded_at
from log.taken($1, $2, $3, '{VoteCast, VoteRetracted, VoterDisqualified, VoterReinstated}') e
order by e.position desc limit 1;

-- merged bare: without the key, which is made faster once the rows are there
alter table days drop constraint days_pkey;

-- merged changes: the ranges' hours, and all ballots of the voters who are out at the end
with last_word as (
    select distinct on (e.data->>'voter') e.data->>'voter' as voter, e.type
    from log.taken($1, $2, $3, '{VoterDisqualified, VoterReinstated}') e
    order by e.data->>'voter', e.position desc
),
changed as (
    select p.tool, p.day, p.n, p.ship, p.skip, p.void_ship, p.void_skip, p.first_position, p.last_position from part_hours p
    union all
    select b.tool, (b.recorded_at at time zone 'UTC')::date, date_part('hour', b.recorded_at at time zone 'UTC')::integer, 0, 0,
           b.ship, b.skip, null, null
    from last_word o cross join lateral log.ballots_of(o.voter, $2, $3) b
    where o.type = 'VoterDisqualified'
),
hourly as (
    select c.tool, c.day, c.n, sum(c.ship)::integer as ship, sum(c.skip)::integer as skip, sum(c.void_ship)::integer as void_ship,
           sum(c.void_skip)::integer as void_skip, min(c.first_position) as first_position, max(c.last_position) as last_position,
           min(min(c.first_position)) over (partition by c.day, c.tool) as begins
    from (select * from changed order by day, tool, n) c
    group by c.day, c.tool, c.n
)
insert into days (first_position, day, ship, skip, tool, hours, voided)
select min(h.begins), h.day, sum(h.ship), sum(h.skip), h.tool,
       array_agg(array[h.n, h.ship, h.skip, (h.first_position - h.begins)::integer, (h.last_position - h.begins)::integer]
                 order by h.n),
       array_agg(array[h.n, h.void_ship, h.void_skip] order by h.n) filter (where h.void_ship <> 0 or h.void_skip <> 0)
from hourly h
group by h.day, h.tool
order by h.day, h.tool;

-- merged keyed: the key, now that the rows are there
alter table days add constraint days_pkey primary key (tool, day);

-- merged trends: of all days, and the hours of that day in which the last 7 began; and each tool's last hour
with begin as materialized (
    insert into trends_begin (hour, last_hour)
    select l.hour - interval '7 days', l.hour
    from (select date_trunc('hour', p.recorded_at, 'UTC') as hour from part_last p order by p.position desc limit 1) l
    returning hour, (hour at time zone 'UTC')::date as day
)
insert into trends (tool, net, before_ship, before_skip, last_hour, first_position, last_position, last_ship, last_skip,
                    void_ship, void_skip)
select d.tool, d.net, d.ship, d.skip, l.hour, l.first_position, l.last_position, l.ship, l.skip, l.ship - l.corrected_ship,
       l.skip - l.corrected_skip
from (
    select c.tool, max(c.day) as last_day, coalesce(sum(c.ship - c.skip) filter (where c.is_of_week), 0) as net,
           coalesce(sum(c.ship) filter (where not c.is_of_week), 0) as ship,
           coalesce(sum(c.skip) filter (where not c.is_of_week), 0) as skip
    from (
        select d.tool, d.day, d.ship, d.skip, d.day > b.day as is_of_week from days d cross join begin b where d.day <> b.day
        union all
        select h.tool, h.day, h.ship, h.skip, h.hour >= b.hour from begin b join hours_over h on h.day = b.day
    ) c
    group by c.tool
) d
cross join lateral (
    select h.* from hours_over h where h.tool = d.tool and h.day = d.last_day order by h.n desc limit 1
) l
on conflict (tool) do update
set net = excluded.net, before_ship = excluded.before_ship, before_skip = excluded.before_skip, last_hour = excluded.last_hour,
    first_position = excluded.first_position, last_position = excluded.last_position, last_ship = excluded.last_ship,
    last_skip = excluded.last_skip, void_ship = excluded.void_ship, void_skip = excluded.void_skip;

-- merged over: the hour of the last change isn't over, so it leaves the days
with last as materialized (
    select t.tool, (b.last_hour at time zone 'UTC')::date as day, t.last_ship, t.last_skip, t.void_ship, t.void_skip
    from trends_begin b join trends t on t.last_hour = b.last_hour
),
gone as (
    delete from days d using last l where d.tool = l.tool and d.day = l.day and array_upper(d.hours, 1) = 1
)
update days d
set ship = d.ship - l.last_ship, skip = d.skip - l.last_skip, hours = d.hours[:array_upper(d.hours, 1) - 1],
    voided = case when l.void_ship = 0 and l.void_skip = 0 then d.voided
                  else nullif(d.voided[:array_upper(d.voided, 1) - 1], '{}') end
from last l
where d.tool = l.tool and d.day = l.day and array_upper(d.hours, 1) > 1;

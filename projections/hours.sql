-- Hours: the changes of each tool's tally in each hour (UTC), twice: as counted then, and corrected, without the votes of voters
-- disqualified now. A tally as of a time is a sum of hours and the rest of one hour from the log.

-- tables: changes by hour, and the disqualified voters
create table hours (
    tool           text        not null collate "C",
    hour           timestamptz not null,
    ship           bigint      not null,
    skip           bigint      not null,
    corrected_ship bigint      not null,
    corrected_skip bigint      not null,
    constraint hours_pkey primary key (tool, hour)
);
create index hours_hour_idx on hours (hour);

create table disqualified (
    voter text not null collate "C",
    constraint disqualified_pkey primary key (voter)
);

-- totals: all changes together, counted and corrected, and the number of disqualified voters
select t.name, t.total
from (
    select coalesce(sum(ship), 0)::bigint as ship, coalesce(sum(skip), 0)::bigint as skip,
           coalesce(sum(corrected_ship), 0)::bigint as corrected_ship, coalesce(sum(corrected_skip), 0)::bigint as corrected_skip
    from hours
) s
cross join lateral (
    values ('ship', s.ship), ('skip', s.skip), ('corrected ship', s.corrected_ship), ('corrected skip', s.corrected_skip),
           ('disqualified voters', (select count(*) from disqualified))
) as t(name, total);

-- changes (VoteCast, VoteRetracted, VoterDisqualified, VoterReinstated): votes twice, and voters
select c.name, c.change
from (
    select count(*) filter (where t.plus = 'ship') - count(*) filter (where t.minus = 'ship') as ship,
           count(*) filter (where t.plus = 'skip') - count(*) filter (where t.minus = 'skip') as skip
    from log.tally_changes t
    where t.position > $1 and t.position <= $2 and t.position <> all($3::bigint[])
) s
cross join lateral (
    values ('ship', s.ship), ('skip', s.skip), ('corrected ship', s.ship), ('corrected skip', s.skip)
) as c(name, change)
union all
select 'disqualified voters', sum(case e.type when 'VoterDisqualified' then 1 else -1 end)::bigint
from log.recorded_events e
where e.position > $1 and e.position <= $2 and e.position <> all($3::bigint[])
  and e.type in ('VoterDisqualified', 'VoterReinstated');

-- step voters (VoterDisqualified, VoterReinstated): take back, or give back, the votes of a voter before this window, in their own hours
with last_word as (
    select distinct on (e.data->>'voter') e.data->>'voter' as voter, e.type
    from log.recorded_events e
    where e.position > $1 and e.position <= $2 and e.position <> all($3::bigint[])
      and e.type in ('VoterDisqualified', 'VoterReinstated')
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
insert into hours as h (tool, hour, ship, skip, corrected_ship, corrected_skip)
select e.data->>'tool', date_trunc('hour', e.recorded_at, 'UTC'), 0, 0,
       sum(c.sign * (coalesce(e.data->>'choice' = 'ship', false)::integer - coalesce(e.data->>'previous' = 'ship', false)::integer)),
       sum(c.sign * (coalesce(e.data->>'choice' = 'skip', false)::integer - coalesce(e.data->>'previous' = 'skip', false)::integer))
from changed c
cross join lateral (
    -- Not log.tally_changes: for each voter that would also read disqualifications, by another index.
    select r.data, r.recorded_at from log.recorded_events r
    where r.stream between log.first_stream(c.voter) and log.last_stream(c.voter) and r.data->>'voter' = c.voter
      and r.position <= $1 and r.position <> all($3::bigint[]) and r.type in ('VoteCast', 'VoteRetracted')
    offset 0 -- keeps this a look-up of each voter's range; joined freely, the planner would read the whole log
) e
group by 1, 2
order by 1, 2
on conflict (tool, hour) do update
set corrected_ship = h.corrected_ship + excluded.corrected_ship, corrected_skip = h.corrected_skip + excluded.corrected_skip;

-- step changes (VoteCast, VoteRetracted, VoterDisqualified, VoterReinstated): counted, all of them; corrected, votes of voters not disqualified at the window's end
insert into hours as h (tool, hour, ship, skip, corrected_ship, corrected_skip)
select c.tool, date_trunc('hour', c.recorded_at, 'UTC'),
       count(*) filter (where c.plus = 'ship') - count(*) filter (where c.minus = 'ship'),
       count(*) filter (where c.plus = 'skip') - count(*) filter (where c.minus = 'skip'),
       count(*) filter (where c.own and c.plus = 'ship') - count(*) filter (where c.own and c.minus = 'ship'),
       count(*) filter (where c.own and c.plus = 'skip') - count(*) filter (where c.own and c.minus = 'skip')
from (
    select t.tool, t.recorded_at, t.plus, t.minus, d.voter is null and t.type in ('VoteCast', 'VoteRetracted') as own
    from log.tally_changes t left join disqualified d on d.voter = t.voter
    where t.position > $1 and t.position <= $2 and t.position <> all($3::bigint[])
) c
group by 1, 2
order by 1, 2
on conflict (tool, hour) do update
set ship = h.ship + excluded.ship, skip = h.skip + excluded.skip,
    corrected_ship = h.corrected_ship + excluded.corrected_ship, corrected_skip = h.corrected_skip + excluded.corrected_skip;

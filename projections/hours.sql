-- Hours: how each tool's tally changed in each hour (UTC), twice: as counted then, and corrected, without the votes of those
-- who are disqualified now. A tally as of a time is a sum of hours and the rest of one hour from the log.

-- tables: changes by hour, and who is disqualified
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

-- totals: all changes together come to the same, counted and corrected
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

-- changes (VoteCast, VoteRetracted, VoterDisqualified, VoterReinstated): votes say it, and so do the ballots that go and come
select c.name, sum(c.change)::bigint as change
from log.recorded_events e
cross join lateral (
    select e.data->>'choice' as choice, 1 as change where e.type = 'VoteCast'
    union all
    select e.data->>'previous', -1 where e.type in ('VoteCast', 'VoteRetracted') and e.data->>'previous' is not null
    union all
    select b.ballot->>1, case e.type when 'VoterReinstated' then 1 else -1 end
    from jsonb_array_elements(e.data->'ballots') as b(ballot)
    where e.type in ('VoterDisqualified', 'VoterReinstated')
    union all
    select null, case e.type when 'VoterDisqualified' then 1 else -1 end
    where e.type in ('VoterDisqualified', 'VoterReinstated')
) v
cross join lateral (
    select v.choice as name, v.change where v.choice is not null
    union all
    select 'corrected ' || v.choice, v.change where v.choice is not null
    union all
    select 'disqualified voters', v.change where v.choice is null
) c
where e.position > $1 and e.position <= $2 and e.position <> all($3::bigint[])
group by c.name;

-- step voters (VoterDisqualified, VoterReinstated): take back, or give back, all that a voter did before this window, in its own hours
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
    select r.data, r.recorded_at from log.recorded_events r
    where r.stream between log.first_stream(c.voter) and log.last_stream(c.voter) and r.data->>'voter' = c.voter
      and r.position <= $1 and r.position <> all($3::bigint[]) and r.type in ('VoteCast', 'VoteRetracted')
    offset 0 -- keeps this a look-up of each voter's range; joined freely, the planner would read the whole log
) e
group by 1, 2
order by 1, 2
on conflict (tool, hour) do update
set corrected_ship = h.corrected_ship + excluded.corrected_ship, corrected_skip = h.corrected_skip + excluded.corrected_skip;

-- step votes (VoteCast, VoteRetracted): counted for all, corrected for those who are not disqualified at the window's end
insert into hours as h (tool, hour, ship, skip, corrected_ship, corrected_skip)
select e.data->>'tool', date_trunc('hour', e.recorded_at, 'UTC'),
       count(*) filter (where e.data->>'choice' = 'ship') - count(*) filter (where e.data->>'previous' = 'ship'),
       count(*) filter (where e.data->>'choice' = 'skip') - count(*) filter (where e.data->>'previous' = 'skip'),
       count(*) filter (where d.voter is null and e.data->>'choice' = 'ship')
           - count(*) filter (where d.voter is null and e.data->>'previous' = 'ship'),
       count(*) filter (where d.voter is null and e.data->>'choice' = 'skip')
           - count(*) filter (where d.voter is null and e.data->>'previous' = 'skip')
from log.recorded_events e
left join disqualified d on d.voter = e.data->>'voter'
where e.position > $1 and e.position <= $2 and e.position <> all($3::bigint[]) and e.type in ('VoteCast', 'VoteRetracted')
group by 1, 2
order by 1, 2
on conflict (tool, hour) do update
set ship = h.ship + excluded.ship, skip = h.skip + excluded.skip,
    corrected_ship = h.corrected_ship + excluded.corrected_ship, corrected_skip = h.corrected_skip + excluded.corrected_skip;

-- step ballots (VoterDisqualified, VoterReinstated): as counted, the ballots go and come at the hour of the disqualification
insert into hours as h (tool, hour, ship, skip, corrected_ship, corrected_skip)
select b.ballot->>0, date_trunc('hour', e.recorded_at, 'UTC'),
       sum(case when b.ballot->>1 = 'ship' then 1 else 0 end * case e.type when 'VoterReinstated' then 1 else -1 end),
       sum(case when b.ballot->>1 = 'skip' then 1 else 0 end * case e.type when 'VoterReinstated' then 1 else -1 end),
       0, 0
from log.recorded_events e cross join lateral jsonb_array_elements(e.data->'ballots') as b(ballot)
where e.position > $1 and e.position <= $2 and e.position <> all($3::bigint[])
  and e.type in ('VoterDisqualified', 'VoterReinstated')
group by 1, 2
order by 1, 2
on conflict (tool, hour) do update
set ship = h.ship + excluded.ship, skip = h.skip + excluded.skip;

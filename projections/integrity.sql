-- Integrity: how many votes each tool was given in each ten minutes, and how many by visitors just made. The detector of bought
-- votes starts from these counts. They are kept for 43 days of the log's own time: a week, the 28 days that it is held against,
-- and the week that a scan made anew looks back.

-- tables: counts of each tool and of the whole site; what draws voters to a tool; and since when the counts are kept, with how many went before
create table cells (
    tool           text        not null collate "C",
    at             timestamptz not null,
    ship           integer     not null,
    skip           integer     not null,
    young_ship     integer     not null,
    young_skip     integer     not null,
    first_position bigint      not null,
    last_position  bigint      not null,
    constraint cells_pkey primary key (tool, at)
);

create table ticks (
    at            timestamptz not null,
    votes         integer     not null,
    young         integer     not null,
    last_position bigint      not null,
    constraint ticks_pkey primary key (at)
);

create table announcements (
    tool     text        not null collate "C",
    position bigint      not null,
    at       timestamptz not null,
    constraint announcements_pkey primary key (tool, position)
);

create table kept (
    only_row boolean     not null default true,
    since    timestamptz not null,
    gone     bigint      not null,
    constraint kept_pkey primary key (only_row),
    constraint kept_only_row check (only_row)
);

-- The last decision on each cohort of votes that look bought, and how often one was undone; `version` counts its events.
create table decisions (
    cohort         text        not null collate "C",
    tool           text        not null collate "C",
    choice         text        not null collate "C",
    begins         timestamptz not null,
    ends           timestamptz not null,
    first_position bigint      not null,
    last_position  bigint      not null,
    votes          integer     not null,
    voters         integer     not null,
    status         text        not null collate "C",
    reason         text        not null,
    by             text        not null,
    correction     text collate "C",
    undone         integer     not null,
    version        integer     not null,
    position       bigint      not null,
    decided_at     timestamptz not null,
    constraint decisions_pkey primary key (cohort)
);

-- totals: votes cast since the log began, decisions, and what the site's counts lack of its tools' counts
select t.name, t.total
from (
    select coalesce(sum(ship + skip), 0)::bigint as votes, coalesce(sum(young_ship + young_skip), 0)::bigint as young from cells
) c
cross join (select coalesce(sum(votes), 0)::bigint as votes, coalesce(sum(young), 0)::bigint as young from ticks) s
cross join (select coalesce(max(gone), 0) as votes from kept) k
cross join lateral (
    values ('votes', c.votes + k.votes),
           ('decisions', (select coalesce(sum(version), 0)::bigint from decisions)),
           ('undone', (select coalesce(sum(undone), 0)::bigint from decisions)),
           ('votes missing from the site''s counts', c.votes - s.votes),
           ('young votes missing from the site''s counts', c.young - s.young)
) as t(name, total);

-- changes (VoteCast, VoidProposed, VoidWithdrawn, CohortDecided, CohortCorrected): votes, and decisions
select 'votes' as name, count(*) as change
from log.taken($1, $2, $3, '{VoteCast}') e
union all
select t.name, t.change
from (
    select count(*) as decisions, count(*) filter (where e.type = 'CohortDecided' and e.data->>'decision' = 'undo') as undone
    from log.taken($1, $2, $3, '{VoidProposed, VoidWithdrawn, CohortDecided, CohortCorrected}') e
) c
cross join lateral (values ('decisions', c.decisions), ('undone', c.undone)) as t(name, change);

-- step votes (VoteCast): a visitor is young for ten minutes, by the time in its id
with counted as materialized (
    select e.data->>'tool' as tool, date_bin('10 minutes', e.recorded_at, timestamptz '2000-01-01 00:00+00') as at,
           e.data->>'choice' = 'ship' as is_ship,
           coalesce(log.made_at(e.data->>'voter') > extract(epoch from e.recorded_at) * 1000 - 600000, false) as is_young,
           e.position
    from log.taken($1, $2, $3, '{VoteCast}') e
),
grouped as materialized (
    select tool, at, count(*) filter (where is_ship) as ship, count(*) filter (where not is_ship) as skip,
           count(*) filter (where is_ship and is_young) as young_ship,
           count(*) filter (where not is_ship and is_young) as young_skip,
           min(position) as first_position, max(position) as last_position
    from counted group by tool, at
),
site as (
    insert into ticks as t (at, votes, young, last_position)
    select at, sum(ship + skip), sum(young_ship + young_skip), max(last_position) from grouped group by at order by at
    on conflict (at) do update
    set votes = t.votes + excluded.votes, young = t.young + excluded.young, last_position = excluded.last_position
)
insert into cells as c (tool, at, ship, skip, young_ship, young_skip, first_position, last_position)
select tool, at, ship, skip, young_ship, young_skip, first_position, last_position from grouped order by tool, at
on conflict (tool, at) do update
set ship = c.ship + excluded.ship, skip = c.skip + excluded.skip, young_ship = c.young_ship + excluded.young_ship,
    young_skip = c.young_skip + excluded.young_skip, last_position = excluded.last_position;

-- step announcements (ToolAdded, ComparisonAnnounced): each tool that is shown anew
insert into announcements (tool, position, at)
select distinct t.tool, e.position, e.recorded_at
from log.taken($1, $2, $3, '{ToolAdded, ComparisonAnnounced}') e
cross join lateral (values (e.data->>'tool'), (e.data->>'left'), (e.data->>'right')) as t(tool)
where t.tool is not null
order by t.tool, e.position;

-- step old (VoteCast): after the others, when a day of the log's time has begun; what is older than 43 days goes, and only its number stays
with begin as materialized (
    select d.at
    from (
        select date_trunc('day', e.recorded_at, 'UTC') - interval '43 days' as at
        from log.taken($1, $2, $3, '{VoteCast}') e
        order by e.position desc limit 1
    ) d
    where not exists (select from kept k where k.since >= d.at)
),
gone as (
    -- Without an index, which every vote would pay for: all cells are read, once a day.
    delete from cells c where exists (select from begin) and c.at < (select b.at from begin b)
    returning c.ship + c.skip as votes
),
gone_ticks as (delete from ticks t where t.at < (select b.at from begin b)),
gone_announcements as (delete from announcements a where a.at < (select b.at from begin b))
insert into kept as k (since, gone)
select b.at, g.votes
from begin b cross join (select coalesce(sum(votes), 0) as votes from gone) g
on conflict (only_row) do update set since = excluded.since, gone = k.gone + excluded.gone;

-- parts: each range's counts. Of votes that are older than 43 days where the ranges end, by the time of the last vote there, the number is
-- enough: they are a cell of no tool, before all others. And when the last vote of each range was
create unlogged table part_cells (
    tool           text        not null collate "C",
    at             timestamptz not null,
    ship           integer     not null,
    skip           integer     not null,
    young_ship     integer     not null,
    young_skip     integer     not null,
    first_position bigint      not null,
    last_position  bigint      not null
);
create unlogged table part_last (position bigint not null, recorded_at timestamptz not null);

-- part last (VoteCast): the last vote of a range
insert into part_last (position, recorded_at)
select e.position, e.recorded_at from log.taken($1, $2, $3, '{VoteCast}') e order by e.position desc limit 1;

-- part votes (VoteCast): as the step, for a range; the ranges end at `$4`, and where no vote is just before that, none is old
insert into part_cells (tool, at, ship, skip, young_ship, young_skip, first_position, last_position)
select c.tool, c.at, count(*) filter (where c.is_ship), count(*) filter (where not c.is_ship),
       count(*) filter (where c.is_ship and c.is_young), count(*) filter (where not c.is_ship and c.is_young),
       min(c.position), max(c.position)
from (
    select case when o.is_old then '' else e.data->>'tool' end as tool,
           case when o.is_old then '-infinity'
                else date_bin('10 minutes', e.recorded_at, timestamptz '2000-01-01 00:00+00') end as at,
           e.data->>'choice' = 'ship' as is_ship,
           case when o.is_old then false
                else coalesce(log.made_at(e.data->>'voter') > extract(epoch from e.recorded_at) * 1000 - 600000, false) end as is_young,
           e.position
    from log.taken($1, $2, $3, '{VoteCast}') e
    cross join lateral (select coalesce(e.recorded_at < (
        select date_trunc('day', l.recorded_at, 'UTC') - interval '43 days'
        from log.taken($4 - 10000, $4, $3, '{VoteCast}') l order by l.position desc limit 1
    ), false) as is_old) o
) c
group by c.tool, c.at;

-- merged votes: all votes that are older now; a range that was folded for an earlier end has some of them in cells
insert into kept (since, gone)
select b.at, (select coalesce(sum(p.ship + p.skip), 0) from part_cells p where p.at < b.at)
from (
    select date_trunc('day', l.recorded_at, 'UTC') - interval '43 days' as at from part_last l order by l.position desc limit 1
) b;

-- merged old: what is kept of them
with cell as (
    insert into cells (tool, at, ship, skip, young_ship, young_skip, first_position, last_position)
    select p.tool, p.at, sum(p.ship), sum(p.skip), sum(p.young_ship), sum(p.young_skip), min(p.first_position), max(p.last_position)
    from part_cells p
    where p.at >= (select k.since from kept k)
    group by p.tool, p.at
    order by p.tool, p.at
    returning at, ship, skip, young_ship, young_skip, last_position
),
gone as (delete from announcements a where a.at < (select k.since from kept k))
insert into ticks (at, votes, young, last_position)
select c.at, sum(c.ship + c.skip), sum(c.young_ship + c.young_skip), max(c.last_position) from cell c group by c.at order by c.at;

-- step decisions (VoidProposed, VoidWithdrawn, CohortDecided, CohortCorrected): the window's last event of each cohort holds
insert into decisions as d (cohort, tool, choice, begins, ends, first_position, last_position, votes, voters, status, reason, by,
                            correction, undone, version, position, decided_at)
select l.cohort, l.data->>'tool', l.data->>'choice', (l.data->>'begins')::timestamptz, (l.data->>'ends')::timestamptz,
       (l.data->>'first_position')::bigint, (l.data->>'last_position')::bigint, (l.data->>'votes')::integer,
       (l.data->>'voters')::integer, log.cohort_status(l.type, l.data), l.data->>'reason', l.data->>'by', l.data->>'correction',
       l.undone, l.version, l.position, l.recorded_at
from (
    select distinct on (e.data->>'cohort') e.data->>'cohort' as cohort, e.type, e.data, e.version, e.position, e.recorded_at,
           count(*) filter (where e.type = 'CohortDecided' and e.data->>'decision' = 'undo') over (partition by e.data->>'cohort') as undone
    from log.taken($1, $2, $3, '{VoidProposed, VoidWithdrawn, CohortDecided, CohortCorrected}') e
    order by e.data->>'cohort', e.position desc
) l
order by l.cohort
on conflict (cohort) do update
set tool = excluded.tool, choice = excluded.choice, begins = excluded.begins, ends = excluded.ends,
    first_position = excluded.first_position, last_position = excluded.last_position, votes = excluded.votes,
    voters = excluded.voters, status = excluded.status, reason = excluded.reason, by = excluded.by,
    correction = excluded.correction, undone = d.undone + excluded.undone, version = excluded.version,
    position = excluded.position, decided_at = excluded.decided_at;

-- Corrections: cohorts disqualified or reinstated, with time, reason, and tallies before and after. Never the voters.
-- A large one is recorded in parts, which are one row here: its time and position are those of the first.

-- tables: one row a correction, and one a tool whose tally it changed
create table corrections (
    correction  text        not null collate "C",
    action      text        not null collate "C",
    reason      text        not null,
    voters      bigint      not null,
    votes       bigint      not null,
    recorded_at timestamptz not null,
    position    bigint      not null,
    constraint corrections_pkey primary key (correction)
);
create index corrections_position_idx on corrections (position desc);

create table corrected_tools (
    correction  text   not null collate "C",
    tool        text   not null collate "C",
    before_ship bigint not null,
    before_skip bigint not null,
    after_ship  bigint not null,
    after_skip  bigint not null,
    constraint corrected_tools_pkey primary key (correction, tool)
);

-- totals: the number of corrections, and of the votes they changed
select 'corrections' as name, count(*) as total from corrections
union all select 'votes', coalesce(sum(votes), 0)::bigint from corrections;

-- changes (CorrectionRecorded): each event carries it; a correction's stream begins with its first part
select c.name, sum(c.change)::bigint as change
from log.taken($1, $2, $3, '{CorrectionRecorded}') e
cross join lateral (values ('corrections', (e.version = 1)::integer), ('votes', (e.data->>'votes')::bigint)) as c(name, change)
group by c.name;

-- step corrections (CorrectionRecorded): parts add up
insert into corrections as c (correction, action, reason, voters, votes, recorded_at, position)
select e.data->>'correction', min(e.data->>'action'), min(e.data->>'reason'), sum((e.data->>'voters')::bigint),
       sum((e.data->>'votes')::bigint), min(e.recorded_at), min(e.position)
from log.taken($1, $2, $3, '{CorrectionRecorded}') e
group by e.data->>'correction'
order by e.data->>'correction'
on conflict (correction) do update set voters = c.voters + excluded.voters, votes = c.votes + excluded.votes;

-- step tools (CorrectionRecorded): each tool that a correction names, before its first part, and as much changed as by all
insert into corrected_tools as c (correction, tool, before_ship, before_skip, after_ship, after_skip)
select p.correction, p.tool, p.before_ship, p.before_skip, p.before_ship + p.ship, p.before_skip + p.skip
from (
    select e.data->>'correction' as correction, t.tool->>'tool' as tool,
           (array_agg((t.tool->'before'->>0)::bigint order by e.position))[1] as before_ship,
           (array_agg((t.tool->'before'->>1)::bigint order by e.position))[1] as before_skip,
           sum((t.tool->'after'->>0)::bigint - (t.tool->'before'->>0)::bigint) as ship,
           sum((t.tool->'after'->>1)::bigint - (t.tool->'before'->>1)::bigint) as skip
    from log.taken($1, $2, $3, '{CorrectionRecorded}') e cross join lateral jsonb_array_elements(e.data->'tools') as t(tool)
    group by 1, 2
) p
order by 1, 2
on conflict (correction, tool) do update
set after_ship = c.after_ship + excluded.after_ship - excluded.before_ship,
    after_skip = c.after_skip + excluded.after_skip - excluded.before_skip;

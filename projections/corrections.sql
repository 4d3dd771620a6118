-- Corrections: cohorts disqualified or reinstated, with time, reason, and tallies before and after. Never the voters.

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

-- changes (CorrectionRecorded): each event carries it
select c.name, sum(c.change)::bigint as change
from log.recorded_events e cross join lateral (values ('corrections', 1), ('votes', (e.data->>'votes')::bigint)) as c(name, change)
where e.position > $1 and e.position <= $2 and e.position <> all($3::bigint[]) and e.type = 'CorrectionRecorded'
group by c.name;

-- step corrections (CorrectionRecorded): each is recorded once
insert into corrections (correction, action, reason, voters, votes, recorded_at, position)
select e.data->>'correction', e.data->>'action', e.data->>'reason', (e.data->>'voters')::bigint, (e.data->>'votes')::bigint,
       e.recorded_at, e.position
from log.recorded_events e
where e.position > $1 and e.position <= $2 and e.position <> all($3::bigint[]) and e.type = 'CorrectionRecorded'
order by e.data->>'correction';

-- step tools (CorrectionRecorded): each tool that a correction names
insert into corrected_tools (correction, tool, before_ship, before_skip, after_ship, after_skip)
select e.data->>'correction', t.tool->>'tool', (t.tool->'before'->>0)::bigint, (t.tool->'before'->>1)::bigint,
       (t.tool->'after'->>0)::bigint, (t.tool->'after'->>1)::bigint
from log.recorded_events e cross join lateral jsonb_array_elements(e.data->'tools') as t(tool)
where e.position > $1 and e.position <= $2 and e.position <> all($3::bigint[]) and e.type = 'CorrectionRecorded'
order by 1, 2;

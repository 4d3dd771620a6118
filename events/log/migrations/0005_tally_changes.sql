-- Every change of a tally, in one place: `plus` is the choice that gains a vote, `minus` the one that loses a vote, null for none.
--
-- A vote gains its choice and loses the one before it; a retraction loses it. The ballots of a voter go when it is disqualified
-- and come back when it is reinstated: one row each. Sums over any range of positions are the changes of that range.
create view log.tally_changes (stream, position, recorded_at, type, voter, tool, plus, minus) as
select e.stream, e.position, e.recorded_at, e.type, e.data->>'voter', e.data->>'tool', e.data->>'choice', e.data->>'previous'
from log.recorded_events e
where e.type in ('VoteCast', 'VoteRetracted')
union all
select e.stream, e.position, e.recorded_at, e.type, e.data->>'voter', b.ballot->>0,
       case when e.type = 'VoterReinstated' then b.ballot->>1 end,
       case when e.type = 'VoterDisqualified' then b.ballot->>1 end
from log.recorded_events e cross join lateral jsonb_array_elements(e.data->'ballots') as b(ballot)
where e.type in ('VoterDisqualified', 'VoterReinstated');

-- The types that nearly all events are of, and all other events: those of the index events_others_idx, by its own condition.
create view log.usual_types (type, schema_version) as
values ('VoteCast' collate "C", 1::smallint), ('VoteRetracted', 1);

create view log.other_events as
select stream, version, position, type, schema_version, data, meta, recorded_at
from log.recorded_events
where type not in ('VoteCast', 'VoteRetracted') or schema_version <> 1;

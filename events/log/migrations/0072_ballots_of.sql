-- log.ballots_of  by how much each ballot of a voter changed a tally, up to a position, but for those that a view passes over
--
-- Not log.tally_changes: for each voter that would also read disqualifications, by another index. `offset 0` keeps it a look-up of the
-- voter's range; joined freely, the planner would read the whole log.

create function log.ballots_of(of_voter text, until bigint, passed bigint[])
returns table (tool text, recorded_at timestamptz, ship integer, skip integer) language sql stable parallel safe as $$
    select r.data->>'tool', r.recorded_at,
           (r.data->>'choice' is not distinct from 'ship')::integer - (r.data->>'previous' is not distinct from 'ship')::integer,
           (r.data->>'choice' is not distinct from 'skip')::integer - (r.data->>'previous' is not distinct from 'skip')::integer
    from log.between_streams(log.first_stream(of_voter), log.last_stream(of_voter)) r
    where r.data->>'voter' = of_voter and r.position <= until and r.position <> all(passed) and r.type in ('VoteCast', 'VoteRetracted')
    offset 0
$$;

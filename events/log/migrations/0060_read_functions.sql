-- How windows, and whoever looks back at a stream, read the log. PostgreSQL puts these functions' statements in the place of their calls
-- (they are SQL, stable, and one select each), so they cost nothing and go by the same indexes. Where the log is on Citus, other
-- bodies take their place (`events/log/citus.sql`): its planner joins a distributed table with others in few ways.
--
-- log.taken            the events of a window, (low, high], without those passed over; of these types alone, if they are named
-- log.changes_taken    the changes of tallies in a window; both refuse a window of which a part is in the archive, unless no ballots
--                      are asked for: all others stay
-- log.entries_taken    the public entries of a window
-- log.of_stream        one stream, archived ballots too
-- log.between_streams  the streams of an id, archived ballots too
-- log.at_position      one event

create function log.taken(low bigint, high bigint, dropped bigint[] default '{}', types text[] default null)
returns setof log.recorded_events language sql stable parallel safe as $$
    select r.stream, r.version, r.position, r.type, r.schema_version, r.data, r.meta, r.recorded_at from log.recorded_events r
    where r.position > low and r.position <= high and r.position <> all(dropped) and (types is null or r.type = any(types))
      and (not types && '{VoteCast, VoteRetracted}' and types is not null or (select log.must_be_here(low, high)))
$$;

create function log.changes_taken(low bigint, high bigint, dropped bigint[] default '{}')
returns setof log.tally_changes language sql stable parallel safe as $$
    select c.stream, c.position, c.recorded_at, c.type, c.voter, c.tool, c.plus, c.minus from log.tally_changes c
    where c.position > low and c.position <= high and c.position <> all(dropped) and (select log.must_be_here(low, high))
$$;

create function log.entries_taken(low bigint, high bigint)
returns setof log.public_entries language sql stable parallel safe as $$
    select e.position, e.entry from log.public_entries e where e.position > low and e.position <= high
$$;

create function log.of_stream(stream uuid) returns setof log.recorded_events language sql stable parallel safe as $$
    select r.stream, r.version, r.position, r.type, r.schema_version, r.data, r.meta, r.recorded_at from log.recorded_events r
    where r.stream = of_stream.stream
    union all
    select a.stream, a.version, a.position, a.type, a.schema_version, a.data, a.meta, a.recorded_at
    from log.archived_between(of_stream.stream, of_stream.stream) a
$$;

create function log.between_streams(low uuid, high uuid) returns setof log.recorded_events language sql stable parallel safe as $$
    select r.stream, r.version, r.position, r.type, r.schema_version, r.data, r.meta, r.recorded_at from log.recorded_events r
    where r.stream between low and high
    union all
    select a.stream, a.version, a.position, a.type, a.schema_version, a.data, a.meta, a.recorded_at
    from log.archived_between(low, high) a
$$;

create function log.at_position(place bigint) returns setof log.recorded_events language sql stable parallel safe as $$
    select r.stream, r.version, r.position, r.type, r.schema_version, r.data, r.meta, r.recorded_at from log.recorded_events r
    where r.position = place
$$;

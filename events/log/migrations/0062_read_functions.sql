-- More functions by which the log is read (see 0060), of statements that only PostgreSQL itself plans well.
--
-- log.newest_others  the newest events that are no ballots, so many of them
-- log.operators      the names of operators in the metas of events; each is found by one step along an index, not by reading them all
-- log.newest_operated, log.newest_operated_by   what operators did

create function log.newest_others(number bigint) returns setof log.recorded_events language sql stable parallel safe as $$
    select o.stream, o.version, o.position, o.type, o.schema_version, o.data, o.meta, o.recorded_at from log.other_events o
    order by o.position desc limit number
$$;

create function log.operators() returns table (name text) language sql stable parallel safe as $$
    with recursive named as (
        (select min(e.meta->>'operator') as name from log.events e where e.meta ? 'operator' and e.type not in
            ('VoterDisqualified', 'VoterReinstated', 'BallotsVoided', 'BallotsRestored'))
        union all
        select (select min(e.meta->>'operator') from log.events e where e.meta ? 'operator' and e.type not in
            ('VoterDisqualified', 'VoterReinstated', 'BallotsVoided', 'BallotsRestored') and e.meta->>'operator' > n.name)
        from named n where n.name is not null
    )
    select n.name from named n where n.name is not null
$$;

-- The newest that operators did between two positions, by type; each function compares whole rows of one index and is ordered by them.
create function log.newest_operated(of_type text, below bigint, above bigint, number bigint)
returns setof log.recorded_events language sql stable parallel safe as $$
    select e.stream, e.version, e.position, e.type, e.schema_version, e.data, e.meta, e.recorded_at from log.recorded_events e
    where e.meta ? 'operator' and e.type not in ('VoterDisqualified', 'VoterReinstated', 'BallotsVoided', 'BallotsRestored')
      and (e.type, e.position) < (of_type, below) and (e.type, e.position) > (of_type, above)
    order by e.type desc, e.position desc limit number
$$;

create function log.newest_operated_by(operator text, of_type text, below bigint, above bigint, number bigint)
returns setof log.recorded_events language sql stable parallel safe as $$
    select e.stream, e.version, e.position, e.type, e.schema_version, e.data, e.meta, e.recorded_at from log.recorded_events e
    where e.meta ? 'operator' and e.type not in ('VoterDisqualified', 'VoterReinstated', 'BallotsVoided', 'BallotsRestored')
      and ((e.meta->>'operator') || ' ' || e.type, e.position) < (operator || ' ' || of_type, below)
      and ((e.meta->>'operator') || ' ' || e.type, e.position) > (operator || ' ' || of_type, above)
    order by (e.meta->>'operator') || ' ' || e.type desc, e.position desc limit number
$$;

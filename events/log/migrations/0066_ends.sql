-- How a batch finds the ends of its streams in a log of many parts. Looking for one stream's last event asks each part's key, so the cost
-- of a vote grew with the parts, though hardly any stream of a vote has an event before it. So a part's key is asked for all streams of a
-- batch at once, in the key's order: of voters who came after a full part's last one, that takes a single look at its last page.
--
-- log.lasts  the last event of each of these streams, wherever it is. Streams that have any are found by one search; only these are looked
--            for one by one. The search reads no more than 64 events of a stream, for a voter may change a ballot without end; it asks
--            for more than the first, which a damaged log may lack. A ballot in the archive may have its events there alone, so with an
--            archive all are looked for one by one; so are a few streams, which cost less than the first search.
-- log.stand  whether the last event of each of these streams is where it is expected (0: there is none). That none of them has any is
--            what most batches expect, and takes the look at each part's key alone.

create or replace function log.lasts(streams uuid[])
returns table (n integer, version integer, "position" bigint, type text, schema_version smallint, data jsonb)
language plpgsql stable as $$
#variable_conflict use_column
declare
    begun integer[];
begin
    if cardinality(streams) <= 8 or exists (select from log.archives a where a.state = 'packed') then
        return query
        select s.n::integer, e.version, e.position, e.type, e.schema_version, e.data
        from unnest(streams) with ordinality as s(stream, n)
        cross join lateral (
            select l.version, l.position, l.type, l.schema_version, l.data
            from (
                (select r.version, r.position, r.type, r.schema_version, r.data
                 from log.recorded_events r where r.stream = s.stream order by r.version desc limit 1)
                union all
                (select b.version, b.position, b.type, b.schema_version, b.data
                 from log.archived_last(s.stream) b
                 where (select exists (select from log.archives a where a.state = 'packed')))
            ) l
            order by l.version desc limit 1
        ) e;
        return;
    end if;
    with found as materialized (
        select e.stream from log.events e
        where e.stream = any(array(select s from unnest(streams) s order by s)) and e.version <= 64
    )
    select array_agg(distinct s.n) into begun
    from found f join unnest(streams) with ordinality as s(stream, n) on s.stream = f.stream;
    if begun is not null then
        return query
        select s.n, e.version, e.position, e.type, e.schema_version, e.data
        from unnest(begun) as s(n)
        cross join lateral (
            select r.version, r.position, r.type, r.schema_version, r.data
            from log.recorded_events r where r.stream = streams[s.n] order by r.version desc limit 1
        ) e;
    end if;
end $$;

create function log.stand(streams uuid[], positions bigint[]) returns boolean language plpgsql stable as $$
begin
    if 0 = all(positions) and not exists (select from log.archives a where a.state = 'packed') then
        return not exists (
            select from log.events e where e.stream = any(array(select s from unnest(streams) s order by s))
        );
    end if;
    return positions = array(
        select coalesce(e.position, 0)
        from generate_subscripts(streams, 1) as s(n) left join log.lasts(streams) e on e.n = s.n order by s.n
    );
end $$;

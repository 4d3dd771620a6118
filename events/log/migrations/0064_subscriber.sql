-- newsletter.subscriber as before, but the server keeps its plan for itself: expanded into a statement that is kept, it could pass over a
-- part of the log that was made while that was planned, and with it over a reader's withdrawal.
create or replace function newsletter.subscriber(id text)
returns table (status text, round integer, suppressed text, address text, categories jsonb, frequency text, paused_until date)
language plpgsql stable rows 1 as $$
#variable_conflict use_column
begin
    return query
    select (array_agg(case e.type when 'SubscriptionRequested' then 'pending' when 'Unsubscribed' then 'unsubscribed'
                                  when 'PersonErased' then 'erased' else 'confirmed' end order by e.version desc)
            filter (where e.type in ('SubscriptionRequested', 'SubscriptionConfirmed', 'SubscriberImported', 'Unsubscribed',
                                     'UnsubscribeUndone', 'PersonErased')))[1],
           coalesce(max((e.data->>'round')::integer) filter (where e.type in ('SubscriptionConfirmed', 'SubscriberImported')), 0),
           (array_agg(case e.type when 'SubscriberSuppressed' then e.data->>'reason' end order by e.version desc)
            filter (where e.type in ('SubscriberSuppressed', 'SubscriberReinstated', 'SubscriptionConfirmed')))[1],
           (array_agg(e.data->>'address') filter (where e.data ? 'address'))[1],
           (array_agg(e.data->'categories' order by e.version desc) filter (where e.data ? 'categories'))[1],
           coalesce((array_agg(e.data->>'frequency' order by e.version desc) filter (where e.type = 'PreferencesSet'))[1], 'weekly'),
           (array_agg((e.data->>'paused_until')::date order by e.version desc) filter (where e.type = 'PreferencesSet'))[1]
    from log.recorded_events e where e.stream = newsletter.stream_of(id);
end $$;

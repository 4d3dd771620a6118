-- Two event types of subscribers: a time zone that is chosen, and a withdrawal that is undone. Both are sealed entries.
create or replace function log.entry_form(type text, schema_version smallint) returns text
language sql immutable parallel safe as $$
    select case
        when schema_version <> 1 then null
        when type in ('ToolAdded', 'ToolDescribed', 'ToolRenamed', 'FormerSlugAdded', 'ToolListed', 'ToolUnlisted',
                      'PanelReviewPublished', 'PanelReviewRevised', 'PersonaDescribed', 'ComparisonAnnounced', 'CorrectionRecorded',
                      'BallotsVoided', 'BallotsRestored', 'EventDropped', 'LogKeyAdded', 'LogRestarted') then 'open'
        when type in ('ToolBookmarked', 'BookmarkRemoved', 'ReviewSubmitted', 'ReviewEdited', 'ReviewPlaced', 'ReviewCleared',
                      'ReviewApproved', 'ReviewRejected', 'ReviewWithdrawn', 'ReviewKept', 'ReviewReported', 'ReportWithdrawn',
                      'VoterDisqualified', 'VoterReinstated', 'PersonErased', 'SubscriptionRequested', 'SubscriptionConfirmed',
                      'SubscriberImported', 'SubscriberReinstated', 'SubscriberSuppressed', 'BookmarksJoined', 'PreferencesSet',
                      'TimeZoneSet', 'Unsubscribed', 'UnsubscribeUndone', 'VoidProposed', 'VoidWithdrawn', 'CohortDecided',
                      'CohortCorrected', 'IssueSent') then 'sealed'
    end
$$;

-- A subscriber whose withdrawal was undone is confirmed again.
create or replace function newsletter.subscriber(id text)
returns table (status text, round integer, suppressed text, address text, categories jsonb, frequency text, paused_until date)
language sql stable as $$
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
    from log.recorded_events e where e.stream = newsletter.stream_of(id)
$$;

-- That an operator was asked for a copy of somebody's data, or to erase it, is an event that names nobody. It is sealed all the same:
-- how often people ask is nobody's but the operators' to publish.

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
                      'Unsubscribed', 'UnsubscribeUndone', 'TimeZoneSet', 'VoidProposed', 'VoidWithdrawn', 'CohortDecided',
                      'CohortCorrected', 'IssueSent', 'DataRequested') then 'sealed'
    end
$$;

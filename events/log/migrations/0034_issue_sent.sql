-- That an issue has gone out is an event, so that whoever follows the log is told. How many it reached is nobody's but the operators'
-- to publish: the event is sealed. An issue that went out before this release is no news.
alter table newsletter.issues add column sent_recorded boolean not null default false;
update newsletter.issues set sent_recorded = true where state = 'settled';

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
                      'Unsubscribed', 'VoidProposed', 'VoidWithdrawn', 'CohortDecided', 'CohortCorrected', 'IssueSent') then 'sealed'
    end
$$;

-- Tools may take another slug, and personas of the panel are described. What strangers may read of that is open, as the rest of
-- the catalog is.

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
                      'Unsubscribed', 'VoidProposed', 'VoidWithdrawn', 'CohortDecided', 'CohortCorrected') then 'sealed'
    end
$$;

-- Which slugs lead to which tools, and which of those are listed: every process reads them all at its start.
-- Made in the migrations' one transaction; votes wait meanwhile, less than a second a million events.
-- squawk-ignore require-concurrent-index-deletion
drop index log.events_listing_idx;
-- squawk-ignore require-concurrent-index-creation
create index events_listing_idx on log.events (position)
    where type in ('ToolAdded', 'ToolRenamed', 'FormerSlugAdded', 'ToolListed', 'ToolUnlisted');

-- The few tools that were ever said to have a successor: an import looks for circles among them.
-- squawk-ignore require-concurrent-index-creation
create index events_successors_idx on log.events (stream) where type in ('ToolAdded', 'ToolDescribed') and data ? 'successor';

-- The public log: what strangers may read of each event, as the bytes that are hashed into the tree (view `proof`).
--
-- log.public_entries   one line of JSON an event. Its form is a function of the event's type and schema version, both as they were
--                      written, so it is made from log.events and never from log.recorded_events. A form that was used once stays:
--                      a type or version that is new gets a line in log.entry_form, in a new migration.

-- open: the event's data as stored. sealed: the hash of its line in an export. Null for all others, ballots included.
create function log.entry_form(type text, schema_version smallint) returns text language sql immutable parallel safe as $$
    select case
        when schema_version <> 1 then null
        when type in ('ToolAdded', 'ToolDescribed', 'ToolListed', 'ToolUnlisted', 'PanelReviewPublished', 'PanelReviewRevised',
                      'ComparisonAnnounced', 'CorrectionRecorded', 'BallotsVoided', 'BallotsRestored', 'EventDropped',
                      'LogKeyAdded', 'LogRestarted') then 'open'
        when type in ('ToolBookmarked', 'BookmarkRemoved', 'ReviewSubmitted', 'ReviewEdited', 'ReviewPlaced', 'ReviewCleared',
                      'ReviewApproved', 'ReviewRejected', 'ReviewWithdrawn', 'ReviewKept', 'ReviewReported', 'ReportWithdrawn',
                      'VoterDisqualified', 'VoterReinstated', 'PersonErased', 'SubscriptionRequested', 'SubscriptionConfirmed',
                      'SubscriberImported', 'SubscriberReinstated', 'SubscriberSuppressed', 'BookmarksJoined', 'PreferencesSet',
                      'Unsubscribed', 'VoidProposed', 'VoidWithdrawn', 'CohortDecided', 'CohortCorrected') then 'sealed'
    end
$$;

-- The name of a voter on one tool: `events.ballots.pseudonym`. Stable, as convert_to is, so that the planner can inline it.
create function log.ballot(voter text, tool text) returns text language sql stable parallel safe as $$
    select left(encode(sha256(convert_to(E'ballotpress ballot v1\n' || voter || E'\n' || tool, 'UTF8')), 'hex'), 32)
$$;

-- An event's line of an export (`events.log.export.line`), without its meta.
create function log.export_line(e log.events) returns text language sql stable parallel safe as $$
    select '{"position":' || e.position || ',"stream":"' || e.stream || '","version":' || e.version || ',"type":"' || e.type
        || '","schema_version":' || e.schema_version || ',"recorded_at":"'
        || to_char(e.recorded_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') || '","data":' || e.data || ',"meta":null}'
$$;

create function log.refuse_entry(e log.events) returns text language plpgsql stable parallel safe as $$
begin
    raise exception 'position %: no public entry can be made of % version %', e.position, e.type, e.schema_version
        using errcode = 'data_exception';
end $$;

-- The root of a full subtree (RFC 6962, 2.1), of its hashes, whose number is a power of two.
create function log.fold_hashes(hashes bytea) returns bytea language plpgsql immutable strict parallel safe as $$
declare
    folded bytea[] := array(select substring(hashes from 32 * n + 1 for 32) from generate_series(0, length(hashes) / 32 - 1) n);
    width  integer := cardinality(folded);
begin
    while width > 1 loop
        width := width / 2;
        for n in 1 .. width loop
            folded[n] := sha256('\x01'::bytea || folded[2 * n - 1] || folded[2 * n]);
        end loop;
    end loop;
    return folded[1];
end $$;

-- Minutes since 1970. As a double, which holds microseconds until the year 2255 and is several times as fast as a numeric.
create function log.minute(at timestamptz) returns bigint language sql stable parallel safe as $$
    select floor(date_part('epoch', at) / 60)::bigint
$$;

create view log.public_entries (position, entry) as
select e.position, coalesce(
    case
        when e.type in ('VoteCast', 'VoteRetracted') and e.schema_version = 1
            and length(e.data->>'tool') = 22 and e.data->>'tool' !~ '[^A-Za-z0-9_-]' then
            '{"type":"' || e.type || '","minute":' || log.minute(e.recorded_at) || ',"tool":"' || (e.data->>'tool')
            || '","ballot":"' || log.ballot(e.data->>'voter', e.data->>'tool') || '"'
            || coalesce(',"choice":"' || (e.data->>'choice') || '"', '')
            || coalesce(',"previous":"' || (e.data->>'previous') || '"', '') || '}'
        when log.entry_form(e.type, e.schema_version) = 'open' then
            '{"type":"' || e.type || '","minute":' || log.minute(e.recorded_at) || ',"data":' || e.data || '}'
        when log.entry_form(e.type, e.schema_version) = 'sealed' then
            '{"sealed":"' || encode(sha256(convert_to(log.export_line(e), 'UTF8')), 'hex') || '"}'
    end,
    log.refuse_entry(e))
from log.events e;

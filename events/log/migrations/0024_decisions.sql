-- What operators decide about cohorts of votes that look bought (`events.integrity`).

-- The status after a cohort's last event: `events.integrity.decided`, case by case.
create function log.cohort_status(type text, data jsonb) returns text language sql immutable parallel safe as $$
    select case type
           when 'VoidProposed' then 'pending'
           when 'VoidWithdrawn' then 'waiting'
           when 'CohortCorrected' then case data->>'decision' when 'void' then 'voided' else 'waiting' end
           when 'CohortDecided' then case data->>'decision'
               when 'void' then 'voiding'
               when 'undo' then case when data ? 'correction' then 'undoing' else 'waiting' end
               when 'dismiss' then case when data ? 'correction' then 'voided' else 'dismissed' end
               when 'watch' then case when data ? 'correction' then 'voided' else 'watched' end end end
$$;

-- concurrently
-- What operators did, newest first: of all, of one operator, of one type, of both. A correction's own event says what it did, so the events
-- on each voter and ballot that it is made of are left out. A vote has no operator, and so costs nothing here.
-- The first line has each statement run by itself, outside a transaction: votes go on meanwhile.

-- squawk-ignore ban-concurrent-index-creation-in-transaction
create index concurrently if not exists events_operators_idx on log.events (position)
    where meta ? 'operator' and type not in ('VoterDisqualified', 'VoterReinstated', 'BallotsVoided', 'BallotsRestored');

-- squawk-ignore ban-concurrent-index-creation-in-transaction
create index concurrently if not exists events_operator_idx on log.events ((meta->>'operator'), position)
    where meta ? 'operator' and type not in ('VoterDisqualified', 'VoterReinstated', 'BallotsVoided', 'BallotsRestored');

-- squawk-ignore ban-concurrent-index-creation-in-transaction
create index concurrently if not exists events_operator_type_idx on log.events (type, position)
    where meta ? 'operator' and type not in ('VoterDisqualified', 'VoterReinstated', 'BallotsVoided', 'BallotsRestored');

-- squawk-ignore ban-concurrent-index-creation-in-transaction
create index concurrently if not exists events_operator_each_type_idx on log.events (((meta->>'operator') || ' ' || type), position)
    where meta ? 'operator' and type not in ('VoterDisqualified', 'VoterReinstated', 'BallotsVoided', 'BallotsRestored');

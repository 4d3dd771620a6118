-- Refusals that are about us: an issue is held when many of its mails in a row are refused for no reader's fault, and goes on when
-- an operator says so. `held_for` is the last refusal's reason. A bounce of the kind `ours` says nothing about its reader.
alter table newsletter.issues add column held_at timestamptz, add column held_for text;

-- The refusals of the last day are counted for operators. The table is small, and everything is migrated in one transaction.
-- squawk-ignore require-concurrent-index-creation
create index bounces_ours_idx on newsletter.bounces (recorded_at) where kind = 'ours';

-- The mark of the mailbox behind an address: an HMAC of the address without its tag, and at Gmail without its dots. Only the day's
-- cap on mails asks for it, so that one mailbox can't be flooded by many spellings. Null for who was known before this column.
alter table vault.lookups add column mailbox bytea;

-- squawk-ignore require-concurrent-index-creation
create index lookups_mailbox_idx on vault.lookups (mailbox) where mailbox is not null and person is not null;

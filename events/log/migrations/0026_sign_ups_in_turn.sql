-- The mails of sign-ups are so many an hour; this finds the one that is so many before the next.
-- squawk-ignore require-concurrent-index-creation
create index mails_singles_idx on newsletter.mails (not_before) where issue = 0;

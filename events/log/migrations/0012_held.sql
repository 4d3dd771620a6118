-- Why the newsletter was held without an operator's word; null when it wasn't.
alter table newsletter.schedule add column held text;

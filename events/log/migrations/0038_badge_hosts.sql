-- How often the sites of others showed a badge of ours: by day and host, nothing of a page and nothing of a reader. It is beside
-- the log and in no export. Hosts of a day are few: what comes after the first ones is counted as `other`.
create table status.badge_hosts (
    day   date   not null,
    host  text   not null collate "C",
    shown bigint not null,
    constraint badge_hosts_pkey primary key (day, host)
);

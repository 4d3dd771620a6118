-- The tree over the public log: the hashes of RFC 6962 in the tiles of C2SP tlog-tiles. The event at position p is leaf p - 1.
-- Hashes are only ever put behind others, so the tile of any smaller tree is a prefix of the row. Nothing can be passed over.

-- tables: a row a tile: hashes of 32 bytes, 256 of them in a full tile. Level 0 are the leaves
create table tiles (
    level  smallint not null,
    n      bigint   not null,
    hashes bytea    not null,
    constraint tiles_pkey primary key (level, n),
    constraint tiles_width check (length(hashes) <= 8192)
);
alter table tiles alter column hashes set storage external; -- hashes don't compress

-- totals: the number of leaves, and of the hashes above them
select 'leaves' as name, (coalesce(sum(length(hashes)) filter (where level = 0), 0) / 32)::bigint as total from tiles
union all select 'folded', (coalesce(sum(length(hashes)) filter (where level > 0), 0) / 32)::bigint from tiles;

-- changes (*): a leaf a position, and a hash above for each tile that a window fills
select 'leaves' as name, $2::bigint - $1::bigint as change
union all
select 'folded', sum(($2::bigint >> 8 * level) - ($1::bigint >> 8 * level))::bigint from generate_series(1, 4) level;

-- scrub: a tile of leaves against the log and against its hash above: the tile, and what is wrong with it
with picked as materialized (
    select $1::bigint % (select max(t.n) + 1 from tiles t where t.level = 0) as n
)
select t.n as part, coalesce(
    (select 'the leaves of positions ' || string_agg(p.position::text, ', ' order by p.position) || ' are not those of the log'
     from generate_series(t.n * 256 + 1, t.n * 256 + length(t.hashes) / 32) p(position)
     left join log.entries_taken(t.n * 256, t.n * 256 + length(t.hashes) / 32) e on e.position = p.position
     where sha256('\x00'::bytea || convert_to(e.entry, 'UTF8'))
           is distinct from substring(t.hashes from (32 * ((p.position - 1) & 255) + 1)::integer for 32)
       and (e.entry is not null or not log.is_archived(p.position))),
    (select 'the hash above the leaves of positions ' || t.n * 256 + 1 || ' to ' || t.n * 256 + 256 || ' is not theirs'
     from tiles u
     where u.level = 1 and u.n = t.n >> 8 and length(t.hashes) = 8192
       and log.fold_hashes(t.hashes) <> substring(u.hashes from (32 * (t.n & 255) + 1)::integer for 32))) as wrong
from picked join tiles t on t.level = 0 and t.n = picked.n;

-- step leaves (*): the entries, hashed
insert into tiles as t (level, n, hashes)
select 0, s.position - 1 >> 8, string_agg(sha256('\x00'::bytea || convert_to(s.entry, 'UTF8')), ''::bytea order by s.position)
from log.entries_taken($1, $2) s
group by s.position - 1 >> 8
on conflict (level, n) do update set hashes = t.hashes || excluded.hashes;

-- step up1 (*): the roots of the tiles that are full now; so on each level
insert into tiles as t (level, n, hashes)
select 1, f.n >> 8, string_agg(log.fold_hashes(f.hashes), ''::bytea order by f.n)
from tiles f
where f.level = 0 and f.n >= $1::bigint >> 8 and f.n < $2::bigint >> 8
group by f.n >> 8
on conflict (level, n) do update set hashes = t.hashes || excluded.hashes;

-- parts: the leaves of each range by tile, and the root of a tile that lies in it whole
create unlogged table part_leaves (n bigint not null, first_position bigint not null, hashes bytea not null, root bytea);
alter table part_leaves alter column hashes set storage external;

-- part leaves (*): as the step, for a range, and the roots, which take as long
insert into part_leaves (n, first_position, hashes, root)
select t.n, t.first_position, t.hashes, case when length(t.hashes) = 8192 then log.fold_hashes(t.hashes) end
from (
    select s.position - 1 >> 8 as n, min(s.position) as first_position,
           string_agg(sha256('\x00'::bytea || convert_to(s.entry, 'UTF8')), ''::bytea order by s.position) as hashes
    from log.entries_taken($1, $2) s
    group by s.position - 1 >> 8
) t;

-- merged leaves: a tile of two ranges is put together
insert into tiles (level, n, hashes)
select 0, p.n, string_agg(p.hashes, ''::bytea order by p.first_position) from part_leaves p group by p.n order by p.n;

-- merged up1: the roots of the tiles that are full
insert into tiles (level, n, hashes)
select 1, f.n >> 8, string_agg(coalesce(p.root, log.fold_hashes(f.hashes)), ''::bytea order by f.n)
from tiles f left join part_leaves p on p.n = f.n and p.root is not null
where f.level = 0 and f.n >= $1::bigint >> 8 and f.n < $2::bigint >> 8
group by f.n >> 8;

-- step up2 (*): …
insert into tiles as t (level, n, hashes)
select 2, f.n >> 8, string_agg(log.fold_hashes(f.hashes), ''::bytea order by f.n)
from tiles f
where f.level = 1 and f.n >= $1::bigint >> 16 and f.n < $2::bigint >> 16
group by f.n >> 8
on conflict (level, n) do update set hashes = t.hashes || excluded.hashes;

-- step up3 (*): …
insert into tiles as t (level, n, hashes)
select 3, f.n >> 8, string_agg(log.fold_hashes(f.hashes), ''::bytea order by f.n)
from tiles f
where f.level = 2 and f.n >= $1::bigint >> 24 and f.n < $2::bigint >> 24
group by f.n >> 8
on conflict (level, n) do update set hashes = t.hashes || excluded.hashes;

-- step up4 (*): enough for 2^40 events
insert into tiles as t (level, n, hashes)
select 4, f.n >> 8, string_agg(log.fold_hashes(f.hashes), ''::bytea order by f.n)
from tiles f
where f.level = 3 and f.n >= $1::bigint >> 32 and f.n < $2::bigint >> 32
group by f.n >> 8
on conflict (level, n) do update set hashes = t.hashes || excluded.hashes;

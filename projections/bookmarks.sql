-- Bookmarks: the tools that each visitor keeps, each with the event that bookmarked it.

-- tables: one row a bookmark
create table bookmarks (
    visitor  text   not null collate "C",
    tool     text   not null collate "C",
    position bigint not null,
    constraint bookmarks_pkey primary key (visitor, tool)
);

-- totals: how many bookmarks there are
select 'bookmarks' as name, count(*) as total from bookmarks;

-- changes (ToolBookmarked, BookmarkRemoved): each event is one bookmark more or less
select 'bookmarks' as name, sum(case e.type when 'ToolBookmarked' then 1 else -1 end)::bigint as change
from log.taken($1, $2, $3, '{ToolBookmarked, BookmarkRemoved}') e;

-- step bookmarks (ToolBookmarked, BookmarkRemoved): the window's last event of each bookmark holds
with last_word as (
    select distinct on (e.stream) e.data->>'visitor' as visitor, e.data->>'tool' as tool, e.type, e.position
    from log.taken($1, $2, $3, '{ToolBookmarked, BookmarkRemoved}') e
    order by e.stream, e.position desc
),
removed as (
    delete from bookmarks b using last_word l
    where b.visitor = l.visitor and b.tool = l.tool and l.type = 'BookmarkRemoved'
)
insert into bookmarks (visitor, tool, position)
select l.visitor, l.tool, l.position from last_word l where l.type = 'ToolBookmarked'
order by l.visitor, l.tool
on conflict (visitor, tool) do update set position = excluded.position;

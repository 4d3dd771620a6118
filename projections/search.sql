-- Search: the words that each tool is found by, and every word with the number of listed tools that have it.
--
-- A term is a word after a digit: 1 if the tool's name has it, 2 if name, tagline or category has it, 3 if any text has it. So what
-- matches by 1 matches by 2 and 3, and one index answers all three.

-- tables: `key` is the name without spaces; a word's counts are of the listed tools with its three terms
create table documents (
    tool   text     not null collate "C",
    key    text     not null collate "C",
    terms  tsvector not null,
    listed boolean  not null,
    constraint documents_pkey primary key (tool)
);

create table words (
    word  text   not null collate "C",
    names bigint not null,
    leads bigint not null,
    texts bigint not null,
    constraint words_pkey primary key (word)
);

-- indexes: what is searched; no step needs them, so a rebuild makes them at its end
create index if not exists documents_terms_idx on documents using gin (terms) with (gin_pending_list_limit = 256) where listed;
create index if not exists documents_key_idx on documents (key, tool) where listed;
create index if not exists words_variants_idx on words using gin (log.search_variants(word)) with (fastupdate = off) where names > 0 and length(word) > 4;

-- totals: the number of documents, and what the words lack of the listed documents' terms
select 'documents' as name, count(*) as total from documents
union all
select 'terms of listed tools missing from the words',
       (select coalesce(sum(length(terms)), 0) from documents where listed)
       - (select coalesce(sum(names + leads + texts), 0) from words)::bigint;

-- changes (ToolAdded): a document each
select 'documents' as name, count(*) as change
from log.taken($1, $2, $3, '{ToolAdded}') e
where e.version = 1 and not e.data ? 'again';

-- step uncount (ToolAdded, ToolDescribed, ToolListed, ToolUnlisted): the window's tools leave the counts of their words; a word of none goes, and the count below takes them in again
with d as (
    select substr(t.term, 2) as word,
           count(*) filter (where t.term like '1%') as names,
           count(*) filter (where t.term like '2%') as leads,
           count(*) filter (where t.term like '3%') as texts
    from (
        select distinct e.data->>'tool' as tool
        from log.taken($1, $2, $3, '{ToolAdded, ToolDescribed, ToolListed, ToolUnlisted}') e
    ) w
    join documents o on o.tool = w.tool and o.listed
    cross join lateral unnest(tsvector_to_array(o.terms)) as t(term)
    group by 1
),
gone as (
    delete from words w using d where w.word = d.word and w.texts = d.texts
)
update words w set names = w.names - d.names, leads = w.leads - d.leads, texts = w.texts - d.texts
from d where w.word = d.word and w.texts > d.texts;

-- step added (ToolAdded): a new tool is listed; one that the cards passed over may be added again
insert into documents (tool, key, terms, listed)
select e.data->>'tool', log.search_key(e.data->>'name'),
       log.search_terms(e.data->>'name', e.data->>'tagline', e.data->>'category', e.data->>'description'), true
from log.taken($1, $2, $3, '{ToolAdded}') e
order by e.data->>'tool'
on conflict (tool) do update set key = excluded.key, terms = excluded.terms, listed = true;

-- step described (ToolDescribed): the window's last description of each tool holds, if the tool wasn't added again after it
update documents d
set key = log.search_key(e.data->>'name'),
    terms = log.search_terms(e.data->>'name', e.data->>'tagline', e.data->>'category', e.data->>'description')
from (
    select distinct on (r.stream) r.data
    from log.taken($1, $2, $3, '{ToolDescribed}') r
    where not exists (select from log.taken($1, $2, $3, '{ToolAdded}') a where a.stream = r.stream and a.position > r.position)
    order by r.stream, r.position desc
) e
where d.tool = e.data->>'tool';

-- step listing (ToolListed, ToolUnlisted): the window's last event of each tool holds, if the tool wasn't added again after it
update documents d
set listed = (e.type = 'ToolListed')
from (
    select distinct on (r.stream) r.type, r.data
    from log.taken($1, $2, $3, '{ToolListed, ToolUnlisted}') r
    where not exists (select from log.taken($1, $2, $3, '{ToolAdded}') a where a.stream = r.stream and a.position > r.position)
    order by r.stream, r.position desc
) e
where d.tool = e.data->>'tool';

-- step count (ToolAdded, ToolDescribed, ToolListed, ToolUnlisted): the window's tools, counted by the words that they have now
insert into words as w (word, names, leads, texts)
select substr(t.term, 2),
       count(*) filter (where t.term like '1%'), count(*) filter (where t.term like '2%'), count(*) filter (where t.term like '3%')
from (
    select distinct e.data->>'tool' as tool
    from log.taken($1, $2, $3, '{ToolAdded, ToolDescribed, ToolListed, ToolUnlisted}') e
) n
join documents d on d.tool = n.tool and d.listed
cross join lateral unnest(tsvector_to_array(d.terms)) as t(term)
group by 1
order by 1
on conflict (word) do update
set names = w.names + excluded.names, leads = w.leads + excluded.leads, texts = w.texts + excluded.texts;

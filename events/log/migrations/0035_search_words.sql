-- The words of a text as search compares them, and the spellings that lie one slip away from a word. Both use what every
-- PostgreSQL has: no extension, no dictionary, and no locale but that of `lower`.

-- A text in lower case, without the accents of Latin letters, in one Unicode form, and with a space for punctuation beyond ASCII. A letter of a script that writes no spaces gets spaces around it. Nearly all texts are ASCII, where lower case is all.
create function log.search_fold(value text) returns text language sql immutable parallel safe strict as $$
    select case when octet_length(value) = length(value) then lower(value) else
        regexp_replace(
            regexp_replace(
                lower(normalize(regexp_replace(normalize(value, nfkd), '[\u0300-\u036f]+', '', 'g'), nfkc)),
                '[\u0080-\u00bf\u00d7\u00f7\u2000-\u206f\u3000-\u303f\ufe00-\ufe0f]+', ' ', 'g'
            ),
            '([\u3041-\u30ff\u3400-\u9fff\uac00-\ud7a3\uf900-\ufaff])', ' \1 ', 'g'
        )
    end
$$;

-- A text's words in their order. A plus or a number sign belongs to a word that it ends: c++, c#.
create function log.search_words(value text) returns text[] language sql immutable parallel safe strict as $$
    select array_remove(
        regexp_split_to_array(
            regexp_replace(log.search_fold(value), '[+#]+(?=[0-9a-z])', ' ', 'g'),
            '[\u0001-\u0022\u0024-\u002a\u002c-\u002f\u003a-\u0060\u007b-\u007f]+'
        ),
        ''
    )
$$;

-- What a tool is found by: each word after 1 if the name has it, 2 if name, tagline or category has it, 3 if any text has it.
create function log.search_terms(name text, tagline text, category text, description text)
returns tsvector language sql immutable parallel safe strict as $$
    select array_to_tsvector(coalesce(array_agg(distinct t.depth || left(t.word, 40)), '{}'))
    from (
        select d.depth, w.word from unnest(log.search_words(name)) as w(word), (values ('1'), ('2'), ('3')) as d(depth)
        union all
        select d.depth, w.word
        from unnest(log.search_words(tagline || ' ' || category)) as w(word), (values ('2'), ('3')) as d(depth)
        union all
        select '3', w.word from unnest(log.search_words(description)) as w(word)
    ) t
$$;

-- A name without anything between its words, which is what the beginning of a name is looked for in.
create function log.search_key(name text) returns text language sql immutable parallel safe strict as $$
    select left(array_to_string(log.search_words(name), ''), 120)
$$;

-- The word itself and every word that it becomes by leaving out one letter. Two words one slip apart (a letter missing, doubled,
-- wrong, or two swapped) have one of these in common (W. Garbe, SymSpell, 2012).
create function log.search_variants(word text) returns text[] language sql immutable parallel safe strict as $$
    select array_agg(distinct case when n = 0 then word else left(word, n - 1) || substr(word, n + 1) end)
    from generate_series(0, length(word)) as n
$$;

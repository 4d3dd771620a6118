-- An empty log that is in parts becomes one plain table again, which Citus can spread: its room comes from servers, not from parts, and
-- it has no unique index without the column that it is spread by. Positions are unique and dense by the head's lock, and a window's
-- count finds it if that ever fails; (stream, version) stays unique. Run before `citus.sql`, and as plain as that.
do $do$
declare
    was       pg_class := (select c from pg_class c where c.oid = 'log.events'::regclass);
    made_anew text[];
    statement text;
    replaced  regprocedure;
    old_name  text;
begin
    if log.is_in_parts() then
        made_anew := array(select pg_get_functiondef(p.oid) from pg_proc p where was.reltype = any(p.proargtypes::oid[]))
            || array(
                select format('create or replace view %s as %s', v.view, pg_get_viewdef(v.view))
                from (
                    select distinct r.ev_class::regclass as view
                    from pg_depend d join pg_rewrite r on r.oid = d.objid and d.classid = 'pg_rewrite'::regclass
                    join pg_class c on c.oid = r.ev_class and c.relkind = 'v'
                    where d.refclassid = 'pg_class'::regclass and d.refobjid = was.oid
                ) v);
        perform log.make_part_table('events_whole');
        execute format('alter table log.events_whole owner to %I', pg_get_userbyid(was.relowner));
        for statement in
            select format('grant %s on log.events_whole to %s', g.privilege_type,
                          case g.grantee when 0 then 'public' else quote_ident(pg_get_userbyid(g.grantee)) end)
            from aclexplode(was.relacl) g where g.grantee <> was.relowner
        loop
            execute statement;
        end loop;
        alter table log.events rename to events_in_parts;
        alter table log.events_whole rename to events;
        foreach statement in array made_anew loop
            execute statement;
        end loop;
        for replaced in select p.oid::regprocedure from pg_proc p where was.reltype = any(p.proargtypes::oid[]) loop
            execute format('drop function %s', replaced);
        end loop;
        drop table log.events_in_parts;
        for old_name in select c.relname from pg_index i join pg_class c on c.oid = i.indexrelid
                        where i.indrelid = 'log.events'::regclass loop
            execute format('alter index log.%I rename to %I', old_name, replace(old_name, 'events_whole_', 'events_'));
        end loop;
        delete from log.parts;
    end if;
    alter table log.events drop constraint if exists events_position_key;
    create index if not exists events_position_idx on log.events (position);
end $do$;

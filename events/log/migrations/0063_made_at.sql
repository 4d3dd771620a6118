-- log.made_at as before, at half the cost of a vote: the server looks for one wrong character faster than it counts right ones.
create or replace function log.made_at(id text) returns bigint language sql immutable parallel safe as $$
    select case when length(id) = 22 and id !~ '[^A-Za-z0-9_-]'
                then ('x' || encode(decode(translate(left(id, 8), '-_', '+/'), 'base64'), 'hex'))::bit(48)::bigint end
$$;

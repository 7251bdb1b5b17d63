-- What the PostgreSQL engine reads. Ids go with their buckets, many of either as arrays. A lateral part with "offset 0" is
-- read for one row at a time, by its key: left to itself the planner goes through a whole table where it lacks statistics.
-- "bucket = any($part)" is explained in postgres/sql.py.

-- name: events_of_organisation
select e.id, e.organisation_id, e.dialect, e.source, e.type, e.subject, e.severity, e.environment, e.time_ms, e.data,
  e.extension, e.incident_state, e.replay_of
from unnest($1::smallint[], $2::bytea[]) as wanted (bucket, id)
cross join lateral (
  select * from event where bucket = wanted.bucket and id = wanted.id and bucket = any($part) offset 0
) e
where e.organisation_id = $3

-- name: payload_sizes
-- The length stands where the row points to the data, which is not read for it.
select e.id, octet_length(e.data)
from unnest($1::smallint[], $2::bytea[]) as wanted (bucket, id)
cross join lateral (
  select * from event where bucket = wanted.bucket and id = wanted.id and bucket = any($part) offset 0
) e
where e.organisation_id = $3

-- name: payloads
select e.id, e.data
from unnest($1::smallint[], $2::bytea[]) as wanted (bucket, id)
cross join lateral (
  select * from event where bucket = wanted.bucket and id = wanted.id and bucket = any($part) offset 0
) e
where e.organisation_id = $3

-- name: sized_events
-- Without its data, and how long that is.
select e.id, e.organisation_id, e.dialect, e.source, e.type, e.subject, e.severity, e.environment, e.time_ms, ''::bytea,
  e.extension, e.incident_state, e.replay_of, octet_length(e.data)
from unnest($1::smallint[], $2::bytea[]) as wanted (bucket, id)
cross join lateral (
  select * from event where bucket = wanted.bucket and id = wanted.id and bucket = any($part) offset 0
) e
where e.organisation_id = $3

-- name: deliveries_of_organisation
-- One statement, since a delivery goes from one table to the other and back.
select d.*
from unnest($1::smallint[], $2::bytea[]) as wanted (bucket, id)
cross join lateral (
  (select id, organisation_id, event_id, destination_id, state, attempts, due_ms, status_code, duration_ms, error
  from delivery where bucket = wanted.bucket and id = wanted.id and bucket = any($part))
  union all
  (select id, organisation_id, event_id, destination_id, state, attempts, settled_ms, status_code, duration_ms, error
  from delivery_history where bucket = wanted.bucket and id = wanted.id and bucket = any($part))
  offset 0
) d
where d.organisation_id = $3

-- name: incidents_of_organisation
select i.id, i.body
from unnest($1::smallint[], $2::bytea[]) as wanted (bucket, id)
cross join lateral (
  select * from incident where bucket = wanted.bucket and id = wanted.id and bucket = any($part) offset 0
) i
where i.organisation_id = $3

-- name: devices_of_organisation
select key, body from device where organisation_id = $1 and key = any($2::text[])

-- name: jobs_of_organisation
select id, body, revision from job where organisation_id = $1 and id = any($2::bytea[])

-- name: posted_of_organisation
select destination_id, lane, event_id, remote_id from posted
where organisation_id = $1 and bucket = $2 and destination_id = $3 and lane = $4

-- name: tallies
select t.event_id, count(*), count(*) filter (where t.state = 'processing')
from unnest($1::smallint[], $2::bytea[]) as wanted (bucket, id)
cross join lateral (
  select event_id, state, organisation_id from consumer_transaction
  where bucket = wanted.bucket and event_id = wanted.id and bucket = any($part) offset 0
) t
where t.organisation_id = $3
group by t.event_id

-- name: quota_used
select used from quota where organisation_id = $1 and counter = $2

-- ===== consumer groups =====

-- name: standings
-- Events, each with one consumer group's transaction, and how many groups there are and how many of them are at work.
select e.id, e.organisation_id, e.dialect, e.source, e.type, e.subject, e.severity, e.environment, e.time_ms, ''::bytea,
  e.extension, e.incident_state, e.replay_of, t.body, all_of_it.total, all_of_it.processing
from unnest($1::smallint[], $2::bytea[]) as wanted (bucket, id)
cross join lateral (
  select * from event where bucket = wanted.bucket and id = wanted.id and bucket = any($part) offset 0
) e
left join lateral (
  select body from consumer_transaction
  where bucket = wanted.bucket and event_id = wanted.id and tx_key = $3 and bucket = any($part) offset 0
) t on true
cross join lateral (
  select count(*) as total, count(*) filter (where state = 'processing') as processing
  from consumer_transaction where bucket = wanted.bucket and event_id = wanted.id and bucket = any($part)
) all_of_it

-- name: started
select event_id from consumer_transaction
where organisation_id = $1 and tx_key = $2 and event_type = $3 and environment = $4 and state = $5
  and event_id >= $6 and event_id < $7 and bucket = any($part)
order by event_id limit $8

-- name: started_total
select count(*) from (
  select 1 from consumer_transaction
  where organisation_id = $1 and tx_key = $2 and event_type = $3 and environment = $4 and state = $5
    and event_id >= $6 and event_id < $7 and bucket = any($part)
  limit $8
) as found

-- name: runs_of
-- The next stretches of started events, in order: from the one that may hold $5 on, up to $6.
select first_id, end_id from consumer_run
where organisation_id = $1 and tx_key = $2 and event_type = $3 and environment = $4 and first_id < $6
  and first_id >= coalesce((
    select first_id from consumer_run
    where organisation_id = $1 and tx_key = $2 and event_type = $3 and environment = $4 and first_id <= $5
    order by first_id desc limit 1
  ), $5)
order by first_id limit $7

-- name: looked_at
-- The next events of one type, each with whether the consumer group has started it.
select e.id, exists (
  select 1 from consumer_transaction t
  where t.bucket = get_byte(e.id, 8) & 63 and t.event_id = e.id and t.tx_key = $2 and t.bucket = any($part) offset 0
)
from event e
where e.organisation_id = $1 and e.type = $3 and e.environment = $4 and e.id >= $5 and e.id < $6
  and e.bucket = any($part)
order by e.id limit $7

-- name: lapsed
-- The next events whose transaction's lease had run out at $8.
select event_id from consumer_transaction
where organisation_id = $1 and tx_key = $2 and event_type = $3 and environment = $4 and state = 'processing'
  and lease_until_ms is not null and event_id >= $5 and event_id < $6 and lease_until_ms <= $8
  and bucket = any($part)
order by event_id limit $7

-- name: is_one_open_for
-- Whether a transaction that has written, or waits for its commit to reach a standby, has been open for so many seconds.
select exists (
  select 1 from pg_stat_activity
  where datname = current_database() and backend_xid is not null and pid <> pg_backend_pid()
    and xact_start < clock_timestamp() - make_interval(secs => $1)
)

-- name: came_since
-- Whether an event that the group has not started lies within a run, of those whose position is at or behind $1.
select exists (
  select 1 from (
    select * from event
    where seq >= $1 and organisation_id = $2 and type = $4 and environment = $5 and id >= $6 and id < $7
      and bucket = any($part) offset 0
  ) e
  where not exists (
    select 1 from consumer_transaction t
    where t.bucket = get_byte(e.id, 8) & 63 and t.event_id = e.id and t.tx_key = $3 and t.bucket = any($part) offset 0
  )
)

-- name: take_runs_within
delete from consumer_run
where organisation_id = $1 and tx_key = $2 and event_type = $3 and environment = $4 and first_id >= $5 and first_id < $6
returning end_id

-- name: save_run
insert into consumer_run (organisation_id, tx_key, event_type, environment, first_id, end_id)
values ($1, $2, $3, $4, $5, $6)
on conflict (organisation_id, event_type, environment, tx_key, first_id) do update set end_id = excluded.end_id

-- ===== partitions =====

-- name: partition_bounds
select first_ms, end_ms from partition_span

-- ===== the order of commits =====

-- name: tail_bound
-- Below it everything is committed, and nothing more will ever come: the oldest transaction that is still open has, or will
-- take, positions at it or behind.
select (pg_snapshot_xmin(pg_current_snapshot())::text::bigint + xid_offset) << 20 from store

-- name: tail_bound_of_ours
-- The same, but for the transactions of the server's other databases, which store nothing here. Whose a transaction is, its
-- lock on its own id tells; one that has none is on its way in or out, and may be of this database.
with now (shot) as materialized (select pg_current_snapshot()),
ours (xid) as (
  select open.xid from now cross join pg_snapshot_xip(now.shot) as open (xid)
  where not exists (
    select 1 from pg_locks l join pg_stat_activity a on a.pid = l.pid
    where l.locktype = 'transactionid' and l.granted and l.mode = 'ExclusiveLock' and l.transactionid = open.xid::xid
      and a.datid <> (select oid from pg_database where datname = current_database())
  )
)
select (coalesce((select min(xid::text::bigint) from ours), pg_snapshot_xmax(now.shot)::text::bigint) + xid_offset) << 20
from now cross join store

-- name: tail_bound_of_cluster
-- The same on a cluster, where a transaction that is committed here may for a moment be only prepared on another node,
-- which shows nothing of it yet. Such a one is recorded in pg_dist_transaction, by itself, until no node has it prepared:
-- the oldest of these takes the place of the oldest that is open. The nodes are asked after the moment of this
-- statement's snapshot; what was committed before it is prepared there by then, or committed. Second, whether all answered.
with now (shot) as materialized (select pg_current_snapshot()),
nodes (id, answered, gids) as materialized (
  select nodeid, success, string_to_array(result, ' ') from run_command_on_all_nodes(
    $$select string_agg(gid, ' ') from pg_prepared_xacts where gid like 'citus\_%' and database = current_database()$$
  )
),
half_done (xid) as (
  -- A row tells the lower 32 bits of the transaction that wrote it, which is less than 2 ** 31 ids old.
  select pg_snapshot_xmax(now.shot)::text::bigint
    - ((pg_snapshot_xmax(now.shot)::text::bigint - record.xid::text::bigint) & 4294967295)
  from now cross join nodes join pg_dist_node node on node.nodeid = nodes.id
  cross join unnest(case when nodes.answered then nodes.gids end) as prepared (gid)
  cross join lateral (
    select xmin as xid from pg_dist_transaction where groupid = node.groupid and gid = prepared.gid offset 0
  ) record
),
ours (xid) as (
  select open.xid from now cross join pg_snapshot_xip(now.shot) as open (xid)
  where not exists (
    select 1 from pg_locks l join pg_stat_activity a on a.pid = l.pid
    where l.locktype = 'transactionid' and l.granted and l.mode = 'ExclusiveLock' and l.transactionid = open.xid::xid
      and a.datid <> (select oid from pg_database where datname = current_database())
  )
)
select
  (least(
    (select min(xid::text::bigint) from ours), (select min(xid) from half_done), pg_snapshot_xmax(now.shot)::text::bigint
  ) + xid_offset) << 20,
  (select coalesce(bool_and(answered), false) from nodes)
from now cross join store

-- name: tail_ends
-- The newest position below $1, and whether there is something at it or behind, which waits for what is open.
select
  (select seq from event where seq < $1 and bucket = any($part) order by seq desc limit 1),
  exists (select 1 from event where seq >= $1 and bucket = any($part) offset 0)

-- name: tail_back
-- The newest up to $1, without the first $2 of them.
select seq from event where seq <= $1 and bucket = any($part) order by seq desc offset $2 limit $3

-- name: tail_reach
-- The last of the events that one page looks at.
select seq from event where seq > $1 and seq <= $2 and bucket = any($part) order by seq offset $3 limit 1

-- name: tail
-- The inner part is read by the index of the positions: of some organisations there may be few events, and long ago.
select seq, id, organisation_id, dialect, source, type, subject, severity, environment, time_ms,
  case when $3 then data else ''::bytea end, extension, incident_state, replay_of
from (select * from event where seq > $1 and seq <= $2 and bucket = any($part) order by seq offset 0) e
where $4::bytea[] is null or organisation_id = any($4)
order by seq limit $5

-- name: tail_sizes
select seq, octet_length(data)
from (select * from event where seq > $1 and seq <= $2 and bucket = any($part) order by seq offset 0) e
where $3::bytea[] is null or organisation_id = any($3)
order by seq limit $4

-- name: destinations_of_events
select event_id, destination_id from delivery where event_id = any($1::bytea[]) and bucket = any($part)
union
select event_id, destination_id from delivery_history where event_id = any($1::bytea[]) and bucket = any($part)

-- ===== measuring =====

-- name: queue_depth
-- Read from the index alone. A lease's time is its end: one that ran out is due like what waits.
select destination_id,
  count(*) filter (where due_ms <= $1),
  count(*) filter (where state = 0 and due_ms > $1),
  count(*) filter (where state = 1 and due_ms > $1),
  min(due_ms) filter (where due_ms <= $1)
from delivery where state in (0, 1) and bucket = any($part) group by destination_id

-- name: blocked_depth
select destination_id, count(*) from delivery where lane is not null and state = 2 and bucket = any($part)
group by destination_id

-- name: mailbox_depth
select count(*) from mailbox

-- name: database_bytes
select pg_database_size(current_database())

-- name: cluster_bytes
-- Of each node, null where one did not answer.
select case when success then result::bigint end
from run_command_on_all_nodes('select pg_database_size(current_database())')

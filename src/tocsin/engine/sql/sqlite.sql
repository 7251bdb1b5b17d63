-- Statements of the SQLite engine. {rows:N} is as many groups of N placeholders as there are rows, {marks} as many
-- placeholders as there are values.

-- ===== accept =====

-- name: known_keys
select digest, event_id, fingerprint from idempotency
where (bucket, digest) in (values {rows:2}) and expires_ms > ?

-- name: insert_keys
insert or replace into idempotency (bucket, digest, event_id, fingerprint, expires_ms) values {rows:5}

-- name: newest_event
-- Two subqueries: only alone is max() one step in an index.
select coalesce((select max(seq) from event), 0), (select max(id) from event)

-- name: cut_runs
-- An event whose id lies before others ends the runs that would step over it.
update consumer_run set end_id = ?1
where organisation_id = ?2 and event_type = ?3 and first_id < ?1 and end_id > ?1

-- name: insert_events
insert into event (seq, bucket, id, organisation_id, dialect, source, type, subject, severity, environment, time_ms, data,
  extension, incident_state, replay_of, unrouted)
values {rows:16}

-- name: insert_deliveries
insert into delivery
  (bucket, id, organisation_id, event_id, destination_id, state, due_ms, lease, attempts, lane, place)
values {rows:11}

-- name: busy_lanes
with wanted (destination_id, lane) as (values {rows:2})
select destination_id, lane from wanted
where exists (
  select 1 from delivery where destination_id = wanted.destination_id and lane = wanted.lane
)

-- name: incidents_by_id
select id, body from incident where id in ({marks})

-- name: save_incidents
insert or replace into incident
  (bucket, id, organisation_id, environment, channel, state, opened_ms, updated_ms, closed_ms, body)
values {rows:10}

-- name: quota_used
select used from quota where organisation_id = ? and counter = ?

-- name: save_quotas
insert or replace into quota (organisation_id, counter, used) values {rows:3}

-- name: mark_replayed
insert or replace into replayed (event_id, by_event_id, organisation_id)
select id, ?1, organisation_id from event where id = ?2 and organisation_id = ?3

-- name: fill_mailboxes
-- One item for each device that subscribes to the channel; the event's id serves as the item's.
with item (event_id, expires_ms, channel_id, organisation_id) as (values {rows:4})
insert into mailbox (device_key, delivery_id, event_id, expires_ms)
select subscription.device_key, item.event_id, item.event_id, item.expires_ms
from item cross join subscription using (channel_id, organisation_id)
where true
on conflict do nothing

-- ===== deliveries =====

-- name: longest_due
-- A loose index scan: two probes for each destination that has live deliveries, however many those are.
with recursive found (id) as (
  select min(destination_id) from delivery where state in (0, 1)
  union all
  select (select min(destination_id) from delivery where state in (0, 1) and destination_id > found.id)
  from found where found.id is not null
)
select id, due_ms from (
  select id, (select min(due_ms) from delivery where destination_id = found.id and state in (0, 1)) as due_ms
  from found where id is not null
)
where due_ms <= ?

-- name: queue_depth
-- Read from the index alone. A lease's time is its end: one that ran out is due like what waits.
select destination_id,
  sum(due_ms <= ?1),
  sum(state = 0 and due_ms > ?1),
  sum(state = 1 and due_ms > ?1),
  min(iif(due_ms <= ?1, due_ms, null))
from delivery where state in (0, 1) group by destination_id

-- name: blocked_depth
select destination_id, count(*) from delivery where lane is not null and state = 2 group by destination_id

-- name: mailbox_depth
select count(*) from mailbox

-- name: due_of_destination
select due_ms, id from delivery
where destination_id = ? and state in (0, 1) and due_ms <= ?
order by due_ms limit ?

-- name: lease_deliveries
update delivery set state = 1, lease = lease + 1, due_ms = ?
where id in ({marks})
returning id, event_id, destination_id, lease, attempts, lane, retries_from

-- name: release_all_leases
-- At start no other process can hold a lease, since the lock file keeps it out.
update delivery set state = 0, due_ms = ? where state = 1

-- name: take_finished
-- What is finished leaves the live table, if its lease still stands.
delete from delivery
where state = 1 and (id, lease) in (values {rows:2})
returning id, bucket, organisation_id, event_id, destination_id, lease, attempts, lane, status_code, duration_ms, error

-- name: insert_history
insert into delivery_history (id, bucket, organisation_id, event_id, destination_id, state, settled_ms, lease,
  attempts, lane, status_code, duration_ms, error)
values {rows:13}

-- name: retry_deliveries
with tried (id, lease, due_ms, counted, status_code, duration_ms, error) as (values {rows:7})
update delivery
set state = 0, due_ms = tried.due_ms, attempts = attempts + tried.counted, status_code = tried.status_code,
  duration_ms = tried.duration_ms, error = tried.error
from tried
where delivery.id = tried.id and delivery.lease = tried.lease and delivery.state = 1
returning delivery.id, delivery.lease, delivery.attempts

-- name: release_deliveries
with released (id, lease, due_ms) as (values {rows:3})
update delivery set state = 0, due_ms = released.due_ms
from released
where delivery.id = released.id and delivery.lease = released.lease and delivery.state = 1
returning delivery.id, delivery.lease

-- name: keep_posted
insert into posted (destination_id, lane, bucket, organisation_id, event_id, remote_id)
values {rows:6}
on conflict (destination_id, lane) do update set event_id = excluded.event_id, remote_id = excluded.remote_id
where posted.event_id <= excluded.event_id

-- name: posted_of_organisation
select destination_id, lane, event_id, remote_id from posted
where organisation_id = ? and destination_id = ? and lane = ?

-- name: insert_attempts
insert into attempt (delivery_id, number, body) values {rows:3}

-- name: promote_lanes
-- Lets the first of each lane's waiting ones go, unless another is on its way.
with freed (destination_id, lane) as (values {rows:2})
update delivery set state = 0, due_ms = ?
where id in (
  select (
    select id from delivery
    where destination_id = freed.destination_id and lane = freed.lane and state = 2 order by place, id limit 1
  )
  from freed
  where not exists (
    select 1 from delivery
    where destination_id = freed.destination_id and lane = freed.lane and state in (0, 1)
  )
)

-- name: take_live
delete from delivery where id = ? and organisation_id = ?
returning id, bucket, organisation_id, event_id, destination_id, lease, attempts, lane, status_code, duration_ms, error

-- name: take_waiting_of_event
delete from delivery where event_id = ? and organisation_id = ? and state in (0, 2)
returning id, bucket, organisation_id, event_id, destination_id, lease, attempts, lane, status_code, duration_ms, error

-- name: live_state
select state from delivery where id = ? and organisation_id = ?

-- name: hurry_destination
update delivery set due_ms = 0 where destination_id = ? and state in (0, 1) and state = 0

-- name: release_held
update delivery set due_ms = ?
where destination_id = ? and due_ms = ? and state in (0, 1) and state = 0 and organisation_id = ?

-- name: hurry_delivery
update delivery set due_ms = min(due_ms, ?) where id = ? and state = 0

-- name: take_final
delete from delivery_history where id = ? and organisation_id = ?
returning id, bucket, organisation_id, event_id, destination_id, lease, attempts, lane, status_code, duration_ms, error

-- name: is_final
select 1 from delivery_history where id = ? and organisation_id = ?

-- name: revive_delivery
insert into delivery (id, bucket, organisation_id, event_id, destination_id, lease, attempts, lane, status_code,
  duration_ms, error, state, due_ms, place, retries_from)
values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)

-- name: seq_of_event
select seq from event where id = ? and organisation_id = ?

-- name: delivery_exists
select 1 from delivery where id = ?1 union all select 1 from delivery_history where id = ?1

-- ===== transactions =====

-- name: event_for_transaction
select type from event where id = ? and organisation_id = ? and environment = ?

-- name: transaction_by_key
select body, case when ?3 then output end from consumer_transaction where event_id = ?1 and tx_key = ?2

-- name: save_transaction
insert into consumer_transaction
  (event_id, tx_key, organisation_id, event_type, environment, state, lease_until_ms, body, output)
values (?, ?, ?, ?, ?, ?, ?, ?, ?)
on conflict (event_id, tx_key) do update
set state = excluded.state, lease_until_ms = excluded.lease_until_ms, body = excluded.body, output = excluded.output

-- name: standings
-- Events, each with one consumer group's transaction, and how many groups there are and how many of them are at work.
select e.id, e.organisation_id, e.dialect, e.source, e.type, e.subject, e.severity, e.environment, e.time_ms, x'',
  e.extension, e.incident_state, e.replay_of, t.body,
  (select count(*) from consumer_transaction where organisation_id = e.organisation_id and event_id = e.id),
  (select count(*) from consumer_transaction
    where organisation_id = e.organisation_id and event_id = e.id and state = 'processing')
from event e left join consumer_transaction t on t.event_id = e.id and t.tx_key = ?1
where e.id in ({marks})

-- name: tallies
select event_id, count(*), count(*) filter (where state = 'processing') from consumer_transaction
where organisation_id = ? and event_id in ({marks})
group by event_id

-- name: started
select event_id from consumer_transaction indexed by consumer_transaction_by_key
where organisation_id = ?1 and tx_key = ?2 and event_type = ?3 and environment = ?4 and state = ?5
  and event_id >= ?6 and event_id < ?7
order by event_id limit ?8 offset ?9

-- name: started_total
select count(*) from (
  select 1 from consumer_transaction indexed by consumer_transaction_by_key
  where organisation_id = ?1 and tx_key = ?2 and event_type = ?3 and environment = ?4 and state = ?5
    and event_id >= ?6 and event_id < ?7
  limit ?8
)

-- name: runs_of
-- The next stretches of started events, in order: from the one that may hold ?5 on, up to ?6.
select first_id, end_id from consumer_run
where organisation_id = ?1 and tx_key = ?2 and event_type = ?3 and environment = ?4 and first_id < ?6
  and first_id >= coalesce((
    select max(first_id) from consumer_run
    where organisation_id = ?1 and tx_key = ?2 and event_type = ?3 and environment = ?4 and first_id <= ?5
  ), ?5)
order by first_id limit ?7

-- name: looked_at
-- The next events of one type, each with whether the consumer group has started it.
select e.id, exists (select 1 from consumer_transaction t where t.event_id = e.id and t.tx_key = ?2)
from event e indexed by event_by_type
where e.organisation_id = ?1 and e.type = ?3 and e.environment = ?4 and e.id >= ?5 and e.id < ?6
order by e.id limit ?7

-- name: lapsed
-- The next events whose transaction's lease had run out at ?8.
select event_id from consumer_transaction indexed by consumer_transaction_by_lease
where organisation_id = ?1 and tx_key = ?2 and event_type = ?3 and environment = ?4 and state = 'processing'
  and event_id >= ?5 and event_id < ?6 and lease_until_ms <= ?8
order by event_id limit ?7

-- name: came_since
-- Whether an event was stored after the one with this seq, whose id lies within a run.
select 1 from event not indexed
where seq > ?1 and organisation_id = ?2 and type = ?3 and environment = ?4 and id >= ?5 and id < ?6 limit 1

-- name: take_runs_within
delete from consumer_run
where organisation_id = ? and tx_key = ? and event_type = ? and environment = ? and first_id >= ? and first_id < ?
returning end_id

-- name: save_run
insert or replace into consumer_run (organisation_id, tx_key, event_type, environment, first_id, end_id)
values (?, ?, ?, ?, ?, ?)

-- ===== catalog =====

-- name: catalog_revision
select coalesce(max(revision), 0) from catalog

-- name: catalog_entry
select revision, body is null, organisation_id from catalog where kind = ? and id = ?

-- name: catalog_name_holder
select id from catalog where kind = ? and organisation_id = ? and name = ?

-- name: save_catalog_entry
insert or replace into catalog (kind, id, organisation_id, name, revision, body) values (?, ?, ?, ?, ?, ?)

-- name: catalog_changed
select 1 from catalog where revision > ? and kind = ? and organisation_id = ? limit 1

-- name: catalog_since
select kind, id, revision, body from catalog where revision > ? order by revision

-- ===== jobs and audit =====

-- name: job_revision
select revision, organisation_id from job where id = ?

-- name: save_job
insert or replace into job (id, organisation_id, environment, state, revision, ended_ms, body)
values (?, ?, ?, ?, ?, ?, ?)

-- name: open_jobs
-- A loose index scan: one probe for each organisation that has open jobs, however many those are.
with recursive found (organisation_id) as (
  select min(organisation_id) from job where ended_ms is null and organisation_id > ?1
  union all
  select (select min(organisation_id) from job where ended_ms is null and organisation_id > found.organisation_id)
  from found where found.organisation_id is not null
  limit ?2
)
select body, revision from job where id in (
  select (select min(id) from job where organisation_id = found.organisation_id and ended_ms is null)
  from found where organisation_id is not null
)
order by organisation_id

-- name: jobs_of_organisation
select id, body, revision from job where organisation_id = ? and id in ({marks})

-- name: insert_audit
insert into audit (id, organisation_id, actor, key_id, action, subject, body) values {rows:7}

-- ===== mailboxes =====

-- name: save_device
insert into device (key, organisation_id, body) values (?, ?, ?)
on conflict (key) do update set body = excluded.body where organisation_id = excluded.organisation_id
returning 1

-- name: device_exists
select 1 from device where key = ? and organisation_id = ?

-- name: subscribers_of
select count(*) from (select 1 from subscription where channel_id = ? and organisation_id = ? limit ?)

-- name: is_subscribed
select 1 from subscription where device_key = ? and channel_id = ? and organisation_id = ?

-- name: subscribe
insert into subscription (device_key, channel_id, organisation_id) values (?, ?, ?)

-- name: unsubscribe
delete from subscription where device_key = ? and channel_id = ? and organisation_id = ? returning 1

-- name: drop_subscriptions
delete from subscription where channel_id = ?

-- name: subscriptions_of
select channel_id from subscription where device_key = ? and organisation_id = ? order by channel_id

-- name: put_item
insert into mailbox (device_key, delivery_id, event_id, expires_ms) values (?, ?, ?, ?)
on conflict do nothing returning 1

-- name: ack_item
delete from mailbox
where device_key = ?1 and delivery_id = ?2
  and exists (select 1 from device where key = ?1 and organisation_id = ?3)
returning 1

-- ===== tending =====

-- name: expired_keys
delete from idempotency where (bucket, digest) in
  (select bucket, digest from idempotency where expires_ms <= ? order by expires_ms limit ?)
returning 1

-- name: expired_items
delete from mailbox where (device_key, delivery_id) in
  (select device_key, delivery_id from mailbox where expires_ms <= ? order by expires_ms limit ?)
returning 1

-- name: old_events
-- The next events past their time, each with whether it is kept because something is under way: a delivery is live, or an
-- item waits in a mailbox. The newest event of all is kept too, so that seq never starts again.
select id, seq,
  exists (select 1 from delivery where event_id = event.id) or exists (select 1 from mailbox where event_id = event.id)
from event indexed by event_by_id
where id > ?1 and id < ?2 and seq < (select max(seq) from event)
order by id limit ?3

-- name: drop_attempts_of_event
delete from attempt where delivery_id in (select id from delivery_history where event_id = ?)

-- name: drop_history_of_event
delete from delivery_history where event_id = ?

-- name: drop_transactions_of_event
delete from consumer_transaction where event_id = ?

-- name: drop_replayed
delete from replayed where event_id = ?

-- name: old_incidents
-- The next incidents past their time, each with whether it is kept: it is open, or its close is not past its time yet.
select id, not (state = 'closed' and closed_ms < ?4) from incident where id > ?1 and id < ?2 order by id limit ?3

-- name: drop_incident
delete from incident where id = ?

-- name: old_jobs
delete from job where id in (select id from job where ended_ms < ? order by ended_ms limit ?)
returning 1

-- name: old_posted
delete from posted
where (destination_id, lane) in (select destination_id, lane from posted where event_id < ? order by event_id limit ?)
returning 1

-- name: old_audit
delete from audit where id in (select id from audit where id < ? order by id limit ?)
returning 1

-- name: drop_event
delete from event where seq = ?

-- ===== reading =====

-- name: events_by_id
select id, organisation_id, dialect, source, type, subject, severity, environment, time_ms, data, extension,
  incident_state, replay_of
from event where id in ({marks})

-- name: events_of_organisation
-- The plus: of many ids SQLite would think that going through all of the organisation's is less.
select id, organisation_id, dialect, source, type, subject, severity, environment, time_ms, data, extension,
  incident_state, replay_of
from event where +organisation_id = ? and id in ({marks})

-- name: payload_sizes
select id, length(data) from event where +organisation_id = ? and id in ({marks})

-- name: payloads
select id, data from event where +organisation_id = ? and id in ({marks})

-- name: live_deliveries
select id, organisation_id, event_id, destination_id, state, attempts, due_ms, status_code, duration_ms, error
from delivery where organisation_id = ? and id in ({marks})

-- name: final_deliveries
select id, organisation_id, event_id, destination_id, state, attempts, settled_ms, status_code, duration_ms, error
from delivery_history where +organisation_id = ? and id in ({marks})

-- name: incidents_of_organisation
select id, body from incident where organisation_id = ? and id in ({marks})

-- name: devices_of_organisation
select key, body from device where organisation_id = ? and key in ({marks})

-- name: types_between
-- The distinct ones from ?2 up to, not including, ?3, as a JSON list: a loose index scan, one probe for each.
with recursive found (name) as (
  select min(type) from event indexed by event_by_type where organisation_id = ?1 and type >= ?2 and type < ?3
  union all
  select (select min(type) from event indexed by event_by_type
    where organisation_id = ?1 and type > found.name and type < ?3)
  from found where found.name is not null
  limit ?4
)
select json_group_array(name) from found where name is not null

-- name: sources_between
with recursive found (name) as (
  select min(source) from event indexed by event_by_source where organisation_id = ?1 and source >= ?2 and source < ?3
  union all
  select (select min(source) from event indexed by event_by_source
    where organisation_id = ?1 and source > found.name and source < ?3)
  from found where found.name is not null
  limit ?4
)
select json_group_array(name) from found where name is not null

-- name: subjects_between
with recursive found (name) as (
  select min(subject) from event indexed by event_by_subject
  where organisation_id = ?1 and subject >= ?2 and subject < ?3
  union all
  select (select min(subject) from event indexed by event_by_subject
    where organisation_id = ?1 and subject > found.name and subject < ?3)
  from found where found.name is not null
  limit ?4
)
select json_group_array(name) from found where name is not null

-- name: tail_start
select coalesce(max(seq), 0) from event

-- name: tail
select seq, id, organisation_id, dialect, source, type, subject, severity, environment, time_ms,
  case when ? then data else x'' end, extension, incident_state, replay_of
from event where seq > ? and seq <= ? order by seq limit ?

-- name: tail_of
-- The plus keeps SQLite from going through all that an organisation ever had instead of the few newest of everybody.
select seq, id, organisation_id, dialect, source, type, subject, severity, environment, time_ms,
  case when ? then data else x'' end, extension, incident_state, replay_of
from event where seq > ? and seq <= ? and +organisation_id in ({marks}) order by seq limit ?

-- name: live_destinations
select event_id, destination_id from delivery where event_id in ({marks})

-- name: final_destinations
select event_id, destination_id from delivery_history where event_id in ({marks})

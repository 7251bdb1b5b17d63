-- What the PostgreSQL engine writes. Many rows go in as one array for each column; every row by id goes with its bucket.
-- Where a statement locks rows of several, they come in one order everywhere, so that two transactions seldom lock crosswise.
-- "bucket = any($part)" keeps to the rows of one part; engine/postgres/sql.py says when it is there.

-- ===== the store =====

-- name: server
select current_setting('server_version_num')::integer, current_setting('server_version'),
  current_setting('server_encoding'), pg_is_in_recovery(), current_setting('fsync') = 'on',
  current_setting('synchronous_standby_names') <> ''

-- name: probe
update store set probed_ms = $1 returning current_setting('synchronous_standby_names') <> ''

-- name: lock_gate
insert into gate (name) values ($1) on conflict (name) do update set name = excluded.name

-- name: spans
select first_ms, end_ms from partition_span where is_dropped = $1 order by first_ms

-- name: insert_span
insert into partition_span (first_ms, end_ms) values ($1, $2)
on conflict (first_ms) do update set end_ms = excluded.end_ms, is_dropped = false

-- name: drop_span
update partition_span set is_dropped = true where first_ms = $1

-- name: forget_span
delete from partition_span where first_ms = $1 and is_dropped

-- ===== accept =====

-- name: lock_lanes
insert into lane (bucket, destination_id, lane)
select bucket, destination_id, lane
from unnest($1::smallint[], $2::bytea[], $3::bytea[]) as wanted(bucket, destination_id, lane)
order by bucket, destination_id, lane
on conflict (bucket, destination_id, lane) do update set lane = excluded.lane

-- name: busy_lanes
select wanted.destination_id, wanted.lane
from unnest($1::smallint[], $2::bytea[], $3::bytea[]) as wanted(bucket, destination_id, lane)
cross join lateral (
  select 1 from delivery
  where delivery.bucket = any($part) and delivery.destination_id = wanted.destination_id and delivery.lane = wanted.lane
  limit 1
) as live

-- name: drop_idle_lanes
delete from lane using unnest($1::smallint[], $2::bytea[], $3::bytea[]) as left_(bucket, destination_id, lane)
where lane.bucket = any($part)
  and lane.bucket = left_.bucket and lane.destination_id = left_.destination_id and lane.lane = left_.lane
  and not exists (
    select 1 from delivery
    where delivery.bucket = any($part) and delivery.destination_id = left_.destination_id and delivery.lane = left_.lane
  )

-- name: claim_keys
-- Whoever comes second waits here for the first. Returns the keys that nobody had.
insert into idempotency (bucket, digest, event_id, fingerprint, expires_ms)
select bucket, digest, event_id, fingerprint, expires_ms
from unnest($1::smallint[], $2::bytea[], $3::bytea[], $4::bytea[], $5::bigint[])
  as claimed(bucket, digest, event_id, fingerprint, expires_ms)
order by bucket, digest
on conflict (bucket, digest) do nothing
returning digest

-- name: known_keys
-- Locked, so that none of them is swept before the end of the transaction.
select digest, event_id, fingerprint, expires_ms
from unnest($1::smallint[], $2::bytea[]) as wanted(bucket, digest) join idempotency using (bucket, digest)
where idempotency.bucket = any($part)
order by bucket, digest for update of idempotency

-- name: mend_keys
update idempotency
set event_id = mended.event_id, fingerprint = mended.fingerprint, expires_ms = mended.expires_ms
from unnest($1::smallint[], $2::bytea[], $3::bytea[], $4::bytea[], $5::bigint[])
  as mended(bucket, digest, event_id, fingerprint, expires_ms)
where idempotency.bucket = any($part) and idempotency.bucket = mended.bucket and idempotency.digest = mended.digest

-- name: drop_keys
delete from idempotency using unnest($1::smallint[], $2::bytea[]) as dropped(bucket, digest)
where idempotency.bucket = any($part) and idempotency.bucket = dropped.bucket and idempotency.digest = dropped.digest

-- name: incidents_to_move
select id, body from incident
where bucket = any($part) and (bucket, id) in (select * from unnest($1::smallint[], $2::bytea[]))
order by bucket, id for update

-- name: save_incidents
insert into incident
  (bucket, id, organisation_id, environment, channel, state, opened_ms, updated_ms, closed_ms, body)
select * from unnest($1::smallint[], $2::bytea[], $3::bytea[], $4::text[], $5::text[], $6::text[], $7::bigint[],
  $8::bigint[], $9::bigint[], $10::bytea[])
on conflict (bucket, id) do update
set state = excluded.state, opened_ms = excluded.opened_ms, updated_ms = excluded.updated_ms,
  closed_ms = excluded.closed_ms, body = excluded.body

-- name: lock_quotas
insert into quota (organisation_id, counter, used)
select organisation_id, counter, 0 from unnest($1::bytea[], $2::text[]) as charged(organisation_id, counter)
order by organisation_id, counter
on conflict (organisation_id, counter) do update set used = quota.used
returning organisation_id, counter, used

-- name: save_quotas
update quota set used = charged.used
from unnest($1::bytea[], $2::text[], $3::bigint[]) as charged(organisation_id, counter, used)
where quota.organisation_id = charged.organisation_id and quota.counter = charged.counter

-- name: insert_events
insert into event (seq, bucket, id, organisation_id, dialect, source, type, subject, severity, environment, time_ms,
  data, extension, incident_state, replay_of, unrouted)
select ((pg_current_xact_id()::text::bigint + store.xid_offset) << 20) + number, bucket, id, organisation_id, dialect,
  source, type, subject, severity, environment, time_ms, data, extension, incident_state, replay_of, unrouted
from store, unnest($1::bigint[], $2::smallint[], $3::bytea[], $4::bytea[], $5::text[], $6::text[], $7::text[],
  $8::text[], $9::text[], $10::text[], $11::bigint[], $12::bytea[], $13::bytea[], $14::text[], $15::bytea[],
  $16::smallint[])
  as new(number, bucket, id, organisation_id, dialect, source, type, subject, severity, environment, time_ms, data,
    extension, incident_state, replay_of, unrouted)

-- name: insert_deliveries
-- place comes as the event's number within this transaction.
insert into delivery
  (bucket, id, organisation_id, event_id, destination_id, state, due_ms, lease, attempts, lane, place)
select bucket, id, organisation_id, event_id, destination_id, state, due_ms, lease, attempts, lane,
  ((pg_current_xact_id()::text::bigint + store.xid_offset) << 20) + number
from store, unnest($1::smallint[], $2::bytea[], $3::bytea[], $4::bytea[], $5::bytea[], $6::smallint[], $7::bigint[],
  $8::bigint[], $9::integer[], $10::bytea[], $11::bigint[])
  as new(bucket, id, organisation_id, event_id, destination_id, state, due_ms, lease, attempts, lane, number)

-- name: stored_events
select id, incident_state from unnest($1::smallint[], $2::bytea[]) as wanted(bucket, id) join event using (bucket, id)
where event.bucket = any($part)

-- name: leases_at_accept
-- Which deliveries still have the lease that they were stored with.
select id from unnest($1::smallint[], $2::bytea[], $3::bigint[]) as wanted(bucket, id, due_ms)
join delivery using (bucket, id, due_ms) where delivery.bucket = any($part) and state = 1 and lease = 1

-- name: events_replayed
-- Those of the events that are there, as rows of mark_replayed.
select bucket, id, by_event_id, organisation_id
from unnest($1::smallint[], $2::bytea[], $3::bytea[], $4::bytea[]) as wanted(bucket, id, by_event_id, organisation_id)
join event using (bucket, id, organisation_id)
where event.bucket = any($part)

-- name: mark_replayed
insert into replayed (bucket, event_id, by_event_id, organisation_id)
select bucket, event_id, by_event_id, organisation_id
from unnest($1::smallint[], $2::bytea[], $3::bytea[], $4::bytea[])
  as marked(bucket, event_id, by_event_id, organisation_id)
order by bucket, event_id
on conflict (bucket, event_id) do update set by_event_id = excluded.by_event_id

-- name: waiting_lanes_of_events
select distinct destination_id, lane from delivery
where bucket = any($part) and event_id = any($1::bytea[]) and state in (0, 2)

-- name: fill_mailboxes
-- One item for each device that subscribes to the channel; the event's id serves as the item's.
insert into mailbox (device_key, delivery_id, event_id, expires_ms)
select subscription.device_key, item.event_id, item.event_id, item.expires_ms
from unnest($1::bytea[], $2::bigint[], $3::bytea[], $4::bytea[]) as item(event_id, expires_ms, channel_id, organisation_id)
join subscription using (channel_id, organisation_id)
on conflict do nothing

-- name: cut_runs
-- An event whose id lies before others ends the runs that would step over it, each at the first of them.
update consumer_run set end_id = cut.id
from (
  select distinct on (run.organisation_id, run.event_type, run.environment, run.tx_key, run.first_id)
    run.organisation_id, run.event_type, run.environment, run.tx_key, run.first_id, fallen.id
  from unnest($1::bytea[], $2::text[], $3::bytea[]) as fallen(organisation_id, event_type, id)
  join consumer_run run using (organisation_id, event_type)
  where run.first_id < fallen.id and run.end_id > fallen.id
  order by run.organisation_id, run.event_type, run.environment, run.tx_key, run.first_id, fallen.id
) as cut
where consumer_run.organisation_id = cut.organisation_id and consumer_run.event_type = cut.event_type
  and consumer_run.environment = cut.environment and consumer_run.tx_key = cut.tx_key
  and consumer_run.first_id = cut.first_id

-- ===== deliveries =====

-- name: longest_due
-- A loose index scan: two probes for each destination that has live deliveries, however many those are.
with recursive found (id) as (
  (
    select destination_id from delivery where bucket = any($part) and state in (0, 1)
    order by destination_id limit 1
  )
  union all
  select (
    select destination_id from delivery where bucket = any($part) and state in (0, 1) and destination_id > found.id
    order by destination_id limit 1
  )
  from found where found.id is not null
)
select id, due_ms from (
  select id, (
    select due_ms from delivery where bucket = any($part) and destination_id = found.id and state in (0, 1)
    order by due_ms limit 1
  ) as due_ms
  from found where id is not null
) as head
where due_ms <= $1 and id <> all($2::bytea[])
order by due_ms, id limit $3

-- name: due_of_destinations
-- The longest due of each; what another claims at this moment is passed over.
select wanted.id, turn.bucket, turn.id, turn.due_ms
from unnest($1::bytea[]) as wanted(id) cross join lateral (
  select bucket, id, due_ms from delivery
  where bucket = any($part) and destination_id = wanted.id and state in (0, 1) and due_ms <= $2
  order by due_ms, id limit $3
  for update skip locked
) as turn

-- name: next_of_destinations
-- The same, but not held: they are another's as well.
select wanted.id, turn.bucket, turn.id, turn.due_ms
from unnest($1::bytea[]) as wanted(id) cross join lateral (
  select bucket, id, due_ms from delivery
  where bucket = any($part) and destination_id = wanted.id and state in (0, 1) and due_ms <= $2
  order by due_ms, id limit $3
) as turn

-- name: shares_of_destinations
-- The longest due, of each destination as many as it is to have here; what another claims at this moment is passed over.
select wanted.id, turn.bucket, turn.id, turn.due_ms
from unnest($1::bytea[], $2::integer[]) as wanted(id, share) cross join lateral (
  select bucket, id, due_ms from delivery
  where bucket = any($part) and destination_id = wanted.id and state in (0, 1) and due_ms <= $3
  order by due_ms, id limit wanted.share
  for update skip locked
) as turn

-- name: lease_deliveries
update delivery set state = 1, lease = lease + 1, due_ms = $3
from unnest($1::smallint[], $2::bytea[]) as chosen(bucket, id)
where delivery.bucket = any($part) and delivery.bucket = chosen.bucket and delivery.id = chosen.id
returning delivery.id, event_id, destination_id, lease, attempts, lane, retries_from

-- name: claimed_events
select id, organisation_id, dialect, source, type, subject, severity, environment, time_ms, data, extension,
  incident_state, replay_of
from unnest($1::smallint[], $2::bytea[]) as wanted(bucket, id) join event using (bucket, id)
where event.bucket = any($part)

-- name: lock_leased
-- The deliveries whose leases still stand, held until the end of the transaction.
select id, lease, attempts, organisation_id, event_id, destination_id, lane, status_code, duration_ms, error
from unnest($1::smallint[], $2::bytea[], $3::bigint[]) as said(bucket, id, lease)
join delivery using (bucket, id, lease)
where delivery.bucket = any($part) and delivery.state + 0 = 1
order by bucket, id for update of delivery

-- name: drop_deliveries
delete from delivery using unnest($1::smallint[], $2::bytea[]) as dropped(bucket, id)
where delivery.bucket = any($part) and delivery.bucket = dropped.bucket and delivery.id = dropped.id

-- name: insert_history
insert into delivery_history (bucket, id, organisation_id, event_id, destination_id, state, settled_ms, lease, attempts,
  lane, status_code, duration_ms, error)
select * from unnest($1::smallint[], $2::bytea[], $3::bytea[], $4::bytea[], $5::bytea[], $6::smallint[], $7::bigint[],
  $8::bigint[], $9::integer[], $10::bytea[], $11::integer[], $12::bigint[], $13::text[])

-- name: put_off_deliveries
update delivery
set state = 0, due_ms = tried.due_ms, attempts = tried.attempts, status_code = tried.status_code,
  duration_ms = tried.duration_ms, error = tried.error
from unnest($1::smallint[], $2::bytea[], $3::bigint[], $4::integer[], $5::integer[], $6::bigint[], $7::text[])
  as tried(bucket, id, due_ms, attempts, status_code, duration_ms, error)
where delivery.bucket = any($part) and delivery.bucket = tried.bucket and delivery.id = tried.id

-- name: insert_attempts
insert into attempt (bucket, delivery_id, number, body)
select bucket, delivery_id, number, body
from unnest($1::smallint[], $2::bytea[], $3::integer[], $4::bytea[]) with ordinality
  as new(bucket, delivery_id, number, body, at)
order by at

-- name: recorded_attempts
select delivery_id, body, max(number)
from unnest($1::smallint[], $2::bytea[], $3::bytea[]) as wanted(bucket, delivery_id, body)
join attempt using (bucket, delivery_id, body)
where attempt.bucket = any($part)
group by delivery_id, body

-- name: freed_already
-- What was settled without an attempt.
select id from unnest($1::smallint[], $2::bytea[], $3::bigint[]) as wanted(bucket, id, lease)
join delivery using (bucket, id, lease) where delivery.bucket = any($part) and state = 0
union all
select id from unnest($1::smallint[], $2::bytea[], $3::bigint[]) as wanted(bucket, id, lease)
join delivery_history using (bucket, id, lease) where delivery_history.bucket = any($part)

-- name: keep_posted
insert into posted (bucket, destination_id, lane, organisation_id, event_id, remote_id)
select * from unnest($1::smallint[], $2::bytea[], $3::bytea[], $4::bytea[], $5::bytea[], $6::text[])
on conflict (bucket, destination_id, lane) do update
set organisation_id = excluded.organisation_id, event_id = excluded.event_id, remote_id = excluded.remote_id
where posted.event_id <= excluded.event_id

-- name: promote_lanes
-- Lets the first of each lane's waiting ones go, unless another is on its way.
update delivery set state = 0, due_ms = $4
from (
  select head.bucket, head.id
  from unnest($1::smallint[], $2::bytea[], $3::bytea[]) as freed(bucket, destination_id, lane)
  cross join lateral (
    select bucket, id from delivery
    where bucket = any($part) and destination_id = freed.destination_id and lane = freed.lane and state = 2
    order by place, id limit 1
  ) as head
  where not exists (
    select 1 from delivery
    where bucket = any($part) and destination_id = freed.destination_id and lane = freed.lane and state in (0, 1)
  )
) as promoted
where delivery.bucket = any($part) and delivery.bucket = promoted.bucket and delivery.id = promoted.id

-- name: lane_of_delivery
select destination_id, lane from delivery where bucket = $1 and id = $2 and organisation_id = $3
union all
select destination_id, lane from delivery_history where bucket = $1 and id = $2 and organisation_id = $3

-- name: take_live
delete from delivery where bucket = $1 and id = $2 and organisation_id = $3
returning bucket, id, organisation_id, event_id, destination_id, lease, attempts, lane, status_code, duration_ms, error

-- name: take_waiting_of_events
delete from delivery
where bucket = any($part) and state in (0, 2) and (event_id, organisation_id) in (
  select event_id, organisation_id
  from unnest($1::smallint[], $2::bytea[], $3::bytea[]) as replayed(bucket, event_id, organisation_id)
)
returning bucket, id, organisation_id, event_id, destination_id, lease, attempts, lane, status_code, duration_ms, error

-- name: live_state
select state from delivery where bucket = $1 and id = $2 and organisation_id = $3 for update

-- name: hurry_destination
update delivery set due_ms = 0 where bucket = any($part) and destination_id = $1 and state in (0, 1) and state = 0

-- name: release_held
update delivery set due_ms = $1
where bucket = any($part) and destination_id = $2 and due_ms = $3 and state in (0, 1) and state = 0 and organisation_id = $4

-- name: hurry_delivery
update delivery set due_ms = least(due_ms, $3::bigint) where bucket = $1 and id = $2 and state = 0

-- name: take_final
delete from delivery_history where bucket = $1 and id = $2 and organisation_id = $3
returning bucket, id, organisation_id, event_id, destination_id, lease, attempts, lane, status_code, duration_ms, error

-- name: is_final
select 1 from delivery_history where bucket = $1 and id = $2 and organisation_id = $3

-- name: revive_delivery
insert into delivery (bucket, id, organisation_id, event_id, destination_id, lease, attempts, lane, status_code,
  duration_ms, error, state, due_ms, place, retries_from)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $7)

-- name: seq_of_event
-- Locked, so that it is not dropped meanwhile.
select seq from event where bucket = $1 and id = $2 and organisation_id = $3 for key share

-- name: existing_deliveries
select id from unnest($1::smallint[], $2::bytea[]) as wanted(bucket, id) join delivery using (bucket, id)
where delivery.bucket = any($part)
union all
select id from unnest($1::smallint[], $2::bytea[]) as wanted(bucket, id) join delivery_history using (bucket, id)
where delivery_history.bucket = any($part)

-- ===== transactions =====

-- name: lock_events
-- Steps on one event's transactions come one after another, whichever process takes them.
select id, organisation_id, environment, type from event
where bucket = any($part) and (bucket, id) in (select * from unnest($1::smallint[], $2::bytea[]))
order by bucket, id for no key update

-- name: transactions_by_key
select event_id, tx_key, body, case when wanted.with_output then output end
from unnest($1::smallint[], $2::bytea[], $3::text[], $4::boolean[]) as wanted(bucket, event_id, tx_key, with_output)
join consumer_transaction using (bucket, event_id, tx_key)
where consumer_transaction.bucket = any($part)

-- name: save_transactions
insert into consumer_transaction
  (bucket, event_id, tx_key, organisation_id, event_type, environment, state, lease_until_ms, body, output)
select * from unnest($1::smallint[], $2::bytea[], $3::text[], $4::bytea[], $5::text[], $6::text[], $7::text[],
  $8::bigint[], $9::bytea[], $10::text[])
on conflict (bucket, event_id, tx_key) do update
set state = excluded.state, lease_until_ms = excluded.lease_until_ms, body = excluded.body, output = excluded.output

-- ===== catalog =====

-- name: catalog_revision
select coalesce(max(revision), 0) from catalog

-- name: catalog_entry
select revision, body is null, organisation_id from catalog where kind = $1 and id = $2

-- name: catalog_name_holder
select id from catalog where kind = $1 and organisation_id = $2 and name = $3

-- name: save_catalog_entry
insert into catalog (kind, id, organisation_id, name, revision, body) values ($1, $2, $3, $4, $5, $6)
on conflict (kind, id) do update
set organisation_id = excluded.organisation_id, name = excluded.name, revision = excluded.revision, body = excluded.body

-- name: catalog_changed
select 1 from catalog where revision > $1 and kind = $2 and organisation_id = $3 limit 1

-- name: catalog_since
select kind, id, revision, body from catalog where revision > $1 order by revision

-- ===== jobs and audit =====

-- name: insert_job
insert into job (id, organisation_id, environment, state, revision, ended_ms, body)
values ($1, $2, $3, $4, 1, $5, $6)
on conflict (id) do nothing returning 1

-- name: save_job
update job set environment = $3, state = $4, revision = revision + 1, ended_ms = $5, body = $6
where id = $1 and organisation_id = $2 and revision = $7 returning 1

-- name: open_jobs
-- A loose index scan: one probe for each organisation that has open jobs, however many those are.
with recursive found (organisation_id, at) as (
  (select organisation_id, 1 from job where ended_ms is null and organisation_id > $1 order by organisation_id limit 1)
  union all
  select (
    select organisation_id from job where ended_ms is null and organisation_id > found.organisation_id
    order by organisation_id limit 1
  ), found.at + 1
  from found where found.organisation_id is not null and found.at < $2
)
select oldest.body, oldest.revision
from found cross join lateral (
  select body, revision from job
  where organisation_id = found.organisation_id and ended_ms is null order by id limit 1
) as oldest
where found.organisation_id is not null
order by found.organisation_id

-- name: insert_audit
insert into audit (id, organisation_id, actor, key_id, action, subject, body)
select * from unnest($1::bytea[], $2::bytea[], $3::text[], $4::bytea[], $5::text[], $6::text[], $7::bytea[])

-- ===== mailboxes =====

-- name: save_device
insert into device (key, organisation_id, body) values ($1, $2, $3)
on conflict (key) do update set body = excluded.body where device.organisation_id = excluded.organisation_id
returning 1

-- name: device_exists
select 1 from device where key = $1 and organisation_id = $2

-- name: subscribers_of
select count(*) from (select 1 from subscription where channel_id = $1 and organisation_id = $2 limit $3) as some_

-- name: is_subscribed
select 1 from subscription where device_key = $1 and channel_id = $2 and organisation_id = $3

-- name: subscribe
insert into subscription (device_key, channel_id, organisation_id) values ($1, $2, $3)
on conflict do nothing returning 1

-- name: unsubscribe
delete from subscription where device_key = $1 and channel_id = $2 and organisation_id = $3 returning 1

-- name: drop_subscriptions
delete from subscription where channel_id = $1

-- name: keep_subscriptions
delete from subscription where device_key = $1 and organisation_id = $2 and channel_id <> all($3::bytea[]) returning 1

-- name: put_item
insert into mailbox (device_key, delivery_id, event_id, expires_ms) values ($1, $2, $3, $4)
on conflict do nothing returning 1

-- name: ack_item
delete from mailbox
where device_key = $1 and delivery_id = $2
  and exists (select 1 from device where key = $1 and organisation_id = $3)
returning 1

-- ===== tending =====

-- Each sweep finds its rows by an index, and drops them where they lie; what somebody else holds is left for the next one.

-- name: expired_keys
delete from idempotency where bucket = any($part) and ctid = any(array(
  select ctid from idempotency where bucket = any($part) and expires_ms <= $1
  order by expires_ms limit $2 for update skip locked
)) returning 1

-- name: expired_items
delete from mailbox where ctid = any(array(
  select ctid from mailbox where expires_ms <= $1 order by expires_ms limit $2 for update skip locked
)) returning 1

-- name: old_jobs
delete from job where ctid = any(array(
  select ctid from job where ended_ms < $1 order by ended_ms limit $2 for update skip locked
)) returning 1

-- name: old_posted
delete from posted where bucket = any($part) and ctid = any(array(
  select ctid from posted where bucket = any($part) and event_id < $1
  order by event_id limit $2 for update skip locked
)) returning 1

-- name: old_audit
delete from audit where ctid = any(array(
  select ctid from audit where id < $1 order by id limit $2 for update skip locked
)) returning 1

-- name: old_events
-- The next events past their time, locked: nobody adds a delivery to one of them any more.
select bucket, id from event
where bucket = any($part) and (bucket, id) > ($1, $2) and id < $3 order by bucket, id limit $4 for update

-- name: events_with_deliveries
-- Those of them of which a delivery is live.
select id from unnest($1::bytea[]) as old(id)
where exists (select 1 from delivery where bucket = any($part) and event_id = old.id)

-- name: events_with_items
-- Those of them of which an item waits in a mailbox.
select id from unnest($1::bytea[]) as old(id) where exists (select 1 from mailbox where event_id = old.id)

-- name: is_delivery_kept
-- Whether a delivery is live of an event, or itself, of a span: only the first of each is looked at.
select coalesce((
    select event_id from delivery where bucket = any($part) and event_id >= $1 order by event_id limit 1
  ) < $2, false)
  or exists (
    select 1 from unnest($part::smallint[]) as every(bucket)
    where (
      select id from delivery where delivery.bucket = any($part) and delivery.bucket = every.bucket and id >= $1
      order by id limit 1
    ) < $2
  )

-- name: is_item_kept
-- Whether an item waits in a mailbox of an event of a span.
select coalesce((select event_id from mailbox where event_id >= $1 order by event_id limit 1) < $2, false)

-- name: drop_attempts_of_events
delete from attempt using delivery_history as over
where attempt.bucket = any($part) and over.bucket = any($part)
  and over.event_id = any($1::bytea[]) and attempt.bucket = over.bucket and attempt.delivery_id = over.id

-- name: drop_history_of_events
delete from delivery_history where bucket = any($part) and event_id = any($1::bytea[])

-- name: drop_transactions_of_events
delete from consumer_transaction
where bucket = any($part) and (bucket, event_id) in (select * from unnest($1::smallint[], $2::bytea[]))

-- name: drop_replayed
delete from replayed
where bucket = any($part) and (bucket, event_id) in (select * from unnest($1::smallint[], $2::bytea[]))

-- name: drop_events
delete from event where bucket = any($part) and (bucket, id) in (select * from unnest($1::smallint[], $2::bytea[]))

-- name: transactions_of_span
-- Here the key leads to the rows, so that the buckets are named everywhere.
delete from consumer_transaction where bucket = any($part) and ctid = any(array(
  select ctid from consumer_transaction
  where bucket = any($part::smallint[]) and event_id >= $1 and event_id < $2 limit $3 for update skip locked
)) returning 1

-- name: replayed_of_span
delete from replayed where bucket = any($part) and ctid = any(array(
  select ctid from replayed
  where bucket = any($part::smallint[]) and event_id >= $1 and event_id < $2 limit $3 for update skip locked
)) returning 1

-- name: old_incidents
-- The next incidents past their time, each with whether it is kept: it is open, or its close is not past its time yet.
select bucket, id, not (state = 'closed' and closed_ms < $4) from incident
where bucket = any($part) and id > $1 and id < $2 order by id limit $3

-- name: drop_incidents
delete from incident where bucket = any($part) and (bucket, id) in (select * from unnest($1::smallint[], $2::bytea[]))

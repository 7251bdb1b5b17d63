-- With the columns of their conditions in them, these indexes are read alone: SQLite looked up the row of every entry
-- for a state that is sure to hold (docs/decisions/0660). Where the condition is one value, as of what is leased, it
-- knows so by itself.

-- name: delivery
drop index delivery_retrying;
create index delivery_retrying on delivery (organisation_id, event_id, state, attempts)
  where state in (0, 2) and attempts > 0;
drop index delivery_untried;
create index delivery_untried on delivery (organisation_id, event_id, state, attempts)
  where state in (0, 2) and attempts = 0;

-- name: delivery_history
drop index delivery_history_given_up;
create index delivery_history_given_up on delivery_history (organisation_id, event_id, state) where state in (4, 5);

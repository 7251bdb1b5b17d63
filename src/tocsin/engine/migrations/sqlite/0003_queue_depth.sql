-- The queue's depth is counted from the index alone: with the state in it, no row is read for that.
drop index delivery_due;
create index delivery_due on delivery (destination_id, due_ms, state) where state in (0, 1);

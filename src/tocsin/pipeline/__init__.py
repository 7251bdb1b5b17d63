"""The use cases, in the order an event meets them."""

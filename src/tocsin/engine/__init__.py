"""Durable state behind one narrow protocol."""

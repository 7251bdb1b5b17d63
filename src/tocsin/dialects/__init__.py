"""The published wire APIs: parse, hand to the core, render. They do not know each other."""

"""Pure rules: people, desired state, differences, plans, guards. No IO, no clock, no library but msgspec."""

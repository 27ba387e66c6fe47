"""The pure state machine: integers and bytes only; no clock, no randomness, no float, no file, no logging."""

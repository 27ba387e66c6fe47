"""A whole network on one machine, described as data and started as real processes."""

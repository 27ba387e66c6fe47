"""A relay: one process that carries cells for strangers and knows only its two neighbours."""

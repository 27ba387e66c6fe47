"""A model node: the sidecar beside one inference engine."""

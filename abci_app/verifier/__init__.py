"""The non-deterministic sidecar of a verification node: asks, scores, commits and reveals."""

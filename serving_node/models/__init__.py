"""Model files: where they come from, how they are rewritten, what their hashes must be (`python -m serving_node.models`)."""

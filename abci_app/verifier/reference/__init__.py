"""The verifier's own copy of a published model: f32 weights in one mapped file, a NumPy forward pass, and its tokeniser."""

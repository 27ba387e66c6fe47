"""The part of the model tool that touches the world: packages, files, progress."""

"""The HR-Tree: which model nodes hold which prompt prefix, and how their copies of it are kept alike. `docs/forwarding.md`."""

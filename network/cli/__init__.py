"""The `planetserve` command: one word per role or question; `docs/cli.md` documents every one of them."""

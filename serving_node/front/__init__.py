"""The front: one owner's OpenAI endpoint beside one engine, deciding with its fellows who answers (`docs/forwarding.md` 9)."""

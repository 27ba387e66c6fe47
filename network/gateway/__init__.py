"""The gateway: an OpenAI-compatible edge on a user's machine; behind it, everything leaves through the overlay."""

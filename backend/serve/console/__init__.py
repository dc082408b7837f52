"""The web console: what sensors measure, what happens, and a chat with them, in a browser; see `mount`."""

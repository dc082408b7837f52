"""Serving: frames off the wire become events. README.md in this folder shows what flows where."""

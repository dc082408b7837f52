"""Everything that happens to a signal before the wire. Runs on a Pi: numpy and onnxruntime, never torch."""

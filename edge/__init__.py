"""Everything that happens to a signal before the wire. Runs on a Pi: numpy and onnxruntime, never torch."""

from broker.start import start


def main() -> None:
    """The console script `edge`."""
    start("edge.cli")

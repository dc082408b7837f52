"""The model, its training and its serving. Imports `edge` and `broker`; `export` alone imports it."""

from broker.start import start


def main() -> None:
    """The console script `backend`."""
    start("backend.cli", extra="backend")

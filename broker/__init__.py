"""The contract: everything that may cross the wire, and the wire itself. Imports nothing else of ours."""

from broker.start import start


def main() -> None:
    """The console script `broker`."""
    start("broker.cli")

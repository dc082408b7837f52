"""`python -m export`: `export.cli`."""

from broker.start import start

if __name__ == "__main__":
    start("export.cli", extra="export")

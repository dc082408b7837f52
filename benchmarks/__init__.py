"""One script per question; results as JSON in results/, the tables and the log of what was tried in README.md."""

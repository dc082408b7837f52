"""The contract: everything that may cross the wire, and the wire itself. Imports nothing else of ours."""

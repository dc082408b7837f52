"""`backend demo`: broker, simulated devices and the backend as processes of this machine, and a live view."""

"""`backend demo`: broker, three simulated devices and the backend as processes of this machine, and a live view."""

"""IoT-LM."""

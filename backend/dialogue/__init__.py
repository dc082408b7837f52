"""Questions about sensors, and answers that can be checked: what is known, asked and said, and whether it holds."""

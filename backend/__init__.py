"""The model, its training and its serving. Imports `edge` and `broker`; `export` alone imports it."""

"""Encoders, the fusion adapter and the whole sensor model."""

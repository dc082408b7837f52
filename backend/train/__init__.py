"""Training and measuring: batches, augmentation, the loop, evaluation, pictures."""

"""The paper's tables, measured anew at the size that a small computer affords: `backend eval --tables`."""

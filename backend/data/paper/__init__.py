"""The nine data sets of the paper (Appendix A), each read from its publishers' own layout; one file per set."""

"""Recordings as a machine stores them, outsiders, and whole data sets of patients."""

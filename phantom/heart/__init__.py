"""The heart: anatomy and its beat, and what a plane cuts through."""

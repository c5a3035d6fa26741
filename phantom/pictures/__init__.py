"""Pictures of the phantom for people."""

"""Reading videos: `open` chooses the reader; a file for each, all of the form that `base` gives."""

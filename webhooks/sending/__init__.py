"""One request to one receiver: guarded, timed, cut off in time, and recorded clean."""

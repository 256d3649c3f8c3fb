"""Where runs go: to the collector (push), to a file (ndjson), to whoever scrapes (metrics). Each stands alone."""

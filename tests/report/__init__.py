"""Everything that prints or writes a finished run."""

"""Numbers for tables, from run files and labels: no matplotlib, no torch."""

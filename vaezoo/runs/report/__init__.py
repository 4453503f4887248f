"""The report of a run: its pictures, and one HTML page that contains them all."""

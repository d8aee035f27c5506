"""What a table is worth: rankings, links, spectra."""

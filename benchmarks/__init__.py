"""One question a file; each prints JSON lines. Results lie beside, by device."""

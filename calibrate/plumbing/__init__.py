"""Files, hashes, tables, pages and progress: what both stages share and neither owns."""

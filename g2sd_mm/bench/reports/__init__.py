"""Turn ``results.json`` into tables and a self-contained HTML page."""

"""Where events and records go: files of JSON lines, web hooks, plugins."""

"""Where data comes from: pinned archives and one reader per archive format."""

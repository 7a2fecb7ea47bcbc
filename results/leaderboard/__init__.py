"""Records as a static site: one ranking a suite and protocol, a page for every run, nothing fetched from elsewhere."""

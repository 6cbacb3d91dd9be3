"""The way from here to a provider: connections, and where they may lead."""

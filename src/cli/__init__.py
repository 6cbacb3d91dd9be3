"""The commands a person types: `imagebot …`."""

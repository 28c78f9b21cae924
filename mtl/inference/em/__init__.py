"""The em study's network put to use: embeddings to instances, tiles to volumes, clicks to masks."""

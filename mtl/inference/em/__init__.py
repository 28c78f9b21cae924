"""The em study's network put to use: clicks to masks, and volumes larger than memory."""

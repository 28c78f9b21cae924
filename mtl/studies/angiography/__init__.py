"""The angiography study: videos and their reports, four objectives over one video encoder."""

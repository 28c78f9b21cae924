"""The em study put together: volumes to networks, instances, clicks and figures."""

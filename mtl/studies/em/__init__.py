"""The em study: parameters (light) and assembly."""

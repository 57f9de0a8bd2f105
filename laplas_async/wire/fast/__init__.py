"""Fast paths for repeated event shapes, each equal in its result to the general path."""

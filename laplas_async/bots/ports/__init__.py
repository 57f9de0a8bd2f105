"""The platforms that ``LiveText`` can show a text on; each module imports its framework itself."""

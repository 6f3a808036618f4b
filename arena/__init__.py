"""Which embedding model should I use, and how sure may I be?"""

__version__ = "0.1.0"

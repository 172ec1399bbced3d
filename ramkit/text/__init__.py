"""The text side: parsing captions, asking an LLM or WordNet for descriptions, encoding texts."""

"""The read API: what is stored, for programs; ``/api/v1``, described by its own OpenAPI 3.1 document.

Nothing can be changed through it. Every route says which scope it needs; who asks is found out before, by whoever
serves the routes (`store.readers.READER_KEY`), and where nobody has found out, nobody is let in.
"""

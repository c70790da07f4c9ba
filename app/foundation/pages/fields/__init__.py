"""Kinds of form fields: each reads what was typed as a value of a document, and writes such a value as people type it.

What was typed is kept as a tree of texts in the shape of the document that it makes: nothing is lost, even if a text cannot
be read. In a form, a text's name is its JSON pointer. A name with a colon belongs to the form alone, as the unit of a duration.
"""

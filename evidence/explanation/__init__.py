"""Results in words, for a reviewer who knows no statistics: one sentence, one paragraph, one page.

Everything is made from the numbers of the result, once for both languages: a statement is a phrase of `phrases.yaml`
with its facts filled in, and the same facts go into the English and the Chinese of it.
"""

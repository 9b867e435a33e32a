"""Exercises and quiz questions: one module per chapter, of the chapter's name."""

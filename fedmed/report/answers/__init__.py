"""What a study found, for people and programs: tidy tables, figures and one page for each kind of question.

A reader a kind (`statistics`, `regression`, `survival`) turns the result document into an `Answer`; pages,
files and the notebook know only that.
"""

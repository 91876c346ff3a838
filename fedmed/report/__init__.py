"""The report: result document, findings in words, plots, page, model card, terminal summary.

Importing this package loads neither matplotlib nor jinja2; the functions that draw load them.
"""

from fedmed.report.card import model_card
from fedmed.report.page import render_html
from fedmed.report.result import Result
from fedmed.report.write import write_report

__all__ = ["Result", "model_card", "render_html", "write_report"]

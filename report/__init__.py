"""Results -> one self-contained HTML page: `render` fills the template, `words` says it in sentences, `text` cuts."""

from mvh.report.render import ReportDocument, render, render_cell, write_report

__all__ = ["ReportDocument", "render", "render_cell", "write_report"]
